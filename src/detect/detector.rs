//! The block itself: gate, learning, score, state.

use super::adapt::adapt;
use super::alarm::Alarm;
use super::baseline::{Baseline, VERSION};
use super::contribute::contribute;
use super::fit::{extend, fit};
use super::layout::{Layout, View, level_db};
use super::learning::Learning;
use super::model::Residual;
use super::mounting::mend;
use super::pickup;
use super::settling;
use super::surprise::Off;
use super::{Config, Error, LearnReport};
use crate::nn::Model;
use crate::types::{
    Features, Origin, Quality, Score, SensorKind, Shape, Span, Stamp, State, Verdict,
};

/// A machine this far under everything it was heard to do stands still, dB.
const STOPPED_DB: f64 = 12.0;
/// Share of an alarm's evidence that is called alert and freezes every adaptation: the square root
/// of the limit, on its logarithmic scale.
const ALERT: f64 = 0.5;
/// Between learned operating points a window is a fault only where chance is so many times smaller than the
/// limit, and not learned until then: the normal there is a line drawn between few points.
const BETWEEN_SURER: f64 = 5.0;
/// Windows a learning needs at the least.
const LEARN_WINDOWS_MIN: usize = 2;
/// Snapshots further apart than this are not a pace.
const PACE_MAX_S: f64 = 86_400.0;

/// Says of each window how unusual it is, and keeps the state.
pub struct Detector {
    config: Config,
    score: Score,
    layout: Option<Layout>,
    scratch: Vec<f32>,
    learning: Learning,
    /// What was heard at speeds not learned yet.
    visited: Learning,
    baseline: Option<Baseline>,
    first: Option<Box<Baseline>>,
    is_held: bool,
    /// Mains hum was heard when the machine last stood still.
    has_hum: bool,
    /// The last judged window was in alarm: it stands until half its evidence is gone.
    was_alarm: bool,
    alarm: Option<Alarm>,
    residual: Option<Residual>,
    pace: Option<Span>,
    last_start: Option<Stamp>,
    values: Vec<f32>,
    offs: Vec<Off>,
}

impl Detector {
    pub(super) fn new(config: Config, origin: Origin, model: Option<&Model>) -> Self {
        let residual = model.map(Residual::new);
        let mut score = Score::new(origin);
        score.views.reserve(View::N);
        score.threshold = -config.window_false_alarm_share.log10();
        Self {
            config,
            score,
            layout: None,
            scratch: Vec::new(),
            learning: Learning::default(),
            visited: Learning::default(),
            baseline: None,
            first: None,
            is_held: false,
            has_hum: false,
            was_alarm: false,
            alarm: None,
            residual,
            pace: None,
            last_start: None,
            values: Vec::new(),
            offs: Vec::new(),
        }
    }

    /// One window. While learning, it learns.
    pub fn step(&mut self, features: &Features) -> &Score {
        self.begin(features);
        if features.is_blind() || features.axes.is_empty() {
            self.void(State::Blind);
            return &self.score;
        }
        if self.baseline.as_ref().is_some_and(|learned| !learned.layout.fits(features)) {
            // Another sensor stands where that was learned: nothing of it holds for this one.
            (self.baseline, self.first) = (None, None);
            self.relearn();
            self.begin(features);
        }
        let level = features
            .axes
            .iter()
            .filter(|axis| !axis.quality.is_blind())
            .map(level_db)
            .fold(f32::NEG_INFINITY, f32::max);
        if self.is_stopped(features, level) {
            self.has_hum = features.axes.iter().any(|axis| pickup::hums(&axis.spectrum));
            self.void(State::Stopped);
            return &self.score;
        }
        self.vector(features);
        let ln_speed = features.speed.map_or(f32::NAN, |speed| speed.hz.ln() as f32);
        if self.baseline.is_some() {
            self.judge(features, ln_speed, f64::from(level));
        } else {
            self.learn(features, ln_speed, level);
        }
        &self.score
    }

    fn begin(&mut self, features: &Features) {
        let score = &mut self.score;
        score.origin.clone_from(&features.origin);
        score.start = features.start;
        score.verdict = Verdict::Void;
        score.quality = if self.has_hum { Quality::HUM } else { Quality::GOOD };
        if features.axes.iter().any(|axis| pickup::is_folded(&axis.spectrum)) {
            score.quality = score.quality.with(Quality::ALIAS);
        }
        (score.value, score.p_value) = (0.0, 1.0);
        score.regime = None;
        score.views.clear();
        score.contributions.clear();
        if self.pace.is_none() && features.shape == Shape::Snapshot {
            let since = self.last_start.map(|last| (features.start - last).as_secs());
            let pace_s = since.filter(|s| (features.span.as_secs()..PACE_MAX_S).contains(s));
            if let Some(pace_s) = pace_s {
                self.set_pace(Span::from_secs(pace_s));
            }
        }
        self.last_start = Some(features.start);
    }

    fn void(&mut self, state: State) {
        self.score.state = state;
        self.score.verdict = Verdict::Void;
        if self.baseline.is_none() {
            let why = if state == State::Blind { "blind" } else { "machine stopped" };
            self.learning.refuse(why, 1);
        }
    }

