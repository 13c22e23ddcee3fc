//! Live sources against the real drivers and sockets.
#![allow(clippy::disallowed_methods, reason = "these tests wait for real time to pass")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use auscult::acquire::{Error, Read, SoundConfig, Source};
use auscult::daemon::SystemClock;
use auscult::types::{Frame, Origin, Unit};

use crate::rig::Microphone;

const DEADLINE: Duration = Duration::from_secs(20);

fn mic(rate_hz: u32) -> SoundConfig {
    SoundConfig {
        device: "pcm:mic".to_owned(),
        rate_hz,
        period_ms: 10.0,
        format: auscult::acquire::SoundFormat::I16,
        ..SoundConfig::default()
    }
}

/// The whole of it in one test: ALSA's configuration belongs to the process.
#[test]
fn a_sound_card_is_read_bit_by_bit_and_its_stall_and_return_are_noticed() {
    let mut card = Microphone::new(48_000.0);
    card.play(1.0);
    let clock = Arc::new(SystemClock::new());
    let mut sound = mic(48_000).open(clock.clone()).unwrap();
    let mut frame = Frame::empty(Origin::new("pump", "mic"), 48_000.0, Unit::FullScale, 1);
    let start = Instant::now();
    let mut got = Vec::new();
    while got.len() < 48_000 {
        assert!(start.elapsed() < DEADLINE);
        match sound.read(&mut frame).unwrap() {
            Read::Frame => got.extend_from_slice(&frame.samples),
            Read::Quiet => {}
            Read::End => panic!("a microphone never ends"),
        }
    }
    eprintln!("first {:?} {} in {:?}", &got[..4], got.len(), start.elapsed());
    let first = (got[0] * 32_768.0) as i16;
    for (k, v) in got.iter().enumerate() {
        assert_eq!(*v, f32::from(first.wrapping_add(k as i16)) / 32_768.0, "sample {k}");
    }
    card.stall();
    let start = Instant::now();
    let error = loop {
        assert!(start.elapsed() < DEADLINE);
        match sound.read(&mut frame) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    eprintln!("{error} after {:?}", start.elapsed());
    assert!(matches!(error, Error::Lost { .. }));
    drop(sound);
    card.play(1.0);
    let mut sound = mic(48_000).open(clock).unwrap();
    let start = Instant::now();
    while sound.read(&mut frame).unwrap() != Read::Frame {
        assert!(start.elapsed() < DEADLINE);
    }
    card.close();
    let start = Instant::now();
    let error = loop {
        assert!(start.elapsed() < DEADLINE);
        match sound.read(&mut frame) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    eprintln!("{error} after {:?} {}", start.elapsed(), card.n_written());
}
