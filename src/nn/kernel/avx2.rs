//! AVX2, and the same with AVX-VNNI: eight dot products of length four per step.
//!
//! Products are of unsigned by signed bytes, so codes are shifted by 128. AVX-VNNI sums in 32 bits.
//! `vpmaddubsw` sums two products in 16 bits, which weights of one sign never leave that are 128 together
//! at most (255 * 128 = 32640). Few of a trained layer are larger, for four products even, which saves
//! half the sums in 32 bits; what is over stands in further blocks. Where too much is over, the
//! activation's sign is moved over to the weight, which costs an instruction: sizes are 128 and 127 at
//! most, and 2 * 128 * 127 fits.
#![allow(unsafe_code, reason = "vector instructions and their loads and stores")]

mod codes;
mod int4;

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use int4::halves4;

use super::pack::{
    ABREAST, BLOCK_OUT, HALF, Lane, PANEL, SHIFT, STEP, STEPS_SHIFTED, Sparse8, step_of, word,
};
use super::tame::Tame;
use super::widen::{methods_beside, plain_loops_with};
use super::{Dense4, Dense8, DenseF, Depth8, DepthF, Kernel, Rows, Sum8, Table, reference};
use crate::nn::Quant;

/// A kernel with `$features`; `$row` makes all sums of one row.
macro_rules! kernel {
    ($module:ident, $name:literal, $features:literal, $row:item) => {
        pub(super) mod $module {
            use super::*;

            /// Made only where the processor has what it needs.
            pub(in crate::nn::kernel) struct Vectors(pub(super) ());

            plain_loops_with!($features);

            $row

            impl Kernel for Vectors {
                fn name(&self) -> &'static str {
                    $name
                }

                methods_beside!();
            }

            #[target_feature(enable = $features)]
            fn dense8(w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
                let n_lanes = w.offset.len();
                for row_idx in 0..x.n_rows {
                    let x = x.from(row_idx)[..w.n_steps() * STEP].as_chunks().0;
                    row(w, x, acc[row_idx * n_lanes..][..n_lanes].as_chunks_mut().0);
                }
            }

            #[target_feature(enable = $features)]
            fn dense8_codes(w: &Dense8, table: &Table, x: Rows<'_, i8>, acc: &mut [i32], out: &mut [i8]) {
                dense8(w, x, acc);
                requantise(table, acc, out);
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
                codes::encode(quant, real, codes);
            }

            #[target_feature(enable = $features)]
            fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
                codes::requantise(table, acc, out);
            }
        }
    };
}

