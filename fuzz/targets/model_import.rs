//! Any bytes as a TFLite or ONNX file: refused, or the graph runs.
#![no_main]

use auscult::nn::{Engine, Graph, read_onnx, read_tflite};
use libfuzzer_sys::fuzz_target;

/// Larger graphs are valid too, but slow to fuzz with.
const MACS_MAX: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    read_tflite(bytes).into_iter().chain(read_onnx(bytes)).for_each(|graph| run(&graph));
});

fn run(graph: &Graph) {
    if graph.check().is_err() || graph.macs() > MACS_MAX {
        return;
    }
    let Ok(mut engine) = Engine::new(graph, 1) else { return };
    let input = vec![1.0; engine.n_in()];
    let mut output = vec![0.0; engine.n_out()];
    engine.run(&input, &mut output);
}
