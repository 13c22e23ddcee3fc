//! The network in integer arithmetic, as the engine computes it: same codes, same rounding.

use half::f16;
use ndarray::{Array1, Array2, Axis};

use super::net::{Dense, Net, Op, Tape, in_order};
use super::train::Moves;
use crate::nn::{Bias, INT4_GROUP, Quant, Requant, Weights};

/// Bits of a bias in units of its accumulator, at the most: rows without weights get a step wide enough.
const BIAS_STEPS_MAX: f32 = 4_194_304.0;
/// Sums of whole numbers up to here are exact in `f32`.
const EXACT: f32 = 16_777_216.0;
/// Head room of TFLite's ADD, bits.
const ADD_LEFT: i32 = 20;

/// How the weights of a layer are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// Four bits, a scale per 32 inputs.
    Int4,
    /// Codes of at most 64 in eight bits: two products of them fit 16 bits, which AVX2 is faster with.
    Int7,
    /// Eight bits, a scale per output.
    Int8,
    /// Half-width floats.
    F16,
    /// Floats.
    F32,
}

impl Precision {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int4 => "int4",
            Self::Int7 => "int7",
            Self::Int8 => "int8",
            Self::F16 => "fp16",
            Self::F32 => "fp32",
        }
    }

    /// What the file and the engine have as INT8: the largest code.
    fn bytes(self) -> Option<i32> {
        match self {
            Self::Int7 => Some(Self::INT7_MAX),
            Self::Int8 => Some(127),
            _ => None,
        }
    }

    /// The largest code of seven bits.
    pub(super) const INT7_MAX: i32 = 64;
}

/// How every value and weight of a network is coded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Codes {
    /// Of each place of the tape; `None` where it stays real.
    pub(super) places: Vec<Option<Quant>>,
    /// Of each layer.
    pub(super) layers: Vec<Precision>,
    /// Whether all outputs of an INT8 layer share one scale.
    pub(super) one_scale: bool,
}

/// INT8 weights of a layer for an input held in given codes.
pub(super) struct Coded {
    /// `[n_out, n_in]`, whole numbers.
    pub(super) codes: Array2<f32>,
    /// Per output, or one for all.
    pub(super) scales: Vec<f32>,
    /// In accumulator steps.
    pub(super) bias: Vec<i32>,
    /// Whether all sums are exact in `f32`.
    is_small: bool,
}

impl Codes {
    /// Ranges that hold all of what `rows` fill; the output stays real.
    pub(super) fn observe(net: &Net, rows: &Array2<f32>, layers: Vec<Precision>) -> Self {
        let tape = net.forward(rows.clone());
        let ops = net.ops();
        let last = ops.len();
        let real_end = matches!(ops.last(), Some(Op::Dense { .. }));
        let place = |(i, values): (usize, &Array2<f32>)| {
            if i == last && real_end {
                return None;
            }
            let ends = |(low, high): (f32, f32), v: &f32| (low.min(*v), high.max(*v));
            let (low, high) = values.iter().fold((0.0, 0.0), ends);
            Some(Quant::covering(low, high))
        };
        let places = tape.values.iter().enumerate().map(place).collect();
        Self { places, layers, one_scale: false }
    }

