//! Plain code: the truth every other kernel is held to.
#![allow(
    clippy::inline_always,
    reason = "compiled again within functions of wider instruction sets"
)]

use super::pack::{ABREAST, BLOCK_OUT, INT4_STEPS, LANES, PANEL, SHIFT, STEP, step_of};
use super::{Dense4, Dense8, DenseF, Depth8, DepthF, Rows, Sum8, Table};
use crate::nn::Quant;

/// See `Kernel::dense8`.
pub(super) fn dense8(w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
    for (row_idx, acc) in acc.chunks_exact_mut(w.offset.len()).take(x.n_rows).enumerate() {
        acc.copy_from_slice(&w.offset);
        let x = &x.from(row_idx)[..w.n_steps() * STEP];
        match &w.sparse {
            Some(sparse) => {
                let blocks = sparse.blocks.of::<i8>().as_chunks::<{ BLOCK_OUT * STEP }>().0;
                for (lanes, rounds) in sparse.eights() {
                    for round in rounds {
                        for (lane, whose) in lanes.iter().enumerate() {
                            let step = step_of(&sparse.rounds[round], lane);
                            let acc = &mut acc[whose.strip as usize * BLOCK_OUT..][..BLOCK_OUT];
                            let block = &blocks[round * ABREAST + lane];
                            dot4(block, &x[step * STEP..][..STEP], w.shifted, acc);
                        }
                    }
                }
            }
            None => dense8_tiles(w, x, acc),
        }
    }
}

fn dense8_tiles(w: &Dense8, x: &[i8], acc: &mut [i32]) {
    let panel_len = PANEL * LANES;
    let mut tiles = w.tiles.of::<i8>();
    for acc in acc.chunks_mut(panel_len) {
        for x in x.chunks_exact(STEP) {
            dot4(tiles, x, w.shifted, acc);
            tiles = &tiles[acc.len() * STEP..];
        }
    }
}

/// `acc[o] += sum of four products`.
fn dot4(weights: &[i8], x: &[i8], shifted: bool, acc: &mut [i32]) {
    let flip = if shifted { SHIFT } else { 0 };
    for (acc, w) in acc.iter_mut().zip(weights.chunks_exact(STEP)) {
        *acc += (0..STEP).map(|i| i32::from(w[i]) * i32::from(x[i] ^ flip)).sum::<i32>();
    }
}

/// See `Kernel::dense4`.
pub(super) fn dense4(w: &Dense4, x: Rows<'_, i8>, out: &mut [f32]) {
    let n_groups = w.n_groups();
    for row_idx in 0..x.n_rows {
        let x = &x.from(row_idx)[..w.n_in];
        let out = &mut out[row_idx * w.n_out..][..w.n_out];
        for (tile, out) in out.chunks_mut(LANES).enumerate() {
            let mut sums = [0.0_f32; LANES];
            for group in 0..n_groups {
                let at = tile * n_groups + group;
                let acc = group4(w, at, &x[group * INT4_STEPS * STEP..]);
                for lane in 0..LANES {
                    let acc = acc[lane] - w.offset[at * LANES + lane];
                    sums[lane] += acc as f32 * w.scales[at * LANES + lane];
                }
            }
            for (lane, out) in out.iter_mut().enumerate() {
                *out = sums[lane] + w.bias[tile * LANES + lane];
            }
        }
    }
}

/// Integer dot products of one tile with up to 32 inputs.
fn group4(w: &Dense4, at: usize, x: &[i8]) -> [i32; LANES] {
    let bytes_per_group = INT4_STEPS / 2 * LANES * STEP;
    let nibbles = &w.nibbles.of::<u8>()[at * bytes_per_group..][..bytes_per_group];
    let mut acc = [0; LANES];
    for (i, x) in x.iter().enumerate().take(INT4_STEPS * STEP) {
        let (step, within) = (i / STEP, i % STEP);
        for lane in 0..LANES {
            let byte = nibbles[(step / 2 * LANES + lane) * STEP + within];
            let code = i32::from(byte >> (step % 2 * 4) & 15) - 8;
            acc[lane] += code * i32::from(*x);
        }
    }
    acc
}

/// See `Kernel::dense_f`. Tiles go side by side: their sums need not wait for each other.
#[inline(always)]
pub(super) fn dense_f(w: &DenseF, x: Rows<'_, f32>, out: &mut [f32]) {
    for row_idx in 0..x.n_rows {
        let x = &x.from(row_idx)[..w.n_in];
        let out = &mut out[row_idx * w.n_out..][..w.n_out];
        for (panel, out) in out.chunks_mut(PANEL * LANES).enumerate() {
            match out.len().div_ceil(LANES) {
                1 => tiles_f::<1>(w, panel, x, out),
                2 => tiles_f::<2>(w, panel, x, out),
                3 => tiles_f::<3>(w, panel, x, out),
                _ => tiles_f::<PANEL>(w, panel, x, out),
            }
        }
    }
}

