//! Weights laid out as the inner loops read them: once, front to back.
//!
//! Outputs go sixteen to a tile and inputs four to a step, so that one tile and step is 64 bytes: a
//! vector of 16 dot products of length 4. Up to four tiles stand beside each other in a panel.

use std::ops::{Range, RangeInclusive};

use super::arena::Lines;
use super::tame::Tame;
use crate::nn::graph::INT4_GROUP;
use crate::nn::{Quant, Requant};

/// Outputs of one tile.
pub(in crate::nn) const LANES: usize = 16;
/// Inputs of one step.
pub(in crate::nn) const STEP: usize = 4;
/// Tiles of one panel.
pub(in crate::nn) const PANEL: usize = 4;
/// Outputs of one sparse block.
pub(in crate::nn) const BLOCK_OUT: usize = 8;
/// Bytes of one block: half a tile at one step.
pub(in crate::nn) const HALF: usize = BLOCK_OUT * STEP;
/// Strips of sparse blocks that go side by side.
pub(in crate::nn) const ABREAST: usize = 4;
/// Steps of one INT4 group.
pub(in crate::nn) const INT4_STEPS: usize = INT4_GROUP / STEP;
/// Share of empty blocks from which on the sparse layout is used.
const SPARSE_FROM: f64 = 0.4;
/// Flips the sign bit of every byte: code + 128.
pub(in crate::nn) const SHIFT: i32 = 0x8080_8080_u32 as i32;

/// Four codes as one number, to be spread over a vector.
#[inline]
pub(in crate::nn) fn word(x: [i8; STEP]) -> i32 {
    i32::from_le_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8])
}

/// An INT8 matrix with what is added to each output.
pub(in crate::nn) struct Dense8 {
    pub n_in: usize,
    /// `[panel][step][tile][16][4]`; empty where `sparse` is there.
    pub tiles: Lines,
    /// The full blocks only, if that is less work.
    pub sparse: Option<Sparse8>,
    /// Bias less input zero times the row's sum, `[n_out to 16]`.
    pub offset: Vec<i32>,
    /// The same less 128 times the row's sum: for kernels that shift the codes up by 128.
    pub offset_128: Vec<i32>,
    /// How products can be summed in 16 bits; `None` where too much would have to be put right.
    pub tame: Option<Tame>,
}

/// Blocks of 8 outputs by 4 inputs that are not all zero. Strips of 8 outputs go four abreast, those
/// with alike many blocks together: four sums grow at once, and few loops have to end. Shorter strips
/// are filled up with blocks of zeros.
pub(in crate::nn) struct Sparse8 {
    /// Which four strips; a number past the last stands for none.
    pub strips: Vec<[u32; ABREAST]>,
    /// First round of each four, and the end.
    pub starts: Vec<u32>,
    /// Steps of the input.
    pub n_steps: usize,
    /// Step (input / 4) of each block of each round, below `n_steps`.
    pub steps: Vec<[u16; ABREAST]>,
    /// `[round][strip][8][4]`.
    pub blocks: Lines,
}

impl Sparse8 {
    /// Every four strips, with the rounds that are theirs.
    pub(in crate::nn) fn fours(&self) -> impl Iterator<Item = (&[u32; ABREAST], Range<usize>)> {
        let ranges = self.starts.array_windows::<2>();
        self.strips.iter().zip(ranges.map(|[first, end]| *first as usize..*end as usize))
    }
}

impl Dense8 {
    /// From codes `[n_out, n_in]`, the bias, and the code of 0 of the input.
    pub(in crate::nn) fn new(codes: &[i8], n_in: usize, bias: &[i32], zero: i32) -> Self {
        let n_out = bias.len();
        let n_lanes = n_out.next_multiple_of(LANES);
        let mut offset_128 = vec![0_i32; n_lanes];
        let mut offset = vec![0_i32; n_lanes];
        for (o, row) in codes.chunks_exact(n_in).enumerate() {
            let sum: i32 = row.iter().map(|w| i32::from(*w)).sum();
            offset[o] = bias[o] - zero * sum;
            offset_128[o] = offset[o] - 128 * sum;
        }
        let sparse = Sparse8::new(codes, n_in, n_out);
        let tiles = if sparse.is_some() { Vec::new() } else { tile(codes, n_in, n_out) };
        let tiles = Lines::copy_of(&tiles);
        let mut made = Self { n_in, tiles, sparse, offset, offset_128, tame: None };
        made.tame = Tame::of(&made);
        made
    }

