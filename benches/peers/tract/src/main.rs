//! tract for `benches/peers/peers.py`: answers as `cargo bench --bench nn -- --serve` does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::SimpleState;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

type Plan = SimpleState<TypedFact, Box<dyn TypedOp>>;

/// One network at one batch size.
struct Ready {
    plan: Plan,
    input: TValue,
    batch: usize,
}

impl Ready {
    fn load(path: &str, batch: &str) -> TractResult<Self> {
        let batch: usize = batch.parse()?;
        let model = onnx().model_for_path(path)?;
        let n_in = model.input_fact(0)?.shape.dim(1).and_then(|dim| dim.concretize());
        let n_in = n_in.expect("a known width").to_usize()?;
        let model = model.with_input_fact(0, u8::fact([batch, n_in]).into())?;
        let plan = model.into_optimized()?.into_runnable()?.spawn()?;
        let codes: Vec<u8> = (0..batch * n_in).map(|i| (i * 37 % 256) as u8).collect();
        let input = Tensor::from_shape(&[batch, n_in], &codes)?.into_tvalue();
        Ok(Self { plan, input, batch })
    }

    fn run(&mut self) -> TractResult<TVec<TValue>> {
        self.plan.run(tvec![self.input.clone()])
    }

    /// Codes 128 lower, as LiteRT has them.
    fn output(&mut self) -> TractResult<Vec<i16>> {
        let out = self.run()?.remove(0).into_tensor();
        Ok(out.to_plain_array_view::<u8>()?.iter().map(|code| i16::from(*code) - 128).collect())
    }

    /// Seconds per window over a block of about `length`.
    fn block(&mut self, length: Duration) -> TractResult<f64> {
        let start = Instant::now();
        let mut n_calls = 0;
        while start.elapsed() < length / 10 {
            self.run()?;
            n_calls += 1;
        }
        n_calls *= 9;
        let start = Instant::now();
        for _ in 0..n_calls {
            self.run()?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(n_calls) / self.batch as f64)
    }
}

fn main() -> TractResult<()> {
    let mut ready: HashMap<[String; 2], Ready> = HashMap::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["load", path, batch, _] => {
                let mut loaded = Ready::load(path, batch)?;
                println!("{{\"output\": {:?}}}", loaded.output()?);
                ready.insert([path, batch].map(str::to_owned), loaded);
            }
            ["block", path, batch, _, seconds] => {
                let found = ready.get_mut(&[path, batch].map(str::to_owned));
                let length = Duration::from_secs_f64(seconds.parse()?);
                println!("{{\"seconds\": {}}}", found.expect("loaded before").block(length)?);
            }
            _ => panic!("load PATH BATCH -, or block PATH BATCH - SECONDS"),
        }
    }
    Ok(())
}
