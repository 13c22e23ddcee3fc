//! What is done with a recording.

use std::fs;
use std::path::{Path, PathBuf};

use auscult::acquire::{NOTES_MAX, Options, Read, open_recording};
use auscult::types::{Frame, Origin, Unit};

/// Samples a file may give; what is packed may hold far more than it is long.
const SAMPLES_MAX: usize = 1 << 22;

/// A file in memory that only this process writes.
pub fn path(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(format!("auscult-fuzz-{}-{name}", std::process::id()))
}

/// Writes `bytes` to `path` and reads them to their end: each frame is whole, each sample finite, and
/// none comes after the end.
#[allow(dead_code, reason = "not every parser writes a file")]
pub fn read(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("memory for a file");
    play(path);
}

/// Reads the recording at `path`, if it is one: all of it, and a part in snapshots.
pub fn play(path: &Path) {
    play_as(path, Options { rate_hz: Some(1000.0), ..Options::default() });
    let span_s = Some([0.001, 10.0]);
    let snapshot_every_s = Some(60.0);
    play_as(
        path,
        Options { span_s, snapshot_samples: Some(2), snapshot_every_s, ..Options::default() },
    );
}

fn play_as(path: &Path, options: Options) {
    let Ok(mut source) = open_recording(path, Origin::new("a", "s"), None, options) else { return };
    let n_channels = source.info().n_channels;
    let mut frame = Frame::empty(Origin::new("a", "s"), 1.0, Unit::FullScale, n_channels);
    let mut n_samples = 0;
    while n_samples < SAMPLES_MAX {
        match source.read(&mut frame) {
            Ok(Read::Frame) => {
                assert_eq!(frame.samples.len() % n_channels, 0, "every channel");
                assert!(frame.samples.iter().all(|it| it.is_finite()));
                n_samples += frame.samples.len();
            }
            Ok(Read::Quiet) => panic!("a recording never makes wait"),
            Ok(Read::End) => {
                assert!(source.notes().len() <= NOTES_MAX);
                assert!(matches!(source.read(&mut frame), Ok(Read::End)), "the end is the end");
                return;
            }
            Err(_) => return,
        }
    }
}
