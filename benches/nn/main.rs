//! The integer engine on the shape of the MLPerf Tiny anomaly model (640-128x4-8-128x4-640) and what
//! pruning makes of it, with weights by seed: one thread, weights in cache.
//!
//! Blocks of some 100 us are timed one after the other: the best block is what the code costs, the
//! median what a busy machine makes of it. The floor is what this machine's multiply-adds or its reading
//! of the weights take, whichever is more, each measured by itself. `cargo bench --bench nn [-- WORD]` runs what has WORD in
//! its name.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a clock and a table make a bench"
)]

mod floor;
mod serve;

use auscult::nn::{Bias, Card, Engine, Graph, Layer, Linear, Model, Quant, Shape, Weights};
use half::f16;
use std::hint::black_box;
use std::time::{Duration, Instant};

use floor::Peak;

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }
}

/// An autoencoder with `widths` between 640 and 640; of its 8 by 4 blocks `empty` percent are zero.
fn autoencoder(widths: &[usize], empty: u32) -> Graph {
    let mut dice = Dice(1);
    let dims: Vec<usize> = [640].iter().chain(widths).chain(&[640]).copied().collect();
    let n_layers = dims.len() - 1;
    let mut layer = |i: usize| {
        let (n_in, n_out) = (dims[i], dims[i + 1]);
        // Many small ones and few large ones, as training leaves them.
        let mut code = || (0..4).map(|_| (dice.next() % 41) as i8 - 20).sum();
        let mut codes: Vec<i8> = (0..n_in * n_out).map(|_| code()).collect();
        for o in (0..n_out).step_by(8) {
            for i in (0..n_in).step_by(4) {
                if dice.next() % 100 < empty {
                    for o in o..(o + 8).min(n_out) {
                        codes[o * n_in + i..][..4].fill(0);
                    }
                }
            }
        }
        let relu = i + 1 < n_layers;
        let zero = if relu { -128 } else { 0 };
        Layer::Dense(Linear {
            n_in,
            n_out,
            weights: Weights::Int8 { codes, scales: vec![0.001] },
            bias: Bias::I32(vec![0; n_out]),
            relu,
            side: None,
            out: Some(Quant { scale: 0.02, zero }),
        })
    };
    Graph {
        input: Shape { len: 5, channels: 128 },
        input_quant: Some(Quant { scale: 0.02, zero: 0 }),
        layers: (0..n_layers).map(&mut layer).collect(),
    }
}

/// The same network, its weights of another kind made of the codes and the number of outputs and inputs.
fn with_weights(graph: &Graph, make: impl Fn(&[i8], usize, usize) -> Weights) -> Graph {
    let mut graph = graph.clone();
    for layer in &mut graph.layers {
        let Layer::Dense(linear) = layer else { unreachable!("made of dense layers") };
        let Weights::Int8 { codes, .. } = &linear.weights else { unreachable!("made of INT8") };
        linear.weights = make(codes, linear.n_out, linear.n_in);
        linear.bias = Bias::F32(vec![0.0; linear.n_out]);
        if !matches!(linear.weights, Weights::Int4 { .. }) {
            linear.out = None;
            graph.input_quant = None;
        }
    }
    graph
}

fn int4(codes: &[i8], n_out: usize, n_in: usize) -> Weights {
    Weights::Int4 {
        codes: codes.iter().map(|code| code / 19).collect(),
        scales: vec![f16::from_f32(0.02); n_out * n_in.div_ceil(32)],
    }
}

fn fp16(codes: &[i8], _: usize, _: usize) -> Weights {
    Weights::F16(codes.iter().map(|code| f16::from_f32(f32::from(*code) * 0.001)).collect())
}

