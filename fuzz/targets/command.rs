//! Any messages on the command topics: never more answers than the pace allows, none twice.
#![no_main]

use auscult::publish::{Commands, Incoming};
use auscult::types::{Reply, Span, Stamp};

/// Base of the topics.
const BASE: &str = "auscult/v1/s/g";

// A message a line, the rest of its topic before the first space.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut commands = Commands::new(BASE.into(), vec!["fan".into()], 20);
    let at = Stamp(1_700_000_000_000_000_000);
    for (n, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let (topic, payload) = line.split_at(line.iter().position(|it| *it == b' ').unwrap_or(0));
        let Ok(topic) = std::str::from_utf8(topic) else { continue };
        let now = Span::from_secs(n as f64);
        let took = commands.take(&format!("{BASE}/{topic}"), payload, n % 16 == 15, (now, at));
        if let Some(Incoming::Order { command, .. }) = took {
            assert!(command.asset == "fan" && !command.id.is_empty());
            let id = command.id.clone();
            commands.answered(&command, &Reply { id, done: true, message: String::new() });
        }
    }
});
