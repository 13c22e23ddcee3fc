//! Recordings: what is in them comes out, and what is wrong with them is said.

use std::fmt::Write as _;
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

fn chunk(id: &[u8], body: &[u8]) -> Vec<u8> {
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
    let begin = Stamp::from_ms(1_769_860_800_000);
    let start = Some(begin);
    let got =
        open(&path, Options { start, speed_rpm: Some(1500.0), ..Options::default() }).unwrap();
    assert_eq!(got.frames.iter().map(Frame::len).collect::<Vec<_>>(), [4096, 4096, 1808]);
    assert_eq!(got.samples().len(), 20_000);
    for frame in &got.frames {
        let first = frame.origin.first_sample;
        assert_eq!(frame.start, begin + Span::from_secs(first as f64 / 8000.0));
        assert_eq!(frame.samples[1] * 32_768.0, f32::from(values[first as usize * 2 + 1]));
        assert_eq!((frame.shape, frame.speed_hz), (Shape::Stream, Some(25.0)));
    }
}

#[test]
fn snapshots_come_whole_and_the_rest_is_noted() {
    let values: Vec<i16> = (0..10_500).map(|n| n as i16).collect();
    let (_folder, path) = file("x.wav", &pcm16(1, 1000, &values));
    let options = Options {
        snapshot_samples: Some(1000),
        snapshot_every_s: Some(60.0),
        span_s: Some([2.0, 99.0]),
        ..Options::default()
    };
    let got = open(&path, options).unwrap();
    let numbers: Vec<u64> = got.frames.iter().map(|frame| frame.origin.first_sample).collect();
    assert_eq!(numbers, (2..10).map(|n| n * 1000).collect::<Vec<_>>());
    assert_eq!(got.frames[3].start, Stamp(182_000_000_000));
    assert!(got.frames.iter().all(|frame| (frame.len(), frame.shape) == (1000, Shape::Snapshot)));
    assert_eq!(got.notes, ["its last 500 samples are no whole snapshot and are left out"]);
}

#[test]
fn a_span_is_cut_to_the_sample() {
    let values: Vec<i16> = (0..8000).map(|n| n as i16).collect();
    let (_folder, path) = file("x.wav", &pcm16(1, 1000, &values));
    let options = Options { span_s: Some([1.25, 6.5]), ..Options::default() };
    let got = open(&path, options).unwrap();
    assert_eq!(got.samples().len(), 5250);
    assert_eq!(got.frames[0].samples[0] * 32_768.0, 1250.0);
    assert_eq!(got.frames[0].start, Stamp(1_250_000_000));
    let late = message(
        "x.wav",
        &pcm16(1, 1000, &values),
        Options { span_s: Some([9.0, 10.0]), ..Options::default() },
    );
    assert_eq!(late, "x.wav: ends before span_s begins (9.000 s)");
}

#[test]
fn half_a_wav_gives_what_is_there_and_says_so() {
    let whole = pcm16(1, 8000, &vec![500; 16_000]);
    let (_folder, path) = file("half.wav", &whole[..whole.len() / 2]);
    let got = open(&path, Options::default()).unwrap();
    assert_eq!(got.samples().len(), 7989);
    let (last, before) = got.frames.split_last().unwrap();
    assert_eq!(last.quality, Quality::DROPOUT);
    assert!(before.iter().all(|frame| frame.quality == Quality::GOOD));
    assert_eq!(
        got.notes,
        ["is cut short: its header promises 2.000 s, 0.999 s are there; was the \
         recorder stopped?"]
    );
}

#[test]
fn a_recorder_that_never_wrote_its_sizes_is_read_to_the_end() {
    for unknown in [0, u32::MAX] {
        let mut bytes = pcm16(1, 8000, &[500; 1000]);
        bytes[40..44].copy_from_slice(&u32::to_le_bytes(unknown));
        let (_folder, path) = file("x.wav", &bytes);
        let got = open(&path, Options::default()).unwrap();
        assert_eq!((got.samples().len(), got.quality()), (1000, Quality::GOOD));
    }
}

