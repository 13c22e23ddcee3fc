//! Where products of bytes can be summed in 16 bits.
//!
//! An instruction that sums two of them there saturates; another adds two such sums and wraps. Neither
//! happens where the weights of one sign are `TAME` at most together, which holds almost everywhere in a
//! trained layer, since few weights are large. The few other places are kept, to be put right.

use std::ops::Range;

use super::pack::{ABREAST, BLOCK_OUT, Dense8, HALF, PANEL};

/// Weights of one sign that are together so large at most, times bytes, stay within 16 bits: 255 * 128 = 32640.
const TAME: i32 = 128;
/// Share of wild blocks up to which it pays to put right what they lose.
const WILD_UP_TO: f64 = 0.04;

/// Sums of 16 bits that hold almost always.
pub(in crate::nn) struct Tame {
    /// Steps (or rounds) whose products are summed: one, or two where that holds too.
    pub together: usize,
    /// Where it does not hold.
    pub wild: Vec<Wild>,
}

/// Blocks of one strip, of one step or of two that are summed together, with weights that are too large.
pub(in crate::nn) struct Wild {
    pub strip: u32,
    pub places: Vec<Place>,
}

/// A block and what it is multiplied by.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Place {
    /// Input / 4.
    pub step: u32,
    /// Which of `Dense8::blocks`.
    pub block: u32,
}

impl Tame {
    /// The most products that can be summed; `None` where too many blocks are wild.
    pub(in crate::nn) fn of(w: &Dense8) -> Option<Self> {
        [2, 1].into_iter().find_map(|together| Self::summing(w, together))
    }

    fn summing(w: &Dense8, together: usize) -> Option<Self> {
        let blocks = w.blocks();
        let is_wild = |places: &[Place]| {
            (0..HALF).step_by(2).any(|at| {
                let weights =
                    places.iter().flat_map(|place| &blocks[place.block as usize][at..at + 2]);
                let (mut above, mut below) = (0, 0);
                for weight in weights.map(|weight| i32::from(*weight)) {
                    above += weight.max(0);
                    below -= weight.min(0);
                }
                above.max(below) > TAME
            })
        };
        let mut wild = Vec::new();
        for (strip, places) in columns(w) {
            let chunks = places.chunks(together).filter(|places| is_wild(places));
            wild.extend(chunks.map(|places| Wild { strip, places: places.to_vec() }));
        }
        let most = WILD_UP_TO * blocks.len() as f64 / together as f64;
        (wild.len() as f64 <= most).then_some(Self { together, wild })
    }
}

/// Every strip with its blocks, in the order in which they are summed.
fn columns(w: &Dense8) -> Vec<(u32, Vec<Place>)> {
    let place = |step: usize, block: usize| Place { step: step as u32, block: block as u32 };
    if let Some(sparse) = &w.sparse {
        let lanes = sparse.fours().flat_map(|(strips, rounds)| {
            strips.iter().enumerate().map(move |(lane, strip)| (*strip, lane, rounds.clone()))
        });
        let column = |(strip, lane, rounds): (u32, usize, Range<usize>)| {
            let block =
                |round: usize| place(sparse.steps[round][lane].into(), round * ABREAST + lane);
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
