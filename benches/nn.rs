//! The integer engine on the shape of the MLPerf Tiny anomaly model (640-128x4-8-128x4-640) and what
//! pruning makes of it, with weights by seed: one thread, weights in cache.

use auscult::nn::{Bias, Engine, Graph, Layer, Linear, Quant, Shape, Weights};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

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
        let mut codes: Vec<i8> = (0..n_in * n_out)
            .map(|_| (dice.next() % 255) as i8 as i32)
            .map(|c| c.max(-127) as i8)
            .collect();
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

fn codes(c: &mut Criterion) {
    let dense = autoencoder(&[128, 128, 128, 128, 8, 128, 128, 128, 128], 0);
    let half = autoencoder(&[64, 64, 64, 64, 8, 64, 64, 64, 64], 0);
    let blocks = autoencoder(&[128, 128, 128, 128, 8, 128, 128, 128, 128], 80);
    let both = autoencoder(&[64, 64, 64, 64, 8, 64, 64, 64, 64], 80);
    let graphs =
        [("dense", dense), ("half the units", half), ("80% of blocks out", blocks), ("both", both)];
    let mut group = c.benchmark_group("codes to codes");
    for (name, graph) in &graphs {
        for batch in [1, 32] {
            for kernel in Engine::kernels() {
                if kernel == "reference" && (batch > 1 || *name != "dense") {
                    continue;
                }
                let mut engine = Engine::new(graph, batch)
                    .expect("a valid graph")
                    .with_kernel(kernel)
                    .expect("listed");
                let input: Vec<i8> = (0..640 * batch).map(|i| (i * 37) as i8).collect();
                let mut output = vec![0; 640 * batch];
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_function(BenchmarkId::new(format!("{name}/{kernel}"), batch), |b| {
                    b.iter(|| engine.run_codes(&input, &mut output));
                });
            }
        }
    }
}

fn decibels(c: &mut Criterion) {
    let graph = autoencoder(&[128, 128, 128, 128, 8, 128, 128, 128, 128], 0);
    let card = auscult::nn::Card { name: "bench".to_owned(), ..auscult::nn::Card::default() };
    let model = auscult::nn::Model::new(card, graph).expect("a valid model");
    let mut runner = model.runner();
    let input: Vec<f32> = (0..640).map(|i| -(i as f32) / 10.0).collect();
    let mut residual = vec![0.0; 640];
    c.bench_function("decibels to score", |b| b.iter(|| runner.run(&input, &mut residual)));
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_millis(1000));
    targets = codes, decibels
}
criterion_main!(benches);