    /// All weights in blocks of 8 outputs by 4 inputs.
    pub(in crate::nn) fn blocks(&self) -> &[[i8; HALF]] {
        let lines = self.sparse.as_ref().map_or(&self.tiles, |sparse| &sparse.blocks);
        lines.of::<i8>().as_chunks().0
    }

    /// Inputs rounded up to whole steps.
    pub(in crate::nn) fn n_steps(&self) -> usize {
        self.n_in.div_ceil(STEP)
    }
}

fn tile(codes: &[i8], n_in: usize, n_out: usize) -> Vec<i8> {
    let (n_steps, n_tiles) = (n_in.div_ceil(STEP), n_out.div_ceil(LANES));
    let mut tiles = Vec::with_capacity(n_steps * n_tiles * LANES * STEP);
    for panel in (0..n_tiles).step_by(PANEL) {
        for step in 0..n_steps {
            for o in panel * LANES..(panel + PANEL).min(n_tiles) * LANES {
                for i in step * STEP..(step + 1) * STEP {
                    let inside = o < n_out && i < n_in;
                    tiles.push(if inside { codes[o * n_in + i] } else { 0 });
                }
            }
        }
    }
    tiles
}

impl Sparse8 {
    /// `None` where too few blocks are empty for it to pay.
    fn new(codes: &[i8], n_in: usize, n_out: usize) -> Option<Self> {
        let (n_steps, n_strips) = (n_in.div_ceil(STEP), n_out.div_ceil(BLOCK_OUT));
        if n_steps > usize::from(u16::MAX) {
            return None;
        }
        let full: Vec<Vec<u16>> = (0..n_strips)
            .map(|strip| {
                let is_full = |step: &u16| {
                    block(codes, n_in, n_out, strip, *step).iter().any(|weight| *weight != 0)
                };
                (0..n_steps as u16).filter(is_full).collect()
            })
            .collect();
        let mut order: Vec<usize> = (0..n_strips).collect();
        order.sort_by_key(|strip| (std::cmp::Reverse(full[*strip].len()), *strip));
        let (mut strips, mut starts, mut steps) = (Vec::new(), vec![0], Vec::new());
        let mut blocks: Vec<i8> = Vec::new();
        for four in order.chunks(ABREAST) {
            for round in 0..full[four[0]].len() {
                let mut at = [0; ABREAST];
                for (lane, at) in at.iter_mut().enumerate() {
                    let found =
                        four.get(lane).and_then(|strip| Some((*strip, *full[*strip].get(round)?)));
                    blocks.extend(found.map_or([0; BLOCK_OUT * STEP], |(strip, step)| {
                        *at = step;
                        block(codes, n_in, n_out, strip, step)
                    }));
                }
                steps.push(at);
            }
            strips.push(std::array::from_fn(|lane| four.get(lane).map_or(u32::MAX, |s| *s as u32)));
            starts.push(steps.len() as u32);
        }
        let empty = 1.0 - (steps.len() * ABREAST) as f64 / (n_steps * n_strips) as f64;
        (empty >= SPARSE_FROM).then(|| Self {
            strips,
            starts,
            n_steps,
            steps,
            blocks: Lines::copy_of(&blocks),
        })
    }
}

/// The weights of one strip at one step, zeros beyond the matrix.
fn block(
    codes: &[i8],
    n_in: usize,
    n_out: usize,
    strip: usize,
    step: u16,
) -> [i8; BLOCK_OUT * STEP] {
    std::array::from_fn(|at| {
        let (o, i) = (strip * BLOCK_OUT + at / STEP, usize::from(step) * STEP + at % STEP);
        if o < n_out && i < n_in { codes[o * n_in + i] } else { 0 }
    })
}