/// A module with `row`: all sums of one row to `acc`, `K` steps at a time. `$dot` adds `K` times four
/// products to each lane, of block `h` of `H` beside each other; `$offset` is what the sums begin with.
macro_rules! sums {
    ($module:ident, $features:literal, $offset:ident, $dot:item) => {
        pub(super) mod $module {
            use super::*;

            $dot

            #[target_feature(enable = $features)]
            pub(in crate::nn::kernel) fn row<const K: usize>(w: &Dense8, mut blocks: &[[i8; HALF]], x: &[[i8; STEP]], acc: &mut [[i32; BLOCK_OUT]]) {
                let mut offset = w.$offset.as_chunks().0;
                if let Some(sparse) = &w.sparse {
                    return strips::<K>(blocks, sparse, offset, x, acc);
                }
                for acc in acc.chunks_mut(2 * PANEL) {
                    match acc.len() {
                        2 => halves::<K, 2>(blocks, offset, x, acc),
                        4 => halves::<K, 4>(blocks, offset, x, acc),
                        6 => halves::<K, 6>(blocks, offset, x, acc),
                        _ => halves::<K, 8>(blocks, offset, x, acc),
                    }
                    (blocks, offset) = (&blocks[acc.len() * x.len()..], &offset[acc.len()..]);
                }
            }

            /// The `H` half tiles of one panel, the first of `blocks`.
            #[target_feature(enable = $features)]
            #[inline]
            fn halves<const K: usize, const H: usize>(blocks: &[[i8; HALF]], offset: &[[i32; BLOCK_OUT]], x: &[[i8; STEP]], acc: &mut [[i32; BLOCK_OUT]]) {
                let (offset, acc) = (offset.first_chunk::<H>(), acc.first_chunk_mut::<H>());
                let (offset, acc) = (offset.expect("whole tiles"), acc.expect("whole tiles"));
                let mut sums = [_mm256_setzero_si256(); H];
                for h in 0..H {
                    sums[h] = load32(&offset[h]);
                }
                let (blocks, rest) = blocks.as_chunks::<H>().0[..x.len()].as_chunks::<K>();
                let (x, x_rest) = x.as_chunks::<K>();
                for (blocks, x) in blocks.iter().zip(x) {
                    let x = spread(x);
                    for h in 0..H {
                        sums[h] = done(dot(sums[h], &x, blocks, h));
                    }
                    for blocks in blocks {
                        ahead(blocks);
                    }
                }
                for (block, x) in rest.iter().zip(x_rest) {
                    let x = spread(&[*x]);
                    for h in 0..H {
                        sums[h] = dot(sums[h], &x, &[*block], h);
                    }
                }
                for h in 0..H {
                    store(&mut acc[h], sums[h]);
                }
            }

            /// All full blocks, eight strips at a time.
            #[target_feature(enable = $features)]
            #[inline]
            fn strips<const K: usize>(blocks: &[[i8; HALF]], sparse: &Sparse8, offset: &[[i32; BLOCK_OUT]], x: &[[i8; STEP]], acc: &mut [[i32; BLOCK_OUT]]) {
                let blocks = blocks.as_chunks::<ABREAST>().0;
                assert!(x.len() >= sparse.n_steps, "a row of whole steps");
                // SAFETY: every step is below `n_steps`, and so many are there.
                let at = |step: usize| unsafe { *x.get_unchecked(step) };
                for (lanes, rounds) in sparse.eights() {
                    let mut sums = [_mm256_setzero_si256(); ABREAST];
                    let (blocks, rest) = blocks[rounds.clone()].as_chunks::<K>();
                    let (steps, steps_rest) = sparse.rounds[rounds].as_chunks::<K>();
                    for (blocks, steps) in blocks.iter().zip(steps) {
                        for h in 0..ABREAST {
                            let mut x = [at(step_of(&steps[0], h)); K];
                            for k in 1..K {
                                x[k] = at(step_of(&steps[k], h));
                            }
                            sums[h] = dot(sums[h], &spread(&x), blocks, h);
                        }
                    }
                    for (block, steps) in rest.iter().zip(steps_rest) {
                        for h in 0..ABREAST {
                            let x = [at(step_of(steps, h))];
                            sums[h] = dot(sums[h], &spread(&x), &[*block], h);
                        }
                    }
                    add_lanes(lanes, &sums, offset, acc);
                }
            }
        }
    };
}

/// Asks for the weights some way behind these.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn ahead<const H: usize>(blocks: &[[i8; HALF]; H]) {
    for line in blocks.as_flattened().chunks(64) {
        _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().wrapping_add(AHEAD));
    }
}

/// How far ahead, in bytes.
const AHEAD: usize = 1024;

/// Adds the sums of eight lanes to those of their strips.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn add_lanes(
    lanes: &[Lane; ABREAST],
    sums: &[__m256i; ABREAST],
    offset: &[[i32; BLOCK_OUT]],
    acc: &mut [[i32; BLOCK_OUT]],
) {
    for h in 0..ABREAST {
        let strip = lanes[h].strip as usize;
        let before = load32(if lanes[h].again { &acc[strip] } else { &offset[strip] });
        store(&mut acc[strip], _mm256_add_epi32(before, sums[h]));
    }
}

kernel! {
    avx2, "avx2", "avx2",
    #[target_feature(enable = "avx2")]
    #[inline]
    fn row(w: &Dense8, x: &[[i8; STEP]], acc: &mut [[i32; BLOCK_OUT]]) {
        let mut room = [MaybeUninit::uninit(); STEPS_SHIFTED];
        let Some(tame) = &w.tame else { return row_by_sign(w, x, acc) };
        let Some(x) = shift(x, !w.shifted, &mut room) else { return row_by_sign(w, x, acc) };
        match tame.together {
            1 => by_shift::row::<1>(w, tame.blocks(w), x, acc),
            _ => by_shift::row::<2>(w, tame.blocks(w), x, acc),
        }
        add_extra(tame, x, acc);
    }
}

kernel! {
    avx_vnni, "avx-vnni", "avx2,avxvnni",
    #[target_feature(enable = "avx2,avxvnni")]
    #[inline]
    fn row(w: &Dense8, x: &[[i8; STEP]], acc: &mut [[i32; BLOCK_OUT]]) {
        let mut room = [MaybeUninit::uninit(); STEPS_SHIFTED];
        match shift(x, !w.shifted, &mut room) {
            Some(x) => by_vnni::row::<1>(w, w.blocks(), x, acc),
            None => row_by_sign(w, x, acc),
        }
    }
}

