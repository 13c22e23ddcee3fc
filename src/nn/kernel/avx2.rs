//! AVX2, and the same with AVX-VNNI: eight dot products of length four per step.
//!
//! `vpmaddubsw` takes unsigned by signed bytes and saturates sums of two products at 16 bits. With the
//! activation's sign moved over to the weight, its size is at most 128 and a weight's at most 127:
//! 2 * 128 * 127 = 32512 fits. AVX-VNNI sums in 32 bits; there codes are shifted by 128 instead.
#![allow(unsafe_code, reason = "vector instructions and their loads and stores")]

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;

use super::pack::{BLOCK_OUT, INT4_STEPS, LANES, PANEL, STEP};
use super::widen::{methods_beside, plain_loops_with};
use super::{Dense4, Dense8, DenseF, Depth8, DepthF, Kernel, Rows, Sum8, Table, reference};
use crate::nn::Quant;

/// Bytes of one vector: half a tile at one step.
const HALF: usize = LANES * STEP / 2;

/// A kernel with `$features`. `$ready` makes four activations, in every lane, ready to be multiplied;
/// `$dot` adds four products to each lane; `$offset` is what the sums begin with.
macro_rules! kernel {
    ($module:ident, $name:literal, $features:literal, $offset:ident, $ready:item, $dot:item) => {
        pub(super) mod $module {
            use super::*;

            /// Made only where the processor has what it needs.
            pub(in crate::nn::kernel) struct Vectors(pub(super) ());

            plain_loops_with!($features);

            $ready

            $dot

            impl Kernel for Vectors {
                fn name(&self) -> &'static str {
                    $name
                }

                methods_beside!();
            }

            #[target_feature(enable = $features)]
            fn dense8(w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
                let n_lanes = w.offset.len();
                for (row_idx, acc) in acc.chunks_exact_mut(n_lanes).take(x.n_rows).enumerate() {
                    let x = &x.from(row_idx)[..w.n_steps() * STEP];
                    acc.copy_from_slice(&w.$offset);
                    match &w.sparse {
                        Some(_) => strips(w, x, acc),
                        None => panels(w, x, acc),
                    }
                }
            }

            #[target_feature(enable = $features)]
            fn panels(w: &Dense8, x: &[i8], acc: &mut [i32]) {
                let mut weights = w.tiles.of::<i8>();
                for acc in acc.chunks_mut(PANEL * LANES) {
                    let (panel, rest) = weights.split_at(acc.len() * x.len());
                    weights = rest;
                    let n_tiles = acc.len() / LANES;
                    let mut tile = 0;
                    while tile < n_tiles {
                        let acc = &mut acc[tile * LANES..];
                        tile += match n_tiles - tile {
                            4.. => tiles::<8>(&panel[tile * 2 * HALF..], n_tiles, x, acc),
                            2.. => tiles::<4>(&panel[tile * 2 * HALF..], n_tiles, x, acc),
                            _ => tiles::<2>(&panel[tile * 2 * HALF..], n_tiles, x, acc),
                        };
                    }
                }
            }

            /// `H` half tiles; `weights` go on by `n_tiles` tiles from step to step.
            #[target_feature(enable = $features)]
            #[inline]
            fn tiles<const H: usize>(
                weights: &[i8],
                n_tiles: usize,
                x: &[i8],
                acc: &mut [i32],
            ) -> usize {
                let mut sums = [_mm256_setzero_si256(); H];
                for (weights, x) in weights.chunks(n_tiles * 2 * HALF).zip(x.as_chunks::<STEP>().0) {
                    let x = ready(*x);
                    let halves = weights.as_chunks::<HALF>().0.first_chunk::<H>();
                    let halves = halves.expect("a panel as wide as its tiles");
                    for h in 0..H {
                        sums[h] = dot(sums[h], x, load(&halves[h]));
                    }
                }
                for (acc, sum) in acc.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
                    store(acc, _mm256_add_epi32(load32(acc), sum));
                }
                H / 2
            }

            #[target_feature(enable = $features)]
            fn strips(w: &Dense8, x: &[i8], acc: &mut [i32]) {
                let sparse = w.sparse.as_ref().expect("asked for where there is one");
                let blocks = sparse.blocks.of::<i8>().as_chunks::<HALF>().0;
                let x = x.as_chunks::<STEP>().0;
                for (strip, acc) in acc.as_chunks_mut::<BLOCK_OUT>().0.iter_mut().enumerate() {
                    let (Some(first), Some(end)) =
                        (sparse.starts.get(strip), sparse.starts.get(strip + 1))
                    else {
                        break;
                    };
                    let range = *first as usize..*end as usize;
                    let pairs = blocks[range.clone()].iter().zip(&sparse.steps[range]);
                    let mut sums = [_mm256_setzero_si256(); 4];
                    for (k, (block, step)) in pairs.enumerate() {
                        sums[k % 4] = dot(sums[k % 4], ready(x[usize::from(*step)]), load(block));
                    }
                    let [a, b, c, d] = sums;
                    let sum = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
                    store(acc, _mm256_add_epi32(load32(acc), sum));
                }
            }

            #[target_feature(enable = $features)]
            fn dense4(w: &Dense4, x: Rows<'_, i8>, out: &mut [f32]) {
                for (row_idx, out) in out.chunks_exact_mut(w.n_out).take(x.n_rows).enumerate() {
                    super::dense4_row(w, x.from(row_idx), out);
                }
            }

            #[target_feature(enable = $features)]
            fn encode(quant: Quant, real: &[f32], codes: &mut [i8]) {
                reference::encode(quant, real, codes);
            }

            #[target_feature(enable = $features)]
            fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
                super::requantise(table, acc, out);
            }
        }
    };
}

