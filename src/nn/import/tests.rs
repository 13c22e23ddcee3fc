//! Imported models against the numbers of the runtimes they come from.

use std::path::PathBuf;

use super::{read_onnx, read_tflite};
use crate::nn::{Bias, Card, Engine, Error, Graph, Layer, Linear, Model, Quant, Shape, Weights};

/// The folder of real recordings and models, if it is there.
fn data(file: &str) -> Option<Vec<u8>> {
    let shared = std::env::var_os("AUSCULT_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = shared.join("mlperf_ad01").join(file);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: {} is not there", path.display());
    }
    bytes
}

/// Mean over the clip's 196 windows of five frames.
fn clip_score(mut graph: Graph, clip: &[u8]) -> f64 {
    graph.input = Shape { len: 5, channels: 128 };
    let card = Card { name: "ad01".to_owned(), ..Card::default() };
    let model = Model::new(card, graph).unwrap();
    let model = Model::load(&model.save()).unwrap();
    let frames: Vec<f32> = clip.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let mut runner = model.runner();
    let mut residual = vec![0.0; 640];
    let scores = (0..196).map(|i| f64::from(runner.run(&frames[i * 128..][..640], &mut residual)));
    scores.sum::<f64>() / 196.0
}

/// A stream of test bytes that Python makes as easily: `state = state * 1664525 + 1013904223`, bits 24
/// to 31.
pub(super) fn test_codes(n: usize) -> Vec<i8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 24) as u8 as i8
    };
    (0..n).map(|_| next()).collect()
}

/// CRC-32C of the codes that 10,000 inputs of `test_codes` give.
fn codes_crc(graph: &Graph, batch: usize, kernel: &str) -> u32 {
    let mut engine = Engine::new(graph, batch).unwrap().with_kernel(kernel).unwrap();
    let input = test_codes(10_000 * 640);
    let mut output = vec![0; batch * 640];
    let mut crc = 0;
    for input in input.chunks_exact(batch * 640) {
        engine.run_codes(input, &mut output);
        let bytes: Vec<u8> = output.iter().map(|code| *code as u8).collect();
        crc = crc32c::crc32c_append(crc, &bytes);
    }
    crc
}

#[test]
fn float_model_scores_as_tflite() {
    let (Some(file), Some(clip)) =
        (data("ad01_fp32.tflite"), data("normal_id_01_00000000_hist_librosa.bin"))
    else {
        return;
    };
    let score = clip_score(read_tflite(&file).unwrap(), &clip);
    assert!((score - 9.7071).abs() < 1e-4, "{score}");
}

#[test]
fn int8_model_scores_as_tflite() {
    let (Some(file), Some(clip)) =
        (data("ad01_int8.tflite"), data("normal_id_01_00000000_hist_librosa.bin"))
    else {
        return;
    };
    let score = clip_score(read_tflite(&file).unwrap(), &clip);
    assert!((score - 10.26521).abs() < 1e-5, "{score}");
}

#[test]
fn int8_model_gives_the_integers_of_tflites_reference_kernels() {
    let Some(file) = data("ad01_int8.tflite") else { return };
    let graph = read_tflite(&file).unwrap();
    let kernels = Engine::kernels();
    assert_eq!(codes_crc(&graph, 8, kernels[0]), TFLITE_CRC, "{}", kernels[0]);
    // Minutes where nothing is optimised; the kernels are held to the reference by their own suite.
    if std::env::var_os("AUSCULT_TIER").is_some() {
        assert_eq!(codes_crc(&graph, 1, "reference"), TFLITE_CRC, "reference");
    }
}

/// From ai-edge-litert 2.3.0 with `OpResolverType.BUILTIN_REF`.
const TFLITE_CRC: u32 = 0x8b2b_4cc7;

#[test]
fn broken_files_are_refused() {
    let Some(file) = data("ad01_int8.tflite") else { return };
    for len in (0..file.len()).step_by(997) {
        assert!(read_tflite(&file[..len]).is_err(), "cut to {len}");
    }
    // Headers and tables lie at both ends; a flip may hit a weight, but never does harm.
    for at in (0..4096).chain(file.len() - 8192..file.len()).step_by(5) {
        let mut file = file.clone();
        file[at] ^= 0xff;
        if let Err(Error::Damaged(why)) = read_tflite(&file) {
            panic!("byte {at}: {why}");
        }
    }
}

