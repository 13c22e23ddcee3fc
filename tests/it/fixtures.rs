//! The recordings in `fixtures/` are what their manifest says, to the byte, and read back as made.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use auscult::acquire::{Options, Read, Sense, Source, SynthConfig, SynthKind, open_recording};
use auscult::types::{Frame, Origin, Quality, Stamp, Unit};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    fixture: Vec<Fixture>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    file: String,
    #[allow(dead_code, reason = "for people")]
    about: String,
    format: Format,
    machine: SynthConfig,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[serde(rename = "wav_16")]
    Wav16,
    #[serde(rename = "wav_24_extensible")]
    Wav24Extensible,
    #[serde(rename = "rf64_16")]
    Rf64,
    #[serde(rename = "flac_16")]
    Flac,
    Csv,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn manifest() -> Vec<Fixture> {
    let text = fs::read_to_string(folder().join("MANIFEST.toml")).unwrap();
    toml::from_str::<Manifest>(&text).unwrap().fixture
}

fn read_all(mut source: Box<dyn Source>) -> Vec<Frame> {
    let info = source.info().clone();
    let mut frame = Frame::empty(Origin::new("a", "s"), info.rate_hz, info.unit, info.n_channels);
    let mut frames = Vec::new();
    while source.read(&mut frame).unwrap() == Read::Frame {
        frames.push(frame.clone());
    }
    frames
}

impl Fixture {
    fn frames(&self) -> Vec<Frame> {
        let machine = self.machine.build().unwrap();
        read_all(machine.into_source(Origin::new("a", "s"), Stamp::default()))
    }

    fn samples(&self) -> Vec<f32> {
        self.frames().into_iter().flat_map(|frame| frame.samples).collect()
    }

    fn unit(&self) -> Unit {
        match self.machine.kind {
            SynthKind::Vibration => Unit::MetersPerSecond2,
            SynthKind::Sound => Unit::Pascal,
        }
    }

    fn sidecar(&self) -> Option<String> {
        (self.format != Format::Csv).then(|| {
            format!(
                "{{\"unit\": \"{}\", \"scale_per_fs\": {}, \"rpm\": {}, \"sensor\": \"synthetic\"}}\n",
                self.unit().name(),
                self.machine.range,
                self.machine.speed_rpm
            )
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let rate_hz = self.machine.rate_hz as u32;
        let n_channels = self.machine.axes as u16;
        let step = self.machine.range / f64::from(1_u32 << (self.machine.bits - 1));
        let counts = self.samples().into_iter().map(|x| (f64::from(x) / step).round() as i32);
        let data = |n_bytes: usize| -> Vec<u8> {
            counts.clone().flat_map(|n| n.to_le_bytes().into_iter().take(n_bytes)).collect()
        };
        match self.format {
            Format::Wav16 => riff(None, &[&format(n_channels, rate_hz, 16), &data(2)]),
            Format::Rf64 => {
                let n_samples = counts.len() as u64 / u64::from(n_channels);
                riff(Some(n_samples), &[&format(n_channels, rate_hz, 16), &data(2)])
            }
            Format::Wav24Extensible => {
                let mut body = format(n_channels, rate_hz, 24);
                body[..2].copy_from_slice(&0xfffe_u16.to_le_bytes());
                body.extend(22_u16.to_le_bytes());
                body.extend(24_u16.to_le_bytes());
                body.extend(3_u32.to_le_bytes());
                body.extend([1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
                riff(None, &[&body, &data(3)])
            }
            Format::Flac => flac(rate_hz, &counts.map(|n| n as i16).collect::<Vec<_>>()),
            Format::Csv => csv(&self.samples(), self.machine.axes, self.machine.rate_hz),
        }
    }
}

fn format(n_channels: u16, rate_hz: u32, n_bits: u16) -> Vec<u8> {
    let n_frame_bytes = n_channels * n_bits / 8;
    let mut body = 1_u16.to_le_bytes().to_vec();
    body.extend(n_channels.to_le_bytes());
    body.extend(rate_hz.to_le_bytes());
    body.extend((rate_hz * u32::from(n_frame_bytes)).to_le_bytes());
    body.extend(n_frame_bytes.to_le_bytes());
    body.extend(n_bits.to_le_bytes());
    body
}

/// A RIFF file of format and samples; with a number of samples, an RF64 file.
fn riff(n_samples: Option<u64>, [format, data]: &[&[u8]; 2]) -> Vec<u8> {
    let size = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
    let mut body = b"WAVE".to_vec();
    if let Some(n_samples) = n_samples {
        body.extend(b"ds64");
        body.extend(28_u32.to_le_bytes());
        let n_riff = 4 + 36 + 8 + format.len() + 8 + data.len();
        for n in [n_riff as u64, data.len() as u64, n_samples] {
            body.extend(n.to_le_bytes());
        }
        body.extend(0_u32.to_le_bytes());
    }
    body.extend(b"fmt ");
    body.extend(size(format));
    body.extend_from_slice(format);
    body.extend(b"data");
    body.extend(if n_samples.is_some() { [0xff; 4] } else { size(data) });
    body.extend_from_slice(data);
    let mut bytes = if n_samples.is_some() { b"RF64".to_vec() } else { b"RIFF".to_vec() };
    bytes.extend(if n_samples.is_some() { [0xff; 4] } else { size(&body) });
    bytes.extend(body);
    bytes
}

fn crc(bytes: &[u8], polynomial: u32, n_bits: u32) -> u32 {
    let top = 1_u32 << (n_bits - 1);
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << (n_bits - 8)), |crc, _| {
            let carry = crc & top != 0;
            ((crc << 1) ^ if carry { polynomial } else { 0 }) & ((top << 1) - 1)
        })
    })
}

