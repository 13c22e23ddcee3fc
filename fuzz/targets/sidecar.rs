//! Any bytes as what stands beside a recording: refused, or the recording is read by it.
#![no_main]

mod recording;

use std::ffi::OsString;
use std::fs;
use std::sync::Once;

static RECORDING: Once = Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = recording::path("sidecar.csv");
    RECORDING.call_once(|| fs::write(&path, "x,y\n1,2\n3,4\n").expect("memory for a file"));
    let mut beside = OsString::from(&path);
    beside.push(".json");
    fs::write(beside, bytes).expect("memory for a file");
    recording::play(&path);
});
