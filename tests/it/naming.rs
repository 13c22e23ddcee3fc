//! The synthetic fleet: every named fault at three severities in ever more noise, and who is called what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use auscult::acquire::{
    Error, Info, Source, SynthConfig, SynthFault, SynthFaultKind, SynthKind, SynthLaw,
};
use auscult::assess::{self, Gear};
use auscult::daemon::SystemClock;
use auscult::judge::{Bearing, Cases, Judge, Machine, Piece, Recording, Setup, Use};
use auscult::types::{FaultCode, SensorKind, Unit};

use crate::judge::Stretch;
use crate::rig::tier;

const RATE_HZ: f64 = 25_600.0;
const SECONDS: f64 = 12.0;
const GEAR_TEETH: u32 = 23;
const BLADES: u32 = 5;
/// Hours of the machine's day it is listened to, for learning and healthy for the test.
const LEARN_HOURS: [f64; 6] = [0.0, 4.0, 8.0, 12.0, 16.0, 20.0];
const HEALTHY_HOURS: [f64; 4] = [2.0, 6.0, 14.0, 22.0];
const FAULTY_HOUR: f64 = 10.0;

const SEVERITIES: [(&str, f64); 3] = [("severe", 0.9), ("medium", 0.4), ("light", 0.15)];
/// How far what comes from elsewhere lies below the machine's own noise.
const NOISE_DB: [f64; 3] = [20.0, 7.0, -6.0];

/// One machine of the fleet; what comes from elsewhere lies `snr_db` below its own noise.
fn machine(seed: u64, snr_db: f64) -> SynthConfig {
    let drawn = SynthConfig::random(seed, SynthKind::Vibration, RATE_HZ);
    SynthConfig {
        axes: 3,
        gear_teeth: GEAR_TEETH,
        blades: BLADES,
        speed_wander: 0.001,
        ambient: drawn.noise * 10f64.powf(-snr_db / 20.0),
        ..drawn
    }
}

/// A recording by its name: the hour, then fault and severity if it has one.
fn open(config: &SynthConfig, piece: &Piece<'_>) -> Result<Box<dyn Source>, Error> {
    let name = piece.path.to_string_lossy().into_owned();
    let mut words = name.split('/');
    let hour: f64 = words.next().unwrap().parse().unwrap();
    let fault = words.next().map(|fault| SynthFault {
        fault: SynthFaultKind::ALL.into_iter().find(|f| f.code().code() == fault).unwrap(),
        start_s: 0.0,
        growth_s: 0.0,
        severity: words.next().unwrap().parse().unwrap(),
        law: SynthLaw::Linear,
    });
    let machine = SynthConfig { faults: fault.into_iter().collect(), ..config.clone() }.build()?;
    let mut samples = Vec::new();
    machine.snapshot(3600.0 * hour, (SECONDS * RATE_HZ) as usize, &mut samples);
    let info = Info {
        identity: name,
        rate_hz: RATE_HZ,
        n_channels: config.axes,
        unit: Unit::MetersPerSecond2,
        snapshot_samples: None,
        live: false,
    };
    Ok(Box::new(Stretch { info, samples, at: 0, start: piece.start, every_s: 1.0 }))
}

fn recording(path: String, purpose: Use, fault: Option<FaultCode>, rpm: f64) -> Recording {
    Recording {
        path: PathBuf::from(path),
        purpose,
        normal: fault.is_none(),
        fault: fault.map(|code| code.code().to_owned()),
        severity: None,
        speed_rpm: Some(rpm),
        span_s: None,
        snapshot_samples: None,
    }
}

/// The whole programme of one machine at one severity.
fn cases(config: &SynthConfig, severity: f64) -> Cases {
    let rpm = config.speed_rpm;
    let mut recordings: Vec<Recording> = LEARN_HOURS
        .iter()
        .map(|hour| recording(format!("{hour}"), Use::Learn, None, rpm))
        .chain(HEALTHY_HOURS.iter().map(|hour| recording(format!("{hour}"), Use::Test, None, rpm)))
        .collect();
    for fault in SynthFaultKind::ALL {
        let path = format!("{FAULTY_HOUR}/{}/{severity}", fault.code().code());
        recordings.push(recording(path, Use::Test, Some(fault.code()), rpm));
    }
    let b = config.bearing;
    let machine = Machine {
        id: format!("machine-{}", config.seed),
        kind: SensorKind::Vibration,
        unit: Unit::MetersPerSecond2,
        units_per_full_scale: 1.0,
        axes: ["horizontal", "vertical", "axial"].map(String::from).to_vec(),
        bearing: Some(Bearing { ftf: b.ftf, bpfo: b.bpfo, bpfi: b.bpfi, bsf: b.bsf }),
        recordings,
        lives: Vec::new(),
    };
    Cases { name: "fleet".into(), path: PathBuf::new(), machines: vec![machine] }
}

/// How often each truth was called what.
type Confusion = BTreeMap<String, BTreeMap<String, usize>>;

/// Judges machines `seeds` at one severity and noise.
fn judged(seeds: std::ops::Range<u64>, severity: f64, snr_db: f64) -> Confusion {
    let mut confusion = Confusion::new();
    for seed in seeds {
        let config = machine(seed, snr_db);
        let setup = Setup {
            assess: assess::Config {
                gears: vec![Gear { teeth: GEAR_TEETH, ratio: 1.0 }],
                blades: Some(BLADES),
                line_hz: Some(config.line_hz),
                ..assess::Config::default()
            },
            ..Setup::default()
        };
        let judge = Judge {
            setup: &setup,
            open: &|piece| open(&config, piece),
            with_rivals: false,
            clock: &SystemClock::new(),
        };
        let report = judge.run(&cases(&config, severity), &mut |_| {}).unwrap();
        let diagnosis = report.machines[0].diagnosis.as_ref().unwrap();
        for (truth, said) in &diagnosis.confusion {
            let row = confusion.entry(truth.clone()).or_default();
            for (name, n) in said {
                *row.entry(name.clone()).or_default() += n;
            }
        }
    }
    confusion
}

fn count(confusion: &Confusion, pick: impl Fn(&str, &str) -> bool) -> usize {
    let rows =
        confusion.iter().flat_map(|(truth, row)| row.iter().map(move |(said, n)| (truth, said, n)));
    rows.filter(|(truth, said, _)| pick(truth, said)).map(|(_, _, n)| n).sum()
}

/// Three machines at every severity and noise; prints who was called what.
#[test]
fn faults_of_the_fleet_are_named() {
    if tier(true, true, false) {
        println!("skipped: the fleet takes minutes; AUSCULT_TIER=release hears it");
        return;
    }
    for (name, severity) in SEVERITIES {
        for snr_db in NOISE_DB {
            let confusion = judged(1..4, severity, snr_db);
            let is_silent = |said: &str| ["none", "impulsive_unknown"].contains(&said);
            let n = count(&confusion, |truth, _| truth != "normal");
            let right = count(&confusion, |truth, said| truth != "normal" && truth == said);
            let silent = count(&confusion, |truth, said| truth != "normal" && is_silent(said));
            let named = count(&confusion, |truth, said| truth == "normal" && said != "none");
            println!(
                "{name} at {snr_db} dB: {right} right and {silent} silent of {n}; {named} normals named"
            );
            for (truth, row) in &confusion {
                println!("    {truth}: {row:?}");
            }
            assert_eq!(named, 0, "a healthy machine was named");
            if severity > 0.5 && snr_db > 0.0 {
                assert!(2 * right > n, "{right} of {n} severe faults named rightly");
            }
        }
    }
}
