//! Other people's model files.

mod flatbuffer;
mod tflite;

#[cfg(test)]
mod tests;

pub use tflite::read_tflite;
