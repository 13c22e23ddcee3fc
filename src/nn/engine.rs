//! Runs a program in its arena: nothing is allocated, nothing can fail.

use std::sync::Arc;

use super::kernel::{self, Arena, Dense8, Kernel, LANES, Lent, Loan, Rows, Table};
use super::program::{Finish, Op, Program, Step, rows_at_once};
use super::{Error, Graph};

#[cfg(test)]
mod tests;

/// Most items run at once.
pub const BATCH_MAX: usize = 256;

/// One network ready to run, by itself: no card, no normalisation, any output.
pub struct Engine {
    program: Arc<Program>,
    arena: Arena,
    /// What each step reads and writes: source, side, destination, accumulators.
    loans: Vec<Loan<4>>,
    /// Real input and output.
    ends: Loan<2>,
    kernel: &'static dyn Kernel,
    batch: usize,
}

impl Engine {
    /// For up to `batch` items at once, 1 to `BATCH_MAX`, with the best kernel there is.
    ///
    /// # Errors
    /// As `Graph::check`; `Error::TooBig` if the batch does not fit the arena.
    pub fn new(graph: &Graph, batch: usize) -> Result<Self, Error> {
        Self::over(Arc::new(Program::new(graph)?), batch)
    }

    pub(super) fn over(program: Arc<Program>, batch: usize) -> Result<Self, Error> {
        if !(1..=BATCH_MAX).contains(&batch) {
            return Err(Error::TooBig { what: "batch", max: BATCH_MAX as u64 });
        }
        let plan = program.plan(batch)?;
        let kernel = kernel::available()[0];
        let mut arena = Arena::new(plan.bytes);
        let place = |tensor: Option<usize>| tensor.map_or(0..0, |t| plan.places[t].clone());
        let loans = program.steps.iter().map(|step| {
            let tensors = [Some(step.src), step.side, Some(step.dst), step.work];
            arena.loan(tensors.map(place))
        });
        let loans = loans.collect();
        let ends = arena.loan([program.real_in, program.real_out].map(|t| place(Some(t))));
        Ok(Self { program, arena, loans, ends, kernel, batch })
    }

    /// The same with a kernel by name, one of `Engine::kernels`.
    ///
    /// # Errors
    /// `Error::Unsupported` if this processor has no such kernel.
    pub fn with_kernel(mut self, name: &str) -> Result<Self, Error> {
        let found = kernel::available().iter().find(|kernel| kernel.name() == name);
        self.kernel = *found.ok_or_else(|| Error::Unsupported {
            what: format!("kernel {name:?}; here there are: {}", Self::kernels().join(", ")),
        })?;
        Ok(self)
    }

    /// Names of the kernels this processor can run, best first.
    pub fn kernels() -> Vec<&'static str> {
        kernel::available().iter().map(|kernel| kernel.name()).collect()
    }

    /// Name of the kernel in use.
    pub fn kernel(&self) -> &'static str {
        self.kernel.name()
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// Values of one input.
    pub fn n_in(&self) -> usize {
        self.program.input.shape.size()
    }

    /// Values of one output.
    pub fn n_out(&self) -> usize {
        self.program.output.shape.size()
    }

    /// Real numbers in, real numbers out: `[n, n_in]` to `[n, n_out]`, n at most the batch.
    ///
    /// # Panics
    /// If a length does not fit: a bug in the caller.
    pub fn run(&mut self, input: &[f32], output: &mut [f32]) {
        let n_items = self.n_items(input.len(), output.len());
        self.real_in(n_items).copy_from_slice(input);
        self.steps(n_items, 0, self.program.steps.len());
        output.copy_from_slice(self.ends(n_items).1);
    }

    /// Codes in, codes out, of a graph whose input and output are codes.
    ///
    /// # Panics
    /// If a length does not fit or an end is `f32`: a bug in the caller.
    pub fn run_codes(&mut self, input: &[i8], output: &mut [i8]) {
        let n_items = self.n_items(input.len(), output.len());
        let (first, last) = (0, self.program.steps.len() - 1);
        assert!(
            matches!(self.program.steps[first].op, Op::Encode(_))
                && matches!(self.program.steps[last].op, Op::Decode(_)),
            "codes go in and out of graphs with codes at both ends"
        );
        let [_, _, codes_in, _] = self.arena.lend(&self.loans[first]);
        codes_in.of::<i8>()[..input.len()].copy_from_slice(input);
        self.steps(n_items, first + 1, last);
        let [codes_out, ..] = self.arena.lend(&self.loans[last]);
        output.copy_from_slice(&codes_out.of::<i8>()[..output.len()]);
    }

    fn n_items(&self, n_in: usize, n_out: usize) -> usize {
        let n_items = n_in / self.n_in();
        assert!(
            n_items <= self.batch
                && n_in == n_items * self.n_in()
                && n_out == n_items * self.n_out(),
            "{n_in} values in and {n_out} out for at most {} items of {} and {}",
            self.batch,
            self.n_in(),
            self.n_out()
        );
        n_items
    }

    /// Where `n_items` inputs go.
    pub(super) fn real_in(&mut self, n_items: usize) -> &mut [f32] {
        let n_values = n_items * self.n_in();
        let [real_in, _] = self.arena.lend(&self.ends);
        &mut real_in.of()[..n_values]
    }

    /// Input and output of the last run, side by side.
    pub(super) fn ends(&mut self, n_items: usize) -> (&[f32], &[f32]) {
        let (n_in, n_out) = (n_items * self.n_in(), n_items * self.n_out());
        let [real_in, real_out] = self.arena.lend(&self.ends);
        (&real_in.of()[..n_in], &real_out.of()[..n_out])
    }

    pub(super) fn kernel_ops(&self) -> &'static dyn Kernel {
        self.kernel
    }

    pub(super) fn all_steps(&mut self, n_items: usize) {
        assert!(n_items <= self.batch, "{n_items} items in a batch of {}", self.batch);
        self.steps(n_items, 0, self.program.steps.len());
    }

    fn steps(&mut self, n_items: usize, first: usize, end: usize) {
        let Self { program, arena, loans, kernel, .. } = self;
        for (step, loan) in program.steps[first..end].iter().zip(&loans[first..end]) {
            run_step(step, arena.lend(loan), n_items, *kernel);
        }
    }
}

