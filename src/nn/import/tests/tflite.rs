//! TFLite files as their converter writes them, and damaged.

use crate::nn::{Bias, Engine, Graph, Layer, Linear, Quant, Shape, Weights, read_tflite};

/// What a flatbuffer holds; each item stands before what it points to.
enum Item {
    Byte(u8),
    Number(i32),
    /// Fields by number.
    Table(Vec<Option<Item>>),
    Tables(Vec<Item>),
    /// As many numbers, as bytes.
    Numbers(usize, Vec<u8>),
}

impl Item {
    fn numbers<T: Copy, const N: usize>(numbers: &[T], le: impl Fn(T) -> [u8; N]) -> Self {
        Self::Numbers(numbers.len(), numbers.iter().flat_map(|it| le(*it)).collect())
    }

    /// Appends it to a file; where it begins.
    fn write(self, file: &mut Vec<u8>) -> usize {
        let words = |file: &mut Vec<u8>, n| file.resize(file.len().next_multiple_of(4) + 4 * n, 0);
        let (at, places) = match self {
            Self::Table(fields) => {
                words(file, 0);
                let vtable = file.len();
                let n = fields.len();
                let offset =
                    |(i, it): (usize, &Option<Item>)| if it.is_some() { 4 + 4 * i } else { 0 };
                let sizes = [4 + 2 * n, 4 + 4 * n];
                let entries = sizes.into_iter().chain(fields.iter().enumerate().map(offset));
                file.extend(entries.flat_map(|it| (it as u16).to_le_bytes()));
                words(file, 0);
                let at = file.len();
                file.extend(((at - vtable) as i32).to_le_bytes());
                words(file, n);
                (at, fields)
            }
            Self::Tables(items) => {
                words(file, 0);
                let at = file.len();
                file.extend((items.len() as u32).to_le_bytes());
                words(file, items.len());
                (at, items.into_iter().map(Some).collect())
            }
            Self::Numbers(n, bytes) => {
                words(file, 0);
                let at = file.len();
                file.extend((n as u32).to_le_bytes());
                file.extend(bytes);
                (at, Vec::new())
            }
            Self::Byte(_) | Self::Number(_) => panic!("it stands in its table"),
        };
        for (i, item) in places.into_iter().enumerate() {
            let place = at + 4 + 4 * i;
            let value = match item {
                None => continue,
                Some(Self::Byte(byte)) => byte.into(),
                Some(Self::Number(number)) => number,
                Some(item) => (item.write(file) - place) as i32,
            };
            file[place..place + 4].copy_from_slice(&value.to_le_bytes());
        }
        at
    }
}

/// A tensor: its size, its type, its scales, and its bytes.
struct Tensor<'a>(&'a [i32], u8, &'a [f32], &'a [u8]);

const REAL: u8 = 0;
const INT32: u8 = 2;
const INT8: u8 = 9;

/// Code of 0 in every tensor of activations.
const ZERO: i32 = -5;

