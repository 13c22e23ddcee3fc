//! What it takes on site: half an hour of one channel at 16 kHz, from the file to a model of its own and to
//! an adapter for the shipped one. `cargo bench --bench learn`, one thread.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a clock and a table make a bench"
)]

use auscult::learn::{Adapter, Corpus, Foundry, Gate, Recipe, Stage, adapt, train};
use auscult::nn::Model;
use std::time::Instant;

const RATE_HZ: u32 = 16_000;
const SECONDS: u32 = 1800;

/// A recording of a turning machine with broadband noise, as a WAV file.
fn recording() -> Vec<u8> {
    let n_bytes = 2 * RATE_HZ * SECONDS;
    let mut wav = Vec::with_capacity(44 + n_bytes as usize);
    wav.extend(b"RIFF");
    wav.extend((36 + n_bytes).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(RATE_HZ.to_le_bytes());
    wav.extend((2 * RATE_HZ).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend(n_bytes.to_le_bytes());
    let mut dice = 1_u64;
    for i in 0..RATE_HZ * SECONDS {
        dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let noise = (dice >> 40) as f32 / 16_777_216.0 - 0.5;
        let turn = std::f32::consts::TAU * (i % RATE_HZ) as f32 / RATE_HZ as f32;
        let tones: f32 = (1_u8..6).map(|k| (25.0 * f32::from(k) * turn).sin() / f32::from(k)).sum();
        let value = 3000.0 * tones + 2000.0 * noise;
        wav.extend((value as i16).to_le_bytes());
    }
    wav
}

fn main() {
    let dir = tempfile::tempdir().expect("a place for a recording");
    let path = dir.path().join("half_hour.wav");
    std::fs::write(&path, recording()).expect("room for 58 MB");
    let base = Model::load(include_bytes!("../models/sound.safetensors")).expect("a shipped model");
    let begin = Instant::now();
    let corpus = Corpus::recorded(base.card(), &[&path]).expect("it was just written");
    let heard_s = begin.elapsed().as_secs_f64();
    println!("hearing {} windows            {heard_s:6.1} s", corpus.train.len());
    let foundry = Foundry { corpus: &corpus, recipe: Recipe::default(), gate: Gate::default() };
    let begin = Instant::now();
    let neutral = Adapter::neutral(&base, 8, 1).expect("a small rank");
    adapt(&foundry, &base, &neutral, &mut |_| ()).expect("it fits");
    let seconds = begin.elapsed().as_secs_f64();
    println!("an adapter, hearing included    {:6.1} s", heard_s + seconds);
    let begin = Instant::now();
    train(&foundry, &[64, 16, 64].map(Stage::Dense), &mut |_| ()).expect("three stages");
    let seconds = begin.elapsed().as_secs_f64();
    println!("a model, hearing included       {:6.1} s", heard_s + seconds);
}