#[test]
fn what_is_no_recording_is_refused_in_words() {
    let check = |name: &str, content: &[u8], expect: &str| {
        assert_eq!(message(name, content, Options::default()), format!("{name}: {expect}"));
    };
    let data = || chunk(b"data", &[0; 64]);
    check("x.wav", b"", "is empty");
    check(
        "notes.wav",
        b"Dear colleague,\nthe pump is loud.\n",
        "is no recording: text without columns of numbers; it begins `Dear colleague,`",
    );
    check(
        "x.wav",
        &[0xff, 0xd8, 0, 1, 2, 3],
        "is not a recording: neither WAV, FLAC nor text with numbers",
    );
    let cut = "ends inside its header: no samples found; copy the file again";
    check("x.wav", &pcm16(1, 8000, &[1; 10])[..30], cut);
    check("x.wav", b"RIFF", cut);
    check("x.wav", &riff(&[format(1, 1, 8000, 16), chunk(b"junk", &[0; 5])]), cut);
    check(
        "x.wav",
        &riff(&[format(1, 0, 8000, 16), data()]),
        "says it has 0 channels; 1 to 64 are read",
    );
    check(
        "x.wav",
        &riff(&[format(1, 1, 0, 16), data()]),
        "says its rate is 0 Hz; 1 to 10000000 are read",
    );
    check(
        "x.wav",
        &riff(&[format(3, 1, 8000, 16), data()]),
        "says 16-bit float samples, 1 channels in 2 bytes, which cannot be; PCM of 8, 16, 24 or 32 \
         bits and float of 32 or 64 are read",
    );
    check(
        "x.wav",
        &riff(&[format(0x55, 1, 8000, 16), data()]),
        "holds compressed sound (format tag 0x0055); save it as PCM or float",
    );
    check("x.wav", &riff(&[data()]), "has its samples before their format");
    check(
        "x.wav",
        &riff(&[format(1, 1, 8000, 16), chunk(b"data", &[])]),
        "holds no samples; was the recorder stopped at once?",
    );
    check(
        "x.flac",
        b"fLaC\0\0\0\x22 and then nothing of the kind",
        "is not a FLAC that can be read: unexpected end of file",
    );
}

#[test]
fn odd_chunks_and_forged_sizes_neither_stop_nor_cost() {
    let mut forged = riff(&[
        chunk(b"LIST", &[7; 3]),
        format(1, 1, 8000, 16),
        chunk(b"bext", &[0; 601]),
        chunk(b"data", &[0, 0x40, 0, 0x40]),
    ]);
    let (_folder, path) = file("x.wav", &forged);
    assert_eq!(open(&path, Options::default()).unwrap().samples(), [0.5, 0.5]);
    let at = forged.len() - 8;
    forged[at..at + 4].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let (_folder, path) = file("x.wav", &forged);
    let got = open(&path, Options::default()).unwrap();
    assert_eq!((got.samples().len(), got.quality()), (2, Quality::DROPOUT));
}

#[test]
fn values_that_are_no_numbers_are_zero_flagged_and_noted() {
    let values = [1.0_f32, f32::NAN, f32::INFINITY, -1.0];
    let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let (_folder, path) = file("x.wav", &riff(&[format(3, 2, 8000, 32), chunk(b"data", &data)]));
    let got = open(&path, Options::default()).unwrap();
    assert_eq!(got.samples(), [1.0, 0.0, 0.0, -1.0]);
    assert_eq!(got.frames[0].axis_quality, [Quality::GARBAGE; 2]);
    assert_eq!(got.notes.len(), 1);
}

