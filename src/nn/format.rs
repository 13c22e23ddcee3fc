//! The model file: a safetensors container with the card and the graph in its metadata.
//!
//! `__metadata__.auscult` is JSON: `{"blake3", "version", "card", "graph"}`. The digest is over the
//! whole file with its own 64 hex digits as zeros, and is checked before anything else is read.
//! Tensors are named by the layer's place: `0.weight`, `0.scale`, `0.bias`, `0.down`, `0.up`; inside
//! residual blocks `3.1.weight`. INT8 weights are stored as they are (`int8`), as their full blocks
//! with a bit mask (`int8_blocks`) or as indices into a palette (`int8_palette`), whichever is
//! smallest; INT4 codes two to a byte, the first in the low half.

mod packing;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::{every_kind, every_packing, seldom};

use std::collections::HashMap;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use self::packing::Encoding;
use super::graph::{
    Bias, Graph, INT4_GROUP, LAYERS_MAX, Layer, Linear, RANK_MAX, Shape, Side, Slide, VALUES_MAX,
    Weights,
};
use super::{Card, Error, Quant};

/// Version of the format written here.
pub const VERSION: u32 = 1;
/// Largest file, bytes.
pub const FILE_BYTES_MAX: usize = 32 << 20;
/// Largest header, bytes.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// Every header begins so, the digest follows.
const PREFIX: &[u8] = br#"{"__metadata__":{"auscult":"{\"blake3\":\""#;
/// Where the digest stands, after the length of the header.
const DIGEST_AT: usize = 8 + PREFIX.len();
const DIGEST_LEN: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Doc {
    blake3: String,
    version: u32,
    card: Card,
    graph: GraphDoc,
}

