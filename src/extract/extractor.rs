//! Cuts the stream into windows and records and has them measured.

use super::feed::Feed;
use super::record::RecordPlan;
use super::speed::{Finder, Tacho, UNSTEADY, told};
use super::window::WindowPlan;
use super::{Config, SAMPLES_MIN, Sensor};
use crate::dsp::smooth_down;
use crate::types::{
    Features, Frame, Indicators, Origin, Quality, Record, SensorKind, Shape, Span, Speed,
    SpeedSource, Stamp, Unit,
};

/// A frame's rate may differ from the sensor's by this fraction before it is flagged.
const RATE_TOLERANCE: f64 = 1e-3;
/// After so many records in calm, the envelopes of sound are taken from one record in so many: of what
/// air carries, the bands tell nearly all.
const CALM_RECORDS: u32 = 8;
const CALM_EVERY: u32 = 4;

/// Cuts windows and measures them.
///
/// Windows follow each other without overlap. A record is a longer stretch, given on the window that
/// completes it; records do not overlap either. After a gap both begin anew. At a lower pace windows
/// and records are left out between those measured, which are the same as ever.
pub struct Extractor {
    config: Config,
    sensor: Sensor,
    unit: Unit,
    feed: Feed,
    /// Channels that are axes.
    channels: Vec<usize>,
    plan: WindowPlan,
    record_plan: RecordPlan,
    /// Samples in a record of the stream.
    n_record: usize,
    tacho: Option<Tacho>,
    finder: Option<Finder>,
    /// The last speed found in the signal.
    found: Option<Speed>,
    features: Features,
    /// Records not in use, one per axis, to be filled again.
    spare: Vec<Record>,
    place: Place,
    /// Of so many windows, and of so many records, one is measured.
    pace: u64,
    is_calm: bool,
    /// Records in a row in calm.
    n_calm: u32,
}

/// Where in the feed we are; positions.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Begin of the stretch without gaps.
    cut: u64,
    /// Begin of the next window.
    head: u64,
    /// Begin of the next hop.
    hop: u64,
    /// Begin of the next record.
    record: u64,
    /// Whether this recording gave a window, and a record.
    gave: (bool, bool),
    /// Samples per channel thrown away before gaps.
    n_dropped: u64,
    /// Samples per channel lost or thrown away since the last window.
    n_deaf: u64,
    /// Windows left out since the last one.
    n_left_out: u64,
}

/// A window about to be measured, and the record it completes.
#[derive(Clone, Copy)]
struct Cut {
    from: u64,
    to: u64,
    hop: u64,
    record: Option<(u64, u64)>,
}

impl Extractor {
    pub(super) fn new(config: &Config, sensor: &Sensor) -> Self {
        let (unit, scale) = sensor.measured_in();
        let (n, n_record) = config.lengths(sensor);
        let tacho = Tacho::new(&sensor.speed);
        let tacho_channel = tacho.as_ref().map(|tacho| tacho.channel);
        let channels: Vec<usize> =
            (0..sensor.n_channels).filter(|c| Some(*c) != tacho_channel).collect();
        let (plan, record_plan) = config.plans(sensor);
        let mut features = empty(sensor, unit);
        features.axes = channels.iter().map(|_| plan.axis()).collect();
        Self {
            config: config.clone(),
            unit,
            feed: Feed::new(sensor.n_channels, scale, n + n_record),
            spare: channels.iter().map(|_| Record::default()).collect(),
            channels,
            plan,
            record_plan,
            n_record,
            tacho,
            finder: Finder::new(&sensor.speed),
            found: None,
            features,
            place: Place::default(),
            pace: 1,
            is_calm: false,
            n_calm: 0,
            sensor: sensor.clone(),
        }
    }

