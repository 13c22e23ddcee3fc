//! Any bytes as a table of numbers: refused, or read to the end.
#![no_main]

mod recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if ![&b"RIFF"[..], b"RF64", b"BW64", b"fLaC"].iter().any(|it| bytes.starts_with(it)) {
        recording::read(&recording::path("csv"), bytes);
    }
});