kernel! {
    avx2, "avx2", "avx2", offset,
    /// The codes and their sizes.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn ready(x: [i8; STEP]) -> (__m256i, __m256i) {
        let codes = _mm256_set1_epi32(i32::from_le_bytes(x.map(|code| code as u8)));
        (codes, _mm256_abs_epi8(codes))
    },
    #[target_feature(enable = "avx2")]
    #[inline]
    fn dot(sum: __m256i, (codes, sizes): (__m256i, __m256i), w: __m256i) -> __m256i {
        let pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(w, codes));
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

kernel! {
    avx_vnni, "avx-vnni", "avx2,avxvnni", offset_128,
    /// The codes plus 128.
    #[target_feature(enable = "avx2,avxvnni")]
    #[inline]
    fn ready(x: [i8; STEP]) -> __m256i {
        let codes = _mm256_set1_epi32(i32::from_le_bytes(x.map(|code| code as u8)));
        _mm256_xor_si256(codes, _mm256_set1_epi8(i8::MIN))
    },
    #[target_feature(enable = "avx2,avxvnni")]
    #[inline]
    fn dot(sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(sum, x, w)
    }
}

impl avx2::Vectors {
    /// The kernel, if it can run here.
    pub(super) fn detect() -> Option<&'static Self> {
        is_x86_feature_detected!("avx2").then_some(&Self(()))
    }
}

impl avx_vnni::Vectors {
    /// The kernel, if it can run here.
    pub(super) fn detect() -> Option<&'static Self> {
        let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni");
        found.then_some(&Self(()))
    }
}