    /// `net` as it computes in these codes.
    pub(super) fn in_force(&self, net: &Net) -> InForce<'_> {
        let mut rounded = net.clone();
        let mut coded = Vec::new();
        for (layer, (dense, src)) in rounded.layers_mut().zip(net.sources()).enumerate() {
            let precision = self.layers[layer];
            let whole = precision.bytes().zip(self.places[src]);
            let whole = whole.map(|(most, from)| Coded::of(dense, from, most, self.one_scale));
            dense.weight = match &whole {
                Some(coded) => coded.real(),
                None => rounded_to(&dense.weight, precision),
            };
            coded.push(whole);
        }
        InForce { codes: self, net: rounded, coded }
    }

    fn snap(&self, place: usize, mut values: Array2<f32>) -> Array2<f32> {
        if let Some(quant) = self.places[place] {
            values.mapv_inplace(|v| quant.decode(quant.encode(v)));
        }
        values
    }

    /// TFLite's ADD in codes; plain where the places are real.
    fn add(
        &self,
        (a, b, to): (usize, usize, usize),
        relu: bool,
        values: &[Array2<f32>],
    ) -> Array2<f32> {
        let (Some(qa), Some(qb), Some(out)) = (self.places[a], self.places[b], self.places[to])
        else {
            let mut y = &values[a] + &values[b];
            y.mapv_inplace(|v| if relu { v.max(0.0) } else { v });
            return y;
        };
        let twice = 2.0 * f64::from(qa.scale.max(qb.scale));
        let part = |q: Quant| Requant::new(f64::from(q.scale) / twice);
        let whole = Requant::new(twice / (f64::from(1 << ADD_LEFT) * f64::from(out.scale)));
        let steps = |q: Quant, v: f32| (v / q.scale).round() as i32;
        let least = if relu { out.zero } else { -128 };
        let mut y = values[a].clone();
        y.zip_mut_with(&values[b], |a, b| {
            let sum = part(qa).apply(steps(qa, *a) << ADD_LEFT)
                + part(qb).apply(steps(qb, *b) << ADD_LEFT);
            *a = out.decode((whole.apply(sum) + out.zero).clamp(least, 127) as i8);
        });
        y
    }
}

/// A network with the weights that are in force when it computes in codes.
pub(super) struct InForce<'a> {
    codes: &'a Codes,
    /// What the weights stand for.
    pub(super) net: Net,
    /// The whole numbers of each INT8 layer.
    coded: Vec<Option<Coded>>,
}

impl InForce<'_> {
    /// Follows what has moved in `net`, which it was made from.
    pub(super) fn follow(&mut self, net: &Net, moves: Moves) {
        match moves {
            Moves::All => *self = self.codes.in_force(net),
            Moves::Ups => {
                for (mine, theirs) in self.net.layers_mut().zip(net.layers()) {
                    mine.side.clone_from(&theirs.side);
                }
            }
        }
    }

    /// Runs it; the tape has the values that the codes stand for.
    pub(super) fn forward(&self, x: Array2<f32>) -> Tape {
        let codes = self.codes;
        let layers: Vec<&Dense> = self.net.layers().collect();
        let mut values = vec![codes.snap(0, x)];
        for (i, op) in self.net.ops().into_iter().enumerate() {
            let y = match op {
                Op::Dense { layer, src } => {
                    let dense = layers[layer];
                    if let (Some(coded), Some(from)) = (&self.coded[layer], codes.places[src]) {
                        coded.run(dense, from, codes.places[i + 1], &values[src])
                    } else {
                        let mut y = dense.linear(&values[src]);
                        if dense.relu {
                            y.mapv_inplace(|v| v.max(0.0));
                        }
                        codes.snap(i + 1, y)
                    }
                }
                Op::Add { a, b, relu } => codes.add((a, b, i + 1), relu, &values),
            };
            values.push(y);
        }
        let end = |code: i8, otherwise: f32| {
            let of = move |q: &Option<Quant>| q.map_or(otherwise, |q| q.decode(code));
            codes.places.iter().map(of).collect()
        };
        let (ceilings, floors) = (end(127, f32::INFINITY), end(-128, f32::NEG_INFINITY));
        Tape { values, ceilings, floors }
    }
}

