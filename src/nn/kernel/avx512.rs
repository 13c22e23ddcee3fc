//! AVX-512 with VNNI: sixteen dot products of length four per instruction.
//!
//! `vpdpbusd` takes unsigned by signed bytes, so codes are shifted by 128 (an exclusive or with 0x80)
//! and 128 times the row's sum is taken off before. Its sums do not saturate.
#![allow(unsafe_code, reason = "vector instructions and their loads and stores")]

mod int4;

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;
use std::hint::black_box;
use std::mem::MaybeUninit;

use int4::dense4;

use super::avx2;
use super::pack::{
    ABREAST, BLOCK_OUT, LANES, PANEL, SHIFT, STEP, STEPS_SHIFTED, Sparse8, step_of, word,
};
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

/// What turns sixteen sums into codes, see `pack::Factors`.
#[derive(Clone, Copy)]
struct Wide {
    even: __m512i,
    odd: __m512i,
    add: __m512i,
    shift: __m512i,
    least: __m512i,
    flip: __m512i,
}

impl Wide {
    /// Of tile `tile`.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn of(table: &Table, tile: usize) -> Self {
        let factors = table.tile(tile);
        let even = load(&factors.multiplier);
        Self {
            even,
            odd: _mm512_srli_epi64::<32>(even),
            add: load(&factors.add),
            // Without the mask the compiler sees to shifts beyond 31.
            shift: _mm512_and_si512(load(&factors.shift), _mm512_set1_epi32(31)),
            least: _mm512_set1_epi8(table.least as i8),
            flip: _mm512_set1_epi8(table.flip()),
        }
    }

    /// Products need 64 bits: even and odd lanes go apart, and their upper halves together again.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn wide(&self, acc: __m512i) -> __m512i {
        let even = _mm512_mul_epi32(acc, self.even);
        let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(acc), self.odd);
        let upper = _mm512_mask_shuffle_epi32::<_MM_PERM_DDBB>(odd, 0x5555, even);
        _mm512_srav_epi32(_mm512_add_epi32(upper, self.add), self.shift)
    }

    /// The codes of one tile.
    #[target_feature(enable = "avx512f,avx512vl")]
    #[inline]
    fn codes(&self, acc: __m512i) -> __m128i {
        let codes = _mm512_cvtsepi32_epi8(self.wide(acc));
        let [least, flip] = [self.least, self.flip].map(|it| _mm512_castsi512_si128(it));
        _mm_xor_si128(_mm_max_epi8(codes, least), flip)
    }
}

/// The codes of four tiles, the first of which is tile `first`. For each `R` apart, so that the compiler
/// puts it where it is called and sums stay in registers.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn four_codes<const R: usize>(table: &Table, first: usize, acc: [__m512i; PANEL]) -> __m512i {
    let mut wide = Wide::of(table, first);
    let mut codes = acc;
    for t in 0..PANEL {
        if t > 0 && !table.is_one {
            wide = Wide::of(table, first + t);
        }
        codes[t] = wide.wide(acc[t]);
    }
    let low = _mm512_packs_epi32(codes[0], codes[1]);
    let high = _mm512_packs_epi32(codes[2], codes[3]);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let codes = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
    _mm512_xor_si512(_mm512_max_epi8(codes, wide.least), wide.flip)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dense8(w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
    let n_lanes = w.offset.len();
    let Some(sparse) = &w.sparse else { return panels(w, x, &mut Out::Sums { n_lanes, acc }) };
    let mut row_idx = 0;
    while row_idx < x.n_rows {
        row_idx += match x.n_rows - row_idx {
            1 => sparse_rows::<1>(w, sparse, x, row_idx, acc),
            _ => sparse_rows::<2>(w, sparse, x, row_idx, acc),
        };
    }
}

