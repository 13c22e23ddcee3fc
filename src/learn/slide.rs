//! Convolutions as rows: every window of a layer that slides along time becomes one row of a plain layer.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, CowArray, Ix2, LinalgScalar, s};

use super::Error;
use super::chance::Chance;
use super::net::{Block, Dense, Net};
use crate::nn::{Graph, Layer, Shape, Slide};

/// One stage of an autoencoder, as typed: `64`, `conv32x3` (32 channels, 3 taps), `conv32x3/2` (every other
/// step), `depth3` or `depth3/2` (3 taps, each channel by itself).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A dense layer of so many units.
    Dense(usize),
    /// A convolution along time, ends padded.
    Conv {
        /// Channels it gives.
        channels: usize,
        /// Taps.
        kernel: usize,
        /// From one output to the next.
        stride: usize,
    },
    /// A convolution of each channel by itself, ends padded.
    Depthwise {
        /// Taps.
        kernel: usize,
        /// From one output to the next.
        stride: usize,
    },
}

impl std::str::FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.parse() {
            Ok(n @ 1..=4096) => Ok(n),
            _ => Err(format!("`{text}`: a stage is 64, conv32x3, conv32x3/2, depth3 or depth3/2")),
        };
        let slide = |text: &str| {
            let (kernel, stride) = text.split_once('/').unwrap_or((text, "1"));
            Ok::<_, String>((number(kernel)?, number(stride)?))
        };
        if let Some(rest) = text.strip_prefix("conv") {
            let (channels, rest) = rest.split_once('x').unwrap_or((rest, ""));
            let (kernel, stride) = slide(rest)?;
            Ok(Self::Conv { channels: number(channels)?, kernel, stride })
        } else if let Some(rest) = text.strip_prefix("depth") {
            let (kernel, stride) = slide(rest)?;
            Ok(Self::Depthwise { kernel, stride })
        } else {
            number(text).map(Self::Dense)
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, slide) = match *self {
            Self::Dense(n) => return write!(f, "{n}"),
            Self::Conv { channels, kernel, stride } => {
                (format!("conv{channels}x"), (kernel, stride))
            }
            Self::Depthwise { kernel, stride } => ("depth".to_owned(), (kernel, stride)),
        };
        let (kernel, stride) = slide;
        if stride == 1 { write!(f, "{kind}{kernel}") } else { write!(f, "{kind}{kernel}/{stride}") }
    }
}

impl Stage {
    /// Those of a graph, residual blocks left out.
    pub fn all_of(graph: &Graph) -> Vec<Self> {
        let stage = |layer: &Layer| {
            Some(match layer {
                Layer::Dense(linear) => Self::Dense(linear.n_out),
                Layer::Conv { linear, slide: Slide { kernel, stride, .. } } => {
                    Self::Conv { channels: linear.n_out, kernel: *kernel, stride: *stride }
                }
                Layer::Depthwise { slide: Slide { kernel, stride, .. }, .. } => {
                    Self::Depthwise { kernel: *kernel, stride: *stride }
                }
                Layer::Residual { .. } => return None,
            })
        };
        graph.layers.iter().filter_map(stage).collect()
    }
}

/// Stages as typed, between commas.
pub(super) fn list(stages: &[Stage]) -> String {
    stages.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// How a layer slides, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slid {
    /// Shape of its input.
    pub(super) from: Shape,
    /// How.
    pub(super) slide: Slide,
    /// Whether each channel is by itself: weights are `[channels, taps]` then.
    pub(super) depthwise: bool,
}

impl Slid {
    /// Windows of one input.
    pub(super) fn n_steps(&self) -> usize {
        self.slide.over(self.from.len).1
    }

    /// Calls `each` with the row and the tap of every step of the inputs that a window holds, and where in
    /// its input the step begins.
    fn each_tap(&self, n: usize, mut each: impl FnMut(usize, usize, usize, usize)) {
        let (before, n_steps) = self.slide.over(self.from.len);
        for (item, step) in (0..n).flat_map(|item| (0..n_steps).map(move |step| (item, step))) {
            for tap in 0..self.slide.kernel {
                let at = (step * self.slide.stride + tap).checked_sub(before);
                if let Some(at) = at.filter(|at| *at < self.from.len) {
                    let channels = self.from.channels;
                    each(item, item * n_steps + step, tap * channels, at * channels);
                }
            }
        }
    }