fn run_step(step: &Step, lent: [Lent<'_>; 4], n_items: usize, kernel: &dyn Kernel) {
    if let Op::Dense8 { weights, finish: Finish { table: Some(table), .. } } = &step.op
        && step.side.is_none()
        && step.n_rows == 1
        && rows_at_once(n_items) == n_items
    {
        let [src, _, dst, work] = lent;
        let rows = Rows { values: src.of(), stride: step.item_in, n_rows: n_items };
        let out = &mut dst.of()[..step.item_out * n_items];
        return kernel.dense8_codes(weights, table, rows, work.of(), out);
    }
    run_other(step, lent, n_items, kernel);
}

/// Any step, any number of items.
#[inline(never)]
fn run_other(step: &Step, lent: [Lent<'_>; 4], n_items: usize, kernel: &dyn Kernel) {
    let [src, side, dst, work] = lent;
    let side = step.side.map(|_| side);
    let (n_in, n_out) = (step.item_in * n_items, step.item_out * n_items);
    match &step.op {
        Op::Encode(quant) => kernel.encode(*quant, &src.of()[..n_in], &mut dst.of()[..n_out]),
        Op::Decode(quant) => kernel.decode(*quant, &src.of()[..n_in], &mut dst.of()[..n_out]),
        Op::Pad { before, codes: Some(zero) } => {
            pad(step, n_items, *before, *zero, src.of(), dst.of());
        }
        Op::Pad { before, codes: None } => {
            pad(step, n_items, *before, 0.0_f32, src.of(), dst.of());
        }
        Op::Add8(sum) => {
            let b = side.expect("a sum has two parts").of();
            kernel.add8(sum, &src.of()[..n_in], &b[..n_in], &mut dst.of()[..n_out]);
        }
        Op::AddF { relu } => {
            let out = &mut dst.of::<f32>()[..n_out];
            out.copy_from_slice(&src.of()[..n_in]);
            settle(out, side.map(Lent::of), *relu);
        }
        Op::Dense8 { finish, .. } | Op::Depth8 { finish, .. } => {
            let parts = Parts { x: src.of(), acc: work.of(), side: side.map(Lent::of), finish };
            parts.accumulate(step, n_items, dst, kernel);
        }
        Op::Dense4 { relu, .. } | Op::DenseF { relu, .. } | Op::DepthF { relu, .. } => {
            let out = &mut dst.of()[..n_out];
            real_rows(step, n_items, src, out, kernel);
            settle(out, side.map(Lent::of), *relu);
        }
    }
}

/// A layer that gives `f32`, without its activation.
fn real_rows(step: &Step, n_items: usize, src: Lent<'_>, out: &mut [f32], kernel: &dyn Kernel) {
    match &step.op {
        Op::Dense4 { weights, .. } => {
            let x: &[i8] = src.of();
            each_rows(step, n_items, x, out, |rows, out| kernel.dense4(weights, rows, out));
        }
        Op::DenseF { weights, .. } => {
            let x: &[f32] = src.of();
            each_rows(step, n_items, x, out, |rows, out| kernel.dense_f(weights, rows, out));
        }
        Op::DepthF { weights, .. } => {
            let x: &[f32] = src.of();
            each_rows(step, n_items, x, out, |rows, out| {
                for (row_idx, out) in out.chunks_exact_mut(weights.n_channels).enumerate() {
                    kernel.depth_f(weights, &rows.from(row_idx)[..weights.taps.len()], out);
                }
            });
        }
        _ => unreachable!("asked for these only"),
    }
}

/// Calls `run` with the rows of the batch, all at once where they lie evenly.
fn each_rows<T, U>(
    step: &Step,
    n_items: usize,
    x: &[T],
    out: &mut [U],
    mut run: impl FnMut(Rows<'_, T>, &mut [U]),
) {
    if step.n_rows == 1 {
        return run(Rows { values: x, stride: step.item_in, n_rows: n_items }, out);
    }
    for (item, out) in out.chunks_exact_mut(step.item_out).enumerate() {
        let values = &x[item * step.item_in..];
        run(Rows { values, stride: step.stride, n_rows: step.n_rows }, out);
    }
}

/// What an integer layer works with, lent from one arena.
struct Parts<'a> {
    x: &'a [i8],
    acc: &'a mut [i32],
    side: Option<&'a mut [f32]>,
    finish: &'a Finish,
}

impl Parts<'_> {
    /// Rows, some at a time: sums, the side path's share, then codes or real numbers.
    fn accumulate(self, step: &Step, n_items: usize, dst: Lent<'_>, kernel: &dyn Kernel) {
        let Self { x, acc, side, finish } = self;
        let n_out = finish.scales.len();
        let lanes = n_out.next_multiple_of(LANES);
        let bare = if side.is_none() { bare(&step.op) } else { None };
        // Rows of plain layers lie evenly over all items; those of a sliding one within each item.
        let (n_groups, per_group, group_in, stride) = match step.n_rows {
            1 => (1, n_items, 0, step.item_in),
            n_rows => (n_items, n_rows, step.item_in, step.stride),
        };
        let mut out = match finish.table {
            Some(_) => Out::Codes(dst.of()),
            None => Out::Real(dst.of()),
        };
        for group in 0..n_groups {
            let values = &x[group * group_in..];
            let mut first = 0;
            while first < per_group {
                let n_rows = rows_at_once(per_group - first);
                let acc = &mut acc[..n_rows * lanes];
                let rows = Rows { values: &values[first * stride..], stride, n_rows };
                let at = (group * per_group + first) * n_out;
                let at = at..at + n_rows * n_out;
                first += n_rows;
                if let (Some((weights, table)), Out::Codes(codes)) = (bare, &mut out) {
                    kernel.dense8_codes(weights, table, rows, acc, &mut codes[at]);
                    continue;
                }
                sums(&step.op, rows, acc, kernel);
                if let Some(side) = &side {
                    add_side(acc, lanes, &side[at.clone()], &finish.scales);
                }
                match (&mut out, &finish.table) {
                    (Out::Codes(codes), Some(table)) => {
                        kernel.requantise(table, acc, &mut codes[at]);
                    }
                    (Out::Real(real), _) => {
                        kernel.widen(&finish.scales, finish.relu, acc, &mut real[at]);
                    }
                    (Out::Codes(_), None) => unreachable!("codes come by a table"),
                }
            }
        }
    }
}

/// Where results go.
enum Out<'a> {
    Codes(&'a mut [i8]),
    Real(&'a mut [f32]),
}

/// Weights and table of a layer from codes to codes.
fn bare(op: &Op) -> Option<(&Dense8, &Table)> {
    match op {
        Op::Dense8 { weights, finish } => Some((weights, finish.table.as_ref()?)),
        _ => None,
    }
}

fn sums(op: &Op, rows: Rows<'_, i8>, acc: &mut [i32], kernel: &dyn Kernel) {
    match op {
        Op::Dense8 { weights, .. } => kernel.dense8(weights, rows, acc),
        Op::Depth8 { weights, .. } => {
            let n_channels = weights.n_channels;
            let lanes = acc.chunks_exact_mut(n_channels.next_multiple_of(LANES));
            for (row_idx, acc) in lanes.take(rows.n_rows).enumerate() {
                let x = &rows.from(row_idx)[..weights.taps.len()];
                kernel.depth8(weights, x, &mut acc[..n_channels]);
            }
        }
        _ => unreachable!("asked for these only"),
    }
}

/// The side path's share in whole accumulator steps: none of it leaves the sums as they were.
fn add_side(acc: &mut [i32], lanes: usize, side: &[f32], scales: &[f32]) {
    let max = super::graph::SIDE_MAX as f32;
    for (acc, side) in acc.chunks_exact_mut(lanes).zip(side.chunks_exact(scales.len())) {
        for ((acc, side), scale) in acc.iter_mut().zip(side).zip(scales) {
            *acc += (side / scale).round().clamp(-max, max) as i32;
        }
    }
}

/// Adds the side path's share and cuts at 0, where asked.
fn settle(out: &mut [f32], side: Option<&mut [f32]>, relu: bool) {
    if let Some(side) = side {
        out.iter_mut().zip(side).for_each(|(out, side)| *out += *side);
    }
    if relu {
        for out in out {
            *out = out.max(0.0);
        }
    }
}

fn pad<T: Copy>(step: &Step, n_items: usize, before: usize, zero: T, x: &[T], out: &mut [T]) {
    let items = x.chunks_exact(step.item_in).zip(out.chunks_exact_mut(step.item_out));
    for (x, out) in items.take(n_items) {
        out[..before].fill(zero);
        out[before..before + x.len()].copy_from_slice(x);
        out[before + x.len()..].fill(zero);
    }
}
