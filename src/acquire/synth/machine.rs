//! All parts of the machine sounded together.

use super::chance::{exp, sin_cos, stream, uniform, wander};
use super::config::{Config, FaultKind, Kind};
use super::impact::{Ring, Train};
use super::lines::Line;
use super::motion::Motion;
use super::noise::Colour;
use super::sensor::Sensor;
use crate::acquire::Error;

/// Samples over which speed goes on evenly and levels stand still.
const CHUNK: usize = 32;
/// Kinds of fault.
const N_FAULTS: usize = FaultKind::Lubrication as usize + 1;
/// dB to natural logarithm of an amplitude.
const DB: f64 = 0.115_129_254_649_702_28;

/// The machine at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) t_s: f64,
    /// Turns of the shaft since time 0.
    pub(super) turns: f64,
    /// Speed relative to nominal.
    pub(super) ratio: f64,
    /// 1 while the motor is on, 0 when it stands.
    pub(super) running: f64,
    /// Level against the mean, as an amplitude factor: the day and the process.
    pub(super) gain: f64,
    /// By `FaultKind`, 0 to 1.
    pub(super) severity: [f64; N_FAULTS],
}

/// What is really the matter at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Revolutions per second.
    pub speed_hz: f64,
    /// Faults with a severity above 0.
    pub faults: Vec<(FaultKind, f64)>,
}

/// Working space of a rendering; kept, it saves allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    moments: Vec<Moment>,
    white: Vec<f64>,
    signal: Vec<f64>,
}

/// A machine, built: gives any stretch of its signal.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) config: Config,
    motion: Motion,
    lines: Vec<Line>,
    ring: Ring,
    trains: Vec<Train>,
    /// The casing's colour, by axis.
    casing: Vec<Colour>,
    hall: Colour,
    cavitation: Colour,
    friction: Colour,
    sensor: Sensor,
}

impl Config {
    /// Builds the machine.
    ///
    /// # Errors
    /// [`Error::Refused`] if a key is out of its range, with the range.
    pub fn build(&self) -> Result<Machine, Error> {
        self.check()?;
        let points = self.speed_points()?;
        let repeat_s = if self.repeat_s > 0.0 { self.repeat_s } else { f64::INFINITY };
        let rate_hz = self.rate_hz;
        let casing =
            |axis_idx: usize| Colour::casing(stream(self.seed, 40 + axis_idx as u64), rate_hz);
        Ok(Machine {
            motion: Motion::new(&points, repeat_s, self.speed_wander, stream(self.seed, 30)),
            lines: Line::all(self),
            ring: Ring::new(self),
            trains: Train::all(self),
            casing: (0..self.axes).map(casing).collect(),
            hall: Colour::hall(),
            cavitation: Colour::band(2000.0, 20_000.0, rate_hz),
            friction: Colour::band(5000.0, 20_000.0, rate_hz),
            sensor: Sensor::new(self),
            config: self.clone(),
        })
    }
}

impl Machine {
    /// How it was configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is really the matter at `t_s`.
    pub fn truth(&self, t_s: f64) -> Truth {
        let mut faults: Vec<(FaultKind, f64)> = Vec::new();
        for fault in self.config.faults.iter().filter(|fault| fault.at(t_s) > 0.0) {
            match faults.iter_mut().find(|(kind, _)| *kind == fault.fault) {
                Some((_, severity)) => *severity = severity.max(fault.at(t_s)),
                None => faults.push((fault.fault, fault.at(t_s))),
            }
        }
        Truth { speed_hz: self.motion.at(t_s).1, faults }
    }

    /// The signal from `t_s` on: `[n_samples, axes]` into `out`, replacing what is there.
    ///
    /// The same whatever was asked before. Values may be NaN where the sensor is ordered to give them.
    pub fn snapshot(&self, t_s: f64, n_samples: usize, out: &mut Vec<f32>) {
        let first = (t_s * self.config.rate_hz).round() as i64;
        out.clear();
        self.render(first, n_samples, &mut Scratch::default(), out);
    }

    fn moment(&self, sample: i64) -> Moment {
        let config = &self.config;
        let t_s = sample as f64 / config.rate_hz;
        let (turns, hz) = self.motion.at(t_s);
        let ratio = hz * 60.0 / config.speed_rpm;
        let mut severity = [0.0_f64; N_FAULTS];
        for fault in &config.faults {
            let now = &mut severity[fault.fault as usize];
            *now = now.max(fault.at(t_s));
        }
        let day_phase = uniform(config.seed, 50);
        let day = config.drift_db * sin_cos(t_s / config.drift_period_s + day_phase).0;
        let process = 0.4 * wander(stream(config.seed, 51), t_s / 17.0);
        let gain = exp(DB * (day + process));
        Moment { t_s, turns, ratio, running: (ratio * 20.0).min(1.0), gain, severity }
    }