    /// `[n, len * channels]` to one row per window, `[n * steps, taps * channels]`; zeros beyond the ends.
    fn unfold(&self, x: &Array2<f32>) -> Array2<f32> {
        let channels = self.from.channels;
        let shape = (x.nrows() * self.n_steps(), self.slide.kernel * channels);
        let mut rows = Array2::zeros(shape);
        self.each_tap(x.nrows(), |item, row, tap, at| {
            let mut part = rows.slice_mut(s![row, tap..tap + channels]);
            part.assign(&x.slice(s![item, at..at + channels]));
        });
        rows
    }

    /// The way back of [`Slid::unfold`]: what several windows hold is summed.
    fn fold(&self, rows: &Array2<f32>) -> Array2<f32> {
        let (n, channels) = (rows.nrows() / self.n_steps(), self.from.channels);
        let mut x = Array2::zeros((n, self.from.size()));
        self.each_tap(n, |item, row, tap, at| {
            let mut part = x.slice_mut(s![item, at..at + channels]);
            part += &rows.slice(s![row, tap..tap + channels]);
        });
        x
    }
}

impl Dense {
    /// What it multiplies, row by row: the inputs, or their windows.
    pub(super) fn rows<'a>(&self, x: &'a Array2<f32>) -> CowArray<'a, f32, Ix2> {
        match &self.slid {
            Some(slid) => CowArray::from(slid.unfold(x)),
            None => CowArray::from(x),
        }
    }

    /// Gradients of its rows as gradients of its inputs.
    pub(super) fn unrows(&self, rows: Array2<f32>) -> Array2<f32> {
        match &self.slid {
            Some(slid) => slid.fold(&rows),
            None => rows,
        }
    }

    /// Shape of what it gives.
    pub(super) fn shape(&self) -> Shape {
        Shape { len: self.slid.map_or(1, |slid| slid.n_steps()), channels: self.n_out() }
    }

    /// Values it gives for one input.
    pub(super) fn n_values(&self) -> usize {
        self.shape().size()
    }

    /// Values of `n` items, one row per window, each as one row.
    pub(super) fn flat(&self, y: Array2<f32>) -> Array2<f32> {
        let shape = (y.len() / self.n_values(), self.n_values());
        y.into_shape_with_order(shape).expect("rows were made whole")
    }

    /// The way back of [`Dense::flat`]: one row per window.
    pub(super) fn by_window<'a>(&self, y: &'a Array2<f32>) -> ArrayView2<'a, f32> {
        let shape = (y.len() / self.n_out(), self.n_out());
        y.view().into_shape_with_order(shape).expect("rows lie in order")
    }

    /// The weights that `unit` feeds, of `n_units` of the layer before: in every tap and every step.
    pub(super) fn fed_by(&mut self, unit: usize, n_units: usize) -> ArrayViewMut2<'_, f32> {
        if self.is_depthwise() {
            self.weight.slice_mut(s![unit..=unit, ..])
        } else {
            self.weight.slice_mut(s![.., unit..;n_units])
        }
    }

    /// Only the outputs of `keep` stay.
    pub(super) fn keep_outputs(&mut self, keep: &[usize]) {
        self.weight = self.weight.select(Axis(0), keep);
        self.bias = self.bias.select(Axis(0), keep);
        if let Some(side) = &mut self.side {
            side.up = side.up.select(Axis(0), keep);
        }
    }

    /// Only the units of `keep`, of `n_units` of the layer before, feed it from now on.
    pub(super) fn keep_inputs(&mut self, keep: &[usize], n_units: usize) {
        if self.is_depthwise() {
            self.keep_outputs(keep);
        } else {
            self.weight = columns(&self.weight, keep, n_units);
            if let Some(side) = &mut self.side {
                side.down = columns(&side.down, keep, n_units);
            }
        }
        if let Some(slid) = &mut self.slid {
            slid.from.channels = keep.len();
        }
    }

    /// Whether each channel is by itself.
    pub(super) fn is_depthwise(&self) -> bool {
        self.slid.is_some_and(|slid| slid.depthwise)
    }

    /// Rows times `weight`, which is of its shape: `[n, n_out]`.
    pub(super) fn product<T: LinalgScalar>(
        &self,
        weight: &Array2<T>,
        rows: &ArrayView2<'_, T>,
    ) -> Array2<T> {
        if !self.is_depthwise() {
            return times(rows, &weight.t());
        }
        let (n_channels, n_taps) = weight.dim();
        let mut y = Array2::zeros((rows.nrows(), n_channels));
        for tap in 0..n_taps {
            let x = rows.slice(s![.., tap * n_channels..(tap + 1) * n_channels]);
            y = y + &x * &weight.column(tap);
        }
        y
    }

    /// Gradient of the weights, given its rows and the gradient of what they gave.
    pub(super) fn weight_slope(
        &self,
        rows: &ArrayView2<'_, f32>,
        dy: &ArrayView2<'_, f32>,
    ) -> Array2<f32> {
        if !self.is_depthwise() {
            return dy.t().dot(rows);
        }
        let (n_channels, n_taps) = self.weight.dim();
        let mut slope = Array2::zeros((n_channels, n_taps));
        for tap in 0..n_taps {
            let x = rows.slice(s![.., tap * n_channels..(tap + 1) * n_channels]);
            slope.column_mut(tap).assign(&(&x * dy).sum_axis(Axis(0)));
        }
        slope
    }

    /// Gradient of the rows, the side path's share left out.
    pub(super) fn rows_slope(&self, dy: &ArrayView2<'_, f32>) -> Array2<f32> {
        if !self.is_depthwise() {
            return times(dy, &self.weight.view());
        }
        let (n_channels, n_taps) = self.weight.dim();
        let mut slope = Array2::zeros((dy.nrows(), n_taps * n_channels));
        for tap in 0..n_taps {
            let mut part = slope.slice_mut(s![.., tap * n_channels..(tap + 1) * n_channels]);
            part.assign(&(dy * &self.weight.column(tap)));
        }
        slope
    }
}

