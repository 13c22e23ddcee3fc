//! NEON, with and without the dot product instruction of ARMv8.2.
//!
//! Without it, products of two pairs are added in 16 bits: 2 * 128 * 127 = 32512 fits.
#![allow(unsafe_code, reason = "vector instructions and their loads and stores")]

#[allow(clippy::wildcard_imports, reason = "one name per instruction")]
use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::pack::{ABREAST, BLOCK_OUT, LANES, PANEL, STEP, Sparse8, step_of, word};
use super::{Dense8, Kernel, Rows, Table};

/// Bytes of one vector: a quarter of a tile at one step.
const QUARTER: usize = LANES * STEP / 4;

/// A kernel with `$features`; `$dot` adds four products to each lane.
macro_rules! kernel {
    ($module:ident, $name:literal, $features:literal, $dot:item) => {
        pub(super) mod $module {
            use super::*;

            /// Made only where the processor has what it needs.
            pub(in crate::nn::kernel) struct Vectors(pub(super) ());

            $dot

            impl Kernel for Vectors {
                fn name(&self) -> &'static str {
                    $name
                }

                fn dense8(&self, w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
                    // SAFETY: a kernel is only made where `detect` found its features.
                    unsafe { dense8(w, x, acc) }
                }

                fn requantise(&self, table: &Table, acc: &[i32], out: &mut [i8]) {
                    // SAFETY: a kernel is only made where `detect` found its features.
                    unsafe { super::requantise(table, acc, out) }
                }
            }

            #[target_feature(enable = $features)]
            fn dense8(w: &Dense8, x: Rows<'_, i8>, acc: &mut [i32]) {
                let n_lanes = w.offset.len();
                for (row_idx, acc) in acc.chunks_exact_mut(n_lanes).take(x.n_rows).enumerate() {
                    let x = &x.from(row_idx)[..w.n_steps() * STEP];
                    acc.copy_from_slice(&w.offset);
                    match &w.sparse {
                        Some(sparse) => strips(sparse, x, acc),
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
                        let panel = &panel[tile * 4 * QUARTER..];
                        tile += match n_tiles - tile {
                            4.. => tiles::<16>(panel, n_tiles, x, acc),
                            2.. => tiles::<8>(panel, n_tiles, x, acc),
                            _ => tiles::<4>(panel, n_tiles, x, acc),
                        };
                    }
                }
            }

            /// `Q` quarters of tiles; `weights` go on by `n_tiles` tiles from step to step.
            #[target_feature(enable = $features)]
            #[inline]
            fn tiles<const Q: usize>(
                weights: &[i8],
                n_tiles: usize,
                x: &[i8],
                acc: &mut [i32],
            ) -> usize {
                let mut sums = [vdupq_n_s32(0); Q];
                for (weights, x) in weights.chunks(n_tiles * 4 * QUARTER).zip(x.as_chunks::<STEP>().0) {
                    let x = spread(*x);
                    let quarters = weights.as_chunks::<QUARTER>().0.first_chunk::<Q>();
                    let quarters = quarters.expect("a panel as wide as its tiles");
                    for q in 0..Q {
                        sums[q] = dot(sums[q], load(&quarters[q]), x);
                    }
                }
                for (acc, sum) in acc.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
                    store(acc, vaddq_s32(load32(acc), sum));
                }
                Q / 4
            }

            /// All full blocks, eight strips of 8 outputs at a time.
            #[target_feature(enable = $features)]
            fn strips(sparse: &Sparse8, x: &[i8], acc: &mut [i32]) {
                let quarters = sparse.blocks.of::<i8>().as_chunks::<QUARTER>().0;
                let blocks = quarters.as_chunks::<2>().0.as_chunks::<ABREAST>().0;
                let x = x.as_chunks::<STEP>().0;
                let acc = acc.as_chunks_mut::<BLOCK_OUT>().0;
                for (lanes, rounds) in sparse.eights() {
                    let mut sums = [[vdupq_n_s32(0); 2]; ABREAST];
                    for (blocks, round) in blocks[rounds.clone()].iter().zip(&sparse.rounds[rounds]) {
                        for k in 0..ABREAST {
                            let x = spread(x[step_of(round, k)]);
                            for half in 0..2 {
                                sums[k][half] = dot(sums[k][half], load(&blocks[k][half]), x);
                            }
                        }
                    }
                    for (lane, sums) in lanes.iter().zip(sums) {
                        let acc = &mut acc[lane.strip as usize];
                        for (acc, sum) in acc.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
                            store(acc, vaddq_s32(load32(acc), sum));
                        }
                    }
                }
            }
        }
    };
}

kernel! {
    neon, "neon", "neon",
    #[target_feature(enable = "neon")]
    #[inline]
    fn dot(sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
        vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(w, x)))
    }
}

kernel! {
    dotprod, "neon-dotprod", "neon,dotprod",
    #[target_feature(enable = "neon,dotprod")]
    #[inline]
    fn dot(sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        let mut sum = sum;
        // SAFETY: reads and writes the named registers only.
        unsafe {
            std::arch::asm!(
                "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
                sum = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}

impl neon::Vectors {
    /// The kernel, if it can run here.
    pub(super) fn detect() -> Option<&'static Self> {
        is_aarch64_feature_detected!("neon").then_some(&Self(()))
    }
}

impl dotprod::Vectors {
    /// The kernel, if it can run here.
    pub(super) fn detect() -> Option<&'static Self> {
        let found = is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod");
        found.then_some(&Self(()))
    }
}

#[target_feature(enable = "neon")]
fn requantise(table: &Table, acc: &[i32], out: &mut [i8]) {
    let n_out = table.n_out();
    let rows = acc.chunks_exact(n_out.next_multiple_of(LANES)).zip(out.chunks_exact_mut(n_out));
    for (acc, out) in rows {
        let fours = table.factors.chunks(4).zip(acc.as_chunks::<4>().0).zip(out.chunks_mut(4));
        for ((factors, acc), out) in fours {
            let (mut multiplier, mut right) = ([0; 4], [-1; 4]);
            for (lane, factor) in factors.iter().enumerate() {
                (multiplier[lane], right[lane]) = (factor.multiplier, -(factor.right as i32));
            }
            let (acc, factor, right) = (load32(acc), load32(&multiplier), load32(&right));
            // A shift to the right here is a negative one, and rounds halves up.
            let low = vmull_s32(vget_low_s32(acc), vget_low_s32(factor));
            let low = vrshlq_s64(low, vmovl_s32(vget_low_s32(right)));
            let high = vrshlq_s64(vmull_high_s32(acc, factor), vmovl_high_s32(right));
            let mut codes = [0_i32; 4];
            store(&mut codes, vcombine_s32(vmovn_s64(low), vmovn_s64(high)));
            for (out, code) in out.iter_mut().zip(codes) {
                *out = (code + table.zero).clamp(table.least, 127) as i8;
            }
        }
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn spread(x: [i8; STEP]) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_n_s32(word(x)))
}

#[target_feature(enable = "neon")]
#[inline]
fn load(bytes: &[i8; QUARTER]) -> int8x16_t {
    // SAFETY: 16 bytes.
    unsafe { vld1q_s8(bytes.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn load32(values: &[i32; 4]) -> int32x4_t {
    // SAFETY: 16 bytes.
    unsafe { vld1q_s32(values.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
fn store(out: &mut [i32; 4], values: int32x4_t) {
    // SAFETY: 16 bytes.
    unsafe { vst1q_s32(out.as_mut_ptr(), values) }
}
