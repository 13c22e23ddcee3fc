//! One machine judged: its recordings, its lives, ours and the rivals on the same windows.

use crate::detect::LearnReport;
use crate::pipeline::Tick;
use crate::types::{FaultCode, Life as LifeLeft, Refusal, Stamp, State, Verdict};

use super::hearing::{Answer, Hearing, Item};
use super::rig::{Format, Open, Piece, Rig, Setup, Tape};
use super::rivals::{Rival, Sample, Z_LIFE, Z_WINDOW};
use super::{Error, Life, Machine, Recording, Use};

/// A rival alarms when so many ...
const ALARM_OVER: usize = 3;
/// ... of so many snapshots are over its limit.
const ALARM_OF: usize = 5;

/// What a machine's trial gave; index 0 of each list is ours, then the rivals in their order.
pub(super) struct Outcome {
    pub id: String,
    /// What came of each learning: one per format of recordings, then one per life.
    pub learned: Vec<LearnReport>,
    /// `[n_contestants][n_items]`; empty without learning recordings.
    pub items: Vec<Vec<Item>>,
    /// Truth and answer of the rules for every test item.
    pub named: Vec<Named>,
    /// `[n_contestants][n_lives]`.
    pub lives: Vec<Vec<Trace>>,
}

/// What the rules said of one item.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The fault's label; `None` for a normal.
    pub truth: Option<String>,
    /// The surest fault at its end.
    pub said: Option<&'static str>,
}

/// One life as one contestant heard it.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub file: String,
    pub every_s: f64,
    pub n_learn: usize,
    pub marks: Vec<Mark>,
    pub forecast: Option<Asked>,
    /// What is said of the remaining life after each snapshot; of rivals nothing.
    pub said: Vec<Result<LifeLeft, Refusal>>,
}

/// One snapshot of a life.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub alarm: bool,
    /// Not judged: holds the state before it.
    pub void: bool,
    pub score: f64,
}

/// A forecast that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub at_snapshot: usize,
    pub life: Result<LifeLeft, Refusal>,
    /// The truth, if the case file states it.
    pub actual_s: Option<f64>,
}

/// How a run is told about: how far it is.
pub(super) type OnDone<'a> = dyn FnMut(&str) + 'a;