    /// Takes in the next samples; ask [`Extractor::step`] afterwards until it gives `None`.
    ///
    /// Samples missing before the frame (`n_lost`) end the stretch: the window begun is dropped, and
    /// the next one says [`Quality::DROPOUT`]. What was lost and dropped without a full window between
    /// is told by a window with nothing in it, once it makes one: gaps are not silence.
    ///
    /// # Panics
    /// If the frame has another number of channels than the sensor: a bug in the caller.
    pub fn push(&mut self, frame: &Frame) {
        self.features.origin.asset.clone_from(&frame.origin.asset);
        self.features.origin.sensor.clone_from(&frame.origin.sensor);
        let end = self.feed.end();
        let mut quality = frame.quality;
        if (frame.rate_hz / self.sensor.rate_hz - 1.0).abs() > RATE_TOLERANCE {
            quality = quality.with(Quality::RATE);
        }
        if frame.n_lost > 0 && self.sensor.shape == Shape::Stream {
            quality = quality.with(Quality::DROPOUT);
            let n_dropped = end.saturating_sub(self.place.head);
            self.place.n_dropped += n_dropped;
            self.place.n_deaf += n_dropped + frame.n_lost;
            self.restart(end);
        }
        self.feed.push(frame, quality, self.keep_from());
    }

    /// The next complete window, if there is one.
    pub fn step(&mut self) -> Option<&Features> {
        match self.sensor.shape {
            Shape::Stream => self.step_stream(),
            Shape::Snapshot => self.step_snapshot(),
        }
    }

    /// What is left at the end of a recording.
    ///
    /// A recording shorter than a window gives one window of what there is. Otherwise a rest of half
    /// a window or more gives the recording's last window: a full one, which then overlaps the one
    /// before. A recording too short for a record gives one of its whole length, on that last window.
    pub fn finish(&mut self) -> Option<&Features> {
        if self.sensor.shape == Shape::Snapshot {
            return None;
        }
        let (end, place, n) = (self.feed.end(), self.place, self.plan.n() as u64);
        let whole = end - place.cut;
        let wants_record = !place.gave.1 && whole >= SAMPLES_MIN as u64;
        let wants_window = 2 * end.saturating_sub(place.head) >= n || !place.gave.0;
        self.restart(end);
        self.place.gave = (true, true);
        if whole < SAMPLES_MIN as u64 || !(wants_record || wants_window) {
            return None;
        }
        if whole < n && place.gave.0 {
            return None;
        }
        let record = wants_record.then(|| (end - smooth_down(whole as usize) as u64, end));
        let from = end - whole.min(n);
        let regular = (whole < n).then(|| {
            let short = self.plan_window(whole as usize);
            std::mem::replace(&mut self.plan, short)
        });
        // Hops stay on the stretch's grid, which began at its cut.
        let hop = place.cut + (from - place.cut).next_multiple_of(self.plan.hop() as u64);
        let hop = if hop + self.plan.n_fft() as u64 <= end { hop } else { from };
        self.measure(Cut { from, to: end, hop, record });
        if let Some(regular) = regular {
            self.plan = regular;
        }
        Some(&self.features)
    }

    /// Says whether the machine is as learned and nothing is open: sound then has its envelopes taken
    /// from fewer records, once it has been so for a while.
    pub fn set_calm(&mut self, is_calm: bool) {
        self.is_calm = is_calm;
    }

    /// Of `every` windows and records of a stream one is measured from the next one on.
    ///
    /// # Panics
    /// If it is 0.
    pub fn set_pace(&mut self, every: u32) {
        assert!(every > 0, "some windows are measured");
        self.pace = every.into();
    }

    /// Forgets the samples taken in: the next frame belongs to another recording.
    pub fn forget(&mut self) {
        self.restart(self.feed.end());
        self.place.gave = (false, false);
        self.place.n_deaf = 0;
        self.found = None;
        (self.is_calm, self.n_calm) = (false, 0);
    }

    /// Samples per channel that were thrown away because a gap followed before their window was full.
    pub fn n_dropped(&self) -> u64 {
        self.place.n_dropped
    }

    /// Begins a new stretch at a position.
    fn restart(&mut self, at: u64) {
        self.place = Place { cut: at, head: at, hop: at, record: at, n_left_out: 0, ..self.place };
    }

