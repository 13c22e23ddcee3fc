//! Any text as `auscult.toml`: refused with every mistake in words, or taken.
#![no_main]

use std::path::Path;

use auscult::config::{Config, Error};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Config::parse(Path::new("auscult.toml"), text) {
        Err(error @ Error::Wrong(_)) => assert!(!error.to_string().is_empty()),
        Err(error) => panic!("nothing is read but the text: {error}"),
        Ok(config) => assert!(config.assets.iter().all(|asset| !asset.sensors.is_empty())),
    }
});
