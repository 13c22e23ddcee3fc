//! The network: a closed set of layers, shapes and numbers checked before anything runs.

use half::f16;

use super::{Error, Quant};

/// Most layers, those inside residual blocks counted.
pub const LAYERS_MAX: usize = 64;
/// Most values of one tensor or weight matrix.
pub const VALUES_MAX: usize = 8 << 20;
/// Most multiply-accumulates of one inference.
pub const MACS_MAX: u64 = 256 << 20;
/// Inputs that share one scale in an INT4 matrix.
pub const INT4_GROUP: usize = 32;
/// Largest rank of a side path.
pub const RANK_MAX: usize = 256;

/// Shape of the values between two layers, row by row: `[len, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Steps along time; 1 for a plain vector.
    pub len: usize,
    /// Values per step.
    pub channels: usize,
}

impl Shape {
    /// How many values.
    pub fn size(self) -> usize {
        self.len * self.channels
    }
}

/// Weights `[n_out, n_in]`, row by row, at one precision.
#[derive(Clone, Debug, PartialEq)]
pub enum Weights {
    /// Float: the reference.
    F32(Vec<f32>),
    /// Half-width floats, computed with in `f32`.
    F16(Vec<f16>),
    /// Eight bits, -127 to 127, symmetric. Blocks of 8 outputs by 4 inputs (depthwise excepted)
    /// that are all zero cost nothing where half or more of them are.
    Int8 {
        /// Codes.
        codes: Vec<i8>,
        /// Real width of one code: one per output, or one for all.
        scales: Vec<f32>,
    },
    /// Four bits, -7 to 7, symmetric, with a scale per output and group of 32 inputs.
    Int4 {
        /// Codes, one per value.
        codes: Vec<i8>,
        /// `[n_out, n_in / 32 rounded up]`.
        scales: Vec<f16>,
    },
}

/// What is added to each output before the activation.
#[derive(Clone, Debug, PartialEq)]
pub enum Bias {
    /// Real numbers: for all weights but INT8.
    F32(Vec<f32>),
    /// In units of input scale times weight scale: for INT8 weights.
    I32(Vec<i32>),
}

/// A low-rank path beside the weights: `y += up * (down * x)`. With `up` all 0 the layer is
/// the bare one, bit for bit.
///
/// # Source
/// Hu et al., LoRA, 2021, equation 3, the factor alpha / r taken into `up`.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// Inner width.
    pub rank: usize,
    /// `[rank, n_in]`.
    pub down: Vec<f16>,
    /// `[n_out, rank]`.
    pub up: Vec<f16>,
}

/// `y = act(W x + b + side)`, and how `y` is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Inputs.
    pub n_in: usize,
    /// Outputs.
    pub n_out: usize,
    /// `[n_out, n_in]`.
    pub weights: Weights,
    /// `[n_out]`.
    pub bias: Bias,
    /// Whether negative outputs become 0.
    pub relu: bool,
    /// Adapter, if any.
    pub side: Option<Side>,
    /// Codes of the output; `None` leaves it in `f32`.
    pub out: Option<Quant>,
}

/// How a convolution slides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slide {
    /// Taps.
    pub kernel: usize,
    /// From one output to the next.
    pub stride: usize,
    /// Whether the ends are padded with zeros so that `len / stride` outputs, rounded up, come out
    /// (TensorFlow's SAME); otherwise only whole windows.
    pub same: bool,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Over all values of its input, flattened.
    Dense(Linear),
    /// Convolution along time; `linear.n_in` is `kernel * channels`, taps first.
    Conv {
        /// Weights of one window.
        linear: Linear,
        /// How it slides.
        slide: Slide,
    },
    /// Convolution along time, each channel by itself; `linear.n_out` is the channels and
    /// `linear.n_in` the taps. Weights F32 or INT8, no side path.
    Depthwise {
        /// Weights of each channel.
        linear: Linear,
        /// How it slides.
        slide: Slide,
    },
    /// `y = act(x + body(x))`.
    Residual {
        /// Layers that keep the shape; no residual blocks among them.
        body: Vec<Layer>,
        /// Whether negative outputs become 0.
        relu: bool,
        /// Codes of the output; given exactly when input and body give codes.
        out: Option<Quant>,
    },
}

/// A whole network.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Shape of the input: hops by bands.
    pub input: Shape,
    /// Codes of the input; `None` feeds `f32`.
    pub input_quant: Option<Quant>,
    /// In order.
    pub layers: Vec<Layer>,
}

/// What flows between two layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flow {
    /// Its shape.
    pub shape: Shape,
    /// Its codes; `None` for `f32`.
    pub quant: Option<Quant>,
}

