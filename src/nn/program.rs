//! A checked graph turned into a list of steps over numbered tensors, weights packed.

use super::graph::{Bias, Flow, Graph, Layer, Linear, Side, Slide, Weights};
use super::kernel::{Dense4, Dense8, DenseF, Depth8, DepthF, LANES, Sum8, Table};
use super::plan::{Need, Plan};
use super::{Error, Quant, Requant};

/// Most rows an accumulator is held for at once.
const ROWS_AT_ONCE: usize = 32;

/// What one step does.
pub(super) enum Op {
    /// `f32` to codes.
    Encode(Quant),
    /// Codes to `f32`.
    Decode(Quant),
    /// Copies each item with `before` and after it as many zeros as make it `item_out` long.
    Pad { before: usize, codes: Option<i8> },
    /// INT8 weights on codes.
    Dense8 { weights: Dense8, finish: Finish },
    /// INT4 weights on codes, to `f32`.
    Dense4 { weights: Dense4, relu: bool },
    /// Float weights on `f32`.
    DenseF { weights: DenseF, relu: bool },
    /// Depthwise on codes.
    Depth8 { weights: Depth8, finish: Finish },
    /// Depthwise on `f32`.
    DepthF { weights: DepthF, relu: bool },
    /// Sum of two tensors of codes.
    Add8(Sum8),
    /// Sum of two tensors of `f32`.
    AddF { relu: bool },
}

/// What becomes of INT8 accumulators.
pub(super) struct Finish {
    /// Real width of an accumulator step, `[n_out]`.
    pub scales: Vec<f32>,
    /// Whether negative results become 0.
    pub relu: bool,
    /// To codes; otherwise to `f32`.
    pub table: Option<Table>,
}

/// One step; tensors by number.
pub(super) struct Step {
    pub op: Op,
    pub src: usize,
    /// The second summand, or the side path's share: `f32`, `[rows, n_out]`.
    pub side: Option<usize>,
    pub dst: usize,
    /// Accumulators.
    pub work: Option<usize>,
    /// Values of one item in `src`, and in `dst`.
    pub item_in: usize,
    pub item_out: usize,
    /// Rows of one item, and from one to the next in `src`.
    pub n_rows: usize,
    pub stride: usize,
}

/// How large a tensor is, by the number of items.
struct Tensor {
    bytes_per_item: usize,
    /// For accumulators: bytes of a row and rows of an item.
    rows: Option<(usize, usize)>,
    first: usize,
    last: usize,
}

/// Everything one runner needs beside its arena.
pub(super) struct Program {
    pub steps: Vec<Step>,
    tensors: Vec<Tensor>,
    /// Tensor of the real input, of the first codes (if any), of the last codes, of the real output.
    pub real_in: usize,
    pub real_out: usize,
    /// Codes of input and output where there are any: the first step encodes, the last decodes.
    pub input: Flow,
    pub output: Flow,
}

impl Program {
    /// Checks and packs.
    ///
    /// # Errors
    /// As `Graph::check`, or `Error::TooBig` if one item does not fit the arena.
    pub(super) fn new(graph: &Graph) -> Result<Self, Error> {
        let output = graph.check()?;
        let input = Flow { shape: graph.input, quant: graph.input_quant };
        let mut build = Build { steps: Vec::new(), tensors: Vec::new() };
        let real_in = build.tensor(4 * input.shape.size(), None);
        let mut at = At { tensor: real_in, flow: input };
        if let Some(quant) = input.quant {
            at.tensor = build.map(Op::Encode(quant), real_in, input.shape.size(), 1);
        }
        for layer in &graph.layers {
            at = build.layer(layer, at);
        }
        if let Some(quant) = output.quant {
            at.tensor = build.map(Op::Decode(quant), at.tensor, output.shape.size(), 4);
        }
        let end = build.steps.len();
        // The caller fills the input before the first step and reads both after the last.
        build.tensors[real_in].first = 0;
        build.tensors[real_in].last = end;
        build.tensors[at.tensor].last = end;
        let Build { mut steps, tensors } = build;
        shift_between(&mut steps, &tensors);
        let program = Self { steps, tensors, real_in, real_out: at.tensor, input, output };
        program.plan(1)?;
        Ok(program)
    }