/// An INT4 matrix: codes plus 8, two to a byte, with the scales of its groups.
pub(in crate::nn) struct Dense4 {
    pub n_in: usize,
    pub n_out: usize,
    /// `[tile][group][4 pairs of steps][16][4]`: the even step in the low half of a byte.
    pub nibbles: Lines,
    /// `[tile][group][16]`, weight scale times input scale.
    pub scales: Vec<f32>,
    /// Input zero times the group's sum, to be taken off; `[tile][group][16]`.
    pub offset: Vec<i32>,
    /// `[n_out]`.
    pub bias: Vec<f32>,
}

impl Dense4 {
    /// From codes `[n_out, n_in]` and scales `[n_out, n_groups]`.
    pub(in crate::nn) fn new(
        codes: &[i8],
        scales: &[half::f16],
        n_in: usize,
        bias: &[f32],
        from: Quant,
    ) -> Self {
        let n_out = bias.len();
        let n_groups = n_in.div_ceil(INT4_GROUP);
        let (mut nibbles, mut packed_scales, mut offset) = (Vec::new(), Vec::new(), Vec::new());
        let code = |o: usize, i: usize| {
            if o < n_out && i < n_in { codes[o * n_in + i] } else { 0 }
        };
        for tile in 0..n_out.div_ceil(LANES) {
            let outs = tile * LANES..(tile + 1) * LANES;
            for group in 0..n_groups {
                let first = group * INT4_GROUP;
                for pair in 0..INT4_GROUP / (2 * STEP) {
                    let at = first + pair * 2 * STEP;
                    for o in outs.clone() {
                        for i in at..at + STEP {
                            let (even, odd) = (code(o, i) + 8, code(o, i + STEP) + 8);
                            nibbles.push(even as u8 | (odd as u8) << 4);
                        }
                    }
                }
                for o in outs.clone() {
                    let scale = if o < n_out { scales[o * n_groups + group].to_f32() } else { 0.0 };
                    packed_scales.push(scale * from.scale);
                    let sum: i32 = (first..first + INT4_GROUP).map(|i| i32::from(code(o, i))).sum();
                    offset.push(from.zero * sum);
                }
            }
        }
        Self {
            n_in,
            n_out,
            nibbles: Lines::copy_of(&nibbles),
            scales: packed_scales,
            offset,
            bias: bias.to_vec(),
        }
    }

    /// Groups of inputs.
    pub(in crate::nn) fn n_groups(&self) -> usize {
        self.n_in.div_ceil(INT4_GROUP)
    }
}

/// A float matrix.
pub(in crate::nn) struct DenseF {
    pub n_in: usize,
    pub n_out: usize,
    /// `[tile][n_in][16]`.
    pub tiles: Lines,
    /// `[n_out to 16]`.
    pub bias: Vec<f32>,
}

