//! Blocks for `benches/peers`: asked for line by line, answered in JSON.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a clock and an answer make a bench"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use auscult::nn::{Engine, read_tflite};

/// One network at one batch size with one kernel.
struct Ready {
    engine: Engine,
    input: Vec<i8>,
    output: Vec<i8>,
    batch: usize,
}

impl Ready {
    fn load(path: &str, batch: &str, kernel: &str) -> Self {
        let file = std::fs::read(path).expect("a file that can be read");
        let graph = read_tflite(&file).expect("a model of dense layers");
        let batch = batch.parse().expect("a number of windows");
        let engine = Engine::new(&graph, batch).expect("a valid graph");
        let engine = engine.with_kernel(kernel).expect("a kernel of the list");
        let input = (0..engine.n_in() * batch).map(|i| ((i * 37 % 256) as i32 - 128) as i8);
        let (input, output) = (input.collect(), vec![0; engine.n_out() * batch]);
        let mut ready = Self { engine, input, output, batch };
        ready.run();
        ready
    }

    fn run(&mut self) {
        self.engine.run_codes(black_box(&self.input), &mut self.output);
    }

    /// Seconds per window over a block of about `length`.
    fn block(&mut self, length: Duration) -> f64 {
        let start = Instant::now();
        let mut n_calls = 0_u32;
        while start.elapsed() < length / 10 {
            self.run();
            n_calls += 1;
        }
        n_calls *= 9;
        let start = Instant::now();
        (0..n_calls).for_each(|_| self.run());
        start.elapsed().as_secs_f64() / f64::from(n_calls) / self.batch as f64
    }
}

/// Answers until nobody asks any more.
pub(crate) fn run() {
    let mut ready: HashMap<[String; 3], Ready> = HashMap::new();
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["kernels"] => serde_json::json!({ "kernels": Engine::kernels() }),
            ["load", path, batch, kernel] => {
                let loaded = Ready::load(path, batch, kernel);
                let output = loaded.output.clone();
                ready.insert([path, batch, kernel].map(str::to_owned), loaded);
                serde_json::json!({ "output": output })
            }
            ["block", path, batch, kernel, seconds] => {
                let found = ready.get_mut(&[path, batch, kernel].map(str::to_owned));
                let length = seconds.parse().map(Duration::from_secs_f64).expect("seconds");
                serde_json::json!({ "seconds": found.expect("loaded before").block(length) })
            }
            _ => panic!("kernels, load PATH BATCH KERNEL, or block PATH BATCH KERNEL SECONDS"),
        };
        println!("{answer}");
    }
}
