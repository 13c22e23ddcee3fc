//! INT4 with AVX2: two codes to a byte, sums scaled group by group.

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;

use super::{load, load_f, load32};
use crate::nn::kernel::Dense4;
use crate::nn::kernel::pack::{BLOCK_OUT, HALF, INT4_STEPS, STEP, word};

/// `H` half tiles of one row of INT4, from half tile `first` on, to `out`. Eight pairs of products of at
/// most 2 * 15 * 128 fit 16 bits.
#[target_feature(enable = "avx2")]
pub(super) fn halves4<const H: usize>(w: &Dense4, x: &[i8], first: usize, out: &mut [f32]) {
    let n_groups = w.n_groups();
    let x = &x.as_chunks::<STEP>().0.as_chunks::<INT4_STEPS>().0[..n_groups];
    let nibbles = w.nibbles.of::<i8>().as_chunks::<HALF>().0.as_chunks::<INT4_STEPS>().0;
    let (offset, scales) = (w.offset.as_chunks().0, w.scales.as_chunks().0);
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_ps(); H];
    for (group, x) in x.iter().enumerate() {
        // Codes lie 8 too high: so many times the activations' sum comes off.
        let mut eights = _mm256_setzero_si256();
        for x in x {
            let x = _mm256_set1_epi32(word(*x));
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(8), x);
            eights = _mm256_add_epi16(eights, pairs);
        }
        for h in 0..H {
            let half = first + h;
            let at = half / 2 * n_groups + group;
            let mut pairs = _mm256_setzero_si256();
            for (two, x) in nibbles[at].as_chunks::<2>().0.iter().zip(x.as_chunks::<2>().0) {
                let two = load(&two[half % 2]);
                let lower = _mm256_and_si256(two, low);
                let even = _mm256_maddubs_epi16(lower, _mm256_set1_epi32(word(x[0])));
                let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(two), low);
                let odd = _mm256_maddubs_epi16(upper, _mm256_set1_epi32(word(x[1])));
                pairs = _mm256_add_epi16(pairs, _mm256_add_epi16(even, odd));
            }
            let at = 2 * at + half % 2;
            let acc = _mm256_madd_epi16(_mm256_sub_epi16(pairs, eights), ones);
            let acc = _mm256_cvtepi32_ps(_mm256_sub_epi32(acc, load32(&offset[at])));
            sums[h] = _mm256_add_ps(sums[h], _mm256_mul_ps(acc, load_f(&scales[at])));
        }
    }
    let bias = w.bias[first * BLOCK_OUT..].chunks(BLOCK_OUT);
    for ((out, bias), sum) in out.chunks_mut(BLOCK_OUT).zip(bias).zip(sums) {
        let mut all = [0.0; BLOCK_OUT];
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_ps(all.as_mut_ptr(), sum) };
        for ((out, bias), sum) in out.iter_mut().zip(bias).zip(all) {
            *out = sum + bias;
        }
    }
}