/// Just enough of a protobuf writer to make ONNX files.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number > 127 {
            self.0.push(number as u8 | 128);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(mut self, field: u64, number: u64) -> Self {
        self.varint(field << 3);
        self.varint(number);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn tensor(self, name: &str, kind: u64, dims: &[usize], raw: &[u8]) -> Self {
        let tensor = dims.iter().fold(Message::default(), |m, dim| m.number(1, *dim as u64));
        self.bytes(5, &tensor.number(2, kind).bytes(8, name.as_bytes()).bytes(9, raw).0)
    }

    fn real(self, name: &str, real: f32) -> Self {
        self.tensor(name, 1, &[], &real.to_le_bytes())
    }

    fn node(self, op: &str, inputs: &[&str], output: &str) -> Self {
        let node = inputs.iter().fold(Message::default(), |m, name| m.bytes(1, name.as_bytes()));
        self.bytes(1, &node.bytes(2, output.as_bytes()).bytes(4, op.as_bytes()).0)
    }

    /// Codes of an activation, signed or unsigned, and back.
    fn qdq(self, from: &str, to: &str, quant: Quant, unsigned: bool) -> Self {
        let (scale, zero, codes) = (format!("{to}_s"), format!("{to}_z"), format!("{to}_q"));
        let (kind, byte) =
            if unsigned { (2, (quant.zero + 128) as u8) } else { (3, quant.zero as i8 as u8) };
        self.real(&scale, quant.scale)
            .tensor(&zero, kind, &[], &[byte])
            .node("QuantizeLinear", &[from, &scale, &zero], &codes)
            .node("DequantizeLinear", &[&codes, &scale, &zero], to)
    }
}

/// Two INT8 layers in QDQ form, as MatMul with Add: the file and the graph it stands for.
fn small_onnx(unsigned: bool) -> (Vec<u8>, Graph) {
    let quants = [(0.5, 3), (0.25, -128), (0.125, 7)].map(|(scale, zero)| Quant { scale, zero });
    let layer = |n_in: usize, n_out: usize, relu, out| Linear {
        n_in,
        n_out,
        weights: Weights::Int8 {
            codes: test_codes(n_in * n_out).iter().map(|c| (*c).max(-127)).collect(),
            scales: vec![0.0625],
        },
        bias: Bias::I32((0..n_out as i32).map(|i| 100 * i - 150).collect()),
        relu,
        side: None,
        out: Some(out),
    };
    let linears = [layer(6, 4, true, quants[1]), layer(4, 6, false, quants[2])];
    let value_info = Message::default().bytes(1, b"x");
    let mut graph = Message::default().bytes(11, &value_info.0).qdq("x", "a0", quants[0], unsigned);
    for (i, linear) in linears.iter().enumerate() {
        let (Weights::Int8 { codes, .. }, Bias::I32(bias)) = (&linear.weights, &linear.bias) else {
            panic!("made above")
        };
        let (n_in, n_out) = (linear.n_in, linear.n_out);
        let turned: Vec<u8> =
            (0..n_in).flat_map(|k| (0..n_out).map(move |o| codes[o * n_in + k] as u8)).collect();
        let steps: Vec<u8> = bias.iter().flat_map(|b| b.to_le_bytes()).collect();
        let [w, wq, ws, b, bq, bs, m, s, r] =
            ["w", "wq", "ws", "b", "bq", "bs", "m", "s", "r"].map(|name| format!("{name}{i}"));
        graph = graph
            .tensor(&wq, 3, &[n_in, n_out], &turned)
            .real(&ws, 0.0625)
            .tensor(&bq, 6, &[n_out], &steps)
            .real(&bs, 0.0625 * quants[i].scale)
            .tensor("z8", 3, &[], &[0])
            .tensor("z32", 6, &[], &[0; 4])
            .node("DequantizeLinear", &[&wq, &ws, "z8"], &w)
            .node("DequantizeLinear", &[&bq, &bs, "z32"], &b)
            .node("MatMul", &[&format!("a{i}"), &w], &m)
            .node("Add", &[&m, &b], &s);
        let last = if linear.relu { &r } else { &s };
        if linear.relu {
            graph = graph.node("Relu", &[&s], &r);
        }
        graph = graph.qdq(last, &format!("a{}", i + 1), quants[i + 1], unsigned);
    }
    let layers = linears.map(Layer::Dense).to_vec();
    let input = Shape { len: 1, channels: 6 };
    let want = Graph { input, input_quant: Some(quants[0]), layers };
    (Message::default().number(1, 8).bytes(7, &graph.0).0, want)
}

#[test]
fn onnx_in_qdq_form_is_the_same_graph() {
    for unsigned in [false, true] {
        let (file, want) = small_onnx(unsigned);
        assert_eq!(read_onnx(&file).unwrap(), want);
    }
}

#[test]
fn broken_onnx_is_refused_or_another_graph() {
    let (file, _) = small_onnx(true);
    for len in 0..file.len() {
        assert!(read_onnx(&file[..len]).is_err(), "cut to {len}");
    }
    for at in 0..file.len() {
        for flip in [1, 0x20, 0x80, 0xff] {
            let mut file = file.clone();
            file[at] ^= flip;
            if let Ok(graph) = read_onnx(&file) {
                assert!(Engine::new(&graph, 1).is_ok(), "byte {at} xor {flip}");
            }
        }
    }
}

/// The MLPerf model as QDQ, made by hand from the `.tflite` file where `AUSCULT_ONNX` names it.
#[test]
fn onnx_gives_the_integers_of_the_tflite_model() {
    let (Some(path), Some(file)) = (std::env::var_os("AUSCULT_ONNX"), data("ad01_int8.tflite"))
    else {
        return println!("skipped: AUSCULT_ONNX names no file");
    };
    let graph = read_onnx(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(graph, read_tflite(&file).unwrap());
}
