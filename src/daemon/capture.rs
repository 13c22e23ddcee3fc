//! Thread body, one per device: open, read, number, hand over; never waits for anybody but a recording.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crate::acquire::{Error, Info, Read, Source};
use crate::types::{Clock, Frame, Origin, Quality, Span, Unit};

mod counts;

use counts::Counters;
pub use counts::{Counts, State};

/// Silence of a device after which it counts as lost.
pub const LOST_AFTER: Span = Span(2_000_000_000);
/// Silence of a device that is told, at the least, ...
const SILENT_AFTER: Span = Span(500_000_000);
/// ... and in times of its frames, which may come in pieces.
const SILENT_FRAMES: i64 = 3;
/// Shortest and longest wait before a device is opened again.
pub const BACKOFF: (Span, Span) = (Span(200_000_000), Span(30_000_000_000));
/// Longest wait for a device that is not there: looking for it costs little, opening it again and again is what wears.
const ABSENT_MAX: Span = Span(1_000_000_000);
/// The shortest wait holds again after a device ran so many times the last one.
const STEADY: i64 = 10;
/// While a device is lost, so much time goes into one void frame.
const VOID_EVERY: Span = Span(500_000_000);
/// Places of the ring that only notices may take.
const RESERVED: usize = 8;
/// Longest sleep between two looks at the stop flag.
const NAP: Duration = Duration::from_millis(50);

/// How one device is listened to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Asset and sensor the frames belong to.
    pub origin: Origin,
    /// Places for frames in the ring, at least 1; live, what does not fit is dropped and counted.
    /// A notice not yet taken out may hold one of them.
    pub n_frames: usize,
    /// Open again after an error (a device), or give up (a recording).
    pub retry: bool,
    /// Rate, channels and unit, if known before the device was ever seen: a device that is absent
    /// from the start then gives void frames too.
    pub expect: Option<(f64, usize, Unit)>,
}

/// What the capture thread hands over, in order.
#[derive(Debug)]
pub enum Item {
    /// A source was opened; its frames follow.
    Opened(Box<Info>),
    /// Samples.
    Frame(Frame),
    /// A stretch of time without a sensor: zeros, flagged [`Quality::DROPOUT`] and
    /// [`Quality::FLAT`], so that what is computed from it is blind.
    Void(Frame),
    /// The sensor is lost, and why. The next [`Item::Frame`] means it is back.
    Lost(String),
    /// No more will come: end of a recording, or why it had to stop.
    Ended(Result<(), String>),
}

/// What capture and its two ends share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The thread waits for room: the reader of the ring wakes it.
    waiting: AtomicBool,
    /// What does not fit is lost: the source does not wait.
    is_live: AtomicBool,
    counters: Counters,
}

/// The thread's owner holds this.
pub struct Handle {
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Asks the thread to end; it does within a few hundred milliseconds.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    /// Whether the thread is over.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it panicked.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }
}

/// The other end of the ring.
pub struct Consumer {
    items: rtrb::Consumer<Item>,
    spent: rtrb::Producer<Frame>,
    shared: Arc<Shared>,
    thread: Thread,
}

impl Consumer {
    /// The next item, if there is one.
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop().ok();
        if item.is_some() && self.shared.waiting.load(Ordering::Acquire) {
            self.thread.unpark();
        }
        item
    }

    /// Gives a frame back, so that its memory is used again.
    pub fn recycle(&mut self, frame: Frame) {
        // A full ring means there are frames enough: this one is freed.
        drop(self.spent.push(frame));
    }

    /// How full the ring of a live source is, 0-1; a recording waits, and its ring tells nothing.
    pub fn fill(&self) -> f64 {
        let n_places = (self.items.buffer().capacity() - RESERVED) as f64;
        let is_live = self.shared.is_live.load(Ordering::Relaxed);
        if is_live { self.items.slots() as f64 / n_places } else { 0.0 }
    }

    /// Whether the thread is gone and nothing is left.
    pub fn is_closed(&self) -> bool {
        self.items.is_abandoned() && self.items.is_empty()
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }
}

/// Starts the thread. `open` is called for the first and every further attempt; `wake` after
/// everything handed over, to wake whoever reads the [`Consumer`].
///
/// # Errors
/// If the system gives no thread.
pub fn spawn(
    settings: Settings,
    clock: Arc<dyn Clock>,
    open: impl FnMut() -> Result<Box<dyn Source>, Error> + Send + 'static,
    wake: impl Fn() + Send + 'static,
) -> io::Result<(Handle, Consumer)> {
    let n_frames = settings.n_frames.max(1);
    let (items, consumer_items) = rtrb::RingBuffer::new(n_frames + RESERVED);
    let (spent, spent_frames) = rtrb::RingBuffer::new(n_frames + 2);
    let shared = Arc::new(Shared::default());
    let name = format!("capture-{}", settings.origin.sensor);
    let capture = Capture {
        shared: Arc::clone(&shared),
        items,
        spent: spent_frames,
        wake,
        next_sample: 0,
        n_dropped: 0,
        gap: None,
        heard: clock.monotonic(),
        patience: SILENT_AFTER,
        shape: settings.expect,
        clock,
        settings,
    };
    let thread = std::thread::Builder::new().name(name).spawn(move || capture.run(open))?;
    let reader = thread.thread().clone();
    let consumer =
        Consumer { items: consumer_items, spent, shared: Arc::clone(&shared), thread: reader };
    Ok((Handle { thread, shared }, consumer))
}

