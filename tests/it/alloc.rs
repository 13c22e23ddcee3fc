//! Once warm, a step allocates nothing.
#![allow(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use auscult::acquire::{Error, Info, Read, Source};
use auscult::daemon::SystemClock;
use auscult::daemon::capture::{self, Item};
use auscult::extract::{Config, Sensor, SpeedConfig};
use auscult::types::{Clock, Frame, Origin, SensorKind, Shape, Unit};

use crate::broker::wait_for;
use crate::rig;

thread_local! {
    static N_ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above, which is the system's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        N_ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: `at` came from `alloc` above, which is the system's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = N_ALLOCATIONS.get();
    work();
    N_ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8; 10]))), 1);
}

#[test]
fn a_warm_extractor_allocates_nothing() {
    let check = |kind, shape, n: usize| {
        let speed = SpeedConfig { speed_rpm: Some(1500.0), ..SpeedConfig::default() };
        let sensor = Sensor {
            kind,
            rate_hz: 8000.0,
            unit: Unit::G,
            n_channels: 2,
            shape,
            snapshot_samples: (shape == Shape::Snapshot).then_some(n),
            speed,
        };
        let mut extractor = Config::default().build(&sensor).unwrap();
        let mut frame = Frame::empty(Origin::new("a", "b"), 8000.0, Unit::G, 2);
        frame.shape = shape;
        frame.samples = (0..2 * n).map(|i| (i * i % 1013) as f32).collect();
        let mut run = |secs: usize| {
            let mut n_windows = 0;
            for _ in 0..secs * 8000 / n {
                extractor.push(&frame);
                while extractor.step().is_some() {
                    n_windows += 1;
                }
            }
            n_windows
        };
        run(30);
        let mut n_windows = 0;
        assert_eq!(allocations(|| n_windows = run(30)), 0, "{kind:?} {shape:?}");
        assert!(n_windows >= 29);
    };
    check(SensorKind::Vibration, Shape::Stream, 800);
    check(SensorKind::Sound, Shape::Stream, 777);
    check(SensorKind::Vibration, Shape::Snapshot, 800);
}

/// Reads as the source in it, and tells every so many reads what its thread has allocated since.
struct Watched {
    source: Box<dyn Source>,
    reads: u64,
    before: u64,
    tell: Sender<u64>,
}

impl Watched {
    const STRETCH: u64 = 50;
}

impl Source for Watched {
    fn info(&self) -> &Info {
        self.source.info()
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        self.reads += 1;
        if self.reads.is_multiple_of(Self::STRETCH) {
            self.tell.send(N_ALLOCATIONS.get() - self.before).unwrap();
            self.before = N_ALLOCATIONS.get();
        }
        self.source.read(frame)
    }
}

#[test]
fn a_warm_capture_thread_allocates_nothing() {
    let sender = rig::Sender::new(16_000, 1);
    let text = format!(
        "site = \"a\"\ngateway = \"b\"\n[[asset]]\nid = \"c\"\n[[asset.sensor]]\nid = \"d\"\n\
         kind = \"vibration\"\nsource = {}\n",
        sender.source(16_000)
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auscult.toml");
    auscult::store::replace(&file, text.as_bytes()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut machines = auscult::config::Config::load(&file).unwrap().machines(&clock).unwrap();
    let mut ear = machines.remove(0).ears.remove(0);
    let (tell, told) = channel();
    let open = move || {
        let (source, tell) = ((ear.open)()?, tell.clone());
        Ok(Box::new(Watched { source, reads: 0, before: 0, tell }) as Box<dyn Source>)
    };
    let (handle, mut consumer) = capture::spawn(ear.settings, clock, open, || {}).unwrap();
    // A frame that comes back late, on a busy machine, is made anew; from the next stretch on it is there.
    wait_for("fifty reads without an allocation", || {
        while let Some(item) = consumer.pop() {
            if let Item::Frame(frame) = item {
                consumer.recycle(frame);
            }
        }
        told.try_iter().any(|n_allocations| n_allocations == 0)
    });
    handle.stop();
    handle.join().unwrap();
}