/// The product of two matrices, row by row in memory whatever the factors are.
fn times<T: LinalgScalar>(a: &ArrayView2<'_, T>, b: &ArrayView2<'_, T>) -> Array2<T> {
    let mut y = Array2::zeros((a.nrows(), b.ncols()));
    general_mat_mul(T::one(), a, b, T::zero(), &mut y);
    y
}

/// Of every `n_units` columns those of `keep`, row after row in memory.
fn columns(values: &Array2<f32>, keep: &[usize], n_units: usize) -> Array2<f32> {
    let shape = (values.nrows(), values.ncols() / n_units * keep.len());
    Array2::from_shape_fn(shape, |(o, i)| {
        values[[o, i / keep.len() * n_units + keep[i % keep.len()]]]
    })
}

impl Net {
    /// An autoencoder over `shape`, its last layer dense; ReLU on all but that.
    ///
    /// # Errors
    /// `Error::Ask` for no stages, or one that gives nothing.
    pub(super) fn random(
        shape: Shape,
        stages: &[Stage],
        chance: &mut Chance,
    ) -> Result<Self, Error> {
        let gives_nothing = |stage: &Stage| match *stage {
            Stage::Dense(n) => n == 0,
            Stage::Conv { channels, kernel, stride } => channels * kernel * stride == 0,
            Stage::Depthwise { kernel, stride } => kernel * stride == 0,
        };
        if stages.is_empty() || stages.iter().any(gives_nothing) {
            return Err(Error::Ask { key: "widths", why: "at least one, each above 0".to_owned() });
        }
        let mut from = shape;
        let mut block = |stage: &Stage, relu: bool| {
            let slid = |kernel, stride, depthwise| {
                let slide = Slide { kernel, stride, same: true };
                Some(Slid { from, slide, depthwise })
            };
            let (n_in, n_out, slid) = match *stage {
                Stage::Dense(n) => (from.size(), n, None),
                Stage::Conv { channels, kernel, stride } => {
                    (kernel * from.channels, channels, slid(kernel, stride, false))
                }
                Stage::Depthwise { kernel, stride } => {
                    (kernel, from.channels, slid(kernel, stride, true))
                }
            };
            from = Shape { len: slid.map_or(1, |slid| slid.n_steps()), channels: n_out };
            Block::Dense(Dense { slid, ..Dense::random(n_in, n_out, relu, chance) })
        };
        let mut blocks: Vec<Block> = stages.iter().map(|stage| block(stage, true)).collect();
        blocks.push(block(&Stage::Dense(shape.size()), false));
        Ok(Self { blocks })
    }
}
