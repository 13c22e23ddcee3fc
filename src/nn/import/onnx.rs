//! ONNX files: chains of Gemm or MatMul with Add, and Relu, float or between QuantizeLinear and
//! DequantizeLinear (QDQ form).
//!
//! Quantised layers become INT8 layers with the same codes and scales; they round as TFLite does.

use std::collections::HashMap;

use super::onnx_tensor::{Tensor, numbers_of, reals_of};
use super::protobuf::{Fault, Fields, Value, bytes, text};
use crate::nn::graph::{Bias, Graph, LAYERS_MAX, Layer, Linear, Shape, VALUES_MAX, Weights};
use crate::nn::{Error, FILE_BYTES_MAX, Quant};

/// Most nodes of a file, and most constants.
const NODES_MAX: usize = 16 * LAYERS_MAX;

/// The network of an `.onnx` file. Its input is one row; a card may see it as hops by bands.
///
/// # Errors
/// `Error::TooBig`, `Error::Invalid` for a broken file, `Error::Unsupported` naming the node that is
/// not run here.
pub fn read_onnx(file: &[u8]) -> Result<Graph, Error> {
    if file.len() > FILE_BYTES_MAX {
        return Err(Error::TooBig { what: "file", max: FILE_BYTES_MAX as u64 });
    }
    let graph = read(file).map_err(|stop| match stop {
        Stop::Broken(why) => Error::Invalid { at: "onnx file".to_owned(), why: why.to_owned() },
        Stop::Foreign(what) => Error::Unsupported { what },
    })?;
    graph.check()?;
    Ok(graph)
}

/// Why reading ended.
enum Stop {
    Broken(Fault),
    Foreign(String),
}

impl From<Fault> for Stop {
    fn from(why: Fault) -> Self {
        Self::Broken(why)
    }
}

fn foreign<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Foreign(what.into()))
}

/// One operator.
struct Node<'a> {
    op: &'a str,
    inputs: Vec<&'a str>,
    output: &'a str,
    numbers: HashMap<&'a str, i64>,
    reals: HashMap<&'a str, f32>,
    tensor: Option<Tensor<'a>>,
}

fn read(file: &[u8]) -> Result<Graph, Stop> {
    let mut graph = None;
    for field in Fields::of(file) {
        if let (7, value) = field? {
            graph = Some(bytes(value)?);
        }
    }
    let (mut nodes, mut constants, mut input) = (Vec::new(), HashMap::new(), None);
    for field in Fields::of(graph.ok_or("no graph")?) {
        match field? {
            (1, value) => nodes.push(node(bytes(value)?)?),
            (5, value) => {
                let tensor = Tensor::read(bytes(value)?)?;
                constants.insert(tensor.name, tensor);
            }
            (11, value) => input = input.or(Some(name(bytes(value)?)?)),
            _ => {}
        }
        if nodes.len() > NODES_MAX || constants.len() > NODES_MAX {
            return Err("too many nodes".into());
        }
    }
    let at = input.ok_or("no input")?;
    let mut chain = Chain {
        constants,
        quantised: HashMap::new(),
        at,
        quant: None,
        input_quant: None,
        layers: Vec::new(),
        n_values: 0,
    };
    nodes.iter().try_for_each(|node| chain.take(node))?;
    chain.finish()
}

fn name(value_info: &[u8]) -> Result<&str, Fault> {
    for field in Fields::of(value_info) {
        if let (1, value) = field? {
            return text(value);
        }
    }
    Err("an input without name")
}

fn node(message: &[u8]) -> Result<Node<'_>, Fault> {
    let mut node = Node {
        op: "",
        inputs: Vec::new(),
        output: "",
        numbers: HashMap::new(),
        reals: HashMap::new(),
        tensor: None,
    };
    for field in Fields::of(message) {
        match field? {
            (1, value) if node.inputs.len() < 8 => node.inputs.push(text(value)?),
            (1, _) => return Err("a node with too many inputs"),
            (2, value) => node.output = text(value)?,
            (4, value) => node.op = text(value)?,
            (5, value) => attribute(bytes(value)?, &mut node)?,
            _ => {}
        }
    }
    Ok(node)
}

fn attribute<'a>(message: &'a [u8], node: &mut Node<'a>) -> Result<(), Fault> {
    let (mut name, mut number, mut real) = ("", None, None);
    for field in Fields::of(message) {
        match field? {
            (1, value) => name = text(value)?,
            (2, Value::Four(value)) => real = Some(f32::from_le_bytes(value)),
            (3, Value::Number(value)) => number = Some(value as i64),
            (5, value) => node.tensor = Some(Tensor::read(bytes(value)?)?),
            _ => {}
        }
    }
    node.numbers.extend(number.map(|number| (name, number)));
    node.reals.extend(real.map(|real| (name, real)));
    Ok(())
}

/// A constant in codes: weights or a bias behind DequantizeLinear.
struct Quantised<'a> {
    codes: Tensor<'a>,
    scales: Vec<f32>,
    zero: i64,
    axis: i64,
}