    /// Where the tensors of `n_items` at once lie.
    ///
    /// # Errors
    /// `Error::TooBig`.
    pub(super) fn plan(&self, n_items: usize) -> Result<Plan, Error> {
        let needs: Vec<Need> = self
            .tensors
            .iter()
            .map(|t| {
                let bytes = match t.rows {
                    Some((row, n_rows)) => row * rows_at_once(n_rows.saturating_mul(n_items)),
                    // Integer rows are read up to the next multiple of four, INT4 ones of 32.
                    None => t.bytes_per_item.saturating_mul(n_items).saturating_add(32),
                };
                Need { bytes, first: t.first, last: t.last }
            })
            .collect();
        Plan::new(&needs)
    }
}

/// Has codes that only go from one dense layer to the next go plus 128.
fn shift_between(steps: &mut [Step], tensors: &[Tensor]) {
    for after in 1..steps.len() {
        let [from, to] = &mut steps[after - 1..=after] else { unreachable!("two steps") };
        if let Op::Dense8 { finish: Finish { table: Some(table), .. }, .. } = &mut from.op
            && let Op::Dense8 { weights, .. } = &mut to.op
            && to.src == from.dst
            && tensors[from.dst].last == after
            && weights.takes_shifted()
        {
            (table.shifted, weights.shifted) = (true, true);
        }
    }
}

/// Rows that share the accumulators, of `n_rows` in all.
pub(super) fn rows_at_once(n_rows: usize) -> usize {
    n_rows.min(ROWS_AT_ONCE)
}

/// A tensor and what it holds.
#[derive(Clone, Copy)]
struct At {
    tensor: usize,
    flow: Flow,
}

struct Build {
    steps: Vec<Step>,
    tensors: Vec<Tensor>,
}

impl Build {
    fn tensor(&mut self, bytes_per_item: usize, rows: Option<(usize, usize)>) -> usize {
        let now = self.steps.len();
        self.tensors.push(Tensor { bytes_per_item, rows, first: now, last: now });
        self.tensors.len() - 1
    }

    fn push(&mut self, step: Step) -> usize {
        let now = self.steps.len();
        for tensor in [Some(step.src), step.side].into_iter().flatten() {
            self.tensors[tensor].last = now;
        }
        let dst = step.dst;
        self.steps.push(step);
        dst
    }

    /// A step that takes value by value; `bytes` is the width of a result.
    fn map(&mut self, op: Op, src: usize, size: usize, bytes: usize) -> usize {
        let dst = self.tensor(size * bytes, None);
        let rest = (size, size, 1, size);
        let (item_in, item_out, n_rows, stride) = rest;
        self.push(Step { op, src, side: None, dst, work: None, item_in, item_out, n_rows, stride })
    }

    fn layer(&mut self, layer: &Layer, at: At) -> At {
        let flow = layer.flow(at.flow).expect("the graph was checked");
        let tensor = match layer {
            Layer::Dense(linear) => {
                let size = at.flow.shape.size();
                self.linear(linear, at, Geometry { item_in: size, n_rows: 1, stride: size })
            }
            Layer::Conv { linear, slide } => {
                let (at, geometry) = self.slide(*slide, at, flow);
                self.linear(linear, at, geometry)
            }
            Layer::Depthwise { linear, slide } => {
                let (at, geometry) = self.slide(*slide, at, flow);
                self.depthwise(linear, at, geometry)
            }
            Layer::Residual { body, relu, out } => self.residual(body, *relu, *out, at),
        };
        At { tensor, flow }
    }

