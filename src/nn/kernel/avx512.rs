//! AVX-512 with VNNI: sixteen dot products of length four per instruction.
//!
//! `vpdpbusd` takes unsigned by signed bytes, so codes are shifted by 128 (an exclusive or with 0x80)
//! and 128 times the row's sum is taken off before. Its sums do not saturate.
#![allow(unsafe_code, reason = "vector instructions and their loads and stores")]

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;

use super::pack::{ABREAST, BLOCK_OUT, LANES, PANEL, ROUND, STEP, Sparse8};
use super::widen::{methods_beside, plain_loops_with};
use super::{Dense4, Dense8, DenseF, Depth8, DepthF, Kernel, Rows, Sum8, Table, reference};
use crate::nn::Quant;
use crate::nn::quant::ALMOST_HALF;

/// Made only where the processor has what it needs.
pub(super) struct Avx512(());

impl Avx512 {
    /// The kernel, if it can run here.
    pub(super) fn detect() -> Option<&'static Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        found.then_some(&Self(()))
    }
}

// The plain loops, for the compiler to widen.
plain_loops_with!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

impl Kernel for Avx512 {
    fn name(&self) -> &'static str {
        "avx512-vnni"
    }

    fn dense8_codes(
        &self,
        w: &Dense8,
        table: &Table,
        x: Rows<'_, i8>,
        acc: &mut [i32],
        out: &mut [i8],
    ) {
        // SAFETY: a kernel is only made where `detect` found its features.
        unsafe { dense8_codes(w, table, x, acc, out) }
    }

    methods_beside!();
}

/// Codes of sixteen sums that begin with lane `$first`. Products need 64 bits: even and odd lanes go
/// apart. A macro, as vectors handed to functions that are not inlined go through memory.
macro_rules! codes {
    ($factors:expr, $first:expr, $acc:expr) => {{
        let (factors, acc) = ($factors, $acc);
        // Where one factor serves all, its lines stay in the nearest cache.
        let first = if factors.is_one { 0 } else { $first };
        let long = |from: *const i64, at: usize| _mm512_loadu_si512(from.add(first + at).cast());
        let wide = |from: *const i32| _mm512_loadu_si512(from.add(first).cast());
        // Without the mask the compiler sees to shifts beyond 63.
        let mask = _mm512_set1_epi64(63);
        let even = _mm512_mul_epi32(acc, wide(factors.multiplier));
        let even = _mm512_add_epi64(even, long(factors.round, 0));
        let even = _mm512_srlv_epi64(even, _mm512_and_si512(long(factors.right, 0), mask));
        let odd = _mm512_srli_epi64::<32>(wide(factors.multiplier));
        let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(acc), odd);
        let odd = _mm512_add_epi64(odd, long(factors.round, 8));
        let odd = _mm512_srlv_epi64(odd, _mm512_and_si512(long(factors.right, 8), mask));
        let codes = _mm512_mask_blend_epi32(0xaaaa, even, odd);
        let codes = _mm512_add_epi32(codes, wide(factors.down));
        _mm512_cvtsepi32_epi8(_mm512_max_epi32(codes, _mm512_set1_epi32(factors.least)))
    }};
}