    fn is_stopped(&self, features: &Features, level: f32) -> bool {
        let under = |limit: f64| f64::from(level) < limit;
        let by_order = self.config.stopped_below_rms.is_some_and(|rms| under(20.0 * rms.log10()));
        let by_learning = self.baseline.as_ref().is_some_and(|baseline| {
            let levels = baseline.regimes.iter().map(|regime| regime.level_db);
            under(levels.fold(f64::INFINITY, f64::min) - STOPPED_DB)
        });
        by_order || by_learning || features.quality.has(Quality::LOW_SIGNAL)
    }

    fn vector(&mut self, features: &Features) {
        let residual = match &mut self.residual {
            Some(residual) => {
                residual.run(features);
                if !residual.db.is_empty() {
                    self.score.origin.model = Some(residual.id().clone());
                }
                residual.db.as_slice()
            }
            None => &[],
        };
        let n_model = residual.len() / features.axes.len();
        let layout = match (&self.baseline, &mut self.layout) {
            (Some(baseline), _) => &baseline.layout,
            (None, Some(layout)) if layout.fits(features) => &*layout,
            (None, layout) => {
                self.learning = Learning::default();
                layout.insert(Layout::new(features, n_model))
            }
        };
        if layout.fits(features) {
            layout.fill(features, residual, &mut self.scratch, &mut self.values);
        } else {
            self.values.clear();
        }
    }

    fn learn(&mut self, features: &Features, ln_speed: f32, level: f32) {
        self.score.state = State::Learning;
        self.score.verdict = Verdict::NotLearned;
        let every_s = self.pace_s(features);
        self.learning.push(&self.values, ln_speed, level, every_s);
        self.learning.kind = Some(features.kind);
        let is_over = self.learning.secs >= self.learn_s(&self.learning);
        let layout = self.layout.as_ref();
        if is_over && !layout.is_some_and(|layout| settling::waits(&mut self.learning, layout)) {
            self.finish_learning();
            return;
        }
        self.score.learned = (self.learning.secs / self.learn_s(&self.learning)).min(1.0) as f32;
        self.score.settling_db = self.learning.settling.db();
    }

    /// How long a learning is to last as it stands, seconds.
    fn learn_s(&self, learning: &Learning) -> f64 {
        self.config.learn_s * learning.settling.n_times()
    }

    fn judge(&mut self, features: &Features, ln_speed: f32, level: f64) {
        let pace_s = self.pace_s(features);
        let Some(baseline) = &mut self.baseline else { return };
        let was_alarm = std::mem::replace(&mut self.was_alarm, false);
        self.score.verdict = Verdict::NotLearned;
        self.score.state = State::Learning;
        if baseline.n_slots() != self.values.len() {
            return;
        }
        let place = baseline.place(&self.values, ln_speed);
        let noise_scale = baseline.layout.noise_scale(features);
        let offs = &mut self.offs;
        let Some(mut fit) = baseline.explain(&self.values, place, noise_scale, offs) else {
            return;
        };
        let score = &mut self.score;
        if -fit.ln_p / std::f64::consts::LN_10 > score.threshold {
            // Unusual: perhaps it is the sensor.
            baseline.normal(&fit.spot, &mut self.scratch);
            let flags = mend(&baseline.layout, features.kind, &self.scratch, &mut self.values);
            score.quality = score.quality.with(flags);
            if flags != Quality::GOOD {
                let again = baseline.explain(&self.values, place, noise_scale, offs);
                let Some(again) = again.filter(|_| flags != Quality::SWAPPED) else {
                    self.void(State::Blind);
                    return;
                };
                fit = again;
            }
        }
        score.value = -fit.ln_p / std::f64::consts::LN_10;
        score.p_value = fit.ln_p.exp().min(1.0);
        let tails = baseline.tails_of(&fit.spot);
        for (v, raw) in fit.raw.iter().enumerate() {
            if let Some(raw) = *raw {
                let p_value = tails[v].ln_p(raw).exp().min(1.0);
                score.views.push(crate::types::View { name: View::NAMES[v], value: raw, p_value });
            }
        }
        contribute(baseline, &self.values, &fit, features, score);
        let is_over = score.value > score.threshold;
        if !fit.is_known(is_over) || (is_over && baseline.is_other_speed(&self.values, level)) {
            if baseline.says_other_speed(&self.values, place) {
                self.visit(features.kind, ln_speed, level as f32, pace_s);
            }
            return;
        }
        score.regime = Some(fit.spot.near as u16);
        let surer = if fit.spot.is_learned { 0.0 } else { BETWEEN_SURER.log10() };
        score.verdict = match score.value - score.threshold {
            over if over > surer => Verdict::Fault,
            _ if is_over => Verdict::NotLearned,
            _ => Verdict::Normal,
        };
        let alarm = self.alarm.get_or_insert_with(|| {
            Alarm::new(self.config.false_alarms_per_year, pace_s, baseline.memory_s)
        });
        score.evidence = alarm.step(fit.ln_p_sure);
        score.state = match score.evidence {
            evidence if evidence >= 1.0 || (was_alarm && evidence >= ALERT) => State::Alarm,
            evidence if evidence >= ALERT => State::Alert,
            _ => State::Normal,
        };
        self.was_alarm = score.state == State::Alarm;
        if score.verdict == Verdict::Normal && score.evidence < ALERT && !self.is_held {
            adapt(baseline, &fit.spot, &self.values, pace_s);
        }
    }

