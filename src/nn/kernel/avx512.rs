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

/// Cache lines of the next panel that are asked for while the sums of one become codes.
const PREFETCH: usize = 16;
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
    if w.sparse.is_some() {
        dense8(w, x, acc);
        requantise(table, acc, out);
    } else {
        panels(w, x, &mut Out::Codes { factors: Factors::new(table), codes: out });
    }
}

/// Where the sums of whole tiles go.
enum Out<'a> {
    Sums { n_lanes: usize, acc: &'a mut [i32] },
    Codes { factors: Factors<'a>, codes: &'a mut [i8] },
}

impl Out<'_> {
    /// Sums of row `row_idx` that begin with output `first`.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn take<const T: usize>(&mut self, first: usize, row_idx: usize, sums: &[__m512i; T]) {
        match self {
            Self::Sums { n_lanes, acc } => {
                let acc = acc[row_idx * *n_lanes + first..].as_chunks_mut::<LANES>().0;
                acc.iter_mut().zip(sums).for_each(|(acc, sum)| store(acc, *sum));
            }
            Self::Codes { factors, codes } => {
                let n_out = factors.table.n_out;
                let codes = &mut codes[row_idx * n_out..][..n_out][first..];
                let found = factors.codes_of(first, sums);
                if let Some(codes) = codes.as_chunks_mut::<LANES>().0.first_chunk_mut::<T>() {
                    codes.iter_mut().zip(found).for_each(|(out, found)| store8(out, found));
                } else {
                    codes.chunks_mut(LANES).zip(found).for_each(|(out, found)| store8(out, found));
                }
            }
        }
    }
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
            let at = At { panel, width, row_idx };
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

/// First tile of the panel, its width, and the first row.
#[derive(Clone, Copy)]
struct At {
    panel: usize,
    width: usize,
    row_idx: usize,
}

/// `T` tiles by `R` rows, in `K` sums each so that one addition need not wait for the last; gives `R`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn tiles<const T: usize, const R: usize, const K: usize>(
    w: &Dense8,
    x: Rows<'_, i8>,
    at: At,
    out: &mut Out<'_>,
) -> usize {
    let n_steps = w.n_steps();
    let tile_bytes = LANES * STEP;
    assert!(at.width == T, "all tiles of the panel");
    let weights =
        &w.tiles.of::<i8>()[at.panel * n_steps * tile_bytes..][..T * n_steps * tile_bytes];
    let weights = weights.as_ptr();
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
    for ahead in 0..PREFETCH {
        // No harm beyond the end: nothing is read.
        _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add((n_steps * T + ahead) * tile_bytes));
    }
    for r in 0..R {
        let mut all = sums[0][r];
        for k in 1..K {
            for t in 0..T {
                all[t] = _mm512_add_epi32(all[t], sums[k][r][t]);
            }
        }
        out.take(first, at.row_idx + r, &all);
    }
    R
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
    let shift = _mm256_set1_epi32(SHIFT);
    let blocks = sparse.blocks.of::<i8>().as_chunks::<ROUND>().0;
    let x = x.as_chunks::<STEP>().0;
    let acc = acc.as_chunks_mut::<BLOCK_OUT>().0;
    for (strips, rounds) in sparse.fours() {
        let mut sums = [_mm256_setzero_si256(); ABREAST];
        for (block, steps) in blocks[rounds.clone()].iter().zip(&sparse.steps[rounds]) {
            for k in 0..ABREAST {
                let x = i32::from_le_bytes(x[usize::from(steps[k])].map(|code| code as u8));
                let x = _mm256_xor_si256(_mm256_set1_epi32(x), shift);
                // SAFETY: the four blocks of a round are 32 bytes each.
                let block = unsafe { _mm256_loadu_si256(block.as_ptr().cast::<__m256i>().add(k)) };
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
    let n_lanes = table.multiplier.len();
    let factors = Factors::new(table);
    for (acc, out) in acc.chunks_exact(n_lanes).zip(out.chunks_exact_mut(table.n_out)) {
        for (first, out) in (0..n_lanes).step_by(LANES).zip(out.chunks_mut(LANES)) {
            let [codes] = factors.codes_of(first, &load_tiles::<1>(&acc[first..]));
            store8(out, codes);
        }
    }
}

/// A table, with what all outputs share in registers.
struct Factors<'a> {
    table: &'a Table,
    one: Option<Shift>,
    least: __m512i,
}

/// What goes before the shift, and how far it goes.
#[derive(Clone, Copy)]
struct Shift {
    round: __m512i,
    right: __m512i,
}

impl Shift {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn of(round: &[i64; 8], right: &[i64; 8]) -> Self {
        // SAFETY: eight numbers of eight bytes.
        let load = |values: &[i64; 8]| unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
        // Without the mask the compiler sees to shifts beyond 63.
        Self { round: load(round), right: _mm512_and_si512(load(right), _mm512_set1_epi64(63)) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn apply(self, product: __m512i) -> __m512i {
        _mm512_srlv_epi64(_mm512_add_epi64(product, self.round), self.right)
    }
}

impl<'a> Factors<'a> {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(table: &'a Table) -> Self {
        let (round, right) = (&table.round, &table.right64);
        let first = table.one_right.then(|| round.first_chunk().zip(right.first_chunk()));
        let one = first.flatten().map(|(round, right)| Shift::of(round, right));
        Self { table, one, least: _mm512_set1_epi32(table.least) }
    }

    /// Codes of tiles of sums that begin with output `first`. Products need 64 bits: even and odd lanes
    /// apart.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn codes_of<const T: usize>(&self, first: usize, sums: &[__m512i; T]) -> [__m128i; T] {
        let table = self.table;
        let factors = load_tiles::<T>(&table.multiplier[first..]);
        let downs = load_tiles::<T>(&table.down[first..]);
        let products: [(__m512i, __m512i); T] = std::array::from_fn(|t| {
            let (acc, factor) = (sums[t], factors[t]);
            let high = (_mm512_srli_epi64::<32>(acc), _mm512_srli_epi64::<32>(factor));
            (_mm512_mul_epi32(acc, factor), _mm512_mul_epi32(high.0, high.1))
        });
        let done = |t: usize, even: Shift, odd: Shift| {
            let (evens, odds) = (even.apply(products[t].0), odd.apply(products[t].1));
            let codes = _mm512_mask_blend_epi32(0xaaaa, evens, _mm512_slli_epi64::<32>(odds));
            let codes = _mm512_add_epi32(codes, downs[t]);
            _mm512_cvtsepi32_epi8(_mm512_max_epi32(codes, self.least))
        };
        if let Some(one) = self.one {
            return std::array::from_fn(|t| done(t, one, one));
        }
        let round = table.round[first..].as_chunks::<8>().0.as_chunks::<2>().0;
        let right = table.right64[first..].as_chunks::<8>().0.as_chunks::<2>().0;
        let (round, right) = (round.first_chunk::<T>(), right.first_chunk::<T>());
        let (round, right) = round.zip(right).expect("whole tiles");
        std::array::from_fn(|t| {
            let [even, odd] = [0, 1].map(|half| Shift::of(&round[t][half], &right[t][half]));
            done(t, even, odd)
        })
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

#[target_feature(enable = "avx512f")]
#[inline]
fn store(out: &mut [i32; LANES], values: __m512i) {
    // SAFETY: sixteen numbers of four bytes.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), values) }
}
