//! Any bytes as an ONNX file: refused, or the graph runs.
#![no_main]

mod graph;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| graph::run(auscult::nn::read_onnx(bytes)));