impl DenseF {
    /// From values `[n_out, n_in]`.
    pub(in crate::nn) fn new(values: &[f32], n_in: usize, bias: &[f32]) -> Self {
        let n_out = bias.len();
        let mut tiles = Vec::with_capacity(n_out.next_multiple_of(LANES) * n_in);
        for first in (0..n_out).step_by(LANES) {
            for i in 0..n_in {
                for o in first..first + LANES {
                    tiles.push(if o < n_out { values[o * n_in + i] } else { 0.0 });
                }
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(n_out.next_multiple_of(LANES), 0.0);
        Self { n_in, n_out, tiles: Lines::copy_of(&tiles), bias }
    }
}

/// INT8 weights of a depthwise layer, `[tap][channel]`.
pub(in crate::nn) struct Depth8 {
    pub n_channels: usize,
    pub taps: Vec<i8>,
    /// Bias less input zero times the channel's sum.
    pub offset: Vec<i32>,
}

impl Depth8 {
    /// From codes `[channel, tap]`.
    pub(in crate::nn) fn new(codes: &[i8], n_taps: usize, bias: &[i32], zero: i32) -> Self {
        let offset = codes
            .chunks_exact(n_taps)
            .zip(bias)
            .map(|(row, b)| b - zero * row.iter().map(|w| i32::from(*w)).sum::<i32>());
        Self { n_channels: bias.len(), taps: turn(codes, n_taps), offset: offset.collect() }
    }
}

/// Float weights of a depthwise layer, `[tap][channel]`.
pub(in crate::nn) struct DepthF {
    pub n_channels: usize,
    pub taps: Vec<f32>,
    pub bias: Vec<f32>,
}

impl DepthF {
    /// From values `[channel, tap]`.
    pub(in crate::nn) fn new(values: &[f32], n_taps: usize, bias: &[f32]) -> Self {
        Self { n_channels: bias.len(), taps: turn(values, n_taps), bias: bias.to_vec() }
    }
}

fn turn<T: Copy>(values: &[T], n_taps: usize) -> Vec<T> {
    let n_channels = values.len() / n_taps;
    (0..n_taps).flat_map(|t| (0..n_channels).map(move |c| values[c * n_taps + t])).collect()
}

/// How accumulators become codes.
pub(in crate::nn) struct Table {
    /// Of each output.
    pub factors: Vec<Requant>,
    /// The same, tile by tile.
    pub tiles: Vec<Factors>,
    /// Whether one factor serves all.
    pub is_one: bool,
    /// Whether all shifts are `UPPER`: otherwise `tiles` do not serve.
    pub is_upper: bool,
    /// Code of 0, and the least code: the same where a ReLU cuts.
    pub zero: i32,
    pub least: i32,
}

/// What turns the sums of one tile into codes: `(upper half of sum * multiplier + add) >> shift`. The half
/// that rounds and the zero are in `add`: where shifts are `Table::UPPER`, nothing below counts.
#[repr(C)]
pub(in crate::nn) struct Factors {
    pub multiplier: [i32; LANES],
    pub add: [i32; LANES],
    pub shift: [i32; LANES],
}

impl Table {
    /// Shifts that leave the rounding half, and 128 codes beside a product below 2^61, within 32 bits.
    const UPPER: RangeInclusive<u32> = 33..=54;

    /// From the factor of each output, the output's codes and whether a ReLU cuts.
    pub(in crate::nn) fn new(
        factors: impl Iterator<Item = Requant>,
        out: Quant,
        relu: bool,
    ) -> Self {
        let factors: Vec<Requant> = factors.collect();
        // A factor of 0 gives 0 by any shift.
        let serves = |it: &Requant| it.multiplier == 0 || Self::UPPER.contains(&it.right);
        let tile = |tile: &[Requant]| {
            let lane = |lane: usize| tile[lane % tile.len()];
            let shift =
                |at: usize| lane(at).right.clamp(*Self::UPPER.start(), *Self::UPPER.end()) - 32;
            Factors {
                multiplier: std::array::from_fn(|at| lane(at).multiplier),
                add: std::array::from_fn(|at| (1 << (shift(at) - 1)) + (out.zero << shift(at))),
                shift: std::array::from_fn(|at| shift(at) as i32),
            }
        };
        Self {
            tiles: factors.chunks(LANES).map(tile).collect(),
            is_one: factors.iter().all(|it| *it == factors[0]),
            is_upper: factors.iter().all(serves),
            factors,
            zero: out.zero,
            least: if relu { out.zero } else { -128 },
        }
    }

    /// Outputs.
    pub(in crate::nn) fn n_out(&self) -> usize {
        self.factors.len()
    }

    /// The factors of a tile: where one serves all, the same lines always, which stay near.
    pub(in crate::nn) fn tile(&self, idx: usize) -> &Factors {
        &self.tiles[if self.is_one { 0 } else { idx }]
    }
}

/// The numbers of TFLite's ADD.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Sum8 {
    pub zeros: (i32, i32, i32),
    pub a: Requant,
    pub b: Requant,
    pub out: Requant,
    pub least: i32,
}

impl Sum8 {
    /// Bits of head room while two scales are brought together.
    pub(in crate::nn) const LEFT: i32 = 20;

    /// From the codes of both inputs and the output.
    pub(in crate::nn) fn new(a: Quant, b: Quant, out: Quant, relu: bool) -> Self {
        let twice = 2.0 * f64::from(a.scale.max(b.scale));
        Self {
            zeros: (a.zero, b.zero, out.zero),
            a: Requant::new(f64::from(a.scale) / twice),
            b: Requant::new(f64::from(b.scale) / twice),
            out: Requant::new(twice / (f64::from(1 << Self::LEFT) * f64::from(out.scale))),
            least: if relu { out.zero } else { -128 },
        }
    }
}
