//! Any bytes as a FLAC recording: refused, or read to the end.
#![no_main]

mod recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"fLaC") {
        recording::read(&recording::path("flac"), bytes);
    }
});