/// A layer on its way: its bias as it came.
struct Growing {
    linear: Linear,
    bias: Option<Vec<f32>>,
}

/// What was read so far.
struct Chain<'a> {
    constants: HashMap<&'a str, Tensor<'a>>,
    quantised: HashMap<&'a str, Quantised<'a>>,
    /// Name of the last result.
    at: &'a str,
    /// Codes of the last result.
    quant: Option<Quant>,
    input_quant: Option<Quant>,
    layers: Vec<Growing>,
    n_values: usize,
}

impl<'a> Chain<'a> {
    fn take(&mut self, node: &Node<'a>) -> Result<(), Stop> {
        let first = *node.inputs.first().unwrap_or(&"");
        match node.op {
            "Constant" => {
                let tensor = node.tensor.clone().ok_or("a constant without tensor")?;
                self.constants.insert(node.output, tensor);
                return Ok(());
            }
            "DequantizeLinear" if self.constants.contains_key(first) => {
                let quantised = self.dequantise(node, first)?;
                self.quantised.insert(node.output, quantised);
                return Ok(());
            }
            // The constant may stand on either side of a sum.
            "Add" if node.inputs.get(1) == Some(&self.at) => self.bias(first)?,
            _ if first != self.at => {
                return foreign(format!("{}: nodes that do not follow each other", node.op));
            }
            "QuantizeLinear" => self.quantise(node)?,
            "DequantizeLinear" if self.quant.is_some() => {}
            "Gemm" | "MatMul" => self.gemm(node)?,
            "Add" => self.bias(node.inputs.get(1).copied().unwrap_or(""))?,
            "Relu" => match self.layers.last_mut() {
                Some(layer) if layer.linear.out.is_none() => layer.linear.relu = true,
                _ => return foreign("a Relu over codes by itself"),
            },
            "Reshape" | "Flatten" | "Identity" => {}
            other => return foreign(format!("ONNX operator {other}")),
        }
        self.at = node.output;
        Ok(())
    }

    fn constant(&self, name: &str) -> Result<&Tensor<'a>, Fault> {
        self.constants.get(name).ok_or("a constant that is not there")
    }

    /// Scales, code of 0, and what comes off unsigned codes to make them signed.
    fn scale_zero(&self, node: &Node<'a>) -> Result<(Vec<f32>, i64, i64), Stop> {
        let scales = node.inputs.get(1).ok_or("no scale")?;
        let scales = reals_of(self.constant(scales)?)?;
        let Some(zero) = node.inputs.get(2).filter(|name| !name.is_empty()) else {
            // Without zero point codes are unsigned and 0 is 0.
            return Ok((scales, 0, 128));
        };
        let tensor = self.constant(zero)?;
        let zeros = numbers_of(tensor)?;
        let zero = zeros.first().copied().unwrap_or(0);
        if zeros.iter().any(|z| *z != zero) {
            return foreign("zero points that differ");
        }
        Ok((scales, zero, if tensor.is_unsigned() { 128 } else { 0 }))
    }

    fn dequantise(&self, node: &Node<'a>, codes: &str) -> Result<Quantised<'a>, Stop> {
        let codes = self.constant(codes)?.clone();
        let (scales, zero, _) = self.scale_zero(node)?;
        let zero = if node.inputs.len() < 3 { 0 } else { zero };
        let axis = node.numbers.get("axis").copied().unwrap_or(1);
        Ok(Quantised { codes, scales, zero, axis })
    }

    fn quantise(&mut self, node: &Node<'a>) -> Result<(), Stop> {
        let (scales, zero, unsigned) = self.scale_zero(node)?;
        let [scale] = scales[..] else { return foreign("activations with several scales") };
        let zero = i32::try_from(zero - unsigned).map_err(|_| "a wild zero point")?;
        let quant = Some(Quant { scale, zero });
        match self.layers.last_mut() {
            Some(layer) if layer.linear.out.is_none() => layer.linear.out = quant,
            None if self.input_quant.is_none() => self.input_quant = quant,
            _ => return foreign("codes quantised again"),
        }
        self.quant = quant;
        Ok(())
    }

    fn gemm(&mut self, node: &Node<'a>) -> Result<(), Stop> {
        let one = |name| node.reals.get(name).is_none_or(|x| *x == 1.0);
        let number = |name| node.numbers.get(name).copied().unwrap_or(0);
        if !one("alpha") || !one("beta") || number("transA") != 0 {
            return foreign("a Gemm with factors");
        }
        if self.layers.len() == LAYERS_MAX {
            return Err("too many layers".into());
        }
        let transposed = node.op == "Gemm" && number("transB") != 0;
        let name = *node.inputs.get(1).ok_or("a layer without weights")?;
        let linear = match (self.quantised.get(name), self.quant) {
            (Some(weights), Some(_)) => int8(weights, transposed)?,
            (Some(_), None) => return foreign("quantised weights on float activations"),
            (None, _) => float(self.constant(name)?, transposed)?,
        };
        self.n_values += linear.n_in * linear.n_out;
        if self.n_values > VALUES_MAX {
            return Err("too many weights".into());
        }
        self.layers.push(Growing { linear, bias: None });
        match node.inputs.get(2) {
            Some(bias) => self.bias(bias),
            None => Ok(()),
        }
    }

    fn bias(&mut self, name: &str) -> Result<(), Stop> {
        let from = self.scale_before();
        let Some(layer) = self.layers.last_mut() else {
            return foreign("a sum before the first layer");
        };
        let linear = &mut layer.linear;
        if layer.bias.is_some() || linear.relu || linear.out.is_some() {
            return foreign("a second sum");
        }
        let reals = match (self.quantised.get(name), &mut linear.bias) {
            (Some(quantised), Bias::I32(bias)) => {
                // Codes of a bias are accumulator steps already.
                let codes = numbers_of(&quantised.codes)?;
                let codes =
                    codes.into_iter().map(|code| i32::try_from(code).map_err(|_| "a wild bias"));
                *bias = codes.collect::<Result<_, _>>()?;
                layer.bias = Some(Vec::new());
                return Ok(());
            }
            (Some(quantised), Bias::F32(_)) => {
                let codes = numbers_of(&quantised.codes)?;
                let scale = |i: usize| quantised.scales.get(i).or(quantised.scales.first());
                let real = |(i, code)| scale(i).map(|scale| code as f32 * scale).ok_or("no scale");
                codes.into_iter().enumerate().map(real).collect::<Result<_, _>>()?
            }
            (None, _) => reals_of(self.constants.get(name).ok_or("a bias that is not there")?)?,
        };
        if let (Bias::I32(bias), Weights::Int8 { scales, .. }) = (&mut linear.bias, &linear.weights)
        {
            let scale =
                |o: usize| f64::from(from) * f64::from(*scales.get(o).unwrap_or(&scales[0]));
            let steps =
                reals.iter().enumerate().map(|(o, x)| (f64::from(*x) / scale(o)).round() as i32);
            *bias = steps.collect();
        }
        layer.bias = Some(reals);
        Ok(())
    }

    /// Scale of the input of the last layer.
    fn scale_before(&self) -> f32 {
        let before = self.layers.len().checked_sub(2).and_then(|i| self.layers[i].linear.out);
        before.or(self.input_quant).map_or(1.0, |quant| quant.scale)
    }

    fn finish(self) -> Result<Graph, Stop> {
        let n_in = self.layers.first().ok_or("no layers")?.linear.n_in;
        let layers = self.layers.into_iter().map(|layer| {
            let mut linear = layer.linear;
            if let (Bias::F32(bias), Some(reals)) = (&mut linear.bias, layer.bias) {
                *bias = reals;
            }
            Layer::Dense(linear)
        });
        Ok(Graph {
            input: Shape { len: 1, channels: n_in },
            input_quant: self.input_quant,
            layers: layers.collect(),
        })
    }
}