    /// Pads where the layer asks for it; says how its rows lie.
    fn slide(&mut self, slide: Slide, at: At, to: Flow) -> (At, Geometry) {
        let Flow { shape, quant } = at.flow;
        let stride = slide.stride * shape.channels;
        let (before, n_rows) = slide.over(shape.len);
        debug_assert_eq!(n_rows, to.shape.len);
        let padded_len = ((n_rows - 1) * slide.stride + slide.kernel).max(shape.len);
        if padded_len == shape.len {
            return (at, Geometry { item_in: shape.size(), n_rows, stride });
        }
        let item_out = padded_len * shape.channels;
        let (codes, bytes) = match quant {
            Some(quant) => (Some(quant.zero as i8), 1),
            None => (None, 4),
        };
        let dst = self.tensor(item_out * bytes, None);
        let item_in = shape.size();
        let op = Op::Pad { before: before * shape.channels, codes };
        let step = Step {
            op,
            src: at.tensor,
            side: None,
            dst,
            work: None,
            item_in,
            item_out,
            n_rows: 1,
            stride: item_in,
        };
        let tensor = self.push(step);
        (At { tensor, flow: at.flow }, Geometry { item_in: item_out, n_rows, stride })
    }

    fn linear(&mut self, linear: &Linear, at: At, geometry: Geometry) -> usize {
        let side = linear.side.as_ref().map(|side| self.side(linear, side, at, geometry));
        match (&linear.weights, &linear.bias, at.flow.quant) {
            (Weights::Int8 { codes, scales }, Bias::I32(bias), Some(from)) => {
                let finish = finish(linear, scales, from);
                let weights = Dense8::new(codes, linear.n_in, bias, from.zero);
                let row_bytes = 4 * weights.offset.len();
                let op = Op::Dense8 { weights, finish };
                self.rows(
                    op,
                    at.tensor,
                    side,
                    linear,
                    geometry,
                    Some(row_bytes),
                    linear.out.is_some(),
                )
            }
            (Weights::Int4 { codes, scales }, Bias::F32(bias), Some(from)) => {
                let weights = Dense4::new(codes, scales, linear.n_in, bias, from);
                let op = Op::Dense4 { weights, relu: linear.relu };
                let real = self.rows(op, at.tensor, side, linear, geometry, None, false);
                self.encode(real, linear, geometry)
            }
            (Weights::F32(_) | Weights::F16(_), Bias::F32(bias), quant) => {
                let values = real_values(&linear.weights);
                let src = self.real(at.tensor, quant, geometry);
                let weights = DenseF::new(&values, linear.n_in, bias);
                let op = Op::DenseF { weights, relu: linear.relu };
                let real = self.rows(op, src, side, linear, geometry, None, false);
                self.encode(real, linear, geometry)
            }
            _ => unreachable!("the graph was checked"),
        }
    }

    fn depthwise(&mut self, linear: &Linear, at: At, geometry: Geometry) -> usize {
        match (&linear.weights, &linear.bias, at.flow.quant) {
            (Weights::Int8 { codes, scales }, Bias::I32(bias), Some(from)) => {
                let finish = finish(linear, scales, from);
                let weights = Depth8::new(codes, linear.n_in, bias, from.zero);
                let row_bytes = 4 * linear.n_out.next_multiple_of(LANES);
                let op = Op::Depth8 { weights, finish };
                self.rows(
                    op,
                    at.tensor,
                    None,
                    linear,
                    geometry,
                    Some(row_bytes),
                    linear.out.is_some(),
                )
            }
            (Weights::F32(values), Bias::F32(bias), quant) => {
                let src = self.real(at.tensor, quant, geometry);
                let weights = DepthF::new(values, linear.n_in, bias);
                let op = Op::DepthF { weights, relu: linear.relu };
                let real = self.rows(op, src, None, linear, geometry, None, false);
                self.encode(real, linear, geometry)
            }
            _ => unreachable!("the graph was checked"),
        }
    }

