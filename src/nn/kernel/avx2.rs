//! AVX2, and the same with AVX-VNNI: eight dot products of length four per step.
//!
//! `vpmaddubsw` takes unsigned by signed bytes and saturates sums of two products at 16 bits. With the
//! activation's sign moved over to the weight, its size is at most 128 and a weight's at most 127:
//! 2 * 128 * 127 = 32512 fits. AVX-VNNI sums in 32 bits; there codes are shifted by 128 instead.
#![allow(unsafe_code, reason = "vector instructions and their loads and stores")]

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;

use super::pack::{ABREAST, BLOCK_OUT, INT4_STEPS, LANES, PANEL, STEP, Sparse8, word};
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
                let acc = acc.chunks_exact_mut(w.$offset.len()).take(x.n_rows);
                for (row_idx, acc) in acc.enumerate() {
                    let acc = acc.as_chunks_mut().0;
                    row(w, x.from(row_idx), |strip, sums| store(&mut acc[strip], sums));
                }
            }

            #[target_feature(enable = $features)]
            fn dense8_codes(w: &Dense8, table: &Table, x: Rows<'_, i8>, acc: &mut [i32], out: &mut [i8]) {
                if !table.is_upper {
                    dense8(w, x, acc);
                    return reference::requantise(table, acc, out);
                }
                for (row_idx, out) in out.chunks_exact_mut(table.n_out()).take(x.n_rows).enumerate() {
                    row(w, x.from(row_idx), |strip, sums| give8(table, strip, sums, out));
                }
            }

            /// All sums of one row, a strip of eight outputs at a time, to `give`.
            #[target_feature(enable = $features)]
            #[inline]
            fn row(w: &Dense8, x: &[i8], give: impl FnMut(usize, __m256i)) {
                let x = x[..w.n_steps() * STEP].as_chunks().0;
                match &w.sparse {
                    Some(sparse) => strips(w, sparse, x, give),
                    None => panels(w, x, give),
                }
            }

            #[target_feature(enable = $features)]
            #[inline]
            fn panels(w: &Dense8, x: &[[i8; STEP]], mut give: impl FnMut(usize, __m256i)) {
                let n_tiles = w.$offset.len() / LANES;
                for panel in (0..n_tiles).step_by(PANEL) {
                    match n_tiles - panel {
                        1 => halves::<2>(w, panel, x, &mut give),
                        2 => halves::<4>(w, panel, x, &mut give),
                        3 => halves::<6>(w, panel, x, &mut give),
                        _ => halves::<8>(w, panel, x, &mut give),
                    }
                }
            }

            /// `H` half tiles: all of the panel that begins with tile `panel`.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn halves<const H: usize>(w: &Dense8, panel: usize, x: &[[i8; STEP]], give: &mut impl FnMut(usize, __m256i)) {
                let weights = &w.tiles.of::<i8>().as_chunks::<HALF>().0[2 * panel * x.len()..];
                let mut sums = [_mm256_setzero_si256(); H];
                for (weights, x) in weights.as_chunks::<H>().0.iter().zip(x) {
                    let x = ready(*x);
                    for h in 0..H {
                        sums[h] = dot(sums[h], x, load(&weights[h]));
                    }
                }
                let offset = w.$offset.as_chunks().0[2 * panel..].first_chunk::<H>().expect("whole tiles");
                for h in 0..H {
                    give(2 * panel + h, _mm256_add_epi32(load32(&offset[h]), sums[h]));
                }
            }

            /// All full blocks, four strips at a time.
            #[target_feature(enable = $features)]
            #[inline]
            fn strips(w: &Dense8, sparse: &Sparse8, x: &[[i8; STEP]], mut give: impl FnMut(usize, __m256i)) {
                let blocks = sparse.blocks.of::<i8>().as_chunks::<HALF>().0.as_chunks::<ABREAST>().0;
                let offset = w.$offset.as_chunks::<BLOCK_OUT>().0;
                assert!(x.len() >= sparse.n_steps, "a row of whole steps");
                for (strips, rounds) in sparse.fours() {
                    let mut sums = [_mm256_setzero_si256(); ABREAST];
                    for (blocks, steps) in blocks[rounds.clone()].iter().zip(&sparse.steps[rounds]) {
                        for k in 0..ABREAST {
                            // SAFETY: every step is below `n_steps`, and so many are there.
                            let x = unsafe { *x.get_unchecked(usize::from(steps[k])) };
                            sums[k] = dot(sums[k], ready(x), load(&blocks[k]));
                        }
                    }
                    for (strip, sum) in strips.iter().zip(sums) {
                        if let Some(offset) = offset.get(*strip as usize) {
                            give(*strip as usize, _mm256_add_epi32(load32(offset), sum));
                        }
                    }
                }
            }

            #[target_feature(enable = $features)]
            fn dense4(w: &Dense4, x: Rows<'_, i8>, out: &mut [f32]) {
                for (row_idx, out) in out.chunks_exact_mut(w.n_out).take(x.n_rows).enumerate() {
                    for (four, out) in out.chunks_mut(4 * BLOCK_OUT).enumerate() {
                        match out.len().div_ceil(BLOCK_OUT) {
                            3.. => halves4::<4>(w, x.from(row_idx), 4 * four, out),
                            _ => halves4::<2>(w, x.from(row_idx), 4 * four, out),
                        }
                    }
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
        let codes = _mm256_set1_epi32(word(x));
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
        let codes = _mm256_set1_epi32(word(x));
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

/// `H` half tiles of one row of INT4, from half tile `first` on, to `out`. Eight pairs of products of at
/// most 2 * 15 * 128 fit 16 bits.
#[target_feature(enable = "avx2")]
fn halves4<const H: usize>(w: &Dense4, x: &[i8], first: usize, out: &mut [f32]) {
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

#[target_feature(enable = "avx2")]
fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
    if !table.is_upper {
        return reference::requantise(table, acc, out);
    }
    let n_lanes = table.n_out().next_multiple_of(LANES);
    for (acc, out) in acc.chunks_exact(n_lanes).zip(out.chunks_exact_mut(table.n_out())) {
        for (strip, acc) in acc.as_chunks().0.iter().enumerate() {
            give8(table, strip, load32(acc), out);
        }
    }
}

/// The codes of strip `strip`, from its eight sums, to where they belong in a row; lanes beyond it are left
/// out. Products need 64 bits: even and odd lanes go apart, and their upper halves together again.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn give8(table: &Table, strip: usize, acc: __m256i, row: &mut [i8]) {
    let Some(out) = row.get_mut(strip * BLOCK_OUT..) else { return };
    let factors = table.tile(strip / 2);
    let factor = load32(&factors.multiplier.as_chunks().0[strip % 2]);
    let even = _mm256_mul_epi32(acc, factor);
    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(acc), _mm256_srli_epi64::<32>(factor));
    let upper = _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd);
    let add = load32(&factors.add.as_chunks().0[strip % 2]);
    let shift = load32(&factors.shift.as_chunks().0[strip % 2]);
    // Without the mask the compiler sees to shifts beyond 31.
    let shift = _mm256_and_si256(shift, _mm256_set1_epi32(31));
    let codes = _mm256_srav_epi32(_mm256_add_epi32(upper, add), shift);
    let codes = _mm256_max_epi32(codes, _mm256_set1_epi32(table.least));
    let (low, high) = (_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes));
    let words = _mm_packs_epi32(low, high);
    let bytes = _mm_packs_epi16(words, words);
    match out.first_chunk_mut() {
        Some(out) => store8(out, bytes),
        None => store_some(out, bytes),
    }
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store8(out: &mut [i8; 8], bytes: __m128i) {
    // SAFETY: eight bytes.
    unsafe { _mm_storel_epi64(out.as_mut_ptr().cast(), bytes) };
}

/// The first of eight bytes, as many as there is room for.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store_some(out: &mut [i8], bytes: __m128i) {
    let bytes = _mm_cvtsi128_si64(bytes).to_le_bytes();
    out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = byte as i8);
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn load(bytes: &[i8; HALF]) -> __m256i {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn load32(values: &[i32; 8]) -> __m256i {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_f(values: &[f32; 8]) -> __m256 {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store(out: &mut [i32; 8], values: __m256i) {
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), values) }
}