/// `T` tiles: all of the panel.
#[inline(always)]
fn tiles_f<const T: usize>(w: &DenseF, panel: usize, x: &[f32], out: &mut [f32]) {
    let tiles = &w.tiles.of::<f32>().as_chunks::<LANES>().0[panel * PANEL * x.len()..];
    let tiles: [_; T] = std::array::from_fn(|t| &tiles[t * x.len()..][..x.len()]);
    let mut sums = [[0.0_f32; LANES]; T];
    for (i, x) in x.iter().enumerate() {
        for t in 0..T {
            for lane in 0..LANES {
                sums[t][lane] += x * tiles[t][i][lane];
            }
        }
    }
    let bias = &w.bias[panel * PANEL * LANES..];
    out.iter_mut().zip(sums.as_flattened()).zip(bias).for_each(|((out, sum), b)| *out = sum + b);
}

/// See `Kernel::depth8`.
#[inline(always)]
pub(super) fn depth8(w: &Depth8, x: &[i8], acc: &mut [i32]) {
    acc.copy_from_slice(&w.offset);
    for (x, taps) in x.chunks_exact(w.n_channels).zip(w.taps.chunks_exact(w.n_channels)) {
        for ((acc, x), tap) in acc.iter_mut().zip(x).zip(taps) {
            *acc += i32::from(*x) * i32::from(*tap);
        }
    }
}

/// See `Kernel::depth_f`.
#[inline(always)]
pub(super) fn depth_f(w: &DepthF, x: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (x, taps) in x.chunks_exact(w.n_channels).zip(w.taps.chunks_exact(w.n_channels)) {
        for ((out, x), tap) in out.iter_mut().zip(x).zip(taps) {
            *out += x * tap;
        }
    }
    out.iter_mut().zip(&w.bias).for_each(|(out, bias)| *out += bias);
}

/// See `Kernel::requantise`.
#[inline(always)]
pub(super) fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
    let n_out = table.n_out();
    let rows = acc.chunks_exact(n_out.next_multiple_of(LANES)).zip(out.chunks_exact_mut(n_out));
    for (acc, out) in rows {
        for ((factor, acc), out) in table.factors.iter().zip(acc).zip(out) {
            let code = (factor.apply(*acc) + table.zero).clamp(table.least, 127) as i8;
            *out = code ^ table.flip();
        }
    }
}

/// See `Kernel::widen`.
#[inline(always)]
pub(super) fn widen(scales: &[f32], relu: bool, acc: &[i32], out: &mut [f32]) {
    let least = if relu { 0.0 } else { f32::MIN };
    let n_out = scales.len();
    let rows = acc.chunks_exact(n_out.next_multiple_of(LANES)).zip(out.chunks_exact_mut(n_out));
    for (acc, out) in rows {
        for ((acc, scale), out) in acc.iter().zip(scales).zip(out) {
            *out = (*acc as f32 * scale).max(least);
        }
    }
}

/// See `Kernel::add8`.
///
/// # Source
/// TFLite reference ADD, `AddElementwise` for int8.
#[inline(always)]
pub(super) fn add8(sum: &Sum8, a: &[i8], b: &[i8], out: &mut [i8]) {
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        let a = sum.a.apply((i32::from(*a) - sum.zeros.0) << Sum8::LEFT);
        let b = sum.b.apply((i32::from(*b) - sum.zeros.1) << Sum8::LEFT);
        *out = (sum.out.apply(a + b) + sum.zeros.2).clamp(sum.least, 127) as i8;
    }
}

/// See `Kernel::encode`.
#[inline(always)]
pub(super) fn encode(quant: Quant, real: &[f32], codes: &mut [i8]) {
    for (code, real) in codes.iter_mut().zip(real) {
        *code = quant.encode(*real);
    }
}

/// See `Kernel::decode`.
#[inline(always)]
pub(super) fn decode(quant: Quant, codes: &[i8], real: &mut [f32]) {
    for (real, code) in real.iter_mut().zip(codes) {
        *real = quant.decode(*code);
    }
}

/// See `Kernel::normalise`.
#[inline(always)]
pub(super) fn normalise(floor: f32, mean: &[f32], scale: &[f32], x: &[f32], out: &mut [f32]) {
    for (((x, mean), scale), out) in x.iter().zip(mean).zip(scale).zip(out) {
        *out = (x.max(floor) - mean) / scale;
    }
}

/// See `Kernel::residual`. Squares are summed in sixteen lanes, then lane by lane.
#[inline(always)]
pub(super) fn residual(x: &[f32], y: &[f32], out: &mut [f32]) -> f32 {
    let n_values = out.len();
    let mut sums = [0.0_f32; LANES];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let (out, out_rest) = out.as_chunks_mut::<LANES>();
    for ((x, y), out) in x.iter().zip(y).zip(out) {
        for lane in 0..LANES {
            out[lane] = x[lane] - y[lane];
            sums[lane] += out[lane] * out[lane];
        }
    }
    for (((x, y), out), sum) in x_rest.iter().zip(y_rest).zip(out_rest).zip(&mut sums) {
        *out = x - y;
        *sum += *out * *out;
    }
    sums.iter().sum::<f32>() / n_values as f32
}
