//! Other people's model files.

mod flatbuffer;
mod onnx;
mod onnx_tensor;
mod protobuf;
mod tflite;

#[cfg(test)]
pub(super) mod tests;

pub use onnx::read_onnx;
pub use tflite::read_tflite;
