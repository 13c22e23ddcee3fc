//! What this machine could do at best: multiply-adds from the nearest cache, and reading weights.
#![allow(unsafe_code, reason = "a processor's peak takes its instructions")]
#![allow(clippy::disallowed_methods, reason = "a clock makes a bench")]

use std::hint::black_box;
use std::time::Instant;

/// The best there is, each measured by itself.
#[derive(Clone, Copy)]
pub(crate) struct Peak {
    /// Multiply-adds a microsecond, weights from the first-level cache.
    pub macs_per_us: f64,
    /// Bytes a microsecond, weights from where so many of them lie.
    pub bytes_per_us: f64,
}

impl Peak {
    /// With the instructions of the kernel of that name, for `n_bytes` of weights; `None` where the
    /// instructions are not known here.
    pub(crate) fn of(kernel: &str, n_bytes: usize) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let bytes = vec![1_u8; 16384 + n_bytes.next_multiple_of(1024) + 64];
            // On whole lines, as weights are.
            let (near, all) = bytes[bytes.as_ptr().align_offset(64)..].split_at(16384);
            let all = &all[..n_bytes.next_multiple_of(1024)];
            // SAFETY: a kernel is in the list only where the processor has its instructions.
            let run = |multiply: bool, bytes: &[u8]| unsafe {
                match (kernel, multiply) {
                    ("avx512-vnni", true) => x86::wide::<true>(bytes),
                    ("avx512-vnni", false) => x86::wide::<false>(bytes),
                    (_, true) => x86::narrow::<true>(bytes),
                    (_, false) => x86::narrow::<false>(bytes),
                }
            };
            if !matches!(kernel, "avx512-vnni" | "avx2") {
                return None;
            }
            let macs_per_us = near.len() as f64 / best_us(|| run(true, black_box(near)));
            let bytes_per_us = all.len() as f64 / best_us(|| run(false, black_box(all)));
            Some(Self { macs_per_us, bytes_per_us })
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (kernel, n_bytes);
            None
        }
    }

    /// Microseconds for so many multiply-adds and bytes of weights, `n_items` at once.
    pub(crate) fn floor_us(self, n_macs: usize, n_bytes: usize, n_items: usize) -> f64 {
        let stream = n_bytes as f64 / self.bytes_per_us / n_items as f64;
        stream.max(n_macs as f64 / self.macs_per_us)
    }
}

/// The shortest of many blocks.
fn best_us(run: impl Fn() -> i32) -> f64 {
    let block = |_| {
        let start = Instant::now();
        for _ in 0..16 {
            black_box(run());
        }
        start.elapsed().as_secs_f64() * 1e6 / 16.0
    };
    (0..4000).map(block).fold(f64::INFINITY, f64::min)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports, reason = "one name per instruction")]
    use std::arch::x86_64::*;

    /// Multiplies or only adds up all bytes, 64 at a time.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(crate) fn wide<const MULTIPLY: bool>(bytes: &[u8]) -> i32 {
        let x = _mm512_set1_epi8(1);
        // Two multiplications a cycle, five cycles each: ten sums at the least.
        let mut sums = [_mm512_setzero_si512(); 16];
        for bytes in bytes.as_chunks::<64>().0.as_chunks::<16>().0 {
            for k in 0..16 {
                // SAFETY: 64 bytes.
                let w = unsafe { _mm512_loadu_si512(bytes[k].as_ptr().cast()) };
                sums[k] = if MULTIPLY {
                    _mm512_dpbusd_epi32(sums[k], x, w)
                } else {
                    _mm512_add_epi32(sums[k], w)
                };
            }
        }
        let all = sums.iter().fold(_mm512_setzero_si512(), |all, sum| _mm512_add_epi32(all, *sum));
        _mm512_reduce_add_epi32(all)
    }

    /// The same, 32 at a time, products of two summed in 16 bits.
    #[target_feature(enable = "avx2")]
    pub(crate) fn narrow<const MULTIPLY: bool>(bytes: &[u8]) -> i32 {
        let (x, one) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1));
        let mut sums = [_mm256_setzero_si256(); 8];
        for bytes in bytes.as_chunks::<32>().0.as_chunks::<16>().0 {
            for k in 0..8 {
                // SAFETY: 32 bytes each.
                let [a, b] =
                    [k, k + 8].map(|k| unsafe { _mm256_loadu_si256(bytes[k].as_ptr().cast()) });
                let add = if MULTIPLY {
                    let [a, b] = [a, b].map(|w| _mm256_maddubs_epi16(x, w));
                    _mm256_madd_epi16(_mm256_add_epi16(a, b), one)
                } else {
                    _mm256_xor_si256(a, b)
                };
                sums[k] = _mm256_add_epi32(sums[k], add);
            }
        }
        let all = sums.iter().fold(_mm256_setzero_si256(), |all, sum| _mm256_add_epi32(all, *sum));
        _mm256_extract_epi32::<0>(all)
    }
}
