//! The judge's laws on a synthetic machine: labels and order reach nothing but the report.

use std::f32::consts::TAU;
use std::path::{Path, PathBuf};

use auscult::acquire::{
    Error, Info, Read, Source, SynthConfig, SynthFault, SynthFaultKind, SynthLaw,
};
use auscult::daemon::SystemClock;
use auscult::judge::{
    Bearing, Cases, Judge, Life, Machine, Open, Piece, Recording, Report, Setup, Use, explain,
};
use auscult::types::{Frame, SensorKind, Shape, Span, Stamp, Unit};

const RATE_HZ: f64 = 12_800.0;
const SPEED_RPM: f64 = 1480.0;

/// A stretch of the synthetic machine's life, cut into frames.
pub(crate) struct Stretch {
    pub(crate) info: Info,
    pub(crate) samples: Vec<f32>,
    pub(crate) at: usize,
    pub(crate) start: Stamp,
    pub(crate) every_s: f64,
}

impl Source for Stretch {
    fn info(&self) -> &Info {
        &self.info
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        let block = self.info.snapshot_samples.unwrap_or(4096) * self.info.n_channels;
        let n = block.min(self.samples.len() - self.at);
        if n == 0 {
            return Ok(Read::End);
        }
        frame.samples.clear();
        frame.samples.extend_from_slice(&self.samples[self.at..self.at + n]);
        let elapsed_s = match self.info.snapshot_samples {
            Some(_) => (self.at / block) as f64 * self.every_s,
            None => (self.at / self.info.n_channels) as f64 / self.info.rate_hz,
        };
        frame.start = self.start + Span::from_secs(elapsed_s);
        frame.shape =
            if self.info.snapshot_samples.is_some() { Shape::Snapshot } else { Shape::Stream };
        let n_channels = self.info.n_channels;
        (frame.origin.first_sample, frame.origin.n_samples) =
            ((self.at / n_channels) as u64, (n / n_channels) as u64);
        self.at += n;
        Ok(Read::Frame)
    }
}

/// `healthy-3` is the machine at its third hour, `outer-3` the same with a damaged bearing; `life` wears
/// out in twenty minutes.
fn open(piece: &Piece<'_>) -> Result<Box<dyn Source>, Error> {
    Ok(Box::new(play(piece)?))
}

fn play(piece: &Piece<'_>) -> Result<Stretch, Error> {
    let name = piece.path.to_string_lossy().into_owned();
    let (kind, hour) = name.split_once('-').unwrap_or((&name, "0"));
    let fault = |growth_s, severity| SynthFault {
        fault: SynthFaultKind::OuterRace,
        start_s: 0.0,
        growth_s,
        severity,
        law: SynthLaw::Exponential,
    };
    let faults = match kind {
        "outer" => vec![fault(0.0, 0.6)],
        "life" => vec![fault(1200.0, 1.0)],
        _ => Vec::new(),
    };
    let config =
        SynthConfig { rate_hz: RATE_HZ, speed_rpm: SPEED_RPM, faults, ..SynthConfig::default() };
    let machine = config.build()?;
    let begin_s = 3600.0 * hour.parse::<f64>().unwrap();
    let (mut samples, mut part) = (Vec::new(), Vec::new());
    let every_s = piece.snapshot_every_s.unwrap_or(1.0);
    if let Some(n) = piece.snapshot_samples {
        for k in 0..120 {
            part.clear();
            machine.snapshot(f64::from(k) * every_s, n, &mut part);
            samples.extend_from_slice(&part);
        }
    } else {
        let (from_s, to_s) = piece.span_s.unwrap_or((0.0, 6.0));
        let n = ((to_s - from_s) * RATE_HZ) as usize;
        machine.snapshot(begin_s + from_s, n, &mut samples);
    }
    let info = Info {
        identity: name,
        rate_hz: RATE_HZ,
        n_channels: 1,
        unit: Unit::MetersPerSecond2,
        snapshot_samples: piece.snapshot_samples,
        live: false,
    };
    Ok(Stretch { info, samples, at: 0, start: piece.start, every_s })
}