/// Time without samples: since when, and how many void samples already stand for it.
#[derive(Clone, Copy)]
struct Gap {
    void_until: Span,
    n_void: u64,
}

/// The wait, at most so long; the next one is twice that.
fn longer(wait: &mut Span, max: Span) -> Span {
    let now = (*wait).min(max);
    *wait = Span(now.0 * 2).min(max);
    now
}

/// Why a source was left.
enum Left {
    Stop,
    End,
    Failed(Error),
}

struct Capture<W> {
    settings: Settings,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    items: rtrb::Producer<Item>,
    spent: rtrb::Consumer<Frame>,
    wake: W,
    /// Number of the next sample, over all openings.
    next_sample: u64,
    /// Samples dropped since the last frame handed over.
    n_dropped: u64,
    gap: Option<Gap>,
    /// When samples last came.
    heard: Span,
    /// Silence that is told.
    patience: Span,
    /// Rate, channels and unit of the source, once known.
    shape: Option<(f64, usize, Unit)>,
}

impl<W: Fn()> Capture<W> {
    fn run(mut self, mut open: impl FnMut() -> Result<Box<dyn Source>, Error>) {
        // Of a device that comes and goes, and of one that says nothing or is not there.
        let (mut flap, mut look) = (BACKOFF.0, BACKOFF.0);
        let ended = loop {
            if self.stopped() {
                break Ok(());
            }
            let (opened_at, before) = (self.clock.monotonic(), self.n_produced());
            let attempt = AssertUnwindSafe(|| match open() {
                Ok(source) => (self.listen(source), BACKOFF.1),
                Err(error) => (Left::Failed(error), ABSENT_MAX),
            });
            let (left, look_max) = catch_unwind(attempt).unwrap_or_else(|_| {
                let (what, why) = ("a bug".to_owned(), "reading the source panicked".to_owned());
                (Left::Failed(Error::Lost { what, why }), BACKOFF.1)
            });
            let error = match left {
                Left::Stop | Left::End => break Ok(()),
                Left::Failed(error) => error,
            };
            Counters::add(&self.shared.counters.failed, 1);
            if !self.settings.retry {
                break Err(error.to_string());
            }
            self.lose(error.to_string());
            let wait = if matches!(error, Error::Refused { .. }) {
                // Trying again soon cannot mend what was refused.
                BACKOFF.1
            } else if self.n_produced() > before {
                if (self.clock.monotonic() - opened_at).0 > STEADY * flap.0 {
                    flap = BACKOFF.0;
                }
                let wait = longer(&mut flap, BACKOFF.1);
                look = flap;
                wait
            } else {
                longer(&mut look, look_max)
            };
            self.rest(wait);
        };
        self.notify(Item::Ended(ended));
        self.shared.counters.set_state(State::Ended);
    }

    fn n_produced(&self) -> u64 {
        self.shared.counters.read().produced
    }

    /// Reads one opened source until it ends or fails.
    fn listen(&mut self, mut source: Box<dyn Source>) -> Left {
        let info = source.info().clone();
        let live = info.live;
        self.shared.is_live.store(live, Ordering::Relaxed);
        Counters::add(&self.shared.counters.opened, 1);
        self.shape = Some((info.rate_hz, info.n_channels, info.unit));
        self.notify(Item::Opened(Box::new(info)));
        let mut offset = self.next_sample;
        let mut frame = self.empty();
        if self.gap.is_none() {
            self.heard = self.clock.monotonic();
        }
        loop {
            if self.stopped() {
                return Left::Stop;
            }
            match source.read(&mut frame) {
                Ok(Read::Frame) => {
                    self.shared.counters.set_ppm(source.rate_ppm());
                    frame = self.take(frame, live, &mut offset);
                }
                Ok(Read::Quiet) => self.check_silence(live),
                Ok(Read::End) => return Left::End,
                Err(error) => return Left::Failed(error),
            }
        }
    }

