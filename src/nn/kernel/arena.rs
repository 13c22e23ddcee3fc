//! The working memory of one runner: one block, cache-line aligned, lent out as typed slices.
#![allow(unsafe_code, reason = "one block of memory is seen as f32, i32 or i8 in turn")]

use std::ops::Range;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Bytes of one line; every buffer starts on one.
pub(in crate::nn) const LINE: usize = 64;

/// A block of memory, allocated once.
pub(in crate::nn) struct Arena {
    lines: Vec<Line>,
}

/// A number of which every bit pattern is valid, without padding.
pub(in crate::nn) trait Plain: Copy {}
impl Plain for i8 {}
impl Plain for u8 {}
impl Plain for i32 {}
impl Plain for f32 {}

impl Arena {
    /// Room for `n_bytes`, zeroed.
    pub(in crate::nn) fn new(n_bytes: usize) -> Self {
        Self { lines: vec![Line([0; 16]); n_bytes.div_ceil(LINE)] }
    }

    /// Its size.
    pub(in crate::nn) fn bytes(&self) -> usize {
        self.lines.len() * LINE
    }

    /// Checks once that buffers, each a range of lines, can be lent together.
    ///
    /// # Panics
    /// If two overlap or one is outside: the plan is wrong.
    pub(in crate::nn) fn loan<const N: usize>(&mut self, ranges: [Range<usize>; N]) -> Loan<N> {
        let apart = self.lines.get_disjoint_mut(ranges.clone());
        apart.expect("buffers of one step lie apart");
        Loan { ranges: ranges.map(|range| (range.start, range.len())), n_lines: self.lines.len() }
    }

    /// The buffers of a loan.
    ///
    /// # Panics
    /// If it was made for an arena of another size: a bug.
    pub(in crate::nn) fn lend<const N: usize>(&mut self, loan: &Loan<N>) -> [Lent<'_>; N] {
        assert!(loan.n_lines == self.lines.len(), "a loan of this arena");
        let start = self.lines.as_mut_ptr();
        // SAFETY: the ranges lie apart and within as many lines as there are, by `loan`; the borrow
        // of the arena is passed on to all of them.
        loan.ranges
            .map(|(first, n)| Lent(unsafe { std::slice::from_raw_parts_mut(start.add(first), n) }))
    }
}

/// Buffers found to lie apart, for one step.
pub(in crate::nn) struct Loan<const N: usize> {
    ranges: [(usize, usize); N],
    n_lines: usize,
}

/// Constants on cache lines: weights.
pub(in crate::nn) struct Lines {
    lines: Vec<Line>,
    n_bytes: usize,
}

impl Lines {
    /// A copy of `values`.
    pub(in crate::nn) fn copy_of<T: Plain>(values: &[T]) -> Self {
        let n_bytes = size_of_val(values);
        let mut lines = vec![Line([0; 16]); n_bytes.div_ceil(LINE)];
        Lent(&mut lines).of::<T>()[..values.len()].copy_from_slice(values);
        Self { lines, n_bytes }
    }

    /// The values, of the type they had.
    pub(in crate::nn) fn of<T: Plain>(&self) -> &[T] {
        // SAFETY: as in `Lent::of`; `n_bytes` lie within the lines.
        unsafe {
            std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.n_bytes / size_of::<T>())
        }
    }
}

/// One buffer while it is lent.
pub(in crate::nn) struct Lent<'a>(&'a mut [Line]);

impl<'a> Lent<'a> {
    /// As numbers of one type, to the end of the last line.
    pub(in crate::nn) fn of<T: Plain>(self) -> &'a mut [T] {
        let n_values = std::mem::size_of_val(self.0) / size_of::<T>();
        let start = self.0.as_mut_ptr().cast::<T>();
        // SAFETY: lines are 64-byte aligned, initialised and free of padding; `Plain` numbers are
        // at most 4 bytes wide and take any bits; the borrow is passed on and covers `n_values`.
        unsafe { std::slice::from_raw_parts_mut(start, n_values) }
    }
}