fn recording(name: &str, purpose: Use) -> Recording {
    let normal = name.starts_with("healthy");
    Recording {
        path: PathBuf::from(name),
        purpose,
        normal,
        fault: (!normal).then(|| "outer_race".to_owned()),
        severity: None,
        speed_rpm: Some(SPEED_RPM),
        span_s: None,
        snapshot_samples: None,
    }
}

fn cases() -> Cases {
    let learn = (0..4).map(|hour| recording(&format!("healthy-{hour}"), Use::Learn));
    let healthy = (5..8).map(|hour| recording(&format!("healthy-{hour}"), Use::Test));
    let outer = (5..8).map(|hour| recording(&format!("outer-{hour}"), Use::Test));
    Cases {
        name: "synthetic".to_owned(),
        path: PathBuf::from("cases.toml"),
        machines: vec![Machine {
            id: "pump".to_owned(),
            kind: SensorKind::Vibration,
            unit: Unit::MetersPerSecond2,
            units_per_full_scale: 1.0,
            axes: vec!["radial".to_owned()],
            bearing: Some(Bearing { ftf: 0.4, bpfo: 3.6, bpfi: 5.4, bsf: 2.4 }),
            recordings: learn.chain(healthy).chain(outer).collect(),
            lives: Vec::new(),
        }],
    }
}

fn judge(cases: &Cases) -> Report {
    judge_as(cases, &open)
}

fn judge_as(cases: &Cases, open: &Open<'_>) -> Report {
    let (setup, clock) = (Setup::default(), SystemClock::new());
    let judge = Judge { setup: &setup, open, with_rivals: true, clock: &clock };
    judge.run(cases, &mut |_| {}).unwrap()
}

#[test]
fn labels_and_order_reach_nothing_but_the_report() {
    let plain = cases();
    let truth = judge(&plain);
    let detection = truth.machines[0].detection.as_ref().unwrap();
    assert_eq!((detection.recordings.normal, detection.recordings.fault), (3, 3));
    assert_eq!((detection.windows.normal, detection.windows.fault), (18, 18));

    let mut swapped = cases();
    for recording in swapped.machines[0].recordings.iter_mut().filter(|it| it.purpose == Use::Test)
    {
        recording.normal = !recording.normal;
        recording.fault = (!recording.normal).then(|| "ball".to_owned());
    }
    let lies = judge(&swapped);
    let lied = lies.machines[0].detection.as_ref().unwrap();
    assert_eq!(lied.windows.hits, detection.windows.false_alarms);
    assert_eq!(lied.windows.false_alarms, detection.windows.hits);
    assert!((lied.auc.unwrap() + detection.auc.unwrap() - 1.0).abs() < 1e-12);

    let mut shuffled = cases();
    shuffled.machines[0].recordings[4..].reverse();
    let other = judge(&shuffled);
    let parts = |report: &Report| {
        let rivals = report.rivals.iter().map(|rival| &rival.machines);
        serde_json::to_value((&report.machines, rivals.collect::<Vec<_>>())).unwrap()
    };
    assert_eq!(parts(&truth), parts(&other));
}

/// Hum five times the machine, in learning and test alike. In half a second it spills twice as far as in one.
#[test]
fn a_line_that_spills_further_in_a_short_recording_is_no_fault() {
    let mut cases = cases();
    cases.machines[0].lives.clear();
    for recording in &mut cases.machines[0].recordings {
        recording.span_s =
            (recording.purpose == Use::Test && recording.normal).then_some((0.0, 0.5));
    }
    let humming = |piece: &Piece<'_>| -> Result<Box<dyn Source>, Error> {
        let mut stretch = play(piece)?;
        let x = &mut stretch.samples;
        let rms = (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt();
        for (n, x) in x.iter_mut().enumerate() {
            *x += 7.0 * rms * (n as f32 / RATE_HZ as f32 * 50.0 * TAU).sin();
        }
        Ok(Box::new(stretch))
    };
    let report = judge_as(&cases, &humming);
    let machine = &report.machines[0];
    let windows = machine.detection.as_ref().unwrap().windows;
    assert_eq!((windows.normal, windows.false_alarms), (3, 0));
    assert_eq!(windows.hits, windows.fault);
    assert_eq!(machine.diagnosis.as_ref().unwrap().normals_named, 0);
}