/// One channel of 16 bits, each block verbatim (RFC 9639).
fn flac(rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    const BLOCK: usize = 4096;
    let mut bytes = b"fLaC\x80\x00\x00\x22".to_vec();
    bytes.extend([(BLOCK as u16).to_be_bytes(), (BLOCK as u16).to_be_bytes()].concat());
    bytes.extend([0; 6]);
    let layout = u64::from(rate_hz) << 44 | 15 << 36 | samples.len() as u64;
    bytes.extend(layout.to_be_bytes());
    bytes.extend([0; 16]);
    for (number, block) in samples.chunks(BLOCK).enumerate() {
        let mut frame = vec![0xff, 0xf8, 0x70, 0x08, number as u8];
        frame.extend((block.len() as u16 - 1).to_be_bytes());
        frame.push(crc(&frame, 0x07, 8) as u8);
        frame.push(0x02);
        frame.extend(block.iter().flat_map(|x| x.to_be_bytes()));
        let check = crc(&frame, 0x8005, 16) as u16;
        frame.extend(check.to_be_bytes());
        bytes.extend(frame);
    }
    bytes
}

fn csv(samples: &[f32], n_axes: usize, rate_hz: f64) -> Vec<u8> {
    let mut text = "time [s]".to_string();
    for axis in ["x", "y", "z"].iter().take(n_axes) {
        write!(text, ",{axis} [m/s2]").unwrap();
    }
    text.push('\n');
    for (n, row) in samples.chunks(n_axes).enumerate() {
        write!(text, "{:.4}", n as f64 / rate_hz).unwrap();
        for x in row {
            write!(text, ",{x:.5}").unwrap();
        }
        text.push('\n');
    }
    text.into_bytes()
}

#[test]
fn fixtures_are_made_again_to_the_byte() {
    let mut n_bytes = 0;
    for fixture in manifest() {
        let files = [
            (folder().join(&fixture.file), Some(fixture.bytes())),
            (
                folder().join(format!("{}.json", fixture.file)),
                fixture.sidecar().map(String::into_bytes),
            ),
        ];
        for (path, made) in files.into_iter().filter_map(|(path, made)| Some((path, made?))) {
            if std::env::var_os("AUSCULT_REMAKE").is_some() {
                fs::File::create(&path).and_then(|mut file| file.write_all(&made)).unwrap();
            }
            assert!(fs::read(&path).unwrap() == made, "{} is not as made", path.display());
            n_bytes += made.len();
        }
    }
    assert!(n_bytes < 2_000_000, "fixtures are to be small, not {n_bytes} bytes");
}

#[test]
fn fixtures_read_back_as_made() {
    for fixture in manifest() {
        let snapshots = fixture.machine.snapshot_samples;
        let options = Options {
            snapshot_samples: (snapshots > 0).then_some(snapshots),
            snapshot_every_s: Some(fixture.machine.snapshot_every_s).filter(|_| snapshots > 0),
            ..Options::default()
        };
        let path = folder().join(&fixture.file);
        let source = open_recording(&path, Origin::new("a", "s"), None, options).unwrap();
        assert_eq!(source.info().unit, fixture.unit(), "{}", fixture.file);
        let (read, made) = (read_all(source), fixture.frames());
        assert_eq!(read.len(), made.len(), "{}", fixture.file);
        let close = if fixture.format == Format::Csv { 6e-6 } else { 0.0 };
        for (read, made) in read.iter().zip(&made) {
            assert_eq!((read.start, read.shape), (made.start, made.shape), "{}", fixture.file);
            let off = read.samples.iter().zip(&made.samples).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f32::max) <= close, "{} at {}", fixture.file, read.start);
        }
    }
}

#[test]
fn fixtures_show_what_they_are_there_to_show() {
    let check = |file: &str, expect: Quality| {
        let path = folder().join(file);
        let source =
            open_recording(&path, Origin::new("a", "s"), None, Options::default()).unwrap();
        let info = source.info().clone();
        let mut sense = Sense::new(info.rate_hz, info.n_channels);
        let mut flags = Quality::GOOD;
        for mut frame in read_all(source) {
            sense.check(&mut frame);
            flags = flags.with(frame.quality);
        }
        let names: Vec<_> = flags.names().collect();
        assert_eq!(flags, expect, "{file}: {names:?}");
    };
    check("pump_healthy.wav", Quality::GOOD);
    check("fan_healthy.wav", Quality::GOOD);
    check("fan_inner_race.wav", Quality::GOOD);
    check("sensor_clipped.wav", Quality::CLIPPED.with(Quality::SATURATED));
    check("sensor_flat.wav", Quality::FLAT);
    check("sensor_dropout.wav", Quality::DROPOUT);
}