    /// Appends samples `first`, `first + 1`, ... of every axis, interleaved.
    pub(super) fn render(&self, first: i64, n: usize, scratch: &mut Scratch, out: &mut Vec<f32>) {
        let n_axes = self.config.axes;
        let lead = self.sensor.lead();
        let (from, n_all) = (first - lead as i64, n + lead);
        let ring = self.ring.len() as i64;
        let chunk = CHUNK as i64;
        let chunk_from = (from - ring * 3 / 2).div_euclid(chunk);
        let chunk_to = (from + n_all as i64 + ring / 2).div_euclid(chunk) + 1;
        scratch.moments.clear();
        scratch.moments.extend((chunk_from..=chunk_to).map(|idx| self.moment(idx * chunk)));
        scratch.signal.clear();
        scratch.signal.resize(n_all * n_axes, 0.0);
        let begin = |idx: usize| (chunk_from + idx as i64) * chunk - from;
        for (idx, two) in scratch.moments.windows(2).enumerate() {
            for line in &self.lines {
                let stretch = (begin(idx), CHUNK);
                line.add(n_axes, [&two[0], &two[1]], stretch, &mut scratch.signal);
            }
        }
        for axis_idx in 0..n_axes {
            let signal = &mut scratch.signal[axis_idx * n_all..(axis_idx + 1) * n_all];
            let moment = |n: usize| {
                let idx = (from + n as i64).div_euclid(chunk) - chunk_from;
                &scratch.moments[idx as usize]
            };
            self.add_noise(axis_idx, from, moment, &mut scratch.white, signal);
        }
        for (idx, two) in scratch.moments.windows(2).enumerate() {
            for train in &self.trains {
                let stretch = (begin(idx), CHUNK);
                train.add(&self.ring, [&two[0], &two[1]], stretch, &mut scratch.signal);
            }
        }
        self.sensor.sense(first, n, &scratch.signal, out);
    }

    /// The broadband parts of one axis.
    fn add_noise<'a>(
        &self,
        axis_idx: usize,
        from: i64,
        moment: impl Fn(usize) -> &'a Moment,
        white: &mut Vec<f64>,
        out: &mut [f64],
    ) {
        let config = &self.config;
        let seed = |use_idx: u64| stream(config.seed, 60 + 10 * axis_idx as u64 + use_idx);
        // Rolling and flow noise of a machine: force with speed squared, air with about its 2.5th power.
        let running = |at: &Moment| match config.kind {
            Kind::Vibration => at.ratio * at.ratio,
            Kind::Sound => at.ratio * at.ratio * at.ratio.sqrt(),
        };
        let load = 0.6 + 0.4 * config.load;
        let own = |n: usize| config.noise * load * moment(n).gain * running(moment(n));
        self.casing[axis_idx].add(seed(0), from, white, own, out);
        if config.ambient > 0.0 {
            self.hall.add(seed(1), from, white, |_| config.ambient, out);
        }
        let last = out.len().saturating_sub(1);
        let worst = |kind: FaultKind| {
            [0, last].map(|n| moment(n).severity[kind as usize]).into_iter().fold(0.0, f64::max)
        };
        // Bubbles collapse in bursts: the level flutters at random within tens of milliseconds.
        if worst(FaultKind::Cavitation) > 0.0 {
            let burst_seed = seed(2);
            let level = |n: usize| {
                let t_s = (from + n as i64) as f64 / config.rate_hz;
                let flutter = 1.0 + 0.6 * wander(burst_seed, t_s * 40.0);
                8.0 * config.noise
                    * moment(n).severity[FaultKind::Cavitation as usize]
                    * flutter
                    * moment(n).running
            };
            self.cavitation.add(seed(3), from, white, level, out);
        }
        // Metal on metal: a carpet above 5 kHz without lines.
        if worst(FaultKind::Lubrication) > 0.0 {
            let level = |n: usize| {
                let severity = moment(n).severity[FaultKind::Lubrication as usize];
                6.0 * config.noise * severity * running(moment(n))
            };
            self.friction.add(seed(4), from, white, level, out);
        }
        // A spreading bearing damage ends as noise.
        let races = [FaultKind::OuterRace, FaultKind::InnerRace, FaultKind::Ball];
        if races.into_iter().map(worst).fold(0.0, f64::max) > 0.0 {
            let level = |n: usize| {
                let severity = races.map(|kind| moment(n).severity[kind as usize]);
                let worst = severity.into_iter().fold(0.0, f64::max);
                3.0 * config.noise * worst * worst * running(moment(n))
            };
            self.friction.add(seed(5), from, white, level, out);
        }
    }
}
