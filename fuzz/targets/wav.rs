//! Any bytes as a WAV recording: refused, or read to the end.
#![no_main]

mod recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"RIFF") || bytes.starts_with(b"RF64") || bytes.starts_with(b"BW64") {
        recording::read(&recording::path("wav"), bytes);
    }
});