/// `R` rows from row `row_idx` on; gives `R`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sparse_rows<const R: usize>(
    w: &Dense8,
    sparse: &Sparse8,
    x: Rows<'_, i8>,
    row_idx: usize,
    acc: &mut [i32],
) -> usize {
    let n_lanes = w.offset.len();
    let acc = acc[row_idx * n_lanes..][..R * n_lanes].as_chunks_mut::<BLOCK_OUT>().0;
    let mut rooms = [[MaybeUninit::uninit(); STEPS_SHIFTED]; R];
    let mut rows: [&[[i8; STEP]]; R] = [&[]; R];
    for (r, (row, room)) in rows.iter_mut().zip(&mut rooms).enumerate() {
        let x = x.from(row_idx + r)[..w.n_steps() * STEP].as_chunks().0;
        let Some(shifted) = avx2::shift(x, !w.shifted, room) else {
            // Rows are equally long: this is the first.
            avx2::row_by_sign(w, x, &mut acc[..n_lanes / BLOCK_OUT]);
            return 1;
        };
        *row = shifted;
    }
    strips(w, sparse, rows, acc);
    R
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dense8_codes(w: &Dense8, table: &Table, x: Rows<'_, i8>, acc: &mut [i32], out: &mut [i8]) {
    if table.is_upper && w.sparse.is_none() {
        return panels(w, x, &mut Out::Codes { table, codes: out });
    }
    dense8(w, x, acc);
    requantise(table, acc, out);
}

/// Where the sums of whole tiles go.
enum Out<'a> {
    Sums { n_lanes: usize, acc: &'a mut [i32] },
    Codes { table: &'a Table, codes: &'a mut [i8] },
}

impl Out<'_> {
    /// The sums of `T` tiles of a row, from tile `first` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline(never)]
    fn take<const T: usize>(&mut self, row_idx: usize, first: usize, sums: &[__m512i; T]) {
        match self {
            Out::Sums { n_lanes, acc } => {
                let acc = acc[row_idx * *n_lanes + first * LANES..].as_chunks_mut().0;
                for (acc, sum) in
                    acc.first_chunk_mut::<T>().expect("whole tiles").iter_mut().zip(sums)
                {
                    store(acc, *sum);
                }
            }
            Out::Codes { table, codes } => {
                let codes = &mut codes[row_idx * table.n_out()..][..table.n_out()][first * LANES..];
                for (t, codes) in codes.chunks_mut(LANES).take(T).enumerate() {
                    store8(codes, Wide::of(table, first + t).codes(sums[t]));
                }
            }
        }
    }
}