/// Flips the sign bit of every byte: code + 128.
const SHIFT: i32 = 0x8080_8080_u32 as i32;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dense8(w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
    let n_lanes = w.offset.len();
    let acc = &mut acc[..x.n_rows * n_lanes];
    match &w.sparse {
        Some(sparse) => {
            for (row_idx, acc) in acc.chunks_exact_mut(n_lanes).enumerate() {
                acc.copy_from_slice(&w.offset_128);
                strips(sparse, &x.from(row_idx)[..w.n_steps() * STEP], acc);
            }
        }
        None => panels(w, x, &mut Out::Sums { n_lanes, acc }),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dense8_codes(w: &Dense8, table: &Table, x: Rows<'_, i8>, acc: &mut [i32], out: &mut [i8]) {
    if w.sparse.is_some() || table.is_steep {
        dense8(w, x, acc);
        requantise(table, acc, out);
    } else {
        assert!(table.multiplier.len() == w.offset.len(), "a factor for every lane");
        panels(
            w,
            x,
            &mut Out::Codes { n_out: table.n_out, factors: Factors::new(table), codes: out },
        );
    }
}

/// Where the sums of whole tiles go.
enum Out<'a> {
    Sums { n_lanes: usize, acc: &'a mut [i32] },
    Codes { n_out: usize, factors: Factors, codes: &'a mut [i8] },
}

/// All sums of all rows, some tiles at a time, to `out`. Weights go by once, so long as a panel of them
/// stays in the nearest cache.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn panels(w: &Dense8, x: Rows<'_, i8>, out: &mut Out<'_>) {
    assert!(
        x.n_rows == 0 || x.values.len() >= (x.n_rows - 1) * x.stride + w.n_steps() * STEP,
        "rows are there to whole steps"
    );
    let n_tiles = w.offset.len() / LANES;
    for panel in (0..n_tiles).step_by(PANEL) {
        let width = PANEL.min(n_tiles - panel);
        let mut row_idx = 0;
        while row_idx < x.n_rows {
            let at = At { panel, row_idx };
            row_idx += match (width, x.n_rows - row_idx) {
                (4, 4..) => tiles::<4, 4, 1>(w, x, at, out),
                (3, 4..) => tiles::<3, 4, 1>(w, x, at, out),
                (2, 4..) => tiles::<2, 4, 1>(w, x, at, out),
                (1, 4..) => tiles::<1, 4, 2>(w, x, at, out),
                (4, _) => tiles::<4, 1, 2>(w, x, at, out),
                (3, _) => tiles::<3, 1, 3>(w, x, at, out),
                (2, _) => tiles::<2, 1, 4>(w, x, at, out),
                _ => tiles::<1, 1, 8>(w, x, at, out),
            };
        }
    }
}

/// First tile of the panel, and the first row.
#[derive(Clone, Copy)]
struct At {
    panel: usize,
    row_idx: usize,
}

/// `T` tiles by `R` rows, in `K` sums each so that one addition need not wait for the last; gives `R`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline(never)]
fn tiles<const T: usize, const R: usize, const K: usize>(
    w: &Dense8,
    x: Rows<'_, i8>,
    at: At,
    out: &mut Out<'_>,
) -> usize {
    let (n_steps, tile_bytes) = (w.n_steps(), LANES * STEP);
    let panel = &w.tiles.of::<i8>()[at.panel * n_steps * tile_bytes..];
    let weights = panel[..T * n_steps * tile_bytes].as_ptr();
    let rows: [*const i8; R] =
        std::array::from_fn(|r| x.from(at.row_idx + r)[..n_steps * STEP].as_ptr());
    let first = at.panel * LANES;
    let mut sums = [[[_mm512_setzero_si512(); T]; R]; K];
    sums[0] = [load_tiles(&w.offset_128[first..]); R];
    let shift = _mm512_set1_epi32(SHIFT);
    let mut add = |step: usize, k: usize| {
        // SAFETY: step < n_steps: within the panel.
        let tile =
            |t| unsafe { _mm512_loadu_si512(weights.add((step * T + t) * tile_bytes).cast()) };
        let tile: [__m512i; T] = std::array::from_fn(tile);
        for r in 0..R {
            // SAFETY: step < n_steps, and the row was cut to n_steps * STEP bytes above.
            let x = unsafe { rows[r].add(step * STEP).cast::<i32>().read_unaligned() };
            let x = _mm512_xor_si512(_mm512_set1_epi32(x), shift);
            for t in 0..T {
                sums[k][r][t] = _mm512_dpbusd_epi32(sums[k][r][t], x, tile[t]);
            }
        }
    };
    let n_full = n_steps / K * K;
    for step in (0..n_full).step_by(K) {
        for k in 0..K {
            add(step + k, k);
        }
    }
    for step in n_full..n_steps {
        add(step, 0);
    }
    for r in 0..R {
        let row_idx = at.row_idx + r;
        for k in 1..K {
            for t in 0..T {
                sums[0][r][t] = _mm512_add_epi32(sums[0][r][t], sums[k][r][t]);
            }
        }
        match out {
            Out::Sums { n_lanes, acc } => {
                let acc = &mut acc[row_idx * *n_lanes + first..][..T * LANES];
                for t in 0..T {
                    // SAFETY: the row was cut to T tiles of numbers of four bytes.
                    unsafe {
                        _mm512_storeu_si512(acc.as_mut_ptr().add(t * LANES).cast(), sums[0][r][t]);
                    }
                }
            }
            Out::Codes { n_out, factors, codes } => {
                let codes = &mut codes[row_idx * *n_out..][..*n_out][first..];
                for t in 0..T {
                    // SAFETY: every lane has its factor.
                    let tile = unsafe { codes!(*factors, first + t * LANES, sums[0][r][t]) };
                    if codes.len() >= (t + 1) * LANES {
                        // SAFETY: sixteen bytes, there by the line above.
                        unsafe { _mm_storeu_si128(codes.as_mut_ptr().add(t * LANES).cast(), tile) };
                    } else {
                        store8(&mut codes[t * LANES..], tile);
                    }
                }
            }
        }
    }
    R
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[i32; LANES]) -> __m512i {
    // SAFETY: sixteen numbers of four bytes.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_tiles<const T: usize>(values: &[i32]) -> [__m512i; T] {
    let values = values.as_chunks::<LANES>().0.first_chunk::<T>().expect("whole tiles");
    // SAFETY: sixteen numbers of four bytes.
    std::array::from_fn(|t| unsafe { _mm512_loadu_si512(values[t].as_ptr().cast()) })
}

/// All full blocks, four strips of 8 outputs at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn strips(sparse: &Sparse8, x: &[i8], acc: &mut [i32]) {
    assert!(x.len() >= sparse.n_steps * STEP, "a row of whole steps");
    let shift = _mm256_set1_epi32(SHIFT);
    let blocks = sparse.blocks.of::<i8>().as_chunks::<ROUND>().0;
    let acc = acc.as_chunks_mut::<BLOCK_OUT>().0;
    for (strips, rounds) in sparse.fours() {
        let mut sums = [_mm256_setzero_si256(); ABREAST];
        for (block, steps) in blocks[rounds.clone()].iter().zip(&sparse.steps[rounds]) {
            for k in 0..ABREAST {
                // SAFETY: every step is below `n_steps`, and so many are there.
                let x = unsafe {
                    x.as_ptr().add(usize::from(steps[k]) * STEP).cast::<i32>().read_unaligned()
                };
                let x = _mm256_xor_si256(_mm256_set1_epi32(x), shift);
                // SAFETY: the four blocks of a round are 32 bytes each.
                let block =
                    unsafe { _mm256_loadu_si256(block.as_ptr().add(k * BLOCK_OUT * STEP).cast()) };
                sums[k] = _mm256_dpbusd_epi32(sums[k], x, block);
            }
        }
        for (strip, sum) in strips.iter().zip(sums) {
            let Some(acc) = acc.get_mut(*strip as usize) else { continue };
            // SAFETY: eight numbers of four bytes, read and written.
            unsafe {
                let sum = _mm256_add_epi32(sum, _mm256_loadu_si256(acc.as_ptr().cast()));
                _mm256_storeu_si256(acc.as_mut_ptr().cast(), sum);
            }
        }
    }
}

/// As with AVX2: two instructions less per step would not pay for a file of its own.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dense4(w: &Dense4, x: Rows<'_, i8>, out: &mut [f32]) {
    for (row_idx, out) in out.chunks_exact_mut(w.n_out).take(x.n_rows).enumerate() {
        super::avx2::dense4_row(w, x.from(row_idx), out);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
    if table.is_steep {
        return reference::requantise(table, acc, out);
    }
    let n_lanes = table.multiplier.len();
    let factors = Factors::new(table);
    for (acc, out) in acc.chunks_exact(n_lanes).zip(out.chunks_exact_mut(table.n_out)) {
        let tiles = acc.as_chunks::<LANES>().0.iter().zip(out.chunks_mut(LANES));
        for (tile, (acc, out)) in tiles.enumerate() {
            // SAFETY: as many tiles as the table has lanes for.
            store8(out, unsafe { codes!(factors, tile * LANES, load(acc)) });
        }
    }
}

/// Where the numbers of a table begin: all checked to be there for every lane.
#[derive(Clone, Copy)]
struct Factors {
    multiplier: *const i32,
    round: *const i64,
    right: *const i64,
    down: *const i32,
    least: i32,
    is_one: bool,
}

impl Factors {
    fn new(table: &Table) -> Self {
        let n_lanes = table.multiplier.len();
        let lengths = [table.round.len(), table.right64.len(), table.down.len()];
        assert!(lengths == [n_lanes; 3], "a number for every lane");
        Self {
            multiplier: table.multiplier.as_ptr(),
            round: table.round.as_ptr(),
            right: table.right64.as_ptr(),
            down: table.down.as_ptr(),
            least: table.least,
            is_one: table.is_one,
        }
    }
}

/// See `Quant::encode`; the last step saturates to eight bits by itself.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn encode(quant: Quant, real: &[f32], codes: &mut [i8]) {
    let n_values = real.len().min(codes.len());
    let (whole, rest) = real[..n_values].as_chunks::<LANES>();
    let (scale, zero) = (_mm512_set1_ps(quant.scale), _mm512_set1_epi32(quant.zero));
    let (low, high) = (_mm512_set1_ps(-512.0), _mm512_set1_ps(512.0));
    let (half, sign) = (_mm512_set1_ps(ALMOST_HALF), _mm512_set1_ps(-0.0));
    for (real, codes) in whole.iter().zip(codes.chunks_mut(LANES)) {
        // SAFETY: sixteen numbers of four bytes.
        let real = unsafe { _mm512_loadu_ps(real.as_ptr()) };
        let steps = _mm512_div_ps(real, scale);
        let numbers = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(steps, steps);
        let steps = _mm512_min_ps(_mm512_max_ps(steps, low), high);
        let steps = _mm512_add_ps(steps, _mm512_or_ps(half, _mm512_and_ps(steps, sign)));
        let steps = _mm512_maskz_cvttps_epi32(numbers, steps);
        store8(codes, _mm512_cvtsepi32_epi8(_mm512_add_epi32(steps, zero)));
    }
    reference::encode(quant, rest, &mut codes[whole.len() * LANES..]);
}

/// Sixteen bytes, as many of them as there is room for.
#[target_feature(enable = "avx512f")]
#[inline]
fn store8(out: &mut [i8], bytes: __m128i) {
    if let Some(out) = out.first_chunk_mut::<LANES>() {
        // SAFETY: sixteen bytes.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) };
    } else {
        let mut all = [0_i8; LANES];
        // SAFETY: sixteen bytes.
        unsafe { _mm_storeu_si128(all.as_mut_ptr().cast(), bytes) };
        out.copy_from_slice(&all[..out.len()]);
    }
}