    /// The first position that may still be asked for: a last window may reach back by its length.
    fn keep_from(&self) -> u64 {
        let place = &self.place;
        let back = place.head.saturating_sub(self.plan.n() as u64).max(place.cut);
        back.min(place.hop).min(place.record).min(self.feed.end())
    }

    fn step_stream(&mut self) -> Option<&Features> {
        let place = self.place;
        let (from, to) = (place.head, place.head + self.plan.n() as u64);
        if place.n_deaf >= self.plan.n() as u64 {
            return Some(self.deaf());
        }
        if self.feed.end() < to {
            return None;
        }
        let record_to = place.record + self.n_record as u64;
        let record = (record_to <= to).then_some((place.record, record_to));
        // Of vibration every window is measured by itself, less its own mean.
        let hop = if self.sensor.kind == SensorKind::Sound { place.hop } else { from };
        self.place.head = from + self.pace * self.plan.n() as u64;
        self.place.n_deaf = 0;
        self.place.gave = (true, place.gave.1 || record.is_some());
        if record.is_some() {
            self.place.record += self.pace * self.n_record as u64;
        }
        self.measure(Cut { from, to, hop, record });
        self.place.n_left_out = self.pace - 1;
        // The first hop, on the stretch's grid, that is not over before the next window.
        let (n_fft, step) = (self.plan.n_fft() as u64, self.plan.hop() as u64);
        let ahead = self.place.head - place.cut;
        self.place.hop = place.cut + (ahead + 1).saturating_sub(n_fft).next_multiple_of(step);
        Some(&self.features)
    }

    /// A window that stands for what was lost before the stretch: nothing measured, and blind.
    fn deaf(&mut self) -> &Features {
        let n = std::mem::take(&mut self.place.n_deaf);
        let (first_sample, start) = self.feed.whence(self.place.head, self.sensor.rate_hz);
        let features = &mut self.features;
        features.origin.first_sample = first_sample.saturating_sub(n);
        features.origin.n_samples = 0;
        features.span = Span::from_secs(n as f64 / self.sensor.rate_hz);
        features.start = start + Span(-features.span.0);
        features.n_left_out = 0;
        features.quality = Quality::DROPOUT;
        features.speed = None;
        for axis in &mut features.axes {
            axis.quality = Quality::DROPOUT;
            axis.indicators = Indicators::default();
            axis.mel.db.fill(0.0);
            axis.mel_hops.clear();
            axis.third_octaves.db.fill(0.0);
            axis.spectrum.power.fill(0.0);
            self.spare.extend(axis.record.take());
        }
        features
    }

    fn step_snapshot(&mut self) -> Option<&Features> {
        loop {
            let mark = self.feed.frame_from(self.place.head)?;
            let (from, to) = (mark.at, mark.at + mark.n);
            self.restart(to);
            if mark.n < SAMPLES_MIN as u64 {
                self.place.n_dropped += mark.n;
                continue;
            }
            if mark.n != self.plan.n() as u64 {
                self.plan = self.plan_window(mark.n as usize);
            }
            let n_record = smooth_down(mark.n as usize) as u64;
            self.measure(Cut { from, to, hop: from, record: Some((to - n_record, to)) });
            return Some(&self.features);
        }
    }

    /// A plan for windows of another length, and axes to go with it.
    fn plan_window(&mut self, n: usize) -> WindowPlan {
        let Sensor { kind, rate_hz, .. } = self.sensor;
        WindowPlan::new(kind, self.unit, rate_hz, n, self.config.mel_bands)
    }