    /// A window at another speed than learned: it is learned as the first ones were, for as long, and
    /// screened as they were; never while anything is the matter, and all for nothing once something is.
    fn visit(&mut self, kind: SensorKind, ln_speed: f32, level: f32, pace_s: f64) {
        if self.is_held || self.score.evidence >= ALERT {
            self.visited = Learning::default();
            return;
        }
        self.visited.push(&self.values, ln_speed, level, pace_s);
        self.visited.kind = Some(kind);
        if self.visited.secs >= self.learn_s(&self.visited)
            && let Some(baseline) = &mut self.baseline
            && !settling::waits(&mut self.visited, &baseline.layout)
        {
            let mut visited = std::mem::take(&mut self.visited);
            if extend(baseline, &mut visited) {
                self.first.clone_from(&baseline.first);
            }
        }
    }

    fn pace_s(&self, features: &Features) -> f64 {
        self.pace.unwrap_or(features.span).as_secs().max(1e-3)
    }

    /// Ends the learning with what there is and sets the limits.
    pub fn finish_learning(&mut self) -> LearnReport {
        let mut learning = std::mem::take(&mut self.learning);
        let mut report = LearnReport::default();
        let Some(layout) = self.layout.as_ref().filter(|_| learning.n_seen() >= LEARN_WINDOWS_MIN)
        else {
            report.refused = std::mem::take(&mut learning.refused);
            self.learning = learning;
            return report;
        };
        let mut baseline = fit(&mut learning, layout, self.config.false_alarms_per_year);
        learning.kind.map_or("", sensor_name).clone_into(&mut baseline.sensor);
        baseline.first.clone_from(&self.first);
        report.n_kept = learning.windows.len();
        report.n_regimes = baseline.regimes.len();
        report.refused = std::mem::take(&mut learning.refused);
        report.suspect.clone_from(&baseline.suspect);
        report.supports_per_year = baseline.supports_per_year;
        self.take(baseline);
        report
    }

    fn take(&mut self, baseline: Baseline) {
        (self.score.learned, self.score.settling_db) = (1.0, None);
        self.score.baseline_suspect = baseline.suspect.is_some();
        self.score.false_alarms_per_year = baseline.supports_per_year;
        self.first.clone_from(&baseline.first);
        self.baseline = Some(baseline);
        self.visited = Learning::default();
        self.alarm = None;
        self.score.evidence = 0.0;
    }

    /// Starts learning anew, by order after maintenance; the first baseline is kept.
    pub fn relearn(&mut self) {
        if let Some(old) = self.baseline.take()
            && self.first.is_none()
        {
            self.first = Some(Box::new(old));
        }
        self.learning = Learning::default();
        self.alarm = None;
        self.score =
            Score { threshold: self.score.threshold, ..Score::new(self.score.origin.clone()) };
    }

    /// Holds the baseline still while anything is open on this machine, whoever found it.
    pub fn hold(&mut self, is_open: bool) {
        self.is_held = is_open;
        if is_open && self.visited.n_seen() > 0 {
            self.visited = Learning::default();
        }
    }

    /// Undoes every adaptation since the learning, and forgets the operating points that came later.
    pub fn roll_back(&mut self) {
        if let Some(baseline) = &mut self.baseline {
            baseline.roll_back();
            self.visited = Learning::default();
        }
    }

    /// Forgets what is gathered over windows (evidence, delays), keeps what is learned.
    pub fn forget(&mut self) {
        self.learning.next_session();
        self.visited.next_session();
        self.last_start = None;
        self.was_alarm = false;
        if let Some(alarm) = &mut self.alarm {
            alarm.reset();
        }
        self.score.evidence = 0.0;
    }

    /// What is learned, to be kept; `None` while learning.
    pub fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    /// Takes up what was learned before.
    ///
    /// # Errors
    /// If it was learned on another kind of sensor or by another version.
    pub fn restore(&mut self, baseline: Baseline) -> Result<(), Error> {
        if baseline.version != VERSION {
            let why = format!(
                "learned by version {}, this is version {VERSION}: learn anew",
                baseline.version
            );
            return Err(Error { key: "baseline", why });
        }
        self.take(baseline);
        Ok(())
    }

    /// How long one window stands for; set once by whoever knows the pace of the source.
    pub fn set_pace(&mut self, every: Span) {
        self.pace = Some(every);
        self.alarm = None;
    }
}

fn sensor_name(kind: SensorKind) -> &'static str {
    match kind {
        SensorKind::Vibration => "vibration",
        SensorKind::Sound => "sound",
    }
}