fn size(weights: &Tensor<'_>, transposed: bool) -> Result<(usize, usize), Fault> {
    let [rows, columns] = weights.dims[..] else { return Err("weights are not a matrix") };
    let n_values = rows.checked_mul(columns).filter(|n| (1..=VALUES_MAX).contains(n));
    n_values.ok_or("weights of no or too large size")?;
    Ok(if transposed { (columns, rows) } else { (rows, columns) })
}

/// Row by row by output, from either order.
fn by_output<T: Copy>(
    values: &[T],
    n_in: usize,
    n_out: usize,
    transposed: bool,
) -> Result<Vec<T>, Fault> {
    if values.len() != n_in * n_out {
        return Err("a tensor of the wrong size");
    }
    if transposed {
        return Ok(values.to_vec());
    }
    Ok((0..n_out).flat_map(|o| (0..n_in).map(move |i| values[i * n_out + o])).collect())
}

fn int8(weights: &Quantised<'_>, transposed: bool) -> Result<Linear, Stop> {
    let (n_in, n_out) = size(&weights.codes, transposed)?;
    let codes = numbers_of(&weights.codes)?;
    let centred =
        codes.iter().map(|code| i8::try_from(code - weights.zero).map_err(|_| "a wild weight"));
    let centred = centred.collect::<Result<Vec<i8>, _>>()?;
    let by_row = i64::from(!transposed);
    if weights.scales.len() > 1 && weights.axis.rem_euclid(2) != by_row {
        return foreign("scales along the inputs");
    }
    Ok(Linear {
        n_in,
        n_out,
        weights: Weights::Int8 {
            codes: by_output(&centred, n_in, n_out, transposed)?,
            scales: weights.scales.clone(),
        },
        bias: Bias::I32(vec![0; n_out]),
        relu: false,
        side: None,
        out: None,
    })
}

fn float(weights: &Tensor<'_>, transposed: bool) -> Result<Linear, Stop> {
    let (n_in, n_out) = size(weights, transposed)?;
    let values = by_output(&reals_of(weights)?, n_in, n_out, transposed)?;
    Ok(Linear {
        n_in,
        n_out,
        weights: Weights::F32(values),
        bias: Bias::F32(vec![0.0; n_out]),
        relu: false,
        side: None,
        out: None,
    })
}
