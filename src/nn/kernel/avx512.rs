//! AVX-512 with VNNI: sixteen dot products of length four per instruction.
//!
//! `vpdpbusd` takes unsigned by signed bytes, so codes are shifted by 128 (an exclusive or with 0x80)
//! and 128 times the row's sum is taken off before. Its sums do not saturate.
#![allow(unsafe_code, reason = "vector instructions and their loads and stores")]

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;

use super::pack::{BLOCK_OUT, LANES, PANEL, STEP, Sparse8};
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

    methods_beside!();
}

/// Flips the sign bit of every byte: code + 128.
const SHIFT: i32 = 0x8080_8080_u32 as i32;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dense8(w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
    let n_lanes = w.offset.len();
    assert!(acc.len() >= x.n_rows * n_lanes, "room for every sum");
    assert!(
        x.n_rows == 0 || x.values.len() >= (x.n_rows - 1) * x.stride + w.n_steps() * STEP,
        "rows are there to whole steps"
    );
    if let Some(sparse) = &w.sparse {
        for (row_idx, acc) in acc.chunks_exact_mut(n_lanes).take(x.n_rows).enumerate() {
            acc.copy_from_slice(&w.offset_128);
            strips(sparse, &x.from(row_idx)[..w.n_steps() * STEP], acc);
        }
        return;
    }
    let mut row_idx = 0;
    while x.n_rows - row_idx >= 4 {
        panels::<4>(w, x, row_idx, acc);
        row_idx += 4;
    }
    while row_idx < x.n_rows {
        panels::<1>(w, x, row_idx, acc);
        row_idx += 1;
    }
}

/// All outputs of `R` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn panels<const R: usize>(w: &Dense8, x: Rows<'_, i8>, row_idx: usize, acc: &mut [i32]) {
    let n_tiles = w.offset.len() / LANES;
    for panel in (0..n_tiles).step_by(PANEL) {
        let width = PANEL.min(n_tiles - panel);
        let mut tile = 0;
        while tile < width {
            let at = At { panel, width, tile, row_idx };
            tile += match (width - tile, R) {
                (8.., 1) => tiles::<8, R, 1>(w, x, at, acc),
                (4.., 1) => tiles::<4, R, 2>(w, x, at, acc),
                (4.., _) => tiles::<4, R, 1>(w, x, at, acc),
                (2.., 1) => tiles::<2, R, 4>(w, x, at, acc),
                (2.., _) => tiles::<2, R, 1>(w, x, at, acc),
                (_, 1) => tiles::<1, R, 8>(w, x, at, acc),
                _ => tiles::<1, R, 2>(w, x, at, acc),
            };
        }
    }
}

/// First tile of the panel, its width, which tile in it, and the first row.
#[derive(Clone, Copy)]
struct At {
    panel: usize,
    width: usize,
    tile: usize,
    row_idx: usize,
}

/// `T` tiles by `R` rows, in `K` sums each so that one addition need not wait for the last.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn tiles<const T: usize, const R: usize, const K: usize>(
    w: &Dense8,
    x: Rows<'_, i8>,
    at: At,
    acc: &mut [i32],
) -> usize {
    let n_steps = w.n_steps();
    let tile_bytes = LANES * STEP;
    let panel =
        &w.tiles.of::<i8>()[at.panel * n_steps * tile_bytes..][..at.width * n_steps * tile_bytes];
    assert!(at.tile + T <= at.width, "tiles of one panel");
    let weights = panel[at.tile * tile_bytes..].as_ptr();
    let rows: [*const i8; R] =
        std::array::from_fn(|r| x.from(at.row_idx + r)[..n_steps * STEP].as_ptr());
    let mut sums: [[[__m512i; T]; R]; K] = [[[_mm512_setzero_si512(); T]; R]; K];
    let shift = _mm512_set1_epi32(SHIFT);
    let add = |step: usize, sums: &mut [[__m512i; T]; R]| {
        let mut tile = [shift; T];
        for (t, tile) in tile.iter_mut().enumerate() {
            // SAFETY: step < n_steps and at.tile + t < width: within `panel`.
            *tile = unsafe {
                _mm512_loadu_si512(weights.add((step * at.width + t) * tile_bytes).cast())
            };
        }
        for r in 0..R {
            // SAFETY: step < n_steps, and the row was cut to n_steps * STEP bytes above.
            let x = unsafe { rows[r].add(step * STEP).cast::<i32>().read_unaligned() };
            let x = _mm512_xor_si512(_mm512_set1_epi32(x), shift);
            for t in 0..T {
                sums[r][t] = _mm512_dpbusd_epi32(sums[r][t], x, tile[t]);
            }
        }
    };
    let n_full = n_steps / K * K;
    for step in (0..n_full).step_by(K) {
        for k in 0..K {
            add(step + k, &mut sums[k]);
        }
    }
    for step in n_full..n_steps {
        add(step, &mut sums[0]);
    }
    let first = (at.panel + at.tile) * LANES;
    for r in 0..R {
        let acc = &mut acc[(at.row_idx + r) * w.offset.len() + first..][..T * LANES];
        for t in 0..T {
            let mut sum = load(&w.offset_128[first + t * LANES..]);
            for k in 0..K {
                sum = _mm512_add_epi32(sum, sums[k][r][t]);
            }
            store(&mut acc[t * LANES..], sum);
        }
    }
    T
}

