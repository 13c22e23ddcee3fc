//! What fuzzing begins with: small files of every kind a network is read from.

use super::format::{every_kind, every_packing, seldom};
use super::import::tests::{onnx, tflite};

#[test]
#[allow(clippy::disallowed_methods, reason = "what git keeps needs no crash safety")]
fn fuzzing_begins_with_what_is_written_here() {
    let mut files = [
        ("model_file/every_kind.safetensors", every_kind(1).save()),
        ("model_file/every_packing.safetensors", every_packing().save()),
        ("onnx/float.onnx", onnx::float().0),
        ("onnx/per_channel.onnx", onnx::per_channel().0),
        ("onnx/signed.onnx", onnx::qdq(false).0),
        ("onnx/unsigned.onnx", onnx::qdq(true).0),
        ("tflite/float.tflite", tflite::float().0),
        ("tflite/int8.tflite", tflite::int8().0),
    ]
    .map(|(name, file)| (name.to_owned(), file))
    .to_vec();
    files.extend(
        seldom()
            .into_iter()
            .map(|(name, _, file)| (format!("model_file/{name}.safetensors"), file)),
    );
    files.extend(
        onnx::foreign().into_iter().map(|(name, _, file)| (format!("onnx/{name}.onnx"), file)),
    );
    for (name, file) in files {
        let path = format!("{}/fuzz/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("AUSCULT_REMAKE").is_some() {
            std::fs::write(&path, &file).unwrap();
        }
        let is_kept = std::fs::read(path).is_ok_and(|kept| kept == file);
        assert!(is_kept, "{name}: run this test once with AUSCULT_REMAKE=1");
    }
}