/// Runs one machine.
pub(super) struct Trial<'a> {
    pub machine: &'a Machine,
    pub setup: &'a Setup,
    pub open: &'a Open<'a>,
    pub with_rivals: bool,
    rigs: Vec<Rig<'a>>,
    learned: Vec<LearnReport>,
    start: Stamp,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        machine: &'a Machine,
        setup: &'a Setup,
        open: &'a Open<'a>,
        with_rivals: bool,
    ) -> Self {
        Self {
            machine,
            setup,
            open,
            with_rivals,
            rigs: Vec::new(),
            learned: Vec::new(),
            start: Stamp::default(),
        }
    }

    /// Learns, then hears everything; `done` is told of each recording that is over.
    pub(super) fn run(mut self, done: &mut OnDone<'_>) -> Result<Outcome, Error> {
        let learns = self.machine.recordings.iter().any(|r| r.purpose == Use::Learn);
        let rivals = self.learn(done)?;
        let mut items: Vec<Vec<Item>> = vec![Vec::new(); 1 + rivals.len()];
        let mut named = Vec::new();
        for recording in self.machine.recordings.iter().filter(|r| r.purpose == Use::Test) {
            self.hear(recording, &rivals, &mut items, &mut named)?;
            done(&recording.path.display().to_string());
        }
        if !learns {
            items.iter_mut().for_each(Vec::clear);
        }
        let n_contestants = if self.with_rivals { 1 + Rival::NAMES.len() } else { 1 };
        let mut lives: Vec<Vec<Trace>> = vec![Vec::new(); n_contestants];
        for life in &self.machine.lives {
            for (traces, trace) in lives.iter_mut().zip(self.live(life)?) {
                traces.push(trace);
            }
            done(&life.path.display().to_string());
        }
        Ok(Outcome { id: self.machine.id.clone(), learned: self.learned, items, named, lives })
    }

    fn tape(&self, recording: &Recording) -> Result<Tape, Error> {
        let piece = Piece::recording(self.machine, recording, self.start);
        Tape::open(self.open, self.machine, &piece)
    }

    /// The rig for this format, built when first needed.
    fn rig(&mut self, format: Format) -> Result<usize, Error> {
        if let Some(idx) = self.rigs.iter().position(|rig| rig.format == format) {
            return Ok(idx);
        }
        self.rigs.push(Rig::for_recordings(self.open, self.setup, self.machine, format)?);
        Ok(self.rigs.len() - 1)
    }

    /// Everything marked for learning, in the file's order; fits the rivals on the same windows.
    pub(super) fn learn(&mut self, done: &mut OnDone<'_>) -> Result<Vec<Rival>, Error> {
        let mut samples = Vec::new();
        for recording in self.machine.recordings.iter().filter(|r| r.purpose == Use::Learn) {
            let mut tape = self.tape(recording)?;
            let idx = self.rig(tape.format())?;
            let rig = &mut self.rigs[idx];
            let with_rivals = self.with_rivals;
            while rig.step(&mut tape, &mut |tick| {
                samples.extend(with_rivals.then(|| Sample::of(tick.features)).flatten());
            })? {}
            rig.pipeline.forget();
            self.start = rig.next_start();
            done(&recording.path.display().to_string());
        }
        for rig in &mut self.rigs {
            self.learned.extend(rig.learn());
        }
        Ok(if self.with_rivals { Rival::fit_all(&samples) } else { Vec::new() })
    }

    /// One test recording: as one item, or one item per snapshot.
    fn hear(
        &mut self,
        recording: &Recording,
        rivals: &[Rival],
        items: &mut [Vec<Item>],
        named: &mut Vec<Named>,
    ) -> Result<(), Error> {
        let mut tape = self.tape(recording)?;
        let format = tape.format();
        let idx = self.rig(format)?;
        let rig = &mut self.rigs[idx];
        rig.begin()?;
        let mut ears = Ears::new(rivals);
        let mut n_frames = 0;
        while rig.step(&mut tape, &mut |tick| ears.tick(&tick))? {
            n_frames += 1;
            if format.is_snapshots() {
                ears.close(recording, items, named);
                rig.pipeline.forget();
            }
        }
        if !format.is_snapshots() || n_frames == 0 {
            ears.close(recording, items, named);
        }
        self.start = rig.next_start();
        Ok(())
    }

    /// One life: ours and every rival's trace of it.
    fn live(&mut self, life: &Life) -> Result<Vec<Trace>, Error> {
        let piece = Piece::life(self.machine, life);
        let mut tape = Tape::open(self.open, self.machine, &piece)?;
        let mut rig = Rig::for_life(self.setup, self.machine, life, tape.format())?;
        let mut diary = Diary::new(life, self.with_rivals);
        if life.learn_snapshots == 0 {
            rig.pipeline.finish_learning();
        }
        while rig.step(&mut tape, &mut |tick| diary.tick(&tick))? {
            if diary.turn_page(life) {
                self.learned.extend(rig.pipeline.finish_learning());
            }
        }
        Ok(diary.close(life))
    }
}

/// Ours and the rivals' hearing of one item.
struct Ears<'a> {
    ours: Hearing,
    rivals: &'a [Rival],
    theirs: Vec<Hearing>,
}

impl<'a> Ears<'a> {
    fn new(rivals: &'a [Rival]) -> Self {
        Self { ours: Hearing::default(), rivals, theirs: vec![Hearing::default(); rivals.len()] }
    }

    fn tick(&mut self, tick: &Tick<'_>) {
        if !self.ours.tick(tick) || self.rivals.is_empty() {
            return;
        }
        if let Some(sample) = Sample::of(tick.features) {
            for (rival, hearing) in self.rivals.iter().zip(&mut self.theirs) {
                hearing.rival(rival.score(&sample), rival.limit(Z_WINDOW));
            }
        }
    }

