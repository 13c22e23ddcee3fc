//! ONNX files as their exporters write them, and damaged.

use super::test_codes;
use crate::nn::{Bias, Engine, Graph, Layer, Linear, Quant, Shape, Weights, read_onnx};

fn le(reals: &[f32]) -> Vec<u8> {
    reals.iter().flat_map(|real| real.to_le_bytes()).collect()
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
        self.node_with(op, inputs, output, Message::default())
    }

    /// A node with what `attributes` holds.
    fn node_with(self, op: &str, inputs: &[&str], output: &str, attributes: Message) -> Self {
        let node = inputs.iter().fold(attributes, |m, name| m.bytes(1, name.as_bytes()));
        self.bytes(1, &node.bytes(2, output.as_bytes()).bytes(4, op.as_bytes()).0)
    }

    /// An attribute of a node: a real number in field 2, a whole one in 3, a tensor in 5.
    fn attribute(self, name: &str, value: Message) -> Self {
        self.bytes(5, &value.bytes(1, name.as_bytes()).0)
    }

    /// Real numbers in one field.
    fn reals(self, field: u64, reals: &[f32]) -> Self {
        self.bytes(field, &le(reals))
    }

    /// Begins a network whose input is `x`.
    fn network() -> Self {
        Self::default().bytes(11, &Self::default().bytes(1, b"x").0)
    }

    /// The file that holds this network.
    fn file(self) -> Vec<u8> {
        Self::default().number(1, 8).bytes(7, &self.0).0
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
pub(in crate::nn) fn qdq(unsigned: bool) -> (Vec<u8>, Graph) {
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
    let mut graph = Message::network().qdq("x", "a0", quants[0], unsigned);
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
    (graph.file(), want)
}

#[test]
fn onnx_in_qdq_form_is_the_same_graph() {
    for unsigned in [false, true] {
        let (file, want) = qdq(unsigned);
        assert_eq!(read_onnx(&file).unwrap(), want);
    }
}

/// A float network in every dress an exporter has for it: weights either way round, constants in nodes,
/// packed or raw, the bias in codes, and on either side of the sum.
pub(in crate::nn) fn float() -> (Vec<u8>, Graph) {
    let weights = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [-1.0, 0.5, 2.0, 0.0, 1.0, -2.0]];
    let constant = Message::default().number(1, 3).number(2, 1).reals(4, &[1.0, 2.0, 3.0]);
    let transposed = Message::default()
        .attribute("transB", Message::default().number(3, 1))
        .attribute("alpha", Message(vec![2 << 3 | 5, 0, 0, 0x80, 0x3f]));
    let turned: Vec<f32> = [0, 2, 4, 1, 3, 5].map(|i| weights[1][i]).to_vec();
    let network = Message::network()
        .tensor("w0", 1, &[2, 3], &le(&weights[0]))
        .tensor("c0", 6, &[2], &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
        .real("s0", 0.5)
        .node("DequantizeLinear", &["c0", "s0"], "b0")
        .tensor("w1", 1, &[2, 3], &le(&turned))
        .node("Flatten", &["x"], "f")
        .node_with("Gemm", &["f", "w0", "b0"], "g", transposed)
        .node("Relu", &["g"], "r")
        .node("Identity", &["r"], "i")
        .node("MatMul", &["i", "w1"], "m")
        .node_with(
            "Constant",
            &[],
            "b1",
            Message::default().attribute("value", Message::default().bytes(5, &constant.0)),
        )
        .node("Add", &["b1", "m"], "s")
        .node("Reshape", &["s", "shape"], "y");
    let layer = |n_in, n_out, weights: [f32; 6], bias, relu| {
        Layer::Dense(Linear {
            n_in,
            n_out,
            weights: Weights::F32(weights.to_vec()),
            bias: Bias::F32(bias),
            relu,
            side: None,
            out: None,
        })
    };
    let layers = vec![
        layer(3, 2, weights[0], vec![0.5, -0.5], true),
        layer(2, 3, weights[1], vec![1.0, 2.0, 3.0], false),
    ];
    let input = Shape { len: 1, channels: 3 };
    (network.file(), Graph { input, input_quant: None, layers })
}

/// Codes with a scale for each output, a bias of real numbers and one of codes, numbers packed: the file
/// and the graph it stands for.
pub(in crate::nn) fn per_channel() -> (Vec<u8>, Graph) {
    let quants = [(0.5, 3), (0.25, -128), (0.125, 7)].map(|(scale, zero)| Quant { scale, zero });
    let whole = |name: &[u8], kind, dims: &[u64], packed: &[u8]| {
        let tensor = dims.iter().fold(Message::default(), |m, dim| m.number(1, *dim));
        tensor.number(2, kind).bytes(8, name).bytes(5, packed).0
    };
    let by_row = || Message::default().attribute("axis", Message::default().number(3, 0));
    let turn = || Message::default().attribute("transB", Message::default().number(3, 1));
    let network = Message::network()
        .qdq("x", "a0", quants[0], false)
        .bytes(5, &whole(b"wq0", 3, &[2, 3], &[1, 2, 3, 4, 5, 6]))
        .tensor("ws0", 1, &[2], &le(&[0.5, 0.25]))
        .tensor("wz0", 3, &[2], &[0, 0])
        .node_with("DequantizeLinear", &["wq0", "ws0", "wz0"], "w0", by_row())
        .tensor("b0", 1, &[2], &le(&[1.0, -2.0]))
        .node_with("Gemm", &["a0", "w0", "b0"], "g0", turn())
        .node("Relu", &["g0"], "r0")
        .qdq("r0", "a1", quants[1], false)
        .bytes(5, &whole(b"wq1", 2, &[3, 2], &[7, 6, 5, 4, 3, 2]))
        .real("ws1", 0.5)
        .node("DequantizeLinear", &["wq1", "ws1"], "w1")
        .tensor("bq1", 7, &[3], &[[9_u8, 0, 0, 0, 0, 0, 0, 0]; 3].concat())
        .node("DequantizeLinear", &["bq1", "ws1"], "b1")
        .node_with("Gemm", &["a1", "w1", "b1"], "g1", turn())
        .qdq("g1", "a2", quants[2], false);
    let layer = |n_in, n_out, codes: [i8; 6], scales, bias, relu, out| {
        Layer::Dense(Linear {
            n_in,
            n_out,
            weights: Weights::Int8 { codes: codes.to_vec(), scales },
            bias: Bias::I32(bias),
            relu,
            side: None,
            out: Some(out),
        })
    };
    let layers = vec![
        layer(3, 2, [1, 2, 3, 4, 5, 6], vec![0.5, 0.25], vec![4, -16], true, quants[1]),
        layer(2, 3, [7, 6, 5, 4, 3, 2], vec![0.5], vec![9; 3], false, quants[2]),
    ];
    let input = Shape { len: 1, channels: 3 };
    (network.file(), Graph { input, input_quant: Some(quants[0]), layers })
}

#[test]
fn every_dress_of_a_network_is_the_same_graph() {
    for (file, want) in [float(), per_channel()] {
        assert_eq!(read_onnx(&file).unwrap(), want);
    }
}

/// Networks that are not run here, and why.
pub(in crate::nn) fn foreign() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let begin = || {
        Message::network()
            .tensor("w", 1, &[2, 2], &le(&[1.0; 4]))
            .tensor("b", 1, &[2], &le(&[1.0; 2]))
            .tensor("q", 3, &[2, 2], &[1; 4])
            .real("s", 0.5)
    };
    let codes = || begin().node("QuantizeLinear", &["x", "s"], "c");
    let sums = begin().node("MatMul", &["x", "w"], "m").node("Add", &["m", "b"], "a");
    let deep = (0..65).fold(begin(), |network, _| network.node("MatMul", &["x", "w"], "x"));
    let many = (0..1025).fold(Message::network(), |network, _| network.bytes(1, b""));
    let networks = [
        ("inputs", "too many inputs", begin().node("MatMul", &["x"; 9], "y")),
        ("relu", "a Relu over codes", begin().node("Relu", &["x"], "y")),
        ("codes", "quantised again", codes().node("QuantizeLinear", &["c", "s"], "y")),
        ("weights", "on float activations", {
            begin().node("DequantizeLinear", &["q", "s"], "v").node("MatMul", &["x", "v"], "y")
        }),
        ("sum", "before the first layer", begin().node("Add", &["x", "b"], "y")),
        ("sums", "a second sum", sums.node("Add", &["a", "b"], "y")),
        ("layers", "too many layers", deep),
        ("nodes", "too many nodes", many),
    ];
    networks.map(|(name, why, network)| (name, why, network.file())).into()
}

#[test]
fn a_network_that_is_not_run_here_is_refused_with_the_reason() {
    for (name, why, file) in foreign() {
        let told = read_onnx(&file).unwrap_err().to_string();
        assert!(told.contains(why), "{name}: {told}");
    }
}

#[test]
fn broken_onnx_is_refused_or_another_graph() {
    let (file, _) = qdq(true);
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
