//! Room to work in, one per thread: transforms follow each other, and each overwrites what it needs.
//!
//! The tables of a long transform are shared by all sensors; so are the buffers, or every sensor
//! would hold several times its longest record.

use std::cell::RefCell;

use super::Complex32;

/// Buffers of a thread; as long as the longest transform it has planned, and never shorter.
#[derive(Default)]
pub(super) struct Work {
    pub(super) real: Vec<f32>,
    pub(super) signal: Vec<Complex32>,
    pub(super) bins: Vec<Complex32>,
    pub(super) scratch: Vec<Complex32>,
}

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
}

/// How long the buffers must be for a plan.
#[derive(Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) real: usize,
    pub(super) signal: usize,
    pub(super) bins: usize,
    pub(super) scratch: usize,
}

impl Room {
    /// Works in buffers at least this long; they grow the first time only.
    ///
    /// # Panics
    /// If `f` itself works in them: a bug in the caller.
    pub(super) fn with<T>(self, f: impl FnOnce(&mut Work) -> T) -> T {
        WORK.with_borrow_mut(|work| {
            grow(&mut work.real, self.real);
            grow(&mut work.signal, self.signal);
            grow(&mut work.bins, self.bins);
            grow(&mut work.scratch, self.scratch);
            f(work)
        })
    }
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, n: usize) {
    if buffer.len() < n {
        buffer.reserve_exact(n - buffer.len());
        buffer.resize(n, T::default());
    }
}
