//! Once warm, a step allocates nothing.
#![allow(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use auscult::extract::{Config, Sensor, SpeedConfig};
use auscult::types::{Frame, Origin, SensorKind, Shape, Unit};

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