impl Slide {
    /// Zeros to put before the first step, and outputs, for `len` steps of input.
    /// Nothing comes out of an input shorter than the kernel without padding.
    pub fn over(self, len: usize) -> (usize, usize) {
        if self.same {
            let n_out = len.div_ceil(self.stride);
            let pad = ((n_out.max(1) - 1) * self.stride + self.kernel).saturating_sub(len);
            (pad / 2, n_out)
        } else {
            (0, (len + self.stride).saturating_sub(self.kernel) / self.stride)
        }
    }
}

impl Layer {
    /// The linear map of the layer; `None` for residual blocks.
    pub fn linear(&self) -> Option<&Linear> {
        match self {
            Self::Dense(linear) | Self::Conv { linear, .. } | Self::Depthwise { linear, .. } => {
                Some(linear)
            }
            Self::Residual { .. } => None,
        }
    }

    /// The same, to change it.
    pub fn linear_mut(&mut self) -> Option<&mut Linear> {
        match self {
            Self::Dense(linear) | Self::Conv { linear, .. } | Self::Depthwise { linear, .. } => {
                Some(linear)
            }
            Self::Residual { .. } => None,
        }
    }

    /// Shape and codes of the output for a given input.
    ///
    /// # Errors
    /// The rule that is broken, in words.
    pub fn flow(&self, from: Flow) -> Result<Flow, String> {
        match self {
            Self::Dense(linear) => {
                same("n_in", linear.n_in, from.shape.size())?;
                linear.check(from.quant)?;
                Ok(Flow { shape: Shape { len: 1, channels: linear.n_out }, quant: linear.out })
            }
            Self::Conv { linear, slide } => {
                let taps =
                    slide.kernel.checked_mul(from.shape.channels).ok_or("kernel too long")?;
                same("n_in", linear.n_in, taps)?;
                linear.check(from.quant)?;
                slid(*slide, from.shape, linear)
            }
            Self::Depthwise { linear, slide } => {
                same("n_out", linear.n_out, from.shape.channels)?;
                same("n_in", linear.n_in, slide.kernel)?;
                linear.check(from.quant)?;
                if linear.side.is_some() {
                    return Err("a depthwise layer takes no side path".to_owned());
                }
                if !matches!(linear.weights, Weights::F32(_) | Weights::Int8 { .. }) {
                    return Err("a depthwise layer takes f32 or int8 weights".to_owned());
                }
                slid(*slide, from.shape, linear)
            }
            Self::Residual { body, out, .. } => residual(body, *out, from),
        }
    }

    /// Multiply-accumulates for an input of `from`, all weights counted.
    pub fn macs(&self, from: Shape) -> u64 {
        match self {
            Self::Dense(linear) => linear.macs(),
            Self::Conv { linear, slide } | Self::Depthwise { linear, slide } => {
                linear.macs() * slide.over(from.len).1 as u64
            }
            Self::Residual { body, .. } => {
                let mut flow = Flow { shape: from, quant: None };
                body.iter().fold(0, |sum, layer| {
                    let macs = layer.macs(flow.shape);
                    flow.shape = layer.flow_shape(flow.shape);
                    sum + macs
                })
            }
        }
    }

    /// Shape of the output, of a layer known to fit.
    pub(super) fn flow_shape(&self, from: Shape) -> Shape {
        match self {
            Self::Dense(linear) => Shape { len: 1, channels: linear.n_out },
            Self::Conv { linear, slide } | Self::Depthwise { linear, slide } => {
                Shape { len: slide.over(from.len).1, channels: linear.n_out }
            }
            Self::Residual { .. } => from,
        }
    }
}

impl Linear {
    fn macs(&self) -> u64 {
        let side = self.side.as_ref().map_or(0, |s| s.rank * (self.n_in + self.n_out));
        (self.n_in * self.n_out + side) as u64
    }