/// The file with these tensors and operators: code, inputs, output, activation.
fn file(tensors: &[Tensor<'_>], operators: &[(u8, &[i32], i32, u8)]) -> Vec<u8> {
    let ints = |numbers: &[i32]| Some(Item::numbers(numbers, i32::to_le_bytes));
    let tensor = |(i, Tensor(shape, kind, scales, bytes)): (usize, &Tensor<'_>)| {
        let zero = if bytes.is_empty() { i64::from(ZERO) } else { 0 };
        let zeros = Item::numbers(&vec![zero; scales.len()], i64::to_le_bytes);
        let scales = Item::numbers(scales, f32::to_le_bytes);
        let quantisation = Item::Table(vec![None, None, Some(scales), Some(zeros)]);
        let quantisation = (*kind == INT8).then_some(quantisation);
        let (kind, buffer) = (Item::Byte(*kind), Item::Number(i as i32));
        Item::Table(vec![ints(shape), Some(kind), Some(buffer), None, quantisation])
    };
    let buffer = |it: &Tensor<'_>| Item::Table(vec![Some(Item::numbers(it.3, |byte| [byte]))]);
    let code = |(code, ..): &(u8, &[i32], i32, u8)| {
        let byte = Some(Item::Byte(*code));
        Item::Table(vec![byte, None, None, Some(Item::Number((*code).into()))])
    };
    let operator = |(i, (_, ins, out, activation)): (usize, &(u8, &[i32], i32, u8))| {
        let options = Item::Table(vec![Some(Item::Byte(*activation))]);
        let kind = Some(Item::Byte(8));
        Item::Table(vec![
            Some(Item::Number(i as i32)),
            ints(ins),
            ints(&[*out]),
            kind,
            Some(options),
        ])
    };
    let subgraph = Item::Table(vec![
        Some(Item::Tables(tensors.iter().enumerate().map(tensor).collect())),
        ints(&[0]),
        ints(&[operators.last().expect("one at least").2]),
        Some(Item::Tables(operators.iter().enumerate().map(operator).collect())),
    ]);
    let model = Item::Table(vec![
        Some(Item::Number(3)),
        Some(Item::Tables(operators.iter().map(code).collect())),
        Some(Item::Tables(vec![subgraph])),
        None,
        Some(Item::Tables(tensors.iter().map(buffer).collect())),
    ]);
    let mut file = b"....TFL3".to_vec();
    let root = model.write(&mut file) as u32;
    file[..4].copy_from_slice(&root.to_le_bytes());
    file
}

fn layer(n_in: usize, weights: Weights, bias: Bias, relu: bool, scale: Option<f32>) -> Layer {
    let out = scale.map(|scale| Quant { scale, zero: ZERO });
    Layer::Dense(Linear { n_in, n_out: 5 - n_in, weights, bias, relu, side: None, out })
}

/// Two INT8 layers between real numbers: scales by output and a bias, then neither.
pub(in crate::nn) fn int8() -> (Vec<u8>, Graph) {
    let bias: Vec<u8> = [70_i32, -300].iter().flat_map(|it| it.to_le_bytes()).collect();
    let tensors = [
        Tensor(&[1, 3], REAL, &[], &[]),
        Tensor(&[1, 3], INT8, &[0.5], &[]),
        Tensor(&[2, 3], INT8, &[0.25, 0.125], &[1, 2, 3, 4, 5, 0xfa]),
        Tensor(&[2], INT32, &[], &bias),
        Tensor(&[1, 2], INT8, &[0.2], &[]),
        Tensor(&[3, 2], INT8, &[0.5], &[9, 8, 7, 6, 5, 4]),
        Tensor(&[1, 3], INT8, &[0.3], &[]),
        Tensor(&[1, 3], REAL, &[], &[]),
    ];
    let operators: [(u8, &[i32], i32, u8); 4] =
        [(114, &[0], 1, 0), (9, &[1, 2, 3], 4, 1), (9, &[4, 5, -1], 6, 0), (6, &[6], 7, 0)];
    let codes = |codes: [i8; 6], scales| Weights::Int8 { codes: codes.to_vec(), scales };
    let first = codes([1, 2, 3, 4, 5, -6], vec![0.25, 0.125]);
    let second = codes([9, 8, 7, 6, 5, 4], vec![0.5]);
    let layers = vec![
        layer(3, first, Bias::I32(vec![70, -300]), true, Some(0.2)),
        layer(2, second, Bias::I32(vec![0; 3]), false, Some(0.3)),
    ];
    let input_quant = Some(Quant { scale: 0.5, zero: ZERO });
    (
        file(&tensors, &operators),
        Graph { input: Shape { len: 1, channels: 3 }, input_quant, layers },
    )
}

/// Two layers of real numbers, the ReLU by itself, the second without bias.
pub(in crate::nn) fn float() -> (Vec<u8>, Graph) {
    let le = |reals: &[f32]| reals.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<u8>>();
    let weights = vec![1.0, -2.0, 3.0, -4.0, 5.0, -6.0];
    let (bytes, bias) = (le(&weights), vec![0.5, 0.25]);
    let (bias_bytes, output) = (le(&bias), Tensor(&[1, 3], REAL, &[], &[]));
    let tensors = [
        Tensor(&[1, 3], REAL, &[], &[]),
        Tensor(&[2, 3], REAL, &[], &bytes),
        Tensor(&[2], REAL, &[], &bias_bytes),
        Tensor(&[1, 2], REAL, &[], &[]),
        Tensor(&[1, 2], REAL, &[], &[]),
        Tensor(&[3, 2], REAL, &[], &bytes),
        output,
    ];
    let operators: [(u8, &[i32], i32, u8); 4] =
        [(9, &[0, 1, 2], 3, 0), (19, &[3], 4, 0), (9, &[4, 5], 6, 0), (22, &[6], 6, 0)];
    let layers = vec![
        layer(3, Weights::F32(weights.clone()), Bias::F32(bias), true, None),
        layer(2, Weights::F32(weights), Bias::F32(vec![0.0; 3]), false, None),
    ];
    (
        file(&tensors, &operators),
        Graph { input: Shape { len: 1, channels: 3 }, input_quant: None, layers },
    )
}

#[test]
fn a_file_is_the_graph_it_was_written_from() {
    for (file, want) in [int8(), float()] {
        assert_eq!(read_tflite(&file).unwrap(), want);
    }
}

#[test]
fn a_layer_without_inputs_takes_no_memory_for_its_outputs() {
    let dense = [(9, &[0, 1][..], 2, 0)];
    for kind in [REAL, INT8] {
        let tensors = [
            Tensor(&[1, 0], REAL, &[], &[]),
            Tensor(&[i32::MAX, 0], kind, &[0.5], &[]),
            Tensor(&[1, i32::MAX], REAL, &[], &[]),
        ];
        let why = read_tflite(&file(&tensors, &dense)).unwrap_err().to_string();
        assert!(why.contains("no size"), "{why}");
    }
}

#[test]
fn broken_tflite_is_refused_or_another_graph() {
    for (file, _) in [int8(), float()] {
        for at in 0..file.len() {
            for flip in [1, 0x20, 0x80, 0xff] {
                let mut file = file.clone();
                file[at] ^= flip;
                if let Ok(graph) = read_tflite(&file) {
                    assert!(Engine::new(&graph, 1).is_ok(), "byte {at} xor {flip}");
                }
            }
        }
    }
}