/// The version alone, for files of another one.
#[derive(Deserialize)]
struct VersionDoc {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphDoc {
    input: [usize; 2],
    input_quant: Option<QuantDoc>,
    layers: Vec<LayerDoc>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantDoc {
    scale: f32,
    zero: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum LayerDoc {
    Dense { linear: LinearDoc },
    Conv { linear: LinearDoc, slide: SlideDoc },
    Depthwise { linear: LinearDoc, slide: SlideDoc },
    Residual { body: Vec<LayerDoc>, relu: bool, out: Option<QuantDoc> },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearDoc {
    n_in: usize,
    n_out: usize,
    weights: Encoding,
    relu: bool,
    rank: Option<usize>,
    out: Option<QuantDoc>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlideDoc {
    kernel: usize,
    stride: usize,
    same: bool,
}

impl From<Quant> for QuantDoc {
    fn from(quant: Quant) -> Self {
        Self { scale: quant.scale, zero: quant.zero }
    }
}

impl From<QuantDoc> for Quant {
    fn from(doc: QuantDoc) -> Self {
        Self { scale: doc.scale, zero: doc.zero }
    }
}

/// The file of a card and a graph that were checked; the same parts give the same bytes.
pub(super) fn write(card: &Card, graph: &Graph) -> Vec<u8> {
    let mut tensors = Vec::new();
    let layers = graph.layers.iter().enumerate();
    let layers = layers.map(|(i, layer)| write_layer(&i.to_string(), layer, &mut tensors));
    let doc = Doc {
        blake3: "0".repeat(DIGEST_LEN),
        version: VERSION,
        card: card.clone(),
        graph: GraphDoc {
            input: [graph.input.len, graph.input.channels],
            input_quant: graph.input_quant.map(Into::into),
            layers: layers.collect(),
        },
    };
    let text = serde_json::to_string(&doc).expect("numbers and strings only");
    let views = tensors.iter().map(|t: &Tensor| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.data);
        (t.name.as_str(), view.expect("data are as long as the shape says"))
    });
    let metadata = HashMap::from([("auscult".to_owned(), text)]);
    let mut file = safetensors::serialize(views, Some(metadata)).expect("checked tensors");
    let digest = blake3::hash(&file).to_hex();
    file[DIGEST_AT..DIGEST_AT + DIGEST_LEN].copy_from_slice(digest.as_bytes());
    file
}

/// A tensor on its way into the file.
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

fn write_layer(at: &str, layer: &Layer, tensors: &mut Vec<Tensor>) -> LayerDoc {
    let slide = |s: &Slide| SlideDoc { kernel: s.kernel, stride: s.stride, same: s.same };
    match layer {
        Layer::Dense(linear) => LayerDoc::Dense { linear: write_linear(at, linear, tensors) },
        Layer::Conv { linear, slide: s } => {
            LayerDoc::Conv { linear: write_linear(at, linear, tensors), slide: slide(s) }
        }
        Layer::Depthwise { linear, slide: s } => {
            LayerDoc::Depthwise { linear: write_linear(at, linear, tensors), slide: slide(s) }
        }
        Layer::Residual { body, relu, out } => {
            let inner = body.iter().enumerate();
            let inner = inner.map(|(i, layer)| write_layer(&format!("{at}.{i}"), layer, tensors));
            LayerDoc::Residual { body: inner.collect(), relu: *relu, out: out.map(Into::into) }
        }
    }
}

fn write_linear(at: &str, linear: &Linear, tensors: &mut Vec<Tensor>) -> LinearDoc {
    let (n_in, n_out) = (linear.n_in, linear.n_out);
    let mut put = |what: &str, dtype, shape: Vec<usize>, data| {
        tensors.push(Tensor { name: format!("{at}.{what}"), dtype, shape, data });
    };
    let weights = match &linear.weights {
        Weights::F32(values) => {
            put("weight", Dtype::F32, vec![n_out, n_in], le(values, f32::to_le_bytes));
            Encoding::F32
        }
        Weights::F16(values) => {
            put("weight", Dtype::F16, vec![n_out, n_in], le(values, f16::to_le_bytes));
            Encoding::F16
        }
        Weights::Int8 { codes, scales } => {
            put("scale", Dtype::F32, vec![scales.len()], le(scales, f32::to_le_bytes));
            let (encoding, parts) = packing::pack8(codes, n_in, n_out);
            for part in parts {
                put(part.what, part.dtype, part.shape, part.data);
            }
            encoding
        }
        Weights::Int4 { codes, scales } => {
            let groups = n_in.div_ceil(INT4_GROUP);
            put("scale", Dtype::F16, vec![n_out, groups], le(scales, f16::to_le_bytes));
            put("weight", Dtype::U8, vec![n_out, n_in.div_ceil(2)], packing::pack4(codes, n_in));
            Encoding::Int4
        }
    };
    match &linear.bias {
        Bias::F32(bias) => put("bias", Dtype::F32, vec![n_out], le(bias, f32::to_le_bytes)),
        Bias::I32(bias) => put("bias", Dtype::I32, vec![n_out], le(bias, i32::to_le_bytes)),
    }
    if let Some(side) = &linear.side {
        put("down", Dtype::F16, vec![side.rank, n_in], le(&side.down, f16::to_le_bytes));
        put("up", Dtype::F16, vec![n_out, side.rank], le(&side.up, f16::to_le_bytes));
    }
    let rank = linear.side.as_ref().map(|side| side.rank);
    LinearDoc { n_in, n_out, weights, relu: linear.relu, rank, out: linear.out.map(Into::into) }
}

fn le<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|x| bytes(*x)).collect()
}

/// Card and graph of a file. Sizes are held against the limits and the file's own length before
/// anything is allocated for them; whether the numbers make a network is for `Graph::check`.
///
/// # Errors
/// `Error::TooBig`, `Damaged`, `Version`, or `Invalid` where the parts do not fit each other.
pub(super) fn read(file: &[u8]) -> Result<(Card, Graph), Error> {
    if file.len() > FILE_BYTES_MAX {
        return Err(Error::TooBig { what: "file", max: FILE_BYTES_MAX as u64 });
    }
    check_digest(file)?;
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(|e| broken("container", e))?;
    let texts = metadata.metadata().as_ref();
    let text =
        texts.and_then(|m| m.get("auscult")).ok_or_else(|| broken("container", "no card"))?;
    let VersionDoc { version } = serde_json::from_str(text).map_err(|e| broken("card", e))?;
    if version != VERSION {
        return Err(Error::Version { found: version });
    }
    let doc: Doc = serde_json::from_str(text).map_err(|e| broken("card", e))?;
    let tensors = SafeTensors::deserialize(file).map_err(|e| broken("container", e))?;
    let mut reader = Reader { tensors, n_used: 0, n_values: 0, n_layers: 0 };
    let layers = reader.layers("", doc.graph.layers)?;
    if reader.n_used != reader.tensors.len() {
        return Err(broken("container", "tensors that no layer uses"));
    }
    let [len, channels] = doc.graph.input;
    let input_quant = doc.graph.input_quant.map(Into::into);
    Ok((doc.card, Graph { input: Shape { len, channels }, input_quant, layers }))
}

fn check_digest(file: &[u8]) -> Result<(), Error> {
    let damaged = |why: &str| Error::Damaged(why.to_owned());
    let header = file.first_chunk::<8>().map(|n| u64::from_le_bytes(*n));
    let header = header.ok_or_else(|| damaged("shorter than its header"))?;
    if header > HEADER_BYTES_MAX as u64 {
        return Err(Error::TooBig { what: "header", max: HEADER_BYTES_MAX as u64 });
    }
    if file.get(8..DIGEST_AT) != Some(PREFIX) {
        return Err(damaged("not an auscult model"));
    }
    let rest = file.get(DIGEST_AT + DIGEST_LEN..).ok_or_else(|| damaged("cut off"))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&file[..DIGEST_AT]).update(&[b'0'; DIGEST_LEN]).update(rest);
    let said = &file[DIGEST_AT..DIGEST_AT + DIGEST_LEN];
    if hasher.finalize().to_hex().as_bytes() != said {
        return Err(damaged("its digest does not fit its bytes"));
    }
    Ok(())
}

