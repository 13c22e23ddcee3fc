//! `auscult model ladder` and `compare`: what each step saves and what it costs, side by side.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::picture::{Point, draw};
use super::{Ground, load, print, watched};
use crate::daemon::SystemClock;
use crate::judge::{Cases, Machine, Piece, Recording, Use, auc, open_file, pauc};
use crate::learn::{self, Corpus, Foundry, Marks, Part, Precision, Target, Trial, Windows};
use crate::nn::{Kind, Model};
use crate::store::replace;
use crate::types::{Clock, Origin, SensorKind, Stamp};

/// Routes shown where none are asked for.
const ROUTES: [&str; 12] = [
    "fp16",
    "int8",
    "int8-aware",
    "int4",
    "mixed",
    "share=16",
    "factorize=0.99 int8",
    "layers=1 int8",
    "distill=32,16,32 int8",
    "units=0.5",
    "units=0.5 int8-aware",
    "units=0.5 blocks=0.6 int8-aware",
];
/// Quantile of the healthy scores that stands for a threshold.
const THRESHOLD_QUANTILE: f64 = 0.995;
/// False positive rate up to which pAUC looks.
const FPR_MAX: f64 = 0.1;
/// Inferences per reading of the clock, and readings.
const TIMED: (usize, usize) = (32, 400);

/// Walk a model through compressions and show what each saves and costs
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult model ladder sound.safetensors --cases recordings/cases.toml \
                        --svg ladder.svg"
)]
pub(super) struct Args {
    /// The model to begin with, in floats
    model: PathBuf,
    /// Steps from the model on: units=R blocks=R layers=N factorize=E share=N distill=N,N,... fp16 int8
    /// int7 int4 mixed, or int8-aware int7-aware; repeat for more routes
    #[arg(long, value_name = "STEPS")]
    route: Vec<String>,
    /// Case files whose recordings detection is measured on
    #[arg(long, value_name = "CASES.toml", num_args = 1..)]
    cases: Vec<PathBuf>,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Draw AUC against size and time
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    ground: Ground,
}

/// Two models on the same windows
#[derive(clap::Args)]
#[command(after_help = "Example: auscult model compare a.safetensors b.safetensors")]
pub(super) struct Compare {
    /// The first, which the second is held against
    a: PathBuf,
    /// The second
    b: PathBuf,
    /// Case files whose recordings detection is measured on
    #[arg(long, value_name = "CASES.toml", num_args = 1..)]
    cases: Vec<PathBuf>,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ground: Ground,
}

/// One model on the ladder.
#[derive(Serialize)]
struct Rung {
    route: String,
    /// Why the gate refused it; the numbers are not there then.
    refused: Option<String>,
    parameters: usize,
    bytes: usize,
    macs: u64,
    arena_bytes: usize,
    us_median: f64,
    us_p99: f64,
    mse: f64,
    generated_auc: f64,
    rank_correlation: f64,
    /// Relative change of the threshold against the first model.
    threshold_change: f64,
    machines: Vec<Judged>,
}

impl Rung {
    /// In the picture; the AUC is the mean of the judged machines, or of the generated ones without any.
    fn point(&self) -> Option<Point<'_>> {
        let auc = match self.machines.len() {
            0 => self.generated_auc,
            n => self.machines.iter().map(|m| m.auc).sum::<f64>() / n as f64,
        };
        let (name, bytes, us) = (self.route.as_str(), self.bytes as f64, self.us_median);
        self.refused.is_none().then_some(Point { name, auc, bytes, us })
    }
}

/// Detection on the recordings of one machine, by the model's residual alone, window by window.
#[derive(Serialize)]
struct Judged {
    machine: String,
    auc: f64,
    pauc: f64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let model = load(&args.model)?;
    let corpus = args.ground.corpus(model.card().kind, Some(&model))?;
    let trials = trials(&args.cases, &model)?;
    let foundry = args.ground.foundry(&corpus);
    let first = learn::marks(&model, &corpus);
    let mut rungs = vec![rung("as given", &model, &corpus, &first, &trials)];
    let usual: Vec<String> = ROUTES.iter().map(ToString::to_string).collect();
    for route in if args.route.is_empty() { &usual } else { &args.route } {
        rungs.push(match climb(&foundry, &model, route)? {
            Ok(made) => rung(route, &made, &corpus, &first, &trials),
            Err(why) => refused(route, why),
        });
        let last = rungs.last().expect("one was pushed");
        print::aside(format_args!("{route}: {}", last.refused.as_deref().unwrap_or("done")));
    }
    if let Some(path) = &args.svg {
        let points: Vec<Point<'_>> = rungs.iter().filter_map(Rung::point).collect();
        replace(path, draw(&points).as_bytes()).with_context(|| path.display().to_string())?;
    }
    if args.json { print::json(&rungs) } else { show(&rungs) }
}

