//! `auscult bench`: how many channels this machine can carry, and the numbers behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::bench_views::{self, Cost};
use super::{box_bench, print};
use crate::acquire::Read;
use crate::config::Config;
use crate::daemon::SystemClock;
use crate::dsp::{LogMel, MelBank, to_db};
use crate::nn::Model;
use crate::types::{Clock, Frame, Origin, Span, Unit};

/// Measure how many channels this machine can carry
#[derive(clap::Args)]
#[command(after_help = "Example: auscult bench --json")]
pub(super) struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// Measure with this model for sound instead of the shipped one
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Leave out what starts auscult itself: memory and start-up time
    #[arg(long)]
    quick: bool,
}

/// Signal each case learns from, seconds; a model of the machine is then there, and no window is
/// spent on learning.
const LEARN_S: f64 = 120.0;
/// Signal of one repetition, seconds.
const REP_S: f64 = 20.0;
/// Repetitions.
const REPS: usize = 9;
/// Inferences that are timed one by one.
const RUNS: usize = 2000;
/// Share of a core that may be used up: the rest is for bursts, disk and network.
const LOAD_MAX: f64 = 0.5;

/// What is measured as a whole pipeline: name, kind, rate, keys of the sensor.
const CASES: [(&str, &str, f64); 3] = [
    ("sound_16k", "sound", 16_000.0),
    ("vibration_25k6", "vibration", 25_600.0),
    ("sound_48k", "sound", 48_000.0),
];

/// Middle and ends of several repetitions.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// # Panics
    /// If there is none.
    pub(super) fn of(values: &mut [f64]) -> Self {
        values.sort_by(f64::total_cmp);
        let (min, max) = (values[0], values[values.len() - 1]);
        Self { median: values[values.len() / 2], min, max }
    }
}

/// One kind of channel through the six blocks, and how much of that is features.
#[derive(serde::Serialize)]
struct Channel {
    name: &'static str,
    rate_hz: f64,
    /// Seconds of signal per second of one core.
    real_time_factor: Spread,
    /// The same for the features alone.
    extract_real_time_factor: Spread,
    /// What each view costs, microseconds per second of signal; the sound in calm has its envelopes
    /// taken from one record in four.
    views: Vec<Cost>,
    learned: bool,
    /// Channels this machine carries with half of every core to spare.
    channels: u64,
}

#[derive(serde::Serialize)]
struct Inference {
    model: String,
    bytes: usize,
    macs: u64,
    kernel: &'static str,
    median_us: f64,
    p99_us: f64,
}

#[derive(serde::Serialize)]
struct Report {
    version: &'static str,
    debug_build: bool,
    cpu: String,
    cores: usize,
    channels: Vec<Channel>,
    log_mel_16k_real_time_factor: Spread,
    inference: Option<Inference>,
    whole: Option<box_bench::Whole>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let model = args.model.as_deref().map(absolute).transpose()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut channels = Vec::new();
    for (name, kind, rate_hz) in CASES {
        print::aside(format_args!("{name} ..."));
        channels.push(channel(name, kind, rate_hz, model.as_deref(), cores, &clock)?);
    }
    print::aside("log-mel, inference ...");
    let log_mel_16k_real_time_factor = log_mel(&*clock);
    let inference = inference(model.as_deref(), &*clock)?;
    let whole = if args.quick {
        None
    } else {
        print::aside("auscult itself: memory, start with 100,000 alerts ...");
        Some(box_bench::whole(&*clock)?)
    };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        debug_build: cfg!(debug_assertions),
        cpu: cpu(),
        cores,
        channels,
        log_mel_16k_real_time_factor,
        inference,
        whole,
    };
    if args.json {
        return print::json(&report);
    }
    print::line(report);
    Ok(())
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("model {}", path.display()))
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        ["model name", "Model"].contains(&key.trim()).then(|| value.trim().to_owned())
    });
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// A machine with one synthetic sensor, through the same door as any other.
fn config(kind: &str, rate_hz: f64, model: Option<&Path>) -> anyhow::Result<Config> {
    let model = model.filter(|_| kind == "sound").map_or(String::new(), |path| {
        format!("model = {}\n", toml::Value::from(path.display().to_string()))
    });
    let text = format!(
        "site = \"bench\"\ngateway = \"bench\"\n[[asset]]\nid = \"machine\"\n[asset.speed]\n\
         speed_rpm = 1480.0\n[asset.assess]\nbearing_designation = \"SKF 6205-2RS JEM\"\n\
         [[asset.sensor]]\nid = \"sensor\"\nkind = \"{kind}\"\n{model}[asset.sensor.source]\n\
         type = \"synth\"\nkind = \"{kind}\"\nrate_hz = {rate_hz:?}\n"
    );
    Ok(Config::parse(Path::new("bench.toml"), &text)?)
}