/// All sums of all rows, some tiles and rows at a time, to `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn panels(w: &Dense8, x: Rows<'_, i8>, out: &mut Out<'_>) {
    let n_tiles = w.offset.len() / LANES;
    for panel in (0..n_tiles).step_by(PANEL) {
        let width = PANEL.min(n_tiles - panel);
        let mut row_idx = 0;
        while row_idx < x.n_rows {
            let at = At { panel, row_idx };
            row_idx += match (width, x.n_rows - row_idx) {
                (4, 6 | 7 | 9..) => tiles::<4, 6, 1>(w, x, at, out),
                (4, 4..) => tiles::<4, 4, 1>(w, x, at, out),
                (3, 4..) => tiles::<3, 4, 1>(w, x, at, out),
                (2, 4..) => tiles::<2, 4, 1>(w, x, at, out),
                (1, 4..) => tiles::<1, 4, 1>(w, x, at, out),
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
    let (n_steps, first) = (w.n_steps(), at.panel * LANES);
    let weights = &w.tiles.of::<i8>()[first * n_steps * STEP..][..T * LANES * n_steps * STEP];
    let weights = weights.as_chunks::<{ LANES * STEP }>().0.as_chunks::<T>().0;
    let offset = w.offset_128[first..].as_chunks().0.first_chunk::<T>().expect("whole tiles");
    let flip = _mm512_set1_epi8(if w.shifted { 0 } else { SHIFT });
    let mut sums = [[[_mm512_setzero_si512(); T]; R]; K];
    for t in 0..T {
        for r in 0..R {
            sums[0][r][t] = load(&offset[t]);
        }
    }
    macro_rules! add {
        ($k:expr, $weights:expr, $x:expr) => {
            for t in 0..T {
                let tile = bytes(&$weights[t]);
                for r in 0..R {
                    sums[$k][r][t] = _mm512_dpbusd_epi32(sums[$k][r][t], $x[r], tile);
                }
            }
        };
    }
    if R == 1 {
        let x = x.from(at.row_idx)[..n_steps * STEP].as_chunks::<STEP>().0;
        let (weights, rest) = weights.as_chunks::<K>();
        let (x, x_rest) = x.as_chunks::<K>();
        for (weights, x) in weights.iter().zip(x) {
            for k in 0..K {
                add!(k, weights[k], [_mm512_xor_si512(spread(x[k]), flip); R]);
            }
        }
        for (weights, x) in rest.iter().zip(x_rest) {
            add!(0, weights, [_mm512_xor_si512(spread(*x), flip); R]);
        }
    } else {
        let mut parts = [[MaybeUninit::<i32>::uninit(); PART]; R];
        for (part, weights) in weights.chunks(PART).enumerate() {
            for (r, to) in parts.iter_mut().enumerate() {
                let x = &x.from(at.row_idx + r)[part * PART * STEP..];
                shift(&x[..weights.len() * STEP], flip, to);
            }
            for (step, weights) in (0..PART).zip(weights) {
                let mut x = [_mm512_setzero_si512(); R];
                for r in 0..R {
                    // SAFETY: as many steps as there are weights were written by `shift`.
                    x[r] = _mm512_set1_epi32(unsafe { parts[r][step].assume_init() });
                }
                add!(0, weights, x);
            }
        }
    }
    // Apart from the sums, which stay in registers only while every index is known.
    let mut done = [[_mm512_setzero_si512(); T]; R];
    for r in 0..R {
        for t in 0..T {
            done[r][t] = sums[0][r][t];
            for k in 1..K {
                done[r][t] = _mm512_add_epi32(done[r][t], sums[k][r][t]);
            }
        }
    }
    for (r, done) in done.iter().enumerate() {
        let row_idx = at.row_idx + r;
        if let (Out::Codes { table, codes }, Some(done)) = (&mut *out, done.first_chunk::<PANEL>())
            && let Some(codes) = codes[row_idx * table.n_out() + first..].first_chunk_mut()
            && first + PANEL * LANES <= table.n_out()
        {
            store64(codes, four_codes::<R>(table, at.panel, *done));
        } else {
            out.take(row_idx, at.panel, done);
        }
    }
    R
}

/// Steps of a row that are shifted at once, where several rows go together.
const PART: usize = 256;

/// Whole steps of codes, combined with `flip`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn shift(x: &[i8], flip: __m512i, to: &mut [MaybeUninit<i32>; PART]) {
    assert!(x.len() <= PART * STEP, "no more than there is room for");
    for (x, to) in x.chunks(LANES * STEP).zip(to.as_chunks_mut::<LANES>().0) {
        let mask = u64::MAX >> (LANES * STEP - x.len());
        // SAFETY: as many bytes as the mask has ones are read; 64 are written.
        unsafe {
            let x = _mm512_maskz_loadu_epi8(mask, x.as_ptr());
            let x = _mm512_xor_si512(x, flip);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), x);
        }
    }
}

