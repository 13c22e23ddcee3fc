//! Recordings: what is in them comes out, and what is wrong with them is said.

use std::fs;
use std::path::{Path, PathBuf};

use auscult::acquire::{Calibration, Error, Options, Read, Source, open_recording};
use auscult::types::{Frame, Origin, Quality, Shape, Span, Stamp, Unit};
use proptest::prelude::*;

/// Everything a recording gives.
struct Got {
    frames: Vec<Frame>,
    notes: Vec<String>,
}

impl Got {
    fn samples(&self) -> Vec<f32> {
        self.frames.iter().flat_map(|frame| frame.samples.iter().copied()).collect()
    }

    fn quality(&self) -> Quality {
        self.frames.iter().fold(Quality::GOOD, |all, frame| all.with(frame.quality))
    }
}

fn read_all(mut source: Box<dyn Source>) -> Result<Got, Error> {
    let info = source.info().clone();
    let mut frame = Frame::empty(Origin::new("a", "s"), info.rate_hz, info.unit, info.n_channels);
    let mut frames = Vec::new();
    loop {
        match source.read(&mut frame)? {
            Read::Frame => frames.push(frame.clone()),
            Read::Quiet => {}
            Read::End => return Ok(Got { frames, notes: source.notes().to_vec() }),
        }
    }
}

fn open(path: &Path, options: Options) -> Result<Got, Error> {
    read_all(open_recording(path, Origin::new("a", "s"), None, options)?)
}

/// A file of this content in a folder of its own.
fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::File::create(&path).and_then(|mut f| std::io::Write::write_all(&mut f, content)).unwrap();
    (folder, path)
}

fn message(name: &str, content: &[u8], options: Options) -> String {
    let (folder, path) = file(name, content);
    let error = open(&path, options).map(|got| got.notes).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_vec();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes.extend(&[0][..body.len() % 2]);
    bytes
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body: Vec<u8> = b"WAVE".iter().chain(chunks.iter().flatten()).copied().collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn format(tag: u16, n_channels: u16, rate_hz: u32, n_bits: u16) -> Vec<u8> {
    let n_frame_bytes = n_channels * n_bits.div_ceil(8);
    let mut body = tag.to_le_bytes().to_vec();
    body.extend(n_channels.to_le_bytes());
    body.extend(rate_hz.to_le_bytes());
    body.extend((rate_hz * u32::from(n_frame_bytes)).to_le_bytes());
    body.extend(n_frame_bytes.to_le_bytes());
    body.extend(n_bits.to_le_bytes());
    chunk(b"fmt ", &body)
}

fn pcm16(n_channels: u16, rate_hz: u32, values: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    riff(&[format(1, n_channels, rate_hz, 16), chunk(b"data", &data)])
}

#[test]
fn every_coding_gives_the_same_fractions_of_full_scale() {
    let check = |tag: u16, n_bits: u16, one: &[u8], expect: f32| {
        let bytes = riff(&[format(tag, 1, 8000, n_bits), chunk(b"data", one)]);
        let (_folder, path) = file("x.wav", &bytes);
        assert_eq!(open(&path, Options::default()).unwrap().samples(), [expect], "{n_bits} bits");
    };
    check(1, 8, &[0], -1.0);
    check(1, 8, &[192], 0.5);
    check(1, 16, &i16::MIN.to_le_bytes(), -1.0);
    check(1, 16, &16_384_i16.to_le_bytes(), 0.5);
    check(1, 24, &[0, 0, 0x80], -1.0);
    check(1, 24, &[0, 0, 0x40], 0.5);
    check(1, 24, &[1, 0, 0], 1.0 / 8_388_608.0);
    check(1, 32, &i32::MIN.to_le_bytes(), -1.0);
    check(1, 32, &(1_i32 << 30).to_le_bytes(), 0.5);
    check(3, 32, &1.5_f32.to_le_bytes(), 1.5);
    check(3, 64, &(-2.25_f64).to_le_bytes(), -2.25);
}

#[test]
fn channels_stay_interleaved_and_frames_are_numbered_and_stamped() {
    let values: Vec<i16> = (0..20_000).map(|n| (n % 1000) as i16).collect();
    let (_folder, path) = file("x.wav", &pcm16(2, 8000, &values));
    let start = Some(Stamp::from_ms(1_769_860_800_000));
    let got =
        open(&path, Options { start, speed_rpm: Some(1500.0), ..Options::default() }).unwrap();
    assert_eq!(got.frames.iter().map(Frame::len).collect::<Vec<_>>(), [4096, 4096, 1808]);
    assert_eq!(got.samples().len(), 20_000);
    for frame in &got.frames {
        let first = frame.origin.first_sample;
        assert_eq!(frame.start, start.unwrap() + Span::from_secs(first as f64 / 8000.0));
        assert_eq!(frame.samples[1] * 32_768.0, f32::from(values[first as usize * 2 + 1]));
        assert_eq!((frame.shape, frame.speed_hz), (Shape::Stream, Some(25.0)));
    }
}