fn channel(
    name: &'static str,
    kind: &str,
    rate_hz: f64,
    model: Option<&Path>,
    cores: usize,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Channel> {
    let config = config(kind, rate_hz, model)?;
    let (asset, sensor) = (&config.assets[0], &config.assets[0].sensors[0]);
    let mut source = sensor.source.open(asset.origin(sensor), clock)?;
    let mut stretch = |seconds: f64| {
        let mut frames = Vec::new();
        let mut heard = 0.0;
        while heard < seconds {
            let mut frame = Frame::empty(Origin::new("", ""), rate_hz, Unit::FullScale, 1);
            if source.read(&mut frame)? == Read::Frame {
                heard += frame.len() as f64 / rate_hz;
                frames.push(frame);
            }
        }
        Ok::<_, anyhow::Error>((frames, heard))
    };
    let model = sensor.load_model(&config.folder).map_err(|why| anyhow!(why))?;
    let (mut learning, _) = stretch(LEARN_S)?;
    let lane = sensor.lane(model.as_ref(), &learning[0]).map_err(|why| anyhow!(why))?;
    let mut extractor = sensor.extractor(&learning[0]).map_err(|why| anyhow!(why))?;
    let mut pipeline = asset.pipeline();
    pipeline.install(0, lane)?;
    for frame in &mut learning {
        extractor.push(frame);
        while extractor.step().is_some() {}
        pipeline.step(0, frame, |_| ());
    }
    pipeline.finish_learning();
    let learned = pipeline.n_learned() > 0;
    let views = {
        let (frames, _) = stretch(REP_S)?;
        bench_views::costs((asset, sensor), model.as_ref(), &learning, &frames, &**clock)?
    };
    drop(learning);
    let (mut all, mut features) = (Vec::new(), Vec::new());
    for _ in 0..REPS {
        let (mut frames, heard) = stretch(REP_S)?;
        let spent = timed(&**clock, || {
            for frame in &frames {
                extractor.push(frame);
                while extractor.step().is_some() {}
            }
        });
        features.push(heard / spent.as_secs());
        let spent =
            timed(&**clock, || frames.iter_mut().for_each(|frame| pipeline.step(0, frame, |_| ())));
        all.push(heard / spent.as_secs());
    }
    let real_time_factor = Spread::of(&mut all);
    let channels = (cores as f64 * LOAD_MAX * real_time_factor.median) as u64;
    let extract_real_time_factor = Spread::of(&mut features);
    Ok(Channel {
        name,
        rate_hz,
        real_time_factor,
        extract_real_time_factor,
        views,
        learned,
        channels,
    })
}

pub(super) fn timed(clock: &dyn Clock, work: impl FnOnce()) -> Span {
    let start = clock.monotonic();
    work();
    Span((clock.monotonic().0 - start.0).max(1))
}

/// Log-mel frames alone: 1024 samples every 512, 128 bands, as the models for sound take them.
fn log_mel(clock: &dyn Clock) -> Spread {
    const RATE_HZ: f64 = 16_000.0;
    const SECONDS: usize = 30;
    let mut x = 1u32;
    let mut noise = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x as f32 / 4_294_967_296.0 - 0.5
    };
    let samples: Vec<f32> = (0..RATE_HZ as usize * SECONDS).map(|_| noise()).collect();
    let mut log_mel = LogMel::new(1024, MelBank::new(RATE_HZ, 1024, 128));
    let (mut power, mut db) = ([0.0; 128], [0.0; 128]);
    let mut factors: Vec<f64> = (0..REPS)
        .map(|_| {
            let spent = timed(clock, || {
                for hop in samples.windows(1024).step_by(512) {
                    log_mel.hop(std::hint::black_box(hop), 0.0, &mut power);
                    to_db(&power, &mut db);
                    std::hint::black_box(&db);
                }
            });
            SECONDS as f64 / spent.as_secs()
        })
        .collect();
    Spread::of(&mut factors)
}