/// All full blocks, strip by strip of 8 outputs, in four sums each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn strips(sparse: &Sparse8, x: &[i8], acc: &mut [i32]) {
    let shift = _mm256_set1_epi32(SHIFT);
    let blocks = sparse.blocks.of::<i8>().as_chunks::<{ BLOCK_OUT * STEP }>().0;
    let x = x.as_chunks::<STEP>().0;
    let dot = |sum, block: &[i8; BLOCK_OUT * STEP], step: u16| {
        let x = i32::from_le_bytes(x[usize::from(step)].map(|code| code as u8));
        let x = _mm256_xor_si256(_mm256_set1_epi32(x), shift);
        // SAFETY: a block is 32 bytes.
        let block = unsafe { _mm256_loadu_si256(block.as_ptr().cast()) };
        _mm256_dpbusd_epi32(sum, x, block)
    };
    let ranges = sparse.starts.array_windows::<2>();
    for ([first, end], acc) in ranges.zip(acc.as_chunks_mut::<BLOCK_OUT>().0) {
        let range = *first as usize..*end as usize;
        let (steps, last_steps) = sparse.steps[range.clone()].as_chunks::<4>();
        let (blocks, last_blocks) = blocks[range].as_chunks::<4>();
        let mut sums = [_mm256_setzero_si256(); 4];
        for (blocks, steps) in blocks.iter().zip(steps) {
            for k in 0..4 {
                sums[k] = dot(sums[k], &blocks[k], steps[k]);
            }
        }
        for (block, step) in last_blocks.iter().zip(last_steps) {
            sums[0] = dot(sums[0], block, *step);
        }
        let [a, b, c, d] = sums;
        let sum = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
        // SAFETY: eight numbers of four bytes, read and written.
        unsafe {
            let sum = _mm256_add_epi32(sum, _mm256_loadu_si256(acc.as_ptr().cast()));
            _mm256_storeu_si256(acc.as_mut_ptr().cast(), sum);
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
    let n_lanes = table.multiplier.len();
    let one = table
        .one_right
        .map(|right| (_mm512_set1_epi64(1 << (right - 1)), _mm512_set1_epi64(right)));
    for (acc, out) in acc.chunks_exact(n_lanes).zip(out.chunks_exact_mut(table.n_out)) {
        for (first, out) in (0..n_lanes).step_by(LANES).zip(out.chunks_mut(LANES)) {
            let (even, odd) = one.map_or_else(
                || {
                    let (round, right) = (&table.round[first..], &table.right64[first..]);
                    ((load64(round), load64(right)), (load64(&round[8..]), load64(&right[8..])))
                },
                |one| (one, one),
            );
            let factor = load(&table.multiplier[first..]);
            let codes = scale16(load(&acc[first..]), factor, even, odd);
            let codes = _mm512_add_epi32(codes, _mm512_set1_epi32(table.zero));
            let codes = _mm512_max_epi32(codes, _mm512_set1_epi32(table.least));
            store8(out, _mm512_cvtsepi32_epi8(codes));
        }
    }
}

/// Sixteen products, even and odd lanes apart as they need 64 bits; each side with what is added and
/// by how much it is shifted.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn scale16(
    acc: __m512i,
    factor: __m512i,
    even: (__m512i, __m512i),
    odd: (__m512i, __m512i),
) -> __m512i {
    let evens = _mm512_mul_epi32(acc, factor);
    let odds = _mm512_mul_epi32(_mm512_srli_epi64::<32>(acc), _mm512_srli_epi64::<32>(factor));
    let evens = _mm512_srav_epi64(_mm512_add_epi64(evens, even.0), even.1);
    let odds = _mm512_srav_epi64(_mm512_add_epi64(odds, odd.0), odd.1);
    _mm512_mask_blend_epi32(0xaaaa, evens, _mm512_slli_epi64::<32>(odds))
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

#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[i32]) -> __m512i {
    let values = values.first_chunk::<LANES>().expect("sixteen lanes");
    // SAFETY: sixteen numbers of four bytes.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load64(values: &[i64]) -> __m512i {
    let values = values.first_chunk::<8>().expect("eight lanes");
    // SAFETY: eight numbers of eight bytes.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(out: &mut [i32], values: __m512i) {
    let out = out.first_chunk_mut::<LANES>().expect("sixteen lanes");
    // SAFETY: sixteen numbers of four bytes.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), values) }
}
