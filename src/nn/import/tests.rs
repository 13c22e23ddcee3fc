//! Imported models against the numbers of the runtimes they come from.

pub(in crate::nn) mod onnx;
pub(in crate::nn) mod tflite;

use std::path::PathBuf;

use super::{read_onnx, read_tflite};
use crate::nn::{Card, Engine, Error, Graph, Model, Shape};

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