    /// Checks sizes and numbers against the input's codes.
    fn check(&self, from: Option<Quant>) -> Result<(), String> {
        // Kernels take outputs by sixteen: what they hold is bounded too.
        let n_held = self.n_out.checked_next_multiple_of(16).and_then(|n| n.checked_mul(self.n_in));
        if n_held.is_none_or(|n| n > VALUES_MAX) {
            return Err(format!("{} by {} weights are over {VALUES_MAX}", self.n_out, self.n_in));
        }
        let n_values = self.n_in * self.n_out;
        if n_values == 0 {
            return Err("no weights".to_owned());
        }
        self.check_weights(n_values, from)?;
        match &self.bias {
            Bias::F32(b) if !matches!(self.weights, Weights::Int8 { .. }) => {
                same("bias", b.len(), self.n_out)?;
                finite("bias", b.iter().copied())?;
            }
            Bias::I32(b) if matches!(self.weights, Weights::Int8 { .. }) => {
                same("bias", b.len(), self.n_out)?;
            }
            _ => return Err("int8 weights take an i32 bias, all others f32".to_owned()),
        }
        if let Some(side) = &self.side {
            if !(1..=RANK_MAX).contains(&side.rank) {
                return Err(format!("rank {} is not 1 to {RANK_MAX}", side.rank));
            }
            same("side.down", side.down.len(), side.rank * self.n_in)?;
            same("side.up", side.up.len(), side.rank * self.n_out)?;
            finite("side.down", side.down.iter().map(|x| x.to_f32()))?;
            finite("side.up", side.up.iter().map(|x| x.to_f32()))?;
        }
        check_quant(self.out)?;
        self.check_range(from)
    }

    fn check_weights(&self, n_values: usize, from: Option<Quant>) -> Result<(), String> {
        match &self.weights {
            Weights::F32(values) => {
                same("weights", values.len(), n_values)?;
                finite("weights", values.iter().copied())
            }
            Weights::F16(values) => {
                same("weights", values.len(), n_values)?;
                finite("weights", values.iter().map(|x| x.to_f32()))
            }
            Weights::Int8 { codes, scales } => {
                same("weights", codes.len(), n_values)?;
                if scales.len() != 1 {
                    same("scales", scales.len(), self.n_out)?;
                }
                positive("scales", scales.iter().copied())?;
                codes_within(codes, 127, from)
            }
            Weights::Int4 { codes, scales } => {
                same("weights", codes.len(), n_values)?;
                same("scales", scales.len(), self.n_out * self.n_in.div_ceil(INT4_GROUP))?;
                finite("scales", scales.iter().map(|x| x.to_f32()))?;
                codes_within(codes, 7, from)
            }
        }
    }

    /// Real width of one accumulator step of each output, as TFLite computes it: in `f32` for one
    /// scale for all, in `f64` for one per output.
    pub(super) fn acc_scale(scales: &[f32], from: Quant, out_idx: usize) -> f64 {
        match scales {
            [one] => f64::from(from.scale * one),
            many => f64::from(from.scale) * f64::from(many[out_idx]),
        }
    }

    /// INT8 accumulators, and what they become, must stay below 2^30.
    fn check_range(&self, from: Option<Quant>) -> Result<(), String> {
        let (Weights::Int8 { codes, scales }, Bias::I32(bias), Some(from)) =
            (&self.weights, &self.bias, from)
        else {
            return Ok(());
        };
        let most = i64::from(1 << 30);
        for (o, row) in codes.chunks_exact(self.n_in).enumerate() {
            let weight: i64 = row.iter().map(|w| i64::from(w.unsigned_abs())).sum();
            let side = if self.side.is_some() { i64::from(SIDE_MAX) } else { 0 };
            // The offset form `code + 128` doubles the reach of a term.
            let reach = 512 * weight + i64::from(bias[o]).abs() + side;
            let factor =
                self.out.map_or(0.0, |y| Self::acc_scale(scales, from, o) / f64::from(y.scale));
            if reach > most || factor > f64::from(1 << 29) || reach as f64 * factor > most as f64 {
                return Err(format!(
                    "output {o}: sums up to {reach} times {factor:e} are over 2^30"
                ));
            }
        }
        Ok(())
    }
}

/// Largest share of a side path in an accumulator, accumulator steps.
pub(super) const SIDE_MAX: i32 = 1 << 24;

fn slid(slide: Slide, from: Shape, linear: &Linear) -> Result<Flow, String> {
    if slide.stride == 0 || slide.stride > from.len {
        return Err(format!("stride {} is not 1 to {}", slide.stride, from.len));
    }
    let (_, len) = slide.over(from.len);
    let shape = Shape { len, channels: linear.n_out };
    match len.checked_mul(linear.n_out) {
        Some(1..=VALUES_MAX) => Ok(Flow { shape, quant: linear.out }),
        _ => Err(format!("an output of {len} by {} is not possible", linear.n_out)),
    }
}