#[test]
fn the_json_has_the_contracts_keys() {
    let mut cases = cases();
    cases.machines[0].lives.push(Life {
        path: PathBuf::from("life"),
        file: "life".to_owned(),
        snapshot_samples: 2560,
        snapshot_every_s: 10.0,
        learn_snapshots: 20,
        speed_rpm: Some(SPEED_RPM),
        forecast_at_snapshot: Some(90),
        life_left_s: Some(300.0),
    });
    let report = serde_json::to_value(judge(&cases)).unwrap();
    let has = |at: &str, keys: &str| {
        let found = report.pointer(at).unwrap_or_else(|| panic!("no {at}"));
        for key in keys.split(' ') {
            assert!(found.get(key).is_some(), "{at} has no {key}: {found}");
        }
    };
    has("", "name machines summary model seconds");
    has("/machines/0", "id detection diagnosis lives");
    has("/machines/0/detection", "auc pauc recordings windows by_fault");
    for at in ["/machines/0/detection/recordings", "/machines/0/detection/windows"] {
        has(at, "normal fault false_alarms hits not_learned_normal not_learned_fault");
    }
    has("/machines/0/detection/by_fault/outer_race", "auc hits n not_learned");
    let keys = "n correct macro_f1 none normals normals_named confusion";
    has("/machines/0/diagnosis", keys);
    let keys = "file snapshots first_alarm_snapshot lasting_alarm_snapshot lead_s lead_share \
                alarm_in_first_third auc_early_late forecast";
    has("/machines/0/lives/0", keys);
    has("/machines/0/lives/0/forecast", "at_snapshot life_left_s reason actual_s phm2012_score");
    let keys = "auc pauc false_alarm_share hit_share not_learned_share diagnosis_macro_f1 \
                diagnosis_accuracy normals_named lives lives_alarmed lives_alarmed_in_first_third \
                lives_clean_and_early median_lead_share median_lead_s phm2012 phm2012_floor";
    has("/summary", keys);
    let life = &report["machines"][0]["lives"][0];
    assert_eq!(
        (life["snapshots"].as_u64(), life["forecast"]["actual_s"].as_f64()),
        (Some(120), Some(300.0))
    );
    assert_eq!(report["rivals"].as_array().unwrap().len(), 3);
}

#[test]
fn a_recording_is_explained_by_a_picture() {
    let svg = explain(&cases(), Path::new("outer-6"), &Setup::default(), &open).unwrap();
    for text in ["<svg ", "learned", "BPFO", "envelope spectrum", "score over time", "</svg>"] {
        assert!(svg.contains(text), "no {text} in the picture");
    }
    let unknown = explain(&cases(), Path::new("nothing"), &Setup::default(), &open);
    assert!(unknown.unwrap_err().to_string().contains("no test recording"));
}

#[test]
fn every_set_at_hand_can_be_read() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("AUSCULT_DATA").map_or(beside, PathBuf::from);
    let Ok(sets) = std::fs::read_dir(&data) else {
        println!("skipped: no recordings at {}", data.display());
        return;
    };
    let mut n_machines = 0;
    for set in sets {
        let path = set.unwrap().path().join("cases.toml");
        if path.exists() {
            n_machines += Cases::load(&path).unwrap_or_else(|why| panic!("{why}")).machines.len();
        }
    }
    assert!(n_machines > 0, "no case file below {}", data.display());
}