    /// Numbers, counts and hands over one frame; gives an empty one back.
    fn take(&mut self, mut frame: Frame, live: bool, offset: &mut u64) -> Frame {
        let now = self.clock.monotonic();
        let n = frame.len() as u64;
        if let Some(gap) = self.gap.take() {
            let away = (now - self.heard).as_secs() * frame.rate_hz;
            let n_away = (away as u64).saturating_sub(gap.n_void + n + frame.n_lost).max(1);
            // Before the first sample of all nothing was lost.
            let n_away = if self.next_sample == 0 { 0 } else { n_away };
            *offset = self.next_sample + n_away + frame.n_lost - frame.origin.first_sample;
            frame.n_lost += n_away;
        }
        self.heard = now;
        let frame_ns = (n as f64 / frame.rate_hz * 1e9) as i64;
        self.patience = SILENT_AFTER.max(Span(SILENT_FRAMES * frame_ns));
        frame.origin.first_sample += *offset;
        self.next_sample = frame.origin.first_sample + n;
        let shared = Arc::clone(&self.shared);
        let counters = &shared.counters;
        counters.set_state(State::Running);
        Counters::add(&counters.produced, n + frame.n_lost);
        Counters::add(&counters.lost, frame.n_lost);
        if !live {
            self.wait_for_room();
        }
        if self.items.slots() <= RESERVED {
            Counters::add(&counters.lost, n);
            Counters::add(&counters.frames_dropped, 1);
            self.n_dropped += n + frame.n_lost;
            return frame;
        }
        frame.n_lost += std::mem::take(&mut self.n_dropped);
        if frame.n_lost > 0 {
            frame.quality = frame.quality.with(Quality::DROPOUT);
        }
        Counters::add(&counters.delivered, n);
        Counters::add(&counters.frames_delivered, 1);
        self.hand_over(Item::Frame(frame));
        self.empty()
    }

    fn check_silence(&mut self, live: bool) {
        if live && self.gap.is_none() {
            let silent = self.clock.monotonic() - self.heard;
            if silent < LOST_AFTER {
                let counters = &self.shared.counters;
                if silent >= self.patience && counters.read().state == State::Running {
                    counters.set_state(State::Silent);
                }
                return;
            }
            self.lose(format!("no samples for {:.1} s", silent.as_secs()));
        }
        self.fill_void();
    }

    /// The sensor is lost from now on; said once.
    fn lose(&mut self, why: String) {
        self.shared.counters.set_state(State::Lost);
        if self.gap.is_none() {
            self.gap = Some(Gap { void_until: self.heard, n_void: 0 });
            self.notify(Item::Lost(why));
        }
        self.fill_void();
    }

    /// Stands in for the samples a lost sensor would have given.
    fn fill_void(&mut self) {
        let (Some(gap), Some((rate_hz, n_channels, unit))) = (self.gap, self.shape) else { return };
        let now = self.clock.monotonic();
        let mut gap = gap;
        while now - gap.void_until >= VOID_EVERY {
            let n = (VOID_EVERY.as_secs() * rate_hz).round() as u64;
            let ago = now - gap.void_until;
            gap.void_until = gap.void_until + VOID_EVERY;
            gap.n_void += n;
            if self.items.slots() > RESERVED {
                let mut frame =
                    Frame::empty(self.settings.origin.clone(), rate_hz, unit, n_channels);
                frame.samples.resize(n as usize * n_channels, 0.0);
                frame.start = self.clock.now() + (Span(0) - ago);
                frame.origin.first_sample = self.next_sample;
                frame.origin.n_samples = n;
                frame.quality = Quality::DROPOUT.with(Quality::FLAT);
                frame.n_lost = std::mem::take(&mut self.n_dropped);
                Counters::add(&self.shared.counters.void, n);
                self.hand_over(Item::Void(frame));
            }
            self.next_sample += n;
        }
        self.gap = Some(gap);
    }

    /// Sleeps out a back-off, giving void frames and minding the stop flag.
    fn rest(&mut self, span: Span) {
        let until = self.clock.monotonic() + span;
        while !self.stopped() && self.clock.monotonic() < until {
            std::thread::park_timeout(NAP);
            self.fill_void();
        }
        self.shared.counters.set_state(State::Opening);
    }

    /// Holds a recording back until there is room for a frame.
    fn wait_for_room(&mut self) {
        while self.items.slots() <= RESERVED && !self.stopped() {
            self.shared.waiting.store(true, Ordering::Release);
            if self.items.slots() <= RESERVED {
                std::thread::park_timeout(NAP);
            }
            self.shared.waiting.store(false, Ordering::Release);
        }
    }

    /// Hands over what must not be dropped; waits for room if need be.
    fn notify(&mut self, item: Item) {
        let mut item = Some(item);
        while let Some(next) = item.take() {
            match self.items.push(next) {
                Ok(()) => (self.wake)(),
                Err(rtrb::PushError::Full(back)) if !self.items.is_abandoned() => {
                    item = Some(back);
                    std::thread::park_timeout(NAP);
                }
                Err(_) => {}
            }
        }
    }

    fn hand_over(&mut self, item: Item) {
        self.items.push(item).expect("room was seen, and only this thread fills the ring");
        (self.wake)();
    }

    fn empty(&mut self) -> Frame {
        let (rate_hz, n_channels, unit) = self.shape.expect("a source is open");
        let mut frame = self.spent.pop().unwrap_or_else(|_| {
            Frame::empty(self.settings.origin.clone(), rate_hz, unit, n_channels)
        });
        frame.samples.clear();
        frame
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire) || self.items.is_abandoned()
    }
}

#[cfg(test)]
mod tests;