fn residual(body: &[Layer], out: Option<Quant>, from: Flow) -> Result<Flow, String> {
    if body.is_empty() {
        return Err("a residual block without a body".to_owned());
    }
    let mut flow = from;
    for (i, layer) in body.iter().enumerate() {
        if matches!(layer, Layer::Residual { .. }) {
            return Err("a residual block inside a residual block".to_owned());
        }
        flow = layer.flow(flow).map_err(|why| format!("body {i}: {why}"))?;
    }
    if flow.shape != from.shape {
        return Err(format!("body turns {:?} into {:?}", from.shape, flow.shape));
    }
    check_quant(out)?;
    match (from.quant, flow.quant, out) {
        (Some(a), Some(b), Some(y)) => {
            // TFLite's ADD works at twice the larger scale with 20 bits to spare.
            let ratio = f64::from(a.scale.max(b.scale)) / f64::from(y.scale);
            if ratio > 1024.0 || a.scale / b.scale > 1e6 || b.scale / a.scale > 1e6 {
                return Err("scales of the sum are too far apart".to_owned());
            }
        }
        (None, None, None) => {}
        _ => return Err("input, body and output must all be codes or all f32".to_owned()),
    }
    Ok(Flow { shape: from.shape, quant: out })
}

fn same(what: &str, got: usize, want: usize) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: {got} where {want} fit")) }
}

fn finite(what: &str, mut values: impl Iterator<Item = f32>) -> Result<(), String> {
    if values.all(f32::is_finite) { Ok(()) } else { Err(format!("{what}: not a number")) }
}

fn positive(what: &str, mut values: impl Iterator<Item = f32>) -> Result<(), String> {
    let fits = |x: f32| (1e-12..=1e12).contains(&x);
    if values.all(fits) { Ok(()) } else { Err(format!("{what}: not in 1e-12 to 1e12")) }
}

fn codes_within(codes: &[i8], max: u8, from: Option<Quant>) -> Result<(), String> {
    if from.is_none() {
        return Err("integer weights need an input in codes".to_owned());
    }
    match codes.iter().find(|c| c.unsigned_abs() > max) {
        Some(code) => Err(format!("weight {code} is beyond {max}")),
        None => Ok(()),
    }
}

fn check_quant(quant: Option<Quant>) -> Result<(), String> {
    match quant {
        Some(q) if !(-128..=127).contains(&q.zero) => Err(format!("zero {} is no code", q.zero)),
        Some(q) => positive("scale", std::iter::once(q.scale)),
        None => Ok(()),
    }
}

impl Graph {
    /// Checks every shape, size and number; gives what flows out of the last layer.
    ///
    /// # Errors
    /// `Error::Invalid` naming the layer and the rule.
    pub fn check(&self) -> Result<Flow, Error> {
        let invalid = |at: &str, why: String| Error::Invalid { at: at.to_owned(), why };
        let size = self.input.len.checked_mul(self.input.channels);
        if !size.is_some_and(|n| (1..=VALUES_MAX).contains(&n)) {
            return Err(invalid("input", format!("{:?} is not possible", self.input)));
        }
        check_quant(self.input_quant).map_err(|why| invalid("input", why))?;
        let n_layers: usize = self.layers.iter().map(count).sum();
        if !(1..=LAYERS_MAX).contains(&n_layers) {
            return Err(invalid("layers", format!("{n_layers} are not 1 to {LAYERS_MAX}")));
        }
        let mut flow = Flow { shape: self.input, quant: self.input_quant };
        let mut macs = 0;
        for (i, layer) in self.layers.iter().enumerate() {
            let to = layer.flow(flow).map_err(|why| invalid(&format!("layer {i}"), why))?;
            macs += layer.macs(flow.shape);
            if macs > MACS_MAX {
                return Err(invalid(&format!("layer {i}"), format!("over {MACS_MAX} MACs")));
            }
            flow = to;
        }
        Ok(flow)
    }

    /// Multiply-accumulates of one inference, all weights counted, of a graph that passes `check`.
    pub fn macs(&self) -> u64 {
        let mut shape = self.input;
        self.layers.iter().fold(0, |sum, layer| {
            let macs = layer.macs(shape);
            shape = layer.flow_shape(shape);
            sum + macs
        })
    }

    /// Numbers that were learned: weights, biases, side paths.
    pub fn n_params(&self) -> usize {
        self.layers.iter().map(params).sum()
    }
}

fn count(layer: &Layer) -> usize {
    match layer {
        Layer::Residual { body, .. } => 1 + body.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn params(layer: &Layer) -> usize {
    match layer {
        Layer::Dense(l) | Layer::Conv { linear: l, .. } | Layer::Depthwise { linear: l, .. } => {
            let side = l.side.as_ref().map_or(0, |s| s.down.len() + s.up.len());
            l.n_in * l.n_out + l.n_out + side
        }
        Layer::Residual { body, .. } => body.iter().map(params).sum(),
    }
}