#[test]
fn a_sidecar_says_what_was_measured() {
    let (folder, path) = file("pump.wav", &pcm16(1, 8000, &[16_384; 100]));
    let beside = |name: &str, text: &str| {
        fs::File::create(folder.path().join(name))
            .and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()))
            .unwrap();
    };
    let message = || {
        let error = open(&path, Options::default()).map(|got| got.notes).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    beside(
        "pump.json",
        r#"{"unit": "g", "counts_per_unit": 1638.4, "offset": 1.0, "sensor": "X", "rpm": 1500,
            "t0": "2026-01-31T12:00:00.5Z", "channels": ["x"]}"#,
    );
    let got = open(&path, Options::default()).unwrap();
    let frame = &got.frames[0];
    assert_eq!((frame.samples[0], frame.unit, frame.speed_hz), (9.0, Unit::G, Some(25.0)));
    assert_eq!(frame.start.to_string(), "2026-01-31T12:00:00.500Z");
    assert_eq!(got.notes, ["sensor X"]);
    // What the configuration says goes first.
    let own = Calibration { unit: Unit::Pascal, units_per_full_scale: 3.0, offset: 0.0 };
    let source =
        open_recording(&path, Origin::new("a", "s"), Some(own), Options::default()).unwrap();
    assert_eq!(read_all(source).unwrap().samples()[0], 1.5);
    for (text, expect) in [
        (
            r#"{"unit": "furlong"}"#,
            "pump.json: the unit `furlong` is unknown; use m/s2, g, Pa, V or FS",
        ),
        (
            r#"{"scale_per_fs": 2}"#,
            "pump.json: a scale or offset needs a unit: m/s2, g, Pa, V or FS",
        ),
        (r#"{"channels": ["x", "y"]}"#, "pump.json: names 2 channels; the recording has 1"),
        (
            r#"{"unit": "g", "scale_per_fs": 0}"#,
            "pump.json: units per full scale must be a number other than 0, not 0",
        ),
        (
            r#"{"t0": "yesterday"}"#,
            "pump.json: t0 `yesterday` is not an RFC 3339 time such as 2026-01-31T12:00:00.5Z",
        ),
    ] {
        beside("pump.json", text);
        assert_eq!(message(), expect);
    }
    beside("pump.json", r#"{"scale_per_sf": 2}"#);
    assert!(message().starts_with("pump.json: is not a sidecar: unknown field `scale_per_sf`"));
}

#[test]
fn text_recordings_are_read_in_every_usual_writing() {
    let check = |text: &str, rate_hz: Option<f64>, rate: f64, expect: &[f32]| {
        let (_folder, path) = file("x.csv", text.as_bytes());
        let got = open(&path, Options { rate_hz, ..Options::default() }).unwrap();
        assert_eq!(got.frames[0].rate_hz, rate, "{text}");
        assert_eq!(got.samples(), expect, "{text}");
    };
    check("time,x\n0.00,1\n0.01,2\n0.02,3\n", None, 100.0, &[1.0, 2.0, 3.0]);
    check("t [ms];x;y\n0;1,5;-2\n10;2,5;-3\n", None, 100.0, &[1.5, -2.0, 2.5, -3.0]);
    check("1.5\t2.5\n3.5\t4.5\n", Some(50.0), 50.0, &[1.5, 2.5, 3.5, 4.5]);
    check("# rig 7\n\n 1  2\n 3  4\n", Some(50.0), 50.0, &[1.0, 2.0, 3.0, 4.0]);
    check("1e-3\n2e-3\n-inf\n", Some(50.0), 50.0, &[0.001, 0.002, 0.0]);
    check("\u{feff}\"x\",\"y\"\r\n1,2,\r\n3,4,\r\n", Some(50.0), 50.0, &[1.0, 2.0, 3.0, 4.0]);
    check("0.00 7\n0.02 8\n0.04 9\n", None, 50.0, &[7.0, 8.0, 9.0]);
    check("sample,x\n0,7\n1,8\n2,9\n", Some(50.0), 50.0, &[7.0, 8.0, 9.0]);
    let dated = "timestamp,x\n2026-01-31 12:00:00.000,1\n2026-01-31 12:00:00.250,2\n";
    check(dated, None, 4.0, &[1.0, 2.0]);
    let (_folder, path) = file("x.csv", format!("{dated}2026-01-31 12:00:00.500,2\n").as_bytes());
    let first = &open(&path, Options::default()).unwrap().frames[0];
    assert_eq!(first.start.to_string(), "2026-01-31T12:00:00.000Z");
}

#[test]
fn a_text_recording_that_goes_wrong_says_where() {
    let check = |text: &str, rate_hz: Option<f64>, expect: &str| {
        let options = Options { rate_hz, ..Options::default() };
        assert_eq!(message("x.csv", text.as_bytes(), options), format!("x.csv: {expect}"));
    };
    check(
        "time [s],x [g]\n0,1\n0.01,2\n0.02,0.1a7\n0.03,4\n",
        None,
        "line 4, column 2 (x [g]): `0.1a7` is not a number; mend or remove the line",
    );
    check("1.5,2\n3.5,4\n5.5\n", Some(9.0), "line 3 has 1 columns; the lines before have 2");
    check(
        "1.5,2\n9.5,4\n4.5,6\n",
        None,
        "has no time column; give its rate (rate_hz in the configuration or the sidecar)",
    );
    let mut uneven: String = "t,x\n".into();
    for n in 0..20_000 {
        let t = f64::from(n) * 0.001 + if n > 19_000 { 0.0005 } else { 0.0 };
        writeln!(uneven, "{t:.6},1").unwrap();
    }
    check(
        &uneven,
        None,
        "line 19003: the time steps by 0.001500 s where 0.001000 s is the rule; samples must be \
         evenly spaced: resample the recording or cut it there",
    );
    check("t,x\n5,1\n5,2\n5,3\n", None, "has a time column that does not rise");
}

#[test]
fn the_last_line_cut_short_is_a_dropout() {
    let (_folder, path) = file("x.csv", b"t,x,y\n0.00,1,2\n0.01,3,4\n0.02,5,6\n0.03,7");
    let got = open(&path, Options::default()).unwrap();
    assert_eq!((got.samples().len(), got.quality()), (6, Quality::DROPOUT));
    assert_eq!(got.notes, ["is cut short: line 5, its last, is not whole"]);
}

/// A good recording of each kind, to be spoilt.
fn good_recordings() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    ["pump_24.wav", "pump_rf64.wav", "pump.flac", "pump.csv"]
        .map(|name| fs::read(folder.join(name)).unwrap())
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is done to a file, it is read or refused: no panic, no endless reading, and never more
    /// samples than it has bytes.
    #[test]
    fn spoilt_recordings_are_read_or_refused(
        which in 0_usize..4,
        edits in prop::collection::vec((0_usize..200, any::<u8>()), 1..6),
        far in prop::collection::vec((0_usize..20_000, any::<u8>()), 0..3),
        keep in prop::option::of(0_usize..20_000),
    ) {
        let mut bytes = good_recordings()[which].clone();
        for (at, value) in edits.into_iter().chain(far) {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(keep.unwrap_or(usize::MAX));
        let (_folder, path) = file("x", &bytes);
        if let Ok(got) = open(&path, Options { rate_hz: Some(100.0), ..Options::default() }) {
            prop_assert!(got.samples().iter().all(|x| x.is_finite()));
            prop_assert!(which == 2 || got.samples().len() <= bytes.len());
        }
    }
}