impl Coded {
    /// Symmetric codes of a layer's weights up to `largest`, each output by its own scale or all by one.
    pub(super) fn of(dense: &Dense, from: Quant, largest: i32, one_scale: bool) -> Self {
        let least = |b: &f32| (b.abs() / (from.scale * BIAS_STEPS_MAX)).max(1e-12);
        let most = |row: ndarray::ArrayView1<'_, f32>| row.fold(0.0_f32, |m, w| m.max(w.abs()));
        let rows = dense.weight.axis_iter(Axis(0)).zip(&dense.bias);
        let mut scales: Vec<f32> =
            rows.map(|(row, b)| (most(row) / largest as f32).max(least(b))).collect();
        if one_scale {
            scales = vec![scales.iter().copied().fold(0.0, f32::max)];
        }
        let (codes, bias) = (dense.weight.clone(), Vec::new());
        let mut coded = Self { codes, scales, bias, is_small: true };
        for (o, b) in dense.bias.iter().enumerate() {
            let scale = coded.scale(o);
            let mut row = coded.codes.row_mut(o);
            row.mapv_inplace(|w| whole(w / scale).clamp(-largest, largest) as f32);
            coded.is_small &= 255.0 * row.fold(0.0, |sum, code| sum + code.abs()) < EXACT;
            let step = f64::from(from.scale) * f64::from(scale);
            coded.bias.push((f64::from(*b) / step).round() as i32);
        }
        coded
    }

    fn scale(&self, o: usize) -> f32 {
        self.scales[if self.scales.len() == 1 { 0 } else { o }]
    }

    /// What the codes stand for.
    pub(super) fn real(&self) -> Array2<f32> {
        let mut real = self.codes.clone();
        for (o, mut row) in real.axis_iter_mut(Axis(0)).enumerate() {
            row.mapv_inplace(|code| code * self.scale(o));
        }
        real
    }

    /// One row of outputs for each of inputs, as the codes of `out` stand for, or real ones.
    fn run(&self, dense: &Dense, from: Quant, out: Option<Quant>, x: &Array2<f32>) -> Array2<f32> {
        let steps = x.mapv(|v| whole(v / from.scale) as f32);
        let rows = dense.rows(&steps);
        let mut acc: Vec<i32> = if self.is_small {
            dense.product(&self.codes, &rows.view()).iter().map(|v| *v as i32).collect()
        } else {
            let (codes, rows) = (self.codes.mapv(f64::from), rows.mapv(f64::from));
            dense.product(&codes, &rows.view()).iter().map(|v| *v as i32).collect()
        };
        let n_out = self.bias.len();
        let wide: Vec<f64> = match self.scales.as_slice() {
            [one] => vec![f64::from(from.scale * one); n_out],
            many => many.iter().map(|s| f64::from(from.scale) * f64::from(*s)).collect(),
        };
        if let Some(s) = &dense.side {
            let side = dense.rows(x).dot(&s.down.t()).dot(&s.up.t());
            for (acc, side) in acc.chunks_exact_mut(n_out).zip(side.axis_iter(Axis(0))) {
                for ((acc, side), wide) in acc.iter_mut().zip(side).zip(&wide) {
                    *acc += whole(side / *wide as f32);
                }
            }
        }
        let mut y = Array2::zeros((rows.nrows(), n_out));
        let ratios: Vec<Requant> = out.map_or_else(Vec::new, |q| {
            wide.iter().map(|wide| Requant::new(wide / f64::from(q.scale))).collect()
        });
        for (acc, y) in acc.chunks_exact(n_out).zip(in_order(&mut y).chunks_exact_mut(n_out)) {
            let sums = acc.iter().zip(&self.bias).map(|(acc, bias)| acc + bias);
            if let Some(q) = out {
                let least = if dense.relu { q.zero } else { -128 };
                for ((y, sum), ratio) in y.iter_mut().zip(sums).zip(&ratios) {
                    *y = q.decode((ratio.apply(sum) + q.zero).clamp(least, 127) as i8);
                }
            } else {
                let least = if dense.relu { 0.0 } else { f32::MIN };
                for ((y, sum), wide) in y.iter_mut().zip(sums).zip(&wide) {
                    *y = (sum as f32 * *wide as f32).max(least);
                }
            }
        }
        dense.flat(y)
    }
}

