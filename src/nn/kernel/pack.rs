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
/// Steps of the longest row that is shifted at once.
pub(in crate::nn) const STEPS_SHIFTED: usize = 1024;
/// Strips of sparse blocks that go side by side.
pub(in crate::nn) const ABREAST: usize = 8;
/// Places in one number of 64 bits.
const PLACES: usize = 4;
/// Steps of one INT4 group.
pub(in crate::nn) const INT4_STEPS: usize = INT4_GROUP / STEP;
/// Parts of the longest strip, at most.
const MOST_PARTS: usize = 16;
/// What the end of eight lanes costs, in rounds.
const END_OF_EIGHT: usize = 2;
/// Share of empty blocks from which on the sparse layout is used.
const SPARSE_FROM: f64 = 0.4;
/// Flips the sign bit: code + 128.
pub(in crate::nn) const SHIFT: i8 = -128;

/// Four codes as one number, to be spread over a vector.
#[inline]
pub(in crate::nn) fn word(x: [i8; STEP]) -> i32 {
    i32::from_le_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8])
}

/// An INT8 matrix with what is added to each output.
pub(in crate::nn) struct Dense8 {
    pub n_in: usize,
    /// Whether the inputs come plus 128, see `Table::shifted`.
    pub shifted: bool,
    /// `[panel][step][tile][16][4]`; empty where `sparse` is there.
    pub tiles: Lines,
    /// The full blocks only, if that is less work.
    pub sparse: Option<Sparse8>,
    /// Bias less input zero times the row's sum, `[n_out to 16]`.
    pub offset: Vec<i32>,
    /// The same less 128 times the row's sum: for kernels that shift the codes up by 128.
    pub offset_128: Vec<i32>,
    /// How products can be summed in 16 bits; `None` where too much would have to be put right.
    pub tame: Option<Box<Tame>>,
}

/// Blocks of 8 outputs by 4 inputs that are not all zero. Strips of 8 outputs go eight abreast, those
/// with alike many blocks together: eight sums grow at once, and few loops have to end. A strip with
/// many stands in several lanes, its sum in as many parts; shorter ones are filled up with zeros.
pub(in crate::nn) struct Sparse8 {
    /// Whose sums each eight are.
    lanes: Vec<[Lane; ABREAST]>,
    /// First round of each eight, and the end.
    starts: Vec<u32>,
    /// Steps of the input.
    pub n_steps: usize,
    /// Step (input / 4, below `n_steps`) of each block of each round, four to a number.
    pub rounds: Vec<Round>,
    /// `[round][lane][8][4]`.
    pub blocks: Lines,
}

/// The steps of one round: four times 16 bits in a number, since loading is what takes the time.
pub(in crate::nn) type Round = [u64; ABREAST / PLACES];

/// Step of the block in lane `lane`.
#[inline]
pub(in crate::nn) fn step_of(round: &Round, lane: usize) -> usize {
    (round[lane / PLACES] >> (16 * (lane % PLACES))) as usize & 0xffff
}

/// Whose sum a lane is.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Lane {
    pub strip: u32,
    /// Whether an earlier lane had a part of it; a lane too many adds nothing to some strip again.
    pub again: bool,
}

impl Sparse8 {
    /// Every eight lanes, with the rounds that are theirs.
    pub(in crate::nn) fn eights(&self) -> impl Iterator<Item = (&[Lane; ABREAST], Range<usize>)> {
        let ranges = self.starts.array_windows::<2>();
        self.lanes.iter().zip(ranges.map(|[first, end]| *first as usize..*end as usize))
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
        let mut made = Self { n_in, shifted: false, tiles, sparse, offset, offset_128, tame: None };
        made.tame = Tame::of(&made).map(Box::new);
        made
    }

    /// All weights in blocks of 8 outputs by 4 inputs.
    pub(in crate::nn) fn blocks(&self) -> &[[i8; HALF]] {
        let lines = self.sparse.as_ref().map_or(&self.tiles, |sparse| &sparse.blocks);
        lines.of::<i8>().as_chunks().0
    }

    /// Whether the inputs may come plus 128; ARM multiplies bytes with a sign.
    pub(in crate::nn) fn takes_shifted(&self) -> bool {
        cfg!(target_arch = "x86_64") && self.n_steps() <= STEPS_SHIFTED
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
        let longest = full.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let cuts = (1..=MOST_PARTS).map(|n| parts(&full, longest.div_ceil(n)));
        let order = cuts.min_by_key(|order| work(order))?;
        let (mut lanes, mut starts, mut rounds) = (Vec::new(), vec![0], Vec::new());
        let mut blocks: Vec<i8> = Vec::new();
        let mut had = vec![false; n_strips];
        for eight in order.chunks(ABREAST) {
            for round in 0..eight[0].1.len() {
                let mut steps = Round::default();
                for lane in 0..ABREAST {
                    let found = eight
                        .get(lane)
                        .and_then(|(strip, steps)| Some((*strip, *steps.get(round)?)));
                    blocks.extend(found.map_or([0; HALF], |(strip, step)| {
                        steps[lane / PLACES] |= u64::from(step) << (16 * (lane % PLACES));
                        block(codes, n_in, n_out, strip, step)
                    }));
                }
                rounds.push(steps);
            }
            lanes.push(std::array::from_fn(|lane| {
                let (strip, _) = eight.get(lane).unwrap_or(&eight[0]);
                Lane { strip: *strip as u32, again: std::mem::replace(&mut had[*strip], true) }
            }));
            starts.push(rounds.len() as u32);
        }
        let empty = 1.0 - (rounds.len() * ABREAST) as f64 / (n_steps * n_strips) as f64;
        (empty >= SPARSE_FROM).then(|| Self {
            lanes,
            starts,
            n_steps,
            rounds,
            blocks: Lines::copy_of(&blocks),
        })
    }
}

/// Strips with their steps, in parts of up to `most`, the longest first.
fn parts(full: &[Vec<u16>], most: usize) -> Vec<(usize, &[u16])> {
    let mut parts: Vec<_> = (full.iter().enumerate())
        .flat_map(|(strip, steps)| {
            let n_parts = steps.len().div_ceil(most).max(1);
            let length = steps.len().div_ceil(n_parts);
            (0..n_parts).map(move |part| {
                let end = ((part + 1) * length).min(steps.len());
                (strip, &steps[(part * length).min(end)..end])
            })
        })
        .collect();
    parts.sort_by_key(|(strip, steps)| (std::cmp::Reverse(steps.len()), *strip));
    parts
}

/// What the parts cost, in rounds.
fn work(parts: &[(usize, &[u16])]) -> usize {
    parts.chunks(ABREAST).map(|eight| eight[0].1.len() + END_OF_EIGHT).sum()
}

/// The weights of one strip at one step, zeros beyond the matrix.
fn block(codes: &[i8], n_in: usize, n_out: usize, strip: usize, step: u16) -> [i8; HALF] {
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
    /// Whether codes come out plus 128, as bytes without a sign, which most kernels multiply.
    pub shifted: bool,
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
            shifted: false,
            factors,
            zero: out.zero,
            least: if relu { out.zero } else { -128 },
        }
    }

    /// Outputs.
    pub(in crate::nn) fn n_out(&self) -> usize {
        self.factors.len()
    }

    /// What every code is combined with before it goes out, bit by bit.
    pub(in crate::nn) fn flip(&self) -> i8 {
        if self.shifted { SHIFT } else { 0 }
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