/// Prints the time of one of `per_call` items that `run` does at once, and how near it is to the floor.
fn time(name: &str, per_call: usize, floor_us: Option<f64>, mut run: impl FnMut()) {
    if !asked_for(name) {
        return;
    }
    let start = Instant::now();
    let mut n_warm = 0_u32;
    while start.elapsed() < Duration::from_millis(30) {
        run();
        n_warm += 1;
    }
    let call = start.elapsed().as_secs_f64() / f64::from(n_warm);
    let n_calls = ((100e-6 / call) as u32).max(1);
    let mut blocks: Vec<f64> = (0..3000)
        .take_while(|_| start.elapsed() < Duration::from_millis(1500))
        .map(|_| {
            let block = Instant::now();
            (0..n_calls).for_each(|_| run());
            block.elapsed().as_secs_f64() / f64::from(n_calls) / per_call as f64
        })
        .collect();
    blocks.sort_by(f64::total_cmp);
    let (best, median) = (blocks[0] * 1e6, blocks[blocks.len() / 2] * 1e6);
    let floor = floor_us.map_or_else(String::new, |floor| {
        format!("   floor {floor:6.3} us, {:3.0} % of it", 100.0 * floor / best)
    });
    println!("{name:44} best {best:7.3} us   median {median:7.3} us{floor}");
}

fn asked_for(name: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

/// Weights that are not in empty blocks, and the bytes that hold them.
fn work(graph: &Graph) -> (usize, usize) {
    let layers = graph.layers.iter().filter_map(Layer::linear);
    let full = layers.map(|linear| {
        let Weights::Int8 { codes, .. } = &linear.weights else { unreachable!("made of INT8") };
        let blocks = (0..linear.n_out)
            .step_by(8)
            .flat_map(|o| (0..linear.n_in).step_by(4).map(move |i| (o..o + 8, i)));
        let is_full = |(rows, i): &(std::ops::Range<usize>, usize)| {
            rows.clone().any(|o| codes[o * linear.n_in + i..][..4].iter().any(|code| *code != 0))
        };
        32 * blocks.filter(is_full).count()
    });
    let n_macs = full.sum();
    // A sparse block has its place beside it.
    let n_bytes = if n_macs * 2 < graph.macs() as usize { n_macs / 32 * 34 } else { n_macs };
    (n_macs, n_bytes)
}

fn codes(name: &str, graph: &Graph, batch: usize, kernel: &str) {
    let name = format!("{name}, {kernel}, batch {batch}");
    if !asked_for(&name) {
        return;
    }
    let engine = Engine::new(graph, batch).expect("a valid graph");
    let mut engine = engine.with_kernel(kernel).expect("a kernel of the list");
    let input: Vec<i8> = (0..640 * batch).map(|i| (i * 37) as i8).collect();
    let mut output = vec![0; 640 * batch];
    let (n_macs, n_bytes) = work(graph);
    let floor = Peak::of(kernel, n_bytes).map(|peak| peak.floor_us(n_macs, n_bytes, batch));
    time(&name, batch, floor, || {
        engine.run_codes(black_box(&input), &mut output);
    });
}

/// From dB to residual and score, as the detector runs it.
fn decibels(name: &str, graph: &Graph, batch: usize) {
    let card = Card { name: "bench".to_owned(), ..Card::default() };
    let model = Model::new(card, graph.clone()).expect("a valid model");
    let mut runner = model.runner_of(batch).expect("a batch that fits");
    let input: Vec<f32> = (0..640 * batch).map(|i| -((i % 640) as f32) / 10.0).collect();
    let (mut residual, mut scores) = (vec![0.0; 640 * batch], vec![0.0; batch]);
    time(&format!("{name}, dB to score, batch {batch}"), batch, None, || {
        runner.run_batch(black_box(&input), &mut residual, &mut scores);
    });
}

fn main() {
    if std::env::args().any(|word| word == "--serve") {
        return serve::run();
    }
    let full = [128, 128, 128, 128, 8, 128, 128, 128, 128];
    let half = [64, 64, 64, 64, 8, 64, 64, 64, 64];
    let graphs = [
        ("dense", autoencoder(&full, 0)),
        ("half the units", autoencoder(&half, 0)),
        ("80 % of blocks out", autoencoder(&full, 80)),
        ("half and 80 %", autoencoder(&half, 80)),
    ];
    for (name, graph) in &graphs {
        for kernel in Engine::kernels() {
            codes(name, graph, 1, kernel);
            codes(name, graph, 32, kernel);
        }
        decibels(name, graph, 1);
        decibels(name, graph, 32);
    }
    for (name, graph) in &graphs[..2] {
        for batch in [1, 32] {
            decibels(&format!("{name}, INT4"), &with_weights(graph, int4), batch);
            decibels(&format!("{name}, FP16"), &with_weights(graph, fp16), batch);
        }
    }
}
