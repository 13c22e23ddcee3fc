//! Weights whose products with bytes can be summed in 16 bits.
//!
//! An instruction that sums two of them there saturates; another adds two such sums and wraps. Neither
//! happens where the weights of one sign are `TAME` at most together, which holds almost everywhere in a
//! trained layer, since few weights are large. What is over goes into a few further blocks.

use std::ops::Range;

use super::arena::Lines;
use super::pack::{ABREAST, BLOCK_OUT, Dense8, HALF, PANEL, step_of};

/// Weights of one sign that are together so large at most, times bytes, stay within 16 bits: 255 * 128 = 32640.
const TAME: i32 = 128;
/// Instructions that a block takes, products of one step or of two summed; that a further block takes;
/// and that a block takes where signs are moved, which needs none of this.
const ALONE: f64 = 3.0;
const IN_TWOS: f64 = 2.5;
const EXTRA: f64 = 4.0;
const BY_SIGN: f64 = 4.0;

/// The same weights, for sums of 16 bits.
pub(in crate::nn) struct Tame {
    /// Steps (or rounds) whose products are summed: one or two.
    pub together: usize,
    /// As `Dense8::blocks`, less what is over; empty where nothing is.
    blocks: Lines,
    /// Strips with further blocks, and which of them.
    pub strips: Vec<(u32, Range<usize>)>,
    /// Step (input / 4) of each further block.
    pub steps: Vec<u32>,
    /// What is over.
    extra: Lines,
}

/// A block and what it is multiplied by.
#[derive(Clone, Copy)]
struct Place {
    /// Input / 4.
    step: u32,
    /// Which of `Dense8::blocks`.
    block: usize,
}

impl Tame {
    /// What takes the fewest instructions; `None` where that is to move the signs.
    pub(in crate::nn) fn of(w: &Dense8) -> Option<Self> {
        let n_blocks = w.blocks().len() as f64;
        let [twos, ones] = [2, 1].map(|together| Self::summing(w, together));
        let cost = |each: f64, tame: &Self| each * n_blocks + EXTRA * tame.steps.len() as f64;
        let (two, one) = (cost(IN_TWOS, &twos), cost(ALONE, &ones));
        let (cost, tame) = if two < one { (two, twos) } else { (one, ones) };
        (cost <= BY_SIGN * n_blocks).then_some(tame)
    }

    fn summing(w: &Dense8, together: usize) -> Self {
        let mut blocks = w.blocks().to_vec();
        let (mut strips, mut steps, mut extra) = (Vec::new(), Vec::new(), Vec::new());
        for (strip, places) in columns(w) {
            let first = steps.len();
            for places in places.chunks(together) {
                let mut group: Vec<_> = places.iter().map(|place| blocks[place.block]).collect();
                let over = cut(&mut group);
                for ((place, block), mut over) in places.iter().zip(group).zip(over) {
                    blocks[place.block] = block;
                    while over != [0; HALF] {
                        let rest = cut(std::slice::from_mut(&mut over))[0];
                        steps.push(place.step);
                        extra.extend(std::mem::replace(&mut over, rest));
                    }
                }
            }
            if first < steps.len() {
                strips.push((strip, first..steps.len()));
            }
        }
        if steps.is_empty() {
            blocks.clear();
        }
        let blocks = Lines::copy_of(blocks.as_flattened());
        Self { together, blocks, strips, steps, extra: Lines::copy_of(&extra) }
    }

    /// The weights of `w` less what is over.
    pub(in crate::nn) fn blocks<'a>(&'a self, w: &'a Dense8) -> &'a [[i8; HALF]] {
        if self.steps.is_empty() { w.blocks() } else { self.blocks.of::<i8>().as_chunks().0 }
    }

    /// The further blocks.
    pub(in crate::nn) fn extra(&self) -> &[[i8; HALF]] {
        self.extra.of::<i8>().as_chunks().0
    }
}

/// Makes the weights smaller until they are tame together; gives what was taken off each block. Where
/// there is a choice it is the first block, so that few have anything over.
fn cut(blocks: &mut [[i8; HALF]]) -> Vec<[i8; HALF]> {
    let mut over = vec![[0; HALF]; blocks.len()];
    for at in (0..HALF).step_by(2) {
        for sign in [1, -1] {
            let of_sign = |weight: i8| (i32::from(weight) * sign).max(0);
            let pairs = blocks.iter().flat_map(|block| &block[at..at + 2]);
            let mut excess = pairs.map(|weight| of_sign(*weight)).sum::<i32>() - TAME;
            for (block, over) in blocks.iter_mut().zip(&mut over) {
                for lane in at..at + 2 {
                    let off = of_sign(block[lane]).min(excess).max(0);
                    excess -= off;
                    block[lane] = (i32::from(block[lane]) - sign * off) as i8;
                    over[lane] += (sign * off) as i8;
                }
            }
        }
    }
    over
}

/// Every strip with its blocks, in the order in which they are summed.
fn columns(w: &Dense8) -> Vec<(u32, Vec<Place>)> {
    let place = |step: usize, block: usize| Place { step: step as u32, block };
    if let Some(sparse) = &w.sparse {
        let lanes = sparse.eights().flat_map(|(lanes, rounds)| {
            lanes.iter().enumerate().map(move |(lane, whose)| (whose.strip, lane, rounds.clone()))
        });
        let column = |(strip, lane, rounds): (u32, usize, Range<usize>)| {
            let block =
                |round: usize| place(step_of(&sparse.rounds[round], lane), round * ABREAST + lane);
            (strip, rounds.map(block).collect())
        };
        return lanes.map(column).collect();
    }
    let (n_strips, wide) = (w.offset.len() / BLOCK_OUT, 2 * PANEL);
    let column = |strip: usize| {
        let first = strip / wide * wide;
        let width = wide.min(n_strips - first);
        let block = |step| place(step, first * w.n_steps() + step * width + strip % wide);
        (strip as u32, (0..w.n_steps()).map(block).collect())
    };
    (0..n_strips).map(column).collect()
}