    fn measure(&mut self, cut: Cut) {
        let Cut { from, to, .. } = cut;
        let (first_sample, start) = self.feed.whence(from, self.sensor.rate_hz);
        let features = &mut self.features;
        features.origin.first_sample = first_sample;
        features.origin.n_samples = to - from;
        features.start = start;
        features.span = Span::from_secs((to - from) as f64 / self.sensor.rate_hz);
        features.quality = self.feed.quality(from, to);
        features.n_left_out = self.place.n_left_out;
        let (speed, steady) = self.speed(from, to);
        self.features.speed = speed;
        if !steady {
            self.features.quality = self.features.quality.with(Quality::SPEED_UNSTABLE);
        }
        for (axis_idx, &channel) in self.channels.iter().enumerate() {
            let axis = &mut self.features.axes[axis_idx];
            self.spare.extend(axis.record.take());
            if !self.plan.fits(axis) {
                *axis = self.plan.axis();
            }
            axis.quality = self.feed.axis_quality(channel, from, to);
            let first = cut.hop.min(from);
            let x = self.feed.samples(channel, first, to);
            let offsets = ((from - first) as usize, (cut.hop - first) as usize);
            self.plan.measure(x, offsets, self.features.quality, axis);
        }
        if let Some((from, to)) = cut.record {
            self.measure_record(from, to);
        }
    }

    /// Measures the record of every axis, and finds the speed in it if nothing better is known.
    fn measure_record(&mut self, from: u64, to: u64) {
        let n = (to - from) as usize;
        if self.record_plan.n() != n {
            let Sensor { kind, rate_hz, .. } = self.sensor;
            self.record_plan = RecordPlan::new(kind, self.unit, rate_hz, n);
        }
        let speed_hz = self.features.speed.map(|speed| speed.hz);
        self.n_calm = if self.is_calm { self.n_calm.saturating_add(1) } else { 0 };
        let is_due = self.sensor.kind == SensorKind::Vibration
            || self.n_calm < CALM_RECORDS
            || self.n_calm.is_multiple_of(CALM_EVERY);
        let has_envelopes = self.config.envelopes && is_due;
        let mut best: Option<(Speed, f64)> = None;
        for (axis_idx, &channel) in self.channels.iter().enumerate() {
            let mut record = self.spare.pop().unwrap_or_default();
            let x = self.feed.samples(channel, from, to);
            let flags = self.record_plan.measure(x, speed_hz, has_envelopes, &mut record);
            let axis = &mut self.features.axes[axis_idx];
            axis.quality = axis.quality.with(flags);
            if let Some(finder) = &mut self.finder {
                let found = finder.find(&record.spectrum);
                best = found.into_iter().chain(best).max_by(|a, b| a.1.total_cmp(&b.1));
            }
            axis.record = Some(record);
        }
        let found = best.map(|(speed, _)| speed);
        let known = self.features.speed.map(|speed| speed.source);
        if matches!(known, None | Some(SpeedSource::Configured | SpeedSource::Signal)) {
            let jump = found.zip(self.found).map_or(0.0, |(now, before)| now.hz / before.hz - 1.0);
            if jump.abs() > UNSTEADY {
                self.features.quality = self.features.quality.with(Quality::SPEED_UNSTABLE);
            }
            self.features.speed = found.or(self.sensor.speed.nominal());
        }
        self.found = found;
    }

    /// Speed of a window, the surest source first, and whether it was steady.
    fn speed(&mut self, from: u64, to: u64) -> (Option<Speed>, bool) {
        if let Some(tacho) = &mut self.tacho {
            let x = self.feed.samples(tacho.channel, from, to);
            if let Some((speed, steady)) = tacho.read(x, self.sensor.rate_hz) {
                return (Some(speed), steady);
            }
        }
        if let Some((speed, steady)) =
            told(self.feed.marks(from, to).1.filter_map(|mark| mark.speed_hz))
        {
            return (Some(speed), steady);
        }
        (self.found.or(self.sensor.speed.nominal()), true)
    }
}

/// Features with nothing in them yet.
fn empty(sensor: &Sensor, unit: Unit) -> Features {
    Features {
        origin: Origin::new("", ""),
        start: Stamp::default(),
        span: Span::default(),
        kind: sensor.kind,
        rate_hz: sensor.rate_hz,
        unit,
        shape: sensor.shape,
        quality: Quality::GOOD,
        n_left_out: 0,
        speed: None,
        axes: Vec::new(),
    }
}
