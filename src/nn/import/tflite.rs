//! TensorFlow Lite files: chains of fully connected layers, all float or all INT8.
//!
//! INT8 layers keep their codes, scales and 32-bit biases, so that the integers that come out are
//! those of TFLite's reference kernels.

use super::flatbuffer::{Fault, Table, Vector};
use crate::nn::graph::{Bias, Graph, LAYERS_MAX, Layer, Linear, Shape, VALUES_MAX, Weights};
use crate::nn::{Error, FILE_BYTES_MAX, Quant};

const FULLY_CONNECTED: i32 = 9;
const DEQUANTIZE: i32 = 6;
const RELU: i32 = 19;
const RESHAPE: i32 = 22;
const QUANTIZE: i32 = 114;
const FLOAT32: u8 = 0;
const INT32: u8 = 2;
const INT8: u8 = 9;

/// The network of a `.tflite` file. Its input is one row; a card may see it as hops by bands.
///
/// # Errors
/// `Error::TooBig`, `Error::Invalid` for a broken file, `Error::Unsupported` naming the operator or
/// type that is not run here.
pub fn read_tflite(file: &[u8]) -> Result<Graph, Error> {
    if file.len() > FILE_BYTES_MAX {
        return Err(Error::TooBig { what: "file", max: FILE_BYTES_MAX as u64 });
    }
    let fault = |why: Fault| Error::Invalid { at: "tflite file".to_owned(), why: why.to_owned() };
    let mut reader = Reader::new(file).map_err(fault)?;
    let graph = reader.graph().map_err(|stop| match stop {
        Stop::Broken(why) => fault(why),
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

struct Reader<'a> {
    op_codes: Vector<'a>,
    buffers: Vector<'a>,
    tensors: Vector<'a>,
    operators: Vector<'a>,
    inputs: Vector<'a>,
    n_values: usize,
}

impl<'a> Reader<'a> {
    fn new(file: &'a [u8]) -> Result<Self, Fault> {
        let model = Table::root(file, *b"TFL3")?;
        let subgraphs = model.vector(2, 4)?;
        if subgraphs.len != 1 {
            return Err("one subgraph is needed");
        }
        let subgraph = subgraphs.table(0)?;
        Ok(Self {
            op_codes: model.vector(1, 4)?,
            buffers: model.vector(4, 4)?,
            tensors: subgraph.vector(0, 4)?,
            operators: subgraph.vector(3, 4)?,
            inputs: subgraph.vector(1, 4)?,
            n_values: 0,
        })
    }

    fn graph(&mut self) -> Result<Graph, Stop> {
        if self.operators.len > LAYERS_MAX {
            return Err("too many operators".into());
        }
        let mut at = self.inputs.numbers(i32::from_le_bytes).next().ok_or("no input")?;
        let mut layers: Vec<Layer> = Vec::new();
        let shape: Vec<i32> = self.tensor(at)?.vector(0, 4)?.numbers(i32::from_le_bytes).collect();
        let mut input_quant = self.quant(at)?;
        for i in 0..self.operators.len {
            let operator = self.operators.table(i)?;
            let ins: Vec<i32> =
                operator.vector(1, 4)?.numbers(i32::from_le_bytes).take(4).collect();
            let out = operator.vector(2, 4)?.numbers(i32::from_le_bytes).next();
            let out = out.ok_or("an operator without output")?;
            if ins.first() != Some(&at) {
                return Err(Stop::Foreign(
                    "layers that do not follow each other in a chain".into(),
                ));
            }
            match self.op_code(operator)? {
                FULLY_CONNECTED => layers.push(Layer::Dense(self.dense(operator, &ins, out)?)),
                RELU => relu(&mut layers)?,
                QUANTIZE if layers.is_empty() && input_quant.is_none() => {
                    input_quant = self.quant(out)?;
                }
                // The last codes become real numbers at the end in any case.
                DEQUANTIZE if i + 1 == self.operators.len => {}
                RESHAPE => {}
                other => return Err(Stop::Foreign(format!("TFLite operator {other}"))),
            }
            at = out;
        }
        let size = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0));
        let size = size.fold(1_usize, usize::saturating_mul);
        Ok(Graph { input: Shape { len: 1, channels: size }, input_quant, layers })
    }

    fn op_code(&self, operator: Table<'a>) -> Result<i32, Fault> {
        let idx = usize::try_from(operator.number(0)?).map_err(|_| "a wild operator code")?;
        let code = self.op_codes.table(idx)?;
        // The number outgrew its byte; both fields hold it as long as it fits.
        Ok(code.number(3)?.max(i32::from(code.byte(0)?)))
    }

    fn tensor(&self, idx: i32) -> Result<Table<'a>, Fault> {
        self.tensors.table(usize::try_from(idx).map_err(|_| "a wild tensor index")?)
    }

    /// Codes of an INT8 tensor with one scale; `None` for float.
    fn quant(&self, idx: i32) -> Result<Option<Quant>, Stop> {
        let tensor = self.tensor(idx)?;
        match tensor.byte(1)? {
            FLOAT32 => Ok(None),
            INT8 => {
                let params = tensor.table(4)?.ok_or("an INT8 tensor without scale")?;
                let scale = params.vector(2, 4)?.numbers(f32::from_le_bytes).next();
                let zero = params.vector(3, 8)?.numbers(i64::from_le_bytes).next().unwrap_or(0);
                let zero = i32::try_from(zero).map_err(|_| "a wild zero point")?;
                Ok(Some(Quant { scale: scale.ok_or("an INT8 tensor without scale")?, zero }))
            }
            other => Err(Stop::Foreign(format!("TFLite tensor type {other}"))),
        }
    }

    fn data(&self, tensor: Table<'a>, width: usize, n_values: usize) -> Result<&'a [u8], Fault> {
        let idx = usize::try_from(tensor.number(2)?).map_err(|_| "a wild buffer index")?;
        let data = self.buffers.table(idx)?.vector(0, 1)?.bytes();
        if data.len() == width * n_values { Ok(data) } else { Err("a tensor of the wrong size") }
    }

    fn dense(&mut self, operator: Table<'a>, ins: &[i32], out: i32) -> Result<Linear, Stop> {
        let weights = self.tensor(*ins.get(1).ok_or("a layer without weights")?)?;
        let dims: Vec<i32> = weights.vector(0, 4)?.numbers(i32::from_le_bytes).take(3).collect();
        let [n_out, n_in] = dims[..] else { return Err("weights are not a matrix".into()) };
        let (n_out, n_in) = (usize::try_from(n_out), usize::try_from(n_in));
        let (Ok(n_out), Ok(n_in)) = (n_out, n_in) else { return Err("a negative size".into()) };
        if n_out == 0 || n_in == 0 {
            // Biases are made from the number of outputs: it has to be bounded by bytes that are there.
            return Err("weights of no size".into());
        }
        self.n_values = n_out.saturating_mul(n_in).saturating_add(self.n_values);
        if self.n_values > VALUES_MAX {
            return Err("too many weights".into());
        }
        let activation = match operator.table(4)? {
            Some(options) => options.byte(0)?,
            None => 0,
        };
        if activation > 1 {
            return Err(Stop::Foreign(format!("TFLite activation {activation}")));
        }
        let bias = match ins.get(2) {
            Some(idx) if *idx >= 0 => Some(self.tensor(*idx)?),
            _ => None,
        };
        let (weights, bias) = match weights.byte(1)? {
            FLOAT32 => self.float_parts(weights, bias, n_in, n_out)?,
            INT8 => self.int8_parts(weights, bias, n_in, n_out)?,
            other => return Err(Stop::Foreign(format!("TFLite weight type {other}"))),
        };
        let relu = activation == 1;
        Ok(Linear { n_in, n_out, weights, bias, relu, side: None, out: self.quant(out)? })
    }

    fn float_parts(
        &self,
        weights: Table<'a>,
        bias: Option<Table<'a>>,
        n_in: usize,
        n_out: usize,
    ) -> Result<(Weights, Bias), Stop> {
        let floats =
            |data: &[u8]| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let values = floats(self.data(weights, 4, n_in * n_out)?);
        let bias = match bias {
            Some(bias) => floats(self.data(bias, 4, n_out)?),
            None => vec![0.0; n_out],
        };
        Ok((Weights::F32(values), Bias::F32(bias)))
    }

    fn int8_parts(
        &self,
        weights: Table<'a>,
        bias: Option<Table<'a>>,
        n_in: usize,
        n_out: usize,
    ) -> Result<(Weights, Bias), Stop> {
        let params = weights.table(4)?.ok_or("INT8 weights without scale")?;
        let scales: Vec<f32> = params.vector(2, 4)?.numbers(f32::from_le_bytes).collect();
        if params.vector(3, 8)?.numbers(i64::from_le_bytes).any(|zero| zero != 0) {
            return Err(Stop::Foreign("weights with a zero point".to_owned()));
        }
        if scales.len() > 1 && params.number(6)? != 0 {
            return Err(Stop::Foreign("scales along the inputs".to_owned()));
        }
        let codes = self.data(weights, 1, n_in * n_out)?.iter().map(|b| *b as i8).collect();
        let bias = match bias {
            Some(bias) if bias.byte(1)? == INT32 => {
                let data = self.data(bias, 4, n_out)?;
                data.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
            }
            Some(_) => return Err(Stop::Foreign("INT8 weights with another bias".to_owned())),
            None => vec![0; n_out],
        };
        Ok((Weights::Int8 { codes, scales }, Bias::I32(bias)))
    }
}

/// A ReLU by itself, taken into the float layer before it.
fn relu(layers: &mut [Layer]) -> Result<(), Stop> {
    match layers.last_mut().and_then(Layer::linear_mut) {
        Some(linear) if linear.out.is_none() => {
            linear.relu = true;
            Ok(())
        }
        _ => Err(Stop::Foreign("a ReLU over codes by itself".to_owned())),
    }
}