    /// The adapter: two thin float layers; gives what is to be added.
    fn side(&mut self, linear: &Linear, side: &Side, at: At, geometry: Geometry) -> usize {
        let thin = |n_in, n_out| Linear {
            n_in,
            n_out,
            weights: Weights::F32(Vec::new()),
            bias: Bias::F32(Vec::new()),
            relu: false,
            side: None,
            out: None,
        };
        let src = self.real(at.tensor, at.flow.quant, geometry);
        let wide = |values: &[half::f16]| values.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
        let down = DenseF::new(&wide(&side.down), linear.n_in, &vec![0.0; side.rank]);
        let op = Op::DenseF { weights: down, relu: false };
        let inner = self.rows(op, src, None, &thin(linear.n_in, side.rank), geometry, None, false);
        let up = DenseF::new(&wide(&side.up), side.rank, &vec![0.0; linear.n_out]);
        let op = Op::DenseF { weights: up, relu: false };
        let item_in = side.rank * geometry.n_rows;
        let geometry = Geometry { item_in, n_rows: geometry.n_rows, stride: side.rank };
        self.rows(op, inner, None, &thin(side.rank, linear.n_out), geometry, None, false)
    }

    #[allow(clippy::too_many_arguments, reason = "one place where a step is put together")]
    fn rows(
        &mut self,
        op: Op,
        src: usize,
        side: Option<usize>,
        linear: &Linear,
        geometry: Geometry,
        acc_row_bytes: Option<usize>,
        codes: bool,
    ) -> usize {
        let Geometry { item_in, n_rows, stride } = geometry;
        let item_out = linear.n_out * n_rows;
        let work = acc_row_bytes.map(|bytes| self.tensor(0, Some((bytes, n_rows))));
        let dst = self.tensor(item_out * if codes { 1 } else { 4 }, None);
        self.push(Step { op, src, side, dst, work, item_in, item_out, n_rows, stride })
    }

    fn residual(&mut self, body: &[Layer], relu: bool, out: Option<Quant>, at: At) -> usize {
        let after = body.iter().fold(at, |at, layer| self.layer(layer, at));
        let size = at.flow.shape.size();
        let (op, bytes) = match (at.flow.quant, after.flow.quant, out) {
            (Some(a), Some(b), Some(out)) => (Op::Add8(Sum8::new(a, b, out, relu)), 1),
            _ => (Op::AddF { relu }, 4),
        };
        let dst = self.tensor(size * bytes, None);
        self.push(Step {
            op,
            src: at.tensor,
            side: Some(after.tensor),
            dst,
            work: None,
            item_in: size,
            item_out: size,
            n_rows: 1,
            stride: size,
        })
    }

    /// The tensor in `f32`.
    fn real(&mut self, tensor: usize, quant: Option<Quant>, geometry: Geometry) -> usize {
        match quant {
            Some(quant) => self.map(Op::Decode(quant), tensor, geometry.item_in, 4),
            None => tensor,
        }
    }

    /// The result of a float layer in codes, if the layer says so.
    fn encode(&mut self, real: usize, linear: &Linear, geometry: Geometry) -> usize {
        match linear.out {
            Some(quant) => self.map(Op::Encode(quant), real, linear.n_out * geometry.n_rows, 1),
            None => real,
        }
    }
}

/// How the rows of a layer lie in its input.
#[derive(Clone, Copy)]
struct Geometry {
    item_in: usize,
    n_rows: usize,
    stride: usize,
}

fn finish(linear: &Linear, scales: &[f32], from: Quant) -> Finish {
    let wide = |o| Linear::acc_scale(scales, from, o);
    let table = linear.out.map(|out| {
        let factors = (0..linear.n_out).map(|o| Requant::new(wide(o) / f64::from(out.scale)));
        Table::new(factors, out, linear.relu)
    });
    Finish { scales: (0..linear.n_out).map(|o| wide(o) as f32).collect(), relu: linear.relu, table }
}

fn real_values(weights: &Weights) -> Vec<f32> {
    match weights {
        Weights::F32(values) => values.clone(),
        Weights::F16(values) => values.iter().map(|x| x.to_f32()).collect(),
        Weights::Int8 { .. } | Weights::Int4 { .. } => unreachable!("integer weights run as such"),
    }
}