/// The nearest whole number, halves away from zero: `f32::round`, which is a call on plain processors.
#[inline]
fn whole(x: f32) -> i32 {
    /// The largest number below one half.
    const ALMOST_HALF: f32 = 0.499_999_97;
    (x + ALMOST_HALF.copysign(x)) as i32
}

/// Weights at a precision, as real numbers again.
pub(super) fn rounded_to(weight: &Array2<f32>, precision: Precision) -> Array2<f32> {
    match precision {
        Precision::F32 => weight.clone(),
        Precision::F16 => weight.mapv(|w| half_of(w).to_f32()),
        Precision::Int7 | Precision::Int8 => {
            let largest = precision.bytes().expect("both are");
            let (n_out, from) = (weight.nrows(), Quant { scale: 1.0, zero: 0 });
            let bias = Array1::zeros(n_out);
            let dense = Dense { weight: weight.clone(), bias, relu: false, side: None, slid: None };
            Coded::of(&dense, from, largest, false).real()
        }
        Precision::Int4 => {
            let (codes, scales) = int4(weight);
            let n_groups = weight.ncols().div_ceil(INT4_GROUP);
            let n_in = weight.ncols();
            Array2::from_shape_fn(weight.raw_dim(), |(o, i)| {
                let scale = scales[o * n_groups + i / INT4_GROUP].to_f32();
                f32::from(codes[o * n_in + i]) * scale
            })
        }
    }
}

/// The nearest half-width float, the largest one where it does not reach.
pub(super) fn half_of(w: f32) -> f16 {
    f16::from_f32(w.clamp(-65504.0, 65504.0))
}

/// Four-bit codes and the scale of each group. The scale is the one of a few under the full range that
/// leaves the least square error: a group's largest weight is worth less than all the others.
pub(super) fn int4(weight: &Array2<f32>) -> (Vec<i8>, Vec<f16>) {
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    for row in weight.axis_iter(Axis(0)) {
        let row = row.to_vec();
        for group in row.chunks(INT4_GROUP) {
            let most = group.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
            let code = |w: f32, scale: f32| (w / scale).round().clamp(-7.0, 7.0);
            let error = |scale: f32| {
                group.iter().map(|w| (w - scale * code(*w, scale)).powi(2)).sum::<f32>()
            };
            let tries =
                (0..8).map(|i| f16::from_f32((most / 7.0 * (1.0 - 0.06 * i as f32)).max(1e-6)));
            let best = tries.min_by(|a, b| error(a.to_f32()).total_cmp(&error(b.to_f32())));
            let scale = best.expect("eight tries");
            codes.extend(group.iter().map(|w| code(*w, scale.to_f32()) as i8));
            scales.push(scale);
        }
    }
    (codes, scales)
}

impl Codes {
    /// The weights of layer `layer`, whose input stands at place `src`, as the file has them.
    pub(super) fn weights(&self, dense: &Dense, layer: usize, src: usize) -> (Weights, Bias) {
        let real = || Bias::F32(dense.bias.to_vec());
        let flat = || dense.weight.iter().copied();
        let precision = self.layers[layer];
        if let Some((largest, from)) = precision.bytes().zip(self.places[src]) {
            let coded = Coded::of(dense, from, largest, self.one_scale);
            let codes = coded.codes.iter().map(|code| *code as i8).collect();
            return (Weights::Int8 { codes, scales: coded.scales }, Bias::I32(coded.bias));
        }
        match (precision, self.places[src]) {
            (Precision::Int4, Some(_)) => {
                let (codes, scales) = int4(&dense.weight);
                (Weights::Int4 { codes, scales }, real())
            }
            (Precision::F16, _) => (Weights::F16(flat().map(half_of).collect()), real()),
            _ => (Weights::F32(flat().collect()), real()),
        }
    }
}

#[cfg(test)]
mod tests;
