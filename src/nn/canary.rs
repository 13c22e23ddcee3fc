//! A fixed input whose result is known: tells rotten weights and bad arithmetic from a bad machine.

use crc32c::crc32c_append;

use super::{Error, Model, Runner};

/// Sings as long as the model in memory and the processor are sound.
pub struct Canary {
    runner: Runner,
    input: Vec<f32>,
    residual: Vec<f32>,
    song: u32,
}

impl Canary {
    /// For one model; its song is taken from the plain reference arithmetic.
    ///
    /// # Errors
    /// `Error::Invalid` if the kernel in use already sings another.
    pub fn new(model: &Model) -> Result<Self, Error> {
        let n = model.n_hops() * model.n_bands();
        // Levels all over the range, no two neighbours alike.
        let input = (0..n).map(|k| -10.0 - (k * 37 % 81) as f32).collect();
        let reference = model.runner().with_kernel("reference")?;
        let mut canary = Self { runner: reference, input, residual: vec![0.0; n], song: 0 };
        canary.song = canary.sing();
        canary.runner = model.runner();
        if canary.is_well() {
            return Ok(canary);
        }
        let why = "this processor does not compute what it should; have the box checked".to_owned();
        Err(Error::Invalid { at: "canary".to_owned(), why })
    }

    /// Whether it still gives its known result, bit for bit. Allocates nothing.
    pub fn is_well(&mut self) -> bool {
        self.sing() == self.song
    }

    fn sing(&mut self) -> u32 {
        let score = self.runner.run(&self.input, &mut self.residual);
        let bits = self.residual.iter().chain([&score]);
        bits.fold(0, |crc, value| crc32c_append(crc, &value.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_model_sings_and_any_other_song_is_heard() {
        let model = Model::load(include_bytes!("../../models/vibration.safetensors")).unwrap();
        let mut canary = Canary::new(&model).unwrap();
        assert!(canary.is_well() && canary.is_well());
        canary.input[3] += 20.0;
        assert!(!canary.is_well());
    }
}
