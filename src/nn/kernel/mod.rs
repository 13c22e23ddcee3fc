//! The inner loops, in plain code and for each instruction set; one is chosen at start.
//!
//! **Invariant**: whatever the processor has, every kernel gives the bits of `reference.rs`. Integer
//! sums are exact in any order; float sums keep one order: a lane is an output, and products are
//! added input by input, never fused.

mod arena;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "forms that only x86 kernels take"))]
mod pack;
mod reference;
#[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "sums that only AVX2 takes"))]
mod tame;
#[cfg(target_arch = "x86_64")]
mod widen;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

pub(super) use arena::{Arena, LINE, Lent, Loan};
pub(super) use pack::{Dense4, Dense8, DenseF, Depth8, DepthF, LANES, Sum8, Table};

use super::Quant;

/// `n_rows` rows of `n_in` values each, the next one `stride` further on.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    /// All of them; integer rows are read up to the next multiple of four.
    pub values: &'a [T],
    /// From the start of one row to the start of the next.
    pub stride: usize,
    /// How many.
    #[allow(clippy::struct_field_names, reason = "a count of what the struct is")]
    pub n_rows: usize,
}

impl<'a, T> Rows<'a, T> {
    /// From the start of row `row_idx` to the end.
    pub(super) fn from(&self, row_idx: usize) -> &'a [T] {
        &self.values[row_idx * self.stride..]
    }
}

/// One set of inner loops. What is not overridden runs as plain code.
pub(super) trait Kernel: Sync {
    /// What the processor must have, as people call it.
    fn name(&self) -> &'static str;

    /// `acc[row][o] = offset[o] + sum_i w[o][i] x[row][i]`; `acc`: `[n_rows, n_out to 16]`.
    fn dense8(&self, w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
        reference::dense8(w, x, acc);
    }

    /// `out[row][o]`: the group sums times their scales, `[n_rows, n_out]`.
    fn dense4(&self, w: &Dense4, x: Rows<'_, i8>, out: &mut [f32]) {
        reference::dense4(w, x, out);
    }

    /// `out[row][o] = bias[o] + sum_i w[o][i] x[row][i]`, `[n_rows, n_out]`.
    fn dense_f(&self, w: &DenseF, x: Rows<'_, f32>, out: &mut [f32]) {
        reference::dense_f(w, x, out);
    }

    /// One output step of a depthwise layer: `x` begins at its first tap; `acc`: `[channels]`.
    fn depth8(&self, w: &Depth8, x: &[i8], acc: &mut [i32]) {
        reference::depth8(w, x, acc);
    }

    /// The same in float.
    fn depth_f(&self, w: &DepthF, x: &[f32], out: &mut [f32]) {
        reference::depth_f(w, x, out);
    }

    /// Accumulators `[n_rows, n_out to 16]` to codes `[n_rows, n_out]`.
    fn requantise(&self, table: &Table, acc: &[i32], out: &mut [i8]) {
        reference::requantise(table, acc, out);
    }

    /// Both in one: rows to codes `[n_rows, n_out]`; `acc` is there to work in.
    fn dense8_codes(
        &self,
        w: &Dense8,
        table: &Table,
        x: Rows<'_, i8>,
        acc: &mut [i32],
        out: &mut [i8],
    ) {
        self.dense8(w, x, acc);
        self.requantise(table, acc, out);
    }

    /// Accumulators `[n_rows, n_out to 16]` to real numbers `[n_rows, n_out]`, at least 0 after a ReLU.
    fn widen(&self, scales: &[f32], relu: bool, acc: &[i32], out: &mut [f32]) {
        reference::widen(scales, relu, acc, out);
    }

    /// TFLite's ADD of two tensors of codes.
    fn add8(&self, sum: &Sum8, a: &[i8], b: &[i8], out: &mut [i8]) {
        reference::add8(sum, a, b, out);
    }

    /// Real numbers to codes.
    fn encode(&self, quant: Quant, real: &[f32], codes: &mut [i8]) {
        reference::encode(quant, real, codes);
    }

    /// Codes to real numbers.
    fn decode(&self, quant: Quant, codes: &[i8], real: &mut [f32]) {
        reference::decode(quant, codes, real);
    }

    /// `out = (max(x, floor) - mean) / scale`, `mean` and `scale` as long as `x`.
    fn normalise(&self, floor: f32, mean: &[f32], scale: &[f32], x: &[f32], out: &mut [f32]) {
        reference::normalise(floor, mean, scale, x, out);
    }

    /// `out = x - y`, and the mean of its squares.
    fn residual(&self, x: &[f32], y: &[f32], out: &mut [f32]) -> f32 {
        reference::residual(x, y, out)
    }
}

/// Plain code.
struct Reference;

impl Kernel for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }
}

/// Every kernel this processor can run, best first, `reference` last.
pub(super) fn available() -> &'static [&'static dyn Kernel] {
    static AVAILABLE: LazyLock<Vec<&'static dyn Kernel>> = LazyLock::new(|| {
        let mut kernels: Vec<&'static dyn Kernel> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(avx512::Avx512::detect().map(|kernel| kernel as &dyn Kernel));
            kernels.extend(avx2::avx_vnni::Vectors::detect().map(|kernel| kernel as &dyn Kernel));
            kernels.extend(avx2::avx2::Vectors::detect().map(|kernel| kernel as &dyn Kernel));
        }
        #[cfg(target_arch = "aarch64")]
        {
            kernels.extend(neon::dotprod::Vectors::detect().map(|kernel| kernel as &dyn Kernel));
            kernels.extend(neon::neon::Vectors::detect().map(|kernel| kernel as &dyn Kernel));
        }
        kernels.push(&Reference);
        kernels
    });
    &AVAILABLE
}
