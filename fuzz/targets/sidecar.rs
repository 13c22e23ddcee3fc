//! Any bytes as what stands beside a recording: refused, or the recording is read by it.
#![no_main]

mod recording;

use std::fs;
use std::sync::Once;

/// One with counts and one of real numbers.
const RECORDINGS: [(&str, &[u8]); 2] = [
    ("sidecar.csv", b"x,y\n1,2\n3,4\n"),
    (
        "sidecar.wav",
        b"RIFF\x34\0\0\0WAVEfmt \x10\0\0\0\x03\0\x02\0\xe8\x03\0\0\x40\x1f\0\0\x08\0\x20\0\
          data\x10\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40",
    ),
];

static WRITTEN: Once = Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    WRITTEN.call_once(|| {
        for (name, recording) in RECORDINGS {
            fs::write(recording::path(name), recording).expect("memory for a file");
        }
    });
    fs::write(recording::path("sidecar.json"), bytes).expect("memory for a file");
    for (name, _) in RECORDINGS {
        recording::play(&recording::path(name));
    }
});
