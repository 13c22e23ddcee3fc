//! Constants in an ONNX file: `TensorProto`.

use super::protobuf::{Fault, Fields, Value, bytes, numbers, text};
use crate::nn::graph::VALUES_MAX;

const FLOAT: i64 = 1;
const UINT8: i64 = 2;
const INT8: i64 = 3;
const INT32: i64 = 6;
const INT64: i64 = 7;

/// Where the values lie.
#[derive(Clone)]
enum Data<'a> {
    None,
    Raw(&'a [u8]),
    Reals(&'a [u8]),
    Numbers(&'a [u8]),
}

/// A constant, not yet decoded where it lies raw.
#[derive(Clone)]
pub(super) struct Tensor<'a> {
    pub name: &'a str,
    pub dims: Vec<usize>,
    kind: i64,
    data: Data<'a>,
}

impl<'a> Tensor<'a> {
    /// From a `TensorProto`.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Fault> {
        let mut tensor = Self { name: "", dims: Vec::new(), kind: 0, data: Data::None };
        for field in Fields::of(message) {
            match field? {
                (1, value) => {
                    for dim in numbers(value, 8)? {
                        tensor.dims.push(usize::try_from(dim).map_err(|_| "a negative size")?);
                    }
                    if tensor.dims.len() > 8 {
                        return Err("a tensor of more than 8 dimensions");
                    }
                }
                (2, Value::Number(kind)) => tensor.kind = kind as i64,
                (4, Value::Bytes(raw)) => tensor.data = Data::Reals(raw),
                (5 | 7, Value::Bytes(packed)) => tensor.data = Data::Numbers(packed),
                (8, value) => tensor.name = text(value)?,
                (9, value) => tensor.data = Data::Raw(bytes(value)?),
                (13 | 14, _) => return Err("weights outside of the file"),
                _ => {}
            }
        }
        Ok(tensor)
    }

    /// Whether it holds unsigned bytes.
    pub(super) fn is_unsigned(&self) -> bool {
        self.kind == UINT8
    }
}

/// Values of `width` bytes, as many as the dimensions say.
fn raw<'a, const N: usize>(tensor: &Tensor<'a>, data: &'a [u8]) -> Result<&'a [[u8; N]], Fault> {
    let n_values = tensor.dims.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim));
    let (values, rest) = data.as_chunks();
    if n_values == Some(values.len()) && rest.is_empty() && values.len() <= VALUES_MAX {
        Ok(values)
    } else {
        Err("a tensor of the wrong size")
    }
}

/// The values of a float tensor.
pub(super) fn reals_of(tensor: &Tensor<'_>) -> Result<Vec<f32>, Fault> {
    match (&tensor.data, tensor.kind) {
        (Data::Raw(data) | Data::Reals(data), FLOAT) => {
            Ok(raw(tensor, data)?.iter().map(|b| f32::from_le_bytes(*b)).collect())
        }
        _ => Err("a tensor that is not float"),
    }
}

/// The values of an integer tensor.
pub(super) fn numbers_of(tensor: &Tensor<'_>) -> Result<Vec<i64>, Fault> {
    let tell = |data| match tensor.kind {
        UINT8 => Ok(raw(tensor, data)?.iter().map(|[b]| i64::from(*b)).collect()),
        INT8 => Ok(raw(tensor, data)?.iter().map(|[b]| i64::from(*b as i8)).collect()),
        INT32 => Ok(raw(tensor, data)?.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()),
        INT64 => Ok(raw(tensor, data)?.iter().map(|b| i64::from_le_bytes(*b)).collect()),
        _ => Err("a tensor that is not integer"),
    };
    match &tensor.data {
        Data::Raw(data) => tell(data),
        Data::Numbers(packed) if matches!(tensor.kind, UINT8 | INT8 | INT32 | INT64) => {
            numbers(Value::Bytes(packed), VALUES_MAX)
        }
        _ => Err("a tensor that is not integer"),
    }
}