fn broken(at: &str, why: impl std::fmt::Display) -> Error {
    Error::Invalid { at: at.to_owned(), why: why.to_string() }
}

/// Takes the tensors of layer after layer out of the container, within limits.
struct Reader<'a> {
    tensors: SafeTensors<'a>,
    n_used: usize,
    n_values: usize,
    n_layers: usize,
}

impl<'a> Reader<'a> {
    fn layers(&mut self, prefix: &str, docs: Vec<LayerDoc>) -> Result<Vec<Layer>, Error> {
        self.n_layers += docs.len();
        if self.n_layers > LAYERS_MAX {
            return Err(Error::TooBig { what: "layers", max: LAYERS_MAX as u64 });
        }
        let numbered = docs.into_iter().enumerate();
        numbered.map(|(i, doc)| self.layer(&format!("{prefix}{i}"), doc)).collect()
    }

    fn layer(&mut self, at: &str, doc: LayerDoc) -> Result<Layer, Error> {
        let turn = |s: SlideDoc| Slide { kernel: s.kernel, stride: s.stride, same: s.same };
        Ok(match doc {
            LayerDoc::Dense { linear } => Layer::Dense(self.linear(at, &linear)?),
            LayerDoc::Conv { linear, slide } => {
                Layer::Conv { linear: self.linear(at, &linear)?, slide: turn(slide) }
            }
            LayerDoc::Depthwise { linear, slide } => {
                Layer::Depthwise { linear: self.linear(at, &linear)?, slide: turn(slide) }
            }
            LayerDoc::Residual { body, relu, out } => Layer::Residual {
                body: self.layers(&format!("{at}."), body)?,
                relu,
                out: out.map(Into::into),
            },
        })
    }