pub(super) fn compare(args: &Compare) -> anyhow::Result<()> {
    let (a, b) = (load(&args.a)?, load(&args.b)?);
    let corpus = args.ground.corpus(a.card().kind, Some(&a))?;
    anyhow::ensure!(
        (a.n_hops(), a.n_bands()) == (b.n_hops(), b.n_bands()),
        "the models take inputs of different shapes: {} by {} and {} by {}",
        a.n_hops(),
        a.n_bands(),
        b.n_hops(),
        b.n_bands()
    );
    let trials = trials(&args.cases, &a)?;
    let first = learn::marks(&a, &corpus);
    let row =
        |path: &PathBuf, model| rung(&path.display().to_string(), model, &corpus, &first, &trials);
    let rungs = [row(&args.a, &a), row(&args.b, &b)];
    if args.json { print::json(&rungs) } else { show(&rungs) }
}

/// The model at the end of a route, or why the gate refused a step of it.
fn climb(
    foundry: &Foundry<'_>,
    model: &Model,
    route: &str,
) -> anyhow::Result<Result<Model, String>> {
    let mut model = model.clone();
    for step in route.split_whitespace() {
        let (verb, value) = step.split_once('=').unwrap_or((step, ""));
        let number = || -> anyhow::Result<f64> {
            value.parse().with_context(|| format!("{step}: a number must follow ="))
        };
        let to = |precision, aware| (Target::All(precision), aware);
        let quantised = match verb {
            "fp16" => Some(to(Precision::F16, false)),
            "int8" => Some(to(Precision::Int8, false)),
            "int8-aware" => Some(to(Precision::Int8, true)),
            "int7" => Some(to(Precision::Int7, false)),
            "int7-aware" => Some(to(Precision::Int7, true)),
            "int4" => Some(to(Precision::Int4, false)),
            "mixed" => Some((Target::Mixed, false)),
            _ => None,
        };
        let made = watched(|watch| -> anyhow::Result<_> {
            Ok(match (quantised, verb) {
                (Some((to, aware)), _) => learn::quantize(foundry, &model, to, aware, watch),
                (_, "units") => learn::prune(foundry, &model, Part::Units, number()?, watch),
                (_, "blocks") => learn::prune(foundry, &model, Part::Blocks, number()?, watch),
                (_, "layers") => learn::prune_layers(foundry, &model, number()? as usize, watch),
                (_, "factorize") => learn::factorize(foundry, &model, number()?, watch),
                (_, "distill") => {
                    let stages = value.split(',').map(str::parse).collect::<Result<Vec<_>, _>>();
                    let stages = stages.map_err(|why| anyhow::anyhow!("{step}: {why}"))?;
                    learn::distill(foundry, &model, &stages, watch)
                }
                (_, "share") => learn::share(foundry, &model, number()? as usize, watch),
                _ => anyhow::bail!("`{step}` is no step: see auscult model ladder --help"),
            })
        })?;
        match made {
            Ok(outcome) => model = outcome.model,
            Err(why @ (learn::Error::Gate { .. } | learn::Error::Ask { .. })) => {
                return Ok(Err(why.to_string()));
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(Ok(model))
}

fn rung(route: &str, model: &Model, corpus: &Corpus, first: &Marks, trials: &[Trial]) -> Rung {
    let marks = learn::marks(model, corpus);
    let (us_median, us_p99) = timed(model);
    let limit = |scores: &[f32]| {
        let mut sorted = scores.to_vec();
        sorted.sort_by(f32::total_cmp);
        let at = (sorted.len() as f64 * THRESHOLD_QUANTILE) as usize;
        f64::from(sorted[at.min(sorted.len() - 1)])
    };
    let judged = |trial: &Trial| {
        let (normal, ill) = learn::departures(model, trial);
        let (auc, pauc) = (auc(&normal, &ill)?, pauc(&normal, &ill, FPR_MAX)?);
        Some(Judged { machine: trial.name.clone(), auc, pauc })
    };
    Rung {
        route: route.to_owned(),
        refused: None,
        parameters: model.graph().n_params(),
        bytes: model.bytes(),
        macs: model.macs(),
        arena_bytes: model.runner().engine().arena_bytes(),
        us_median,
        us_p99,
        mse: marks.mse,
        generated_auc: marks.auc,
        rank_correlation: learn::rank_correlation(&first.scores, &marks.scores),
        threshold_change: limit(&marks.scores) / limit(&first.scores) - 1.0,
        machines: trials.iter().filter_map(judged).collect(),
    }
}

fn refused(route: &str, why: String) -> Rung {
    Rung {
        route: route.to_owned(),
        refused: Some(why),
        parameters: 0,
        bytes: 0,
        macs: 0,
        arena_bytes: 0,
        us_median: 0.0,
        us_p99: 0.0,
        mse: 0.0,
        generated_auc: 0.0,
        rank_correlation: 0.0,
        threshold_change: 0.0,
        machines: Vec::new(),
    }
}

/// Microseconds per inference, normalisation and residual included: median and 99 %.
fn timed(model: &Model) -> (f64, f64) {
    let n_in = model.n_hops() * model.n_bands();
    let (mut runner, mut residual) = (model.runner(), vec![0.0; n_in]);
    let input: Vec<f32> = model.card().normalisation.mean_db.repeat(model.n_hops());
    let (clock, (n_runs, n_readings)) = (SystemClock::new(), TIMED);
    let mut times: Vec<f64> = (0..n_readings)
        .map(|_| {
            let begin = clock.monotonic();
            for _ in 0..n_runs {
                std::hint::black_box(runner.run(std::hint::black_box(&input), &mut residual));
            }
            (clock.monotonic() - begin).as_secs() * 1e6 / n_runs as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[n_readings / 2], times[n_readings * 99 / 100])
}

/// The recordings of every machine in the case files that the model can hear.
fn trials(paths: &[PathBuf], model: &Model) -> anyhow::Result<Vec<Trial>> {
    let kind = match model.card().kind {
        Kind::Sound => SensorKind::Sound,
        Kind::Vibration => SensorKind::Vibration,
    };
    let mut trials = Vec::new();
    for path in paths {
        let cases = Cases::load(path)?;
        for machine in cases.machines.iter().filter(|machine| machine.kind == kind) {
            let pick = |wanted: &dyn Fn(&Recording) -> bool| {
                windows(machine, model, &mut machine.recordings.iter().filter(|it| wanted(it)))
            };
            trials.push(Trial {
                name: format!("{}/{}", cases.name, machine.id),
                learned: pick(&|it| it.purpose == Use::Learn)?,
                normal: pick(&|it| it.purpose == Use::Test && it.normal)?,
                ill: pick(&|it| it.purpose == Use::Test && !it.normal)?,
            });
        }
    }
    Ok(trials)
}

fn windows(
    machine: &Machine,
    model: &Model,
    recordings: &mut dyn Iterator<Item = &Recording>,
) -> anyhow::Result<Windows> {
    let p = model.card().preprocessing;
    let mut all = Windows { db: Vec::new(), n_in: p.n_hops * p.n_bands };
    for it in recordings {
        let piece = Piece {
            path: &it.path,
            origin: Origin::new("ladder", "ladder"),
            unit: machine.unit,
            units_per_full_scale: machine.units_per_full_scale,
            span_s: it.span_s,
            speed_rpm: it.speed_rpm,
            snapshot_samples: it.snapshot_samples,
            snapshot_every_s: None,
            start: Stamp::default(),
        };
        let mut source = open_file(&piece)?;
        let heard = Windows::heard(&mut *source, model.card().kind, &p)?;
        all.db.extend_from_slice(&heard.db);
    }
    Ok(all)
}

fn show(rungs: &[Rung]) -> anyhow::Result<()> {
    let mut table = format!(
        "{:<34} {:>8} {:>8} {:>8} {:>7} {:>8} {:>8} {:>8} {:>7} {:>6} {:>7} {:>7} {:>7} {:>7}\n",
        "route",
        "params",
        "bytes",
        "MACs",
        "arena",
        "us p50",
        "us p99",
        "residual",
        "AUCgen",
        "rank",
        "limit",
        "AUC",
        "pAUC",
        "worst"
    );
    for it in rungs {
        if let Some(why) = &it.refused {
            writeln!(table, "{:<34} refused: {why}", it.route)?;
            continue;
        }
        let mean = |of: &dyn Fn(&Judged) -> f64| {
            it.machines.iter().map(of).sum::<f64>() / it.machines.len() as f64
        };
        let worst = it.machines.iter().map(|m| m.auc).fold(f64::NAN, f64::min);
        writeln!(
            table,
            "{:<34} {:>8} {:>8} {:>8} {:>7} {:>8.2} {:>8.2} {:>8.4} {:>7.4} {:>6.3} {:>+6.1}% \
             {:>7.4} {:>7.4} {:>7.4}",
            it.route,
            it.parameters,
            it.bytes,
            it.macs,
            it.arena_bytes,
            it.us_median,
            it.us_p99,
            it.mse,
            it.generated_auc,
            it.rank_correlation,
            100.0 * it.threshold_change,
            mean(&|m| m.auc),
            mean(&|m| m.pauc),
            worst
        )?;
    }
    print::line(table.trim_end());
    Ok(())
}