    /// The item is over: its answers go out, the ears are empty again.
    fn close(&mut self, truth: &Recording, items: &mut [Vec<Item>], named: &mut Vec<Named>) {
        let item = |hearing: &Hearing, answer: Answer| Item {
            normal: truth.normal,
            key: truth.fault_key(),
            answer,
            score: hearing.score(),
            windows: hearing.windows(),
        };
        items[0].push(item(&self.ours, self.ours.answer()));
        for ((rival, hearing), items) in self.rivals.iter().zip(&self.theirs).zip(&mut items[1..]) {
            items.push(item(hearing, hearing.rival_answer(rival.limit(Z_WINDOW))));
        }
        if truth.normal || truth.fault.is_some() {
            let said = self.ours.said().map(FaultCode::code);
            named.push(Named { truth: truth.fault.clone(), said });
        }
        *self = Self::new(self.rivals);
    }
}

/// A life written down snapshot by snapshot.
struct Diary {
    with_rivals: bool,
    ours: Trace,
    theirs: Vec<Trace>,
    learned: Vec<Sample>,
    rivals: Vec<Rival>,
    /// Whether each of a rival's last snapshots was over its limit: `[n_rivals]`, newest bit first.
    over: Vec<u32>,
    /// The snapshot being heard.
    mark: Mark,
    sample: Option<Sample>,
    life_left: Result<LifeLeft, Refusal>,
}

impl Diary {
    fn new(life: &Life, with_rivals: bool) -> Self {
        let trace = Trace {
            file: life.file.clone(),
            every_s: life.snapshot_every_s,
            n_learn: life.learn_snapshots,
            marks: Vec::new(),
            forecast: None,
            said: Vec::new(),
        };
        let n_rivals = if with_rivals { Rival::NAMES.len() } else { 0 };
        Self {
            with_rivals,
            theirs: vec![trace.clone(); n_rivals],
            ours: trace,
            learned: Vec::new(),
            rivals: Vec::new(),
            over: vec![0; n_rivals],
            mark: Mark { void: true, ..Mark::default() },
            sample: None,
            life_left: Err(Refusal::Learning),
        }
    }

    fn tick(&mut self, tick: &Tick<'_>) {
        self.mark = Mark {
            alarm: tick.finding.state == State::Alarm,
            void: tick.score.verdict == Verdict::Void && tick.finding.state != State::Alarm,
            score: tick.score.value,
        };
        self.life_left = tick.outlook.life;
        if self.with_rivals {
            self.sample = Sample::of(tick.features);
        }
    }

    /// A snapshot is over; `true` when it was the last to learn from.
    fn turn_page(&mut self, life: &Life) -> bool {
        self.ours
            .marks
            .push(std::mem::replace(&mut self.mark, Mark { void: true, ..Mark::default() }));
        self.ours.said.push(self.life_left);
        let n = self.ours.marks.len();
        if life.forecast_at_snapshot == Some(n) {
            self.ours.forecast =
                Some(Asked { at_snapshot: n, life: self.life_left, actual_s: life.life_left_s });
        }
        let sample = self.sample.take();
        for idx in 0..self.theirs.len() {
            let mark = self.rival_mark(idx, sample.as_ref());
            self.theirs[idx].marks.push(mark);
        }
        if n <= life.learn_snapshots {
            self.learned.extend(sample);
        }
        if n == life.learn_snapshots {
            self.rivals = Rival::fit_all(&self.learned);
        }
        n == life.learn_snapshots
    }

    /// As the rivals' users do it: three of the last five snapshots over the limit.
    fn rival_mark(&mut self, idx: usize, sample: Option<&Sample>) -> Mark {
        let (Some(rival), Some(sample)) = (self.rivals.get(idx), sample) else {
            return Mark { void: true, ..Mark::default() };
        };
        let score = rival.score(sample);
        let over = rival.limit(Z_LIFE).is_some_and(|limit| score > limit);
        self.over[idx] = (self.over[idx] << 1 | u32::from(over)) & ((1 << ALARM_OF) - 1);
        let alarm = self.over[idx].count_ones() as usize >= ALARM_OVER;
        Mark { alarm, void: false, score }
    }

    fn close(mut self, life: &Life) -> Vec<Trace> {
        if let (None, Some(at)) = (&self.ours.forecast, life.forecast_at_snapshot) {
            let life_left = Err(Refusal::TooFewPoints);
            self.ours.forecast =
                Some(Asked { at_snapshot: at, life: life_left, actual_s: life.life_left_s });
        }
        std::iter::once(self.ours).chain(self.theirs).collect()
    }
}
