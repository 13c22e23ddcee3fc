//! Sums and real numbers to codes with AVX2.

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;

use super::{load_f, load32};
use crate::nn::Quant;
use crate::nn::kernel::pack::{BLOCK_OUT, LANES};
use crate::nn::kernel::{Table, reference};
use crate::nn::quant::ALMOST_HALF;

#[target_feature(enable = "avx2")]
pub(super) fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
    match (table.is_upper, table.is_one) {
        (false, _) => reference::requantise(table, acc, out),
        (true, false) => narrow::<false>(table, acc, out),
        (true, true) => narrow::<true>(table, acc, out),
    }
}

/// Sums to codes, by the same numbers for `ALL` outputs or by those of each.
#[target_feature(enable = "avx2")]
#[inline]
fn narrow<const ALL: bool>(table: &Table, acc: &[i32], out: &mut [i8]) {
    let all = Narrow::of(table, 0);
    let (least, flip) = (_mm256_set1_epi8(table.least as i8), _mm256_set1_epi8(table.flip()));
    let n_lanes = table.n_out().next_multiple_of(LANES);
    for (acc, out) in acc.chunks_exact(n_lanes).zip(out.chunks_exact_mut(table.n_out())) {
        let four = |first: usize, acc: &[[i32; BLOCK_OUT]]| {
            let mut codes = [_mm256_setzero_si256(); 4];
            for (k, acc) in acc.iter().enumerate() {
                let narrow = if ALL { all } else { Narrow::of(table, first + k) };
                codes[k] = narrow.codes(load32(acc));
            }
            _mm256_xor_si256(_mm256_max_epi8(saturate(codes), least), flip)
        };
        let (fours, last) = acc.as_chunks().0.as_chunks::<4>();
        let (outs, last_out) = out.as_chunks_mut();
        for (at, (acc, out)) in fours.iter().zip(outs.iter_mut()).enumerate() {
            store32(out, four(4 * at, acc));
        }
        if !last_out.is_empty() {
            let first = 4 * outs.len();
            let mut bytes = [0; 4 * BLOCK_OUT];
            store32(&mut bytes, four(first, fours.get(outs.len()).map_or(last, |four| four)));
            // By strips of a known size, which are copied without a call.
            let (strips, rest) = last_out.as_chunks_mut::<BLOCK_OUT>();
            let (bytes, bytes_rest) = bytes.as_chunks::<BLOCK_OUT>().0.split_at(strips.len());
            strips.iter_mut().zip(bytes).for_each(|(out, bytes)| *out = *bytes);
            rest.iter_mut().zip(bytes_rest.as_flattened()).for_each(|(out, byte)| *out = *byte);
        }
    }
}

/// Codes within eight bits, each at the nearest end where it is beyond.
#[target_feature(enable = "avx2")]
#[inline]
fn saturate(codes: [__m256i; 4]) -> __m256i {
    let low = _mm256_packs_epi32(codes[0], codes[1]);
    let high = _mm256_packs_epi32(codes[2], codes[3]);
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order)
}

/// See `Quant::encode`.
#[target_feature(enable = "avx2")]
pub(super) fn encode(quant: Quant, real: &[f32], codes: &mut [i8]) {
    let n_values = real.len().min(codes.len());
    let n_whole = n_values - n_values % (4 * BLOCK_OUT);
    let (real, rest) = real[..n_values].split_at(n_whole);
    reference::encode(quant, rest, &mut codes[n_whole..]);
    let real = real.as_chunks::<BLOCK_OUT>().0.as_chunks::<4>().0;
    let (scale, zero) = (_mm256_set1_ps(quant.scale), _mm256_set1_epi32(quant.zero));
    let (low, high) = (_mm256_set1_ps(-512.0), _mm256_set1_ps(512.0));
    let (half, sign) = (_mm256_set1_ps(ALMOST_HALF), _mm256_set1_ps(-0.0));
    for (real, out) in real.iter().zip(codes.as_chunks_mut().0) {
        let mut codes = [zero; 4];
        for k in 0..4 {
            let steps = _mm256_div_ps(load_f(&real[k]), scale);
            let numbers = _mm256_cmp_ps::<_CMP_ORD_Q>(steps, steps);
            let steps = _mm256_min_ps(_mm256_max_ps(steps, low), high);
            let steps = _mm256_add_ps(steps, _mm256_or_ps(half, _mm256_and_ps(steps, sign)));
            let steps = _mm256_cvttps_epi32(_mm256_and_ps(steps, numbers));
            codes[k] = _mm256_add_epi32(steps, zero);
        }
        store32(out, saturate(codes));
    }
}

/// What turns eight sums into codes, see `pack::Factors`.
#[derive(Clone, Copy)]
struct Narrow {
    even: __m256i,
    odd: __m256i,
    add: __m256i,
    shift: __m256i,
}

impl Narrow {
    /// Of strip `strip`.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn of(table: &Table, strip: usize) -> Self {
        let factors = table.tile(strip / 2);
        let even = load32(&factors.multiplier.as_chunks().0[strip % 2]);
        let shift = load32(&factors.shift.as_chunks().0[strip % 2]);
        Self {
            even,
            odd: _mm256_srli_epi64::<32>(even),
            add: load32(&factors.add.as_chunks().0[strip % 2]),
            // Without the mask the compiler sees to shifts beyond 31.
            shift: _mm256_and_si256(shift, _mm256_set1_epi32(31)),
        }
    }

    /// Products need 64 bits: even and odd lanes go apart, and their upper halves together again.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn codes(&self, acc: __m256i) -> __m256i {
        let even = times(acc, self.even);
        let odd = times(_mm256_srli_epi64::<32>(acc), self.odd);
        let upper = _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd);
        _mm256_srav_epi32(_mm256_add_epi32(upper, self.add), self.shift)
    }
}

/// `_mm256_mul_epi32`, which the compiler makes of three multiplications where a factor stays the same.
#[target_feature(enable = "avx2")]
#[inline]
fn times(a: __m256i, b: __m256i) -> __m256i {
    let product: __m256i;
    // SAFETY: works on registers alone.
    unsafe {
        std::arch::asm!(
            "vpmuldq {product}, {a}, {b}",
            a = in(ymm_reg) a,
            b = in(ymm_reg) b,
            product = lateout(ymm_reg) product,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    product
}

#[target_feature(enable = "avx2")]
#[inline]
fn store32(out: &mut [i8; 32], bytes: __m256i) {
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes) };
}