    fn linear(&mut self, at: &str, doc: &LinearDoc) -> Result<Linear, Error> {
        let (n_in, n_out) = (doc.n_in, doc.n_out);
        let n_values = n_in.checked_mul(n_out).filter(|n| (1..=VALUES_MAX).contains(n));
        let n_values = n_values.ok_or(Error::TooBig { what: "layer", max: VALUES_MAX as u64 })?;
        self.n_values += n_values;
        if self.n_values > VALUES_MAX {
            return Err(Error::TooBig { what: "weights", max: VALUES_MAX as u64 });
        }
        let weights = match doc.weights {
            Encoding::F32 => Weights::F32(self.f32(at, "weight", &[n_out, n_in])?),
            Encoding::F16 => Weights::F16(self.f16(at, "weight", &[n_out, n_in])?),
            Encoding::Int8 | Encoding::Int8Blocks | Encoding::Int8Palette => {
                let n_scales = self.len(at, "scale")?;
                let scales = self.f32(at, "scale", &[n_scales])?;
                Weights::Int8 { codes: self.int8(at, doc)?, scales }
            }
            Encoding::Int4 => {
                let bytes = self.take(at, "weight", Dtype::U8, &[n_out, n_in.div_ceil(2)])?;
                let codes = packing::unpack4(bytes, n_in);
                let scales = self.f16(at, "scale", &[n_out, n_in.div_ceil(INT4_GROUP)])?;
                Weights::Int4 { codes: codes.map_err(|why| broken(at, why))?, scales }
            }
        };
        let bias = if let Weights::Int8 { .. } = weights {
            let bytes = self.take(at, "bias", Dtype::I32, &[n_out])?;
            Bias::I32(bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect())
        } else {
            Bias::F32(self.f32(at, "bias", &[n_out])?)
        };
        let side = match doc.rank {
            Some(rank) if rank > RANK_MAX => {
                return Err(Error::TooBig { what: "rank", max: RANK_MAX as u64 });
            }
            Some(rank) => {
                let down = self.f16(at, "down", &[rank, n_in])?;
                Some(Side { rank, down, up: self.f16(at, "up", &[n_out, rank])? })
            }
            None => None,
        };
        Ok(Linear {
            n_in,
            n_out,
            weights,
            bias,
            relu: doc.relu,
            side,
            out: doc.out.map(Into::into),
        })
    }

    fn int8(&mut self, at: &str, doc: &LinearDoc) -> Result<Vec<i8>, Error> {
        let (n_in, n_out) = (doc.n_in, doc.n_out);
        let codes = match doc.weights {
            Encoding::Int8Blocks => {
                let n_blocks = packing::n_blocks(n_in, n_out);
                let n_stored = self.len(at, "block")?;
                let mask = self.take(at, "mask", Dtype::U8, &[n_blocks.div_ceil(8)])?;
                let blocks = self.take(at, "block", Dtype::I8, &[n_stored, packing::BLOCK])?;
                packing::unpack_blocks(mask, blocks, n_in, n_out)
            }
            Encoding::Int8Palette => {
                let n_colours = self.len(at, "palette")?;
                let palette = self.take(at, "palette", Dtype::I8, &[n_colours])?;
                let indices = self.take(at, "index", Dtype::U8, &[n_out, n_in.div_ceil(2)])?;
                packing::unpack_palette(palette, indices, n_in)
            }
            _ => {
                let bytes = self.take(at, "weight", Dtype::I8, &[n_out, n_in])?;
                Ok(bytes.iter().map(|b| *b as i8).collect())
            }
        };
        codes.map_err(|why| broken(at, why))
    }

    /// First dimension of a tensor.
    fn len(&self, at: &str, what: &str) -> Result<usize, Error> {
        let name = format!("{at}.{what}");
        let view = self.tensors.tensor(&name).map_err(|e| broken(&name, e))?;
        view.shape().first().copied().ok_or_else(|| broken(&name, "no shape"))
    }

    fn take(
        &mut self,
        at: &str,
        what: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<&'a [u8], Error> {
        let name = format!("{at}.{what}");
        self.n_used += 1;
        let view = self.tensors.tensor(&name).map_err(|e| broken(&name, e))?;
        if view.dtype() != dtype || view.shape() != shape {
            let (got, is) = (view.dtype(), view.shape());
            return Err(broken(&name, format!("{got:?} {is:?} where {dtype:?} {shape:?} fits")));
        }
        Ok(view.data())
    }

    fn f32(&mut self, at: &str, what: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let bytes = self.take(at, what, Dtype::F32, shape)?;
        Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    fn f16(&mut self, at: &str, what: &str, shape: &[usize]) -> Result<Vec<f16>, Error> {
        let bytes = self.take(at, what, Dtype::F16, shape)?;
        Ok(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b)).collect())
    }
}
