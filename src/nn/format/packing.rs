//! Lossless ways to store integer weights.

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

/// How a weight matrix lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    F32,
    F16,
    Int8,
    Int8Blocks,
    Int8Palette,
    Int4,
}

/// Outputs and inputs of a block, and its bytes.
const BLOCK_OUT: usize = 8;
const BLOCK_IN: usize = 4;
pub(super) const BLOCK: usize = BLOCK_OUT * BLOCK_IN;
/// Most different codes in a palette.
const PALETTE_MAX: usize = 16;

/// A tensor of an encoding.
pub(super) struct Part {
    pub what: &'static str,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// The smallest encoding of INT8 codes `[n_out, n_in]`.
pub(super) fn pack8(codes: &[i8], n_in: usize, n_out: usize) -> (Encoding, Vec<Part>) {
    let plain = |codes: &[i8]| {
        let data = codes.iter().map(|c| *c as u8).collect();
        vec![Part { what: "weight", dtype: Dtype::I8, shape: vec![n_out, n_in], data }]
    };
    let size = |parts: &[Part]| parts.iter().map(|part| part.data.len()).sum::<usize>();
    let mut best = (Encoding::Int8, plain(codes));
    let blocks = pack_blocks(codes, n_in, n_out);
    // An empty tensor is no tensor: a matrix of zeros stays as it is.
    if size(&blocks) < size(&best.1) && blocks.iter().all(|part| !part.data.is_empty()) {
        best = (Encoding::Int8Blocks, blocks);
    }
    if let Some(palette) = pack_palette(codes, n_in, n_out)
        && size(&palette) < size(&best.1)
    {
        best = (Encoding::Int8Palette, palette);
    }
    best
}

/// Blocks of a matrix, empty ones counted.
pub(super) fn n_blocks(n_in: usize, n_out: usize) -> usize {
    n_in.div_ceil(BLOCK_IN) * n_out.div_ceil(BLOCK_OUT)
}

/// Value `within` of block `block`, as an index into `[n_out, n_in]`; `None` beyond an edge.
fn value_idx(block: usize, within: usize, n_in: usize, n_out: usize) -> Option<usize> {
    let per_strip = n_in.div_ceil(BLOCK_IN);
    let o = block / per_strip * BLOCK_OUT + within / BLOCK_IN;
    let i = block % per_strip * BLOCK_IN + within % BLOCK_IN;
    (o < n_out && i < n_in).then(|| o * n_in + i)
}

fn pack_blocks(codes: &[i8], n_in: usize, n_out: usize) -> Vec<Part> {
    let n_blocks = n_blocks(n_in, n_out);
    let mut mask = vec![0_u8; n_blocks.div_ceil(8)];
    let mut data = Vec::new();
    for block in 0..n_blocks {
        let mut values = [0_u8; BLOCK];
        for (within, value) in values.iter_mut().enumerate() {
            *value = value_idx(block, within, n_in, n_out).map_or(0, |at| codes[at] as u8);
        }
        if values.iter().any(|value| *value != 0) {
            mask[block / 8] |= 1 << (block % 8);
            data.extend_from_slice(&values);
        }
    }
    let mask = Part { what: "mask", dtype: Dtype::U8, shape: vec![mask.len()], data: mask };
    let shape = vec![data.len() / BLOCK, BLOCK];
    vec![mask, Part { what: "block", dtype: Dtype::I8, shape, data }]
}

/// The codes of `pack_blocks`; beyond the edges there may be nothing.
pub(super) fn unpack_blocks(
    mask: &[u8],
    blocks: &[u8],
    n_in: usize,
    n_out: usize,
) -> Result<Vec<i8>, &'static str> {
    let n_blocks = n_blocks(n_in, n_out);
    let set: usize = mask.iter().map(|byte| byte.count_ones() as usize).sum();
    if set * BLOCK != blocks.len() {
        return Err("as many blocks as bits in the mask are needed");
    }
    let mut codes = vec![0; n_in * n_out];
    let mut stored = blocks.chunks_exact(BLOCK);
    for block in 0..mask.len() * 8 {
        if mask[block / 8] >> (block % 8) & 1 == 0 {
            continue;
        }
        if block >= n_blocks {
            return Err("the mask names a block beyond the matrix");
        }
        let values = stored.next().expect("counted above");
        for (within, value) in values.iter().enumerate() {
            match value_idx(block, within, n_in, n_out) {
                Some(at) => codes[at] = *value as i8,
                None if *value == 0 => {}
                None => return Err("a weight beyond the edge"),
            }
        }
    }
    Ok(codes)
}

fn pack_palette(codes: &[i8], n_in: usize, n_out: usize) -> Option<Vec<Part>> {
    let mut palette: Vec<i8> = Vec::new();
    for code in codes {
        if let Err(at) = palette.binary_search(code) {
            if palette.len() == PALETTE_MAX {
                return None;
            }
            palette.insert(at, *code);
        }
    }
    let index = |code: &i8| palette.binary_search(code).expect("gathered above") as u8;
    let data = halves(codes.chunks_exact(n_in).map(|row| row.iter().map(index).collect()));
    let indices =
        Part { what: "index", dtype: Dtype::U8, shape: vec![n_out, n_in.div_ceil(2)], data };
    let colours = palette.iter().map(|code| *code as u8).collect();
    let shape = vec![palette.len()];
    Some(vec![Part { what: "palette", dtype: Dtype::I8, shape, data: colours }, indices])
}

/// The codes of `pack_palette`.
pub(super) fn unpack_palette(
    palette: &[u8],
    indices: &[u8],
    n_in: usize,
) -> Result<Vec<i8>, &'static str> {
    split(indices, n_in)
        .map(|index| palette.get(usize::from(index?)).map(|c| *c as i8).ok_or("no such colour"))
        .collect()
}

/// INT4 codes, two's complement, two to a byte; each row begins a byte.
pub(super) fn pack4(codes: &[i8], n_in: usize) -> Vec<u8> {
    halves(codes.chunks_exact(n_in).map(|row| row.iter().map(|code| *code as u8 & 15).collect()))
}

/// The codes of `pack4`.
pub(super) fn unpack4(bytes: &[u8], n_in: usize) -> Result<Vec<i8>, &'static str> {
    split(bytes, n_in).map(|half| half.map(|half| (half << 4) as i8 >> 4)).collect()
}

fn halves(rows: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        bytes.extend(row.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 4));
    }
    bytes
}

/// Half by half; the spare half of an odd row must be 0.
fn split(bytes: &[u8], n_in: usize) -> impl Iterator<Item = Result<u8, &'static str>> {
    bytes.chunks_exact(n_in.div_ceil(2)).flat_map(move |row| {
        let half = move |i: usize| match row[i / 2] >> (i % 2 * 4) & 15 {
            spare if i >= n_in && spare != 0 => Some(Err("a weight beyond the edge")),
            half => (i < n_in).then_some(Ok(half)),
        };
        (0..row.len() * 2).filter_map(half)
    })
}