sums! {
    by_sign, "avx2", offset,
    #[target_feature(enable = "avx2")]
    #[inline]
    fn dot<const K: usize, const H: usize>(mut sum: __m256i, x: &[__m256i; K], blocks: &[[[i8; HALF]; H]; K], h: usize) -> __m256i {
        for k in 0..K {
            let signed = _mm256_sign_epi8(load(&blocks[k][h]), x[k]);
            sum = add_pairs(sum, _mm256_maddubs_epi16(_mm256_abs_epi8(x[k]), signed));
        }
        sum
    }
}

sums! {
    by_shift, "avx2", offset_128,
    #[target_feature(enable = "avx2")]
    #[inline]
    fn dot<const K: usize, const H: usize>(sum: __m256i, x: &[__m256i; K], blocks: &[[[i8; HALF]; H]; K], h: usize) -> __m256i {
        let mut pairs = _mm256_setzero_si256();
        for k in 0..K {
            let products = _mm256_maddubs_epi16(x[k], load(&blocks[k][h]));
            pairs = _mm256_add_epi16(pairs, products);
        }
        add_pairs(sum, pairs)
    }
}

sums! {
    by_vnni, "avx2,avxvnni", offset_128,
    #[target_feature(enable = "avx2,avxvnni")]
    #[inline]
    fn dot<const K: usize, const H: usize>(mut sum: __m256i, x: &[__m256i; K], blocks: &[[[i8; HALF]; H]; K], h: usize) -> __m256i {
        for k in 0..K {
            sum = _mm256_dpbusd_avx_epi32(sum, x[k], load(&blocks[k][h]));
        }
        sum
    }
}

/// Sums of one row by moving signs, which takes codes as they are.
#[target_feature(enable = "avx2")]
pub(super) fn row_by_sign(w: &Dense8, x: &[[i8; STEP]], acc: &mut [[i32; BLOCK_OUT]]) {
    let mut room = [MaybeUninit::uninit(); STEPS_SHIFTED];
    let x = shift(x, w.shifted, &mut room).expect("rows that come shifted are not longer");
    by_sign::row::<1>(w, w.blocks(), x, acc);
}

/// Codes plus 128 if `moved`, otherwise as they are; `None` of a row that is too long to be shifted.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn shift<'a>(
    x: &'a [[i8; STEP]],
    moved: bool,
    room: &'a mut [MaybeUninit<[i8; STEP]>; STEPS_SHIFTED],
) -> Option<&'a [[i8; STEP]]> {
    if !moved {
        return Some(x);
    }
    let room = room.get_mut(..x.len())?;
    for (to, x) in room.iter_mut().zip(x) {
        to.write(x.map(|code| code ^ SHIFT));
    }
    // SAFETY: each was written.
    Some(unsafe { room.assume_init_ref() })
}

/// The four codes of each step in every lane.
#[target_feature(enable = "avx2")]
#[inline]
fn spread<const K: usize>(x: &[[i8; STEP]; K]) -> [__m256i; K] {
    let mut codes = [_mm256_setzero_si256(); K];
    for k in 0..K {
        codes[k] = _mm256_set1_epi32(word(x[k]));
    }
    codes
}

/// Adds the further blocks to the sums.
#[target_feature(enable = "avx2")]
#[inline]
fn add_extra(tame: &Tame, x: &[[i8; STEP]], acc: &mut [[i32; BLOCK_OUT]]) {
    for (strip, which) in &tame.strips {
        let mut sum = _mm256_setzero_si256();
        let blocks = tame.extra()[which.clone()].iter();
        for (block, step) in blocks.zip(&tame.steps[which.clone()]) {
            let [x] = spread(&[x[*step as usize]]);
            sum = add_pairs(sum, _mm256_maddubs_epi16(x, load(block)));
        }
        let acc = &mut acc[*strip as usize];
        store(acc, _mm256_add_epi32(load32(acc), sum));
    }
}

/// The sum, made before anything else is read: otherwise the compiler may begin with all products at
/// once and run out of registers.
#[target_feature(enable = "avx2")]
#[inline]
fn done(mut sum: __m256i) -> __m256i {
    // SAFETY: does nothing.
    unsafe {
        std::arch::asm!("/* {sum} */", sum = inout(ymm_reg) sum, options(nostack, preserves_flags));
    }
    sum
}

/// Adds neighbours of 16 bits to each lane.
#[target_feature(enable = "avx2")]
#[inline]
fn add_pairs(sum: __m256i, pairs: __m256i) -> __m256i {
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
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
