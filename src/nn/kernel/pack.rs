//! Weights laid out as the inner loops read them: once, front to back.
//!
//! Outputs go sixteen to a tile and inputs four to a step, so that one tile and step is 64 bytes: a
//! vector of 16 dot products of length 4. Up to four tiles stand beside each other in a panel.

use std::ops::Range;

use super::arena::Lines;
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
/// Strips of sparse blocks that go side by side.
pub(in crate::nn) const ABREAST: usize = 4;
/// Bytes of one round of sparse blocks.
pub(in crate::nn) const ROUND: usize = ABREAST * BLOCK_OUT * STEP;
/// Steps of one INT4 group.
pub(in crate::nn) const INT4_STEPS: usize = INT4_GROUP / STEP;
/// Share of empty blocks from which on the sparse layout is used.
const SPARSE_FROM: f64 = 0.4;

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
        Self { n_in, tiles, sparse, offset, offset_128 }
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
    pub n_out: usize,
    /// `[n_out to 16]` each.
    pub multiplier: Vec<i32>,
    pub right: Vec<u32>,
    /// What is added before the shift, and the shift, `[n_out to 16]`: of every sixteen the even
    /// ones, then the odd ones, as 64-bit products come out. Added are the half that rounds, and
    /// `Table::UP`, so that no product is negative and a logical shift will do. Odd ones are shifted
    /// by 32 less, into the upper half, where they belong.
    pub round: Vec<i64>,
    pub right64: Vec<i64>,
    /// What is added after it, modulo 2^32: the zero, less what is left of `UP`; `[n_out to 16]`.
    pub down: Vec<i32>,
    /// Whether one factor serves all.
    pub is_one: bool,
    /// Whether a factor is a half or more: then `round` and `right64` do not serve.
    pub is_steep: bool,
    /// Code of 0, and the least code: the same where a ReLU cuts.
    pub zero: i32,
    pub least: i32,
}

impl Table {
    /// More than any product.
    const UP: i64 = 1 << 62;

    /// From the factor of each output, the output's codes and whether a ReLU cuts.
    pub(in crate::nn) fn new(
        factors: impl Iterator<Item = Requant>,
        out: Quant,
        relu: bool,
    ) -> Self {
        let mut table = Self {
            n_out: 0,
            multiplier: Vec::new(),
            right: Vec::new(),
            round: Vec::new(),
            right64: Vec::new(),
            down: Vec::new(),
            is_one: false,
            is_steep: false,
            zero: out.zero,
            least: if relu { out.zero } else { -128 },
        };
        for factor in factors {
            table.n_out += 1;
            table.multiplier.push(factor.multiplier);
            table.right.push(factor.right);
        }
        let n_lanes = table.n_out.next_multiple_of(LANES);
        let one = (table.multiplier.first().copied(), table.right.first().copied());
        let (multiplier, right) = (one.0.unwrap_or(0), one.1.unwrap_or(1));
        table.is_one = table.multiplier.iter().all(|it| *it == multiplier)
            && table.right.iter().all(|it| *it == right);
        table.multiplier.resize(n_lanes, multiplier);
        table.right.resize(n_lanes, right);
        table.is_steep = table.right.iter().any(|right| *right < 32);
        for right in table.right.chunks_exact(LANES) {
            let (even, odd) = (right.iter().step_by(2), right.iter().skip(1).step_by(2));
            let apart = even.clone().chain(odd.clone());
            table.round.extend(apart.map(|right| Self::UP + (1_i64 << (right - 1))));
            table.right64.extend(even.map(|right| i64::from(*right)));
            table.right64.extend(odd.map(|right| i64::from(*right) - 32));
            let down = right.iter().map(|right| out.zero.wrapping_sub((Self::UP >> right) as i32));
            table.down.extend(down);
        }
        table
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