/// One row of INT4: group by group over all tiles, the sums kept in `out`.
#[target_feature(enable = "avx2")]
pub(super) fn dense4_row(w: &Dense4, x: &[i8], out: &mut [f32]) {
    let n_groups = w.n_in.div_ceil(INT4_STEPS * STEP);
    let x = &x.as_chunks::<STEP>().0.as_chunks::<INT4_STEPS>().0[..n_groups];
    let nibbles = w.nibbles.of::<u8>().as_chunks::<HALF>().0.as_chunks::<INT4_STEPS>().0;
    out.fill(0.0);
    for (group, x) in x.iter().enumerate() {
        let x = x.map(|x| _mm256_set1_epi32(i32::from_le_bytes(x.map(|code| code as u8))));
        // Codes lie 8 too high: so many times the activations' sum comes off.
        let mut eights = _mm256_setzero_si256();
        for x in x {
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(8), x);
            eights = _mm256_add_epi16(eights, pairs);
        }
        let eights = _mm256_madd_epi16(eights, _mm256_set1_epi16(1));
        for (tile, out) in out.chunks_mut(LANES).enumerate() {
            let at = tile * n_groups + group;
            let halves = group4(&nibbles[at], x);
            for (half, (out, sum)) in out.chunks_mut(8).zip(halves).enumerate() {
                let lane = at * LANES + half * 8;
                let offset = load32(w.offset[lane..].first_chunk().expect("sixteen lanes"));
                let mut sums = [0_i32; 8];
                store(&mut sums, _mm256_sub_epi32(_mm256_sub_epi32(sum, eights), offset));
                let scales = &w.scales[lane..][..8];
                for ((out, sum), scale) in out.iter_mut().zip(sums).zip(scales) {
                    *out += sum as f32 * scale;
                }
            }
        }
    }
    out.iter_mut().zip(&w.bias).for_each(|(out, bias)| *out += bias);
}

/// Products of one tile with 32 activations: eight pairs of at most 2 * 15 * 128 fit 16 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn group4(nibbles: &[[u8; HALF]; INT4_STEPS], x: [__m256i; INT4_STEPS]) -> [__m256i; 2] {
    let low = _mm256_set1_epi8(15);
    let mut pairs = [_mm256_setzero_si256(); 2];
    for (at, bytes) in nibbles.iter().enumerate() {
        let (two_steps, half) = (at / 2, at % 2);
        let bytes = load(&bytes.map(|b| b as i8));
        let even = _mm256_maddubs_epi16(_mm256_and_si256(bytes, low), x[2 * two_steps]);
        let odd = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low);
        let odd = _mm256_maddubs_epi16(odd, x[2 * two_steps + 1]);
        pairs[half] = _mm256_add_epi16(pairs[half], _mm256_add_epi16(even, odd));
    }
    pairs.map(|pairs| _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

#[target_feature(enable = "avx2")]
fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
    let n_lanes = table.multiplier.len();
    for (acc, out) in acc.chunks_exact(n_lanes).zip(out.chunks_exact_mut(table.n_out)) {
        for (first, out) in (0..n_lanes).step_by(8).zip(out.chunks_mut(8)) {
            let acc = load32(acc[first..].first_chunk().expect("sixteen lanes"));
            let mut codes = [0_i32; 8];
            store(&mut codes, scale8(table, first, acc));
            for (out, code) in out.iter_mut().zip(codes) {
                *out = (code + table.zero).clamp(table.least, 127) as i8;
            }
        }
    }
}

/// Eight accumulators times their factors.
#[target_feature(enable = "avx2")]
#[inline]
fn scale8(table: &Table, first: usize, acc: __m256i) -> __m256i {
    let factor = load32(table.multiplier[first..].first_chunk().expect("sixteen lanes"));
    // Of every sixteen the even ones come first.
    let even_at = first / LANES * LANES + first % LANES / 2;
    let even = _mm256_mul_epi32(acc, factor);
    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(acc), _mm256_srli_epi64::<32>(factor));
    let even = shift_round(table, even_at, even);
    let odd = shift_round(table, even_at + 8, odd);
    _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<32>(odd))
}

/// Products to results: there is no arithmetic 64-bit shift, so they are made positive for it.
#[target_feature(enable = "avx2")]
#[inline]
fn shift_round(table: &Table, at: usize, product: __m256i) -> __m256i {
    let up = _mm256_set1_epi64x(1 << 62);
    let right = load64(table.right64[at..].first_chunk().expect("sixteen lanes"));
    let round = load64(table.round[at..].first_chunk().expect("sixteen lanes"));
    let sum = _mm256_add_epi64(_mm256_add_epi64(product, round), up);
    _mm256_sub_epi64(_mm256_srlv_epi64(sum, right), _mm256_srlv_epi64(up, right))
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(bytes: &[i8; HALF]) -> __m256i {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load32(values: &[i32; 8]) -> __m256i {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load64(values: &[i64; 4]) -> __m256i {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(out: &mut [i32; 8], values: __m256i) {
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), values) }
}