/// Four codes in every lane.
#[target_feature(enable = "avx512f")]
#[inline]
fn spread(x: [i8; STEP]) -> __m512i {
    _mm512_set1_epi32(word(x))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[i32; LANES]) -> __m512i {
    // SAFETY: sixteen numbers of four bytes.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

/// As `load`, of sums that were stored half by half: only so can they be had before they reach the cache.
#[target_feature(enable = "avx512f")]
#[inline]
fn load_halves(values: &[i32; LANES]) -> __m512i {
    let [low, high] = values.as_chunks().0 else { unreachable!("two halves") };
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(avx2::load32(low)), avx2::load32(high))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_f(values: &[f32; LANES]) -> __m512 {
    // SAFETY: sixteen numbers of four bytes.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(values: &mut [i32; LANES], from: __m512i) {
    // SAFETY: sixteen numbers of four bytes.
    unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), from) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn bytes(values: &[i8; LANES * STEP]) -> __m512i {
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

/// All full blocks of `R` rows, whose codes come plus 128, two strips of 8 outputs to a vector.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn strips<const R: usize>(
    w: &Dense8,
    sparse: &Sparse8,
    x: [&[[i8; STEP]]; R],
    acc: &mut [[i32; BLOCK_OUT]],
) {
    assert!(x.iter().all(|x| x.len() >= sparse.n_steps), "rows of whole steps");
    let blocks = sparse.blocks.of::<i8>().as_chunks().0.as_chunks::<PAIRS>().0;
    let offset = w.offset_128.as_chunks().0;
    // SAFETY: every step is below `n_steps`, and so many are there.
    let at = |r: usize, step: usize| unsafe { word(*x[r].get_unchecked(step)) };
    // Known, the mask would become a permutation of two vectors; so it stays with the load.
    let upper = black_box(0xff00);
    for (lanes, rounds) in sparse.eights() {
        let mut pairs = [[_mm512_setzero_si512(); PAIRS]; R];
        for (blocks, round) in blocks[rounds.clone()].iter().zip(&sparse.rounds[rounds]) {
            for k in 0..PAIRS {
                let weights = bytes(&blocks[k]);
                for r in 0..R {
                    let low = _mm512_set1_epi32(at(r, step_of(round, 2 * k)));
                    let x = _mm512_mask_set1_epi32(low, upper, at(r, step_of(round, 2 * k + 1)));
                    pairs[r][k] = _mm512_dpbusd_epi32(pairs[r][k], x, weights);
                }
            }
        }
        for r in 0..R {
            let mut sums = [_mm256_setzero_si256(); ABREAST];
            for k in 0..PAIRS {
                sums[2 * k] = _mm512_castsi512_si256(pairs[r][k]);
                sums[2 * k + 1] = _mm512_extracti64x4_epi64::<1>(pairs[r][k]);
            }
            avx2::add_lanes(lanes, &sums, offset, &mut acc[r * offset.len()..][..offset.len()]);
        }
    }
}

/// Vectors of the strips that go side by side.
const PAIRS: usize = ABREAST / 2;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
    if !table.is_upper {
        return reference::requantise(table, acc, out);
    }
    let n_lanes = table.n_out().next_multiple_of(LANES);
    for (acc, out) in acc.chunks_exact(n_lanes).zip(out.chunks_exact_mut(table.n_out())) {
        let tiles = acc.as_chunks().0;
        let (fours, rest) = out.as_chunks_mut::<{ PANEL * LANES }>();
        let (tiles, tiles_rest) = tiles.split_at(PANEL * fours.len());
        let done = tiles.len();
        for (four, (acc, out)) in tiles.as_chunks::<PANEL>().0.iter().zip(fours).enumerate() {
            let mut sums = [_mm512_setzero_si512(); PANEL];
            for t in 0..PANEL {
                sums[t] = load_halves(&acc[t]);
            }
            store64(out, four_codes::<0>(table, PANEL * four, sums));
        }
        for (t, (acc, out)) in tiles_rest.iter().zip(rest.chunks_mut(LANES)).enumerate() {
            store8(out, Wide::of(table, done + t).codes(load_halves(acc)));
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
        let steps = _mm512_div_ps(load_f(real), scale);
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
    if let Some(out) = out.first_chunk_mut() {
        store16(out, bytes);
    } else {
        let mut all = [0_i8; LANES];
        store16(&mut all, bytes);
        out.copy_from_slice(&all[..out.len()]);
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store16(out: &mut [i8; LANES], bytes: __m128i) {
    // SAFETY: sixteen bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) };
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store64(out: &mut [i8; PANEL * LANES], bytes: __m512i) {
    // SAFETY: 64 bytes.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), bytes) };
}