/// The model for sound that would have a say, if there is one.
fn inference(path: Option<&Path>, clock: &dyn Clock) -> anyhow::Result<Option<Inference>> {
    let config = config("sound", 16_000.0, path)?;
    let model =
        config.assets[0].sensors[0].load_model(&config.folder).map_err(|why| anyhow!(why))?;
    Ok(model.map(|model: Model| {
        let mut runner = model.runner();
        let n = model.n_hops() * model.n_bands();
        let (input, mut residual) = (vec![-40.0; n], vec![0.0; n]);
        let mut once = || {
            timed(clock, || {
                std::hint::black_box(runner.run(std::hint::black_box(&input), &mut residual));
            })
        };
        let mut times_us: Vec<f64> = (0..RUNS).map(|_| once().0 as f64 / 1e3).collect();
        times_us.sort_by(f64::total_cmp);
        Inference {
            model: model.name().to_string(),
            bytes: model.bytes(),
            macs: model.macs(),
            kernel: runner.engine().kernel(),
            median_us: times_us[RUNS / 2],
            p99_us: times_us[RUNS * 99 / 100],
        }
    }))
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} ({:.0}-{:.0})", self.median, self.min, self.max)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { version, cpu, cores, .. } = self;
        writeln!(f, "auscult {version} on {cpu}, {cores} core(s)")?;
        if self.debug_build {
            writeln!(f, "this is no release build: its figures say little")?;
        }
        writeln!(
            f,
            "\nreal-time factor of one channel on one core, median (range of {REPS} runs)"
        )?;
        for it in &self.channels {
            let Channel { name, real_time_factor, extract_real_time_factor, channels, .. } = it;
            let state = if it.learned { "" } else { ", not learned" };
            writeln!(
                f,
                "  {name:15} {real_time_factor}{state}; features alone {extract_real_time_factor}; \
                 carries {channels} channels",
            )?;
        }
        writeln!(f, "  {:15} {}", "log-mel 16 kHz", self.log_mel_16k_real_time_factor)?;
        writeln!(f, "\nwhat each view costs, microseconds of a core per second of signal, median")?;
        write!(f, "  {:26}", "")?;
        self.channels.iter().try_for_each(|it| write!(f, "{:>16}", it.name))?;
        writeln!(f)?;
        for (view_idx, Cost { view, .. }) in self.channels[0].views.iter().enumerate() {
            let medians = self.channels.iter().map(|it| it.views[view_idx].us_per_s.median);
            write!(f, "  {view:26}")?;
            medians.into_iter().try_for_each(|us| write!(f, "{us:16.0}"))?;
            writeln!(f)?;
        }
        writeln!(f, "  in calm, envelopes of sound are taken from one record in four")?;
        match &self.inference {
            Some(Inference { model, bytes, macs, kernel, median_us, p99_us }) => write!(
                f,
                "\ninference: {median_us:.2} us median, {p99_us:.2} us p99 ({model}, {bytes} bytes, \
                 {macs} multiplications, {kernel})"
            )?,
            None => {
                write!(f, "\ninference: no model is shipped for sound; --model FILE measures one")?;
            }
        }
        self.whole.as_ref().map_or(Ok(()), |whole| write!(f, "\n{whole}"))
    }
}
