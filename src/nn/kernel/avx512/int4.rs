//! INT4: two codes to a byte, sums scaled group by group.

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;

use super::{bytes, load, load_f};
use crate::nn::kernel::pack::{INT4_STEPS, LANES, PANEL, STEP, word};
use crate::nn::kernel::{Dense4, Rows};

/// Codes of INT4 lie 8 too high: without a sign they go first, and activations need no shift.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn dense4(w: &Dense4, x: Rows<'_, i8>, out: &mut [f32]) {
    for (row_idx, out) in out.chunks_exact_mut(w.n_out).take(x.n_rows).enumerate() {
        let x = x.from(row_idx);
        for (panel, out) in out.chunks_mut(PANEL * LANES).enumerate() {
            match out.len().div_ceil(LANES) {
                4 => tiles4::<4>(w, x, panel * PANEL, out),
                3 => tiles4::<3>(w, x, panel * PANEL, out),
                2 => tiles4::<2>(w, x, panel * PANEL, out),
                _ => tiles4::<1>(w, x, panel * PANEL, out),
            }
        }
    }
}

/// `T` tiles of one row, from tile `first` on, to `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn tiles4<const T: usize>(w: &Dense4, x: &[i8], first: usize, out: &mut [f32]) {
    let n_groups = w.n_groups();
    let x = &x.as_chunks::<STEP>().0.as_chunks::<INT4_STEPS>().0[..n_groups];
    let nibbles = w.nibbles.of::<i8>().as_chunks::<{ LANES * STEP }>().0;
    let nibbles = &nibbles.as_chunks::<{ INT4_STEPS / 2 }>().0[first * n_groups..][..T * n_groups];
    let (offset, scales) = (w.offset.as_chunks::<LANES>().0, w.scales.as_chunks::<LANES>().0);
    let low = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_ps(); T];
    for (group, x) in x.iter().enumerate() {
        let mut eights = _mm512_setzero_si512();
        for x in x {
            let x = _mm512_set1_epi32(word(*x));
            eights = _mm512_dpbusd_epi32(eights, _mm512_set1_epi8(8), x);
        }
        for t in 0..T {
            let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            for (two, x) in nibbles[t * n_groups + group].iter().zip(x.as_chunks::<2>().0) {
                let two = bytes(two);
                let lower = _mm512_and_si512(two, low);
                even = _mm512_dpbusd_epi32(even, lower, _mm512_set1_epi32(word(x[0])));
                let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(two), low);
                odd = _mm512_dpbusd_epi32(odd, upper, _mm512_set1_epi32(word(x[1])));
            }
            let at = (first + t) * n_groups + group;
            let off = _mm512_add_epi32(eights, load(&offset[at]));
            let acc = _mm512_sub_epi32(_mm512_add_epi32(even, odd), off);
            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), load_f(&scales[at]));
            sums[t] = _mm512_add_ps(sums[t], product);
        }
    }
    let bias = w.bias[first * LANES..].chunks(LANES);
    for ((out, bias), sum) in out.chunks_mut(LANES).zip(bias).zip(sums) {
        let mask = u16::MAX >> (LANES - out.len());
        // SAFETY: as many numbers as the mask has ones are read and written.
        unsafe {
            let sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, bias.as_ptr()));
            _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, sum);
        }
    }
}
