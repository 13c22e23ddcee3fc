//! The only file that writes to standard output and, besides the log, to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing is done")]

use std::io::{ErrorKind, Write};

/// A line of results. A reader that has gone away ends the program quietly, as in any pipe.
pub(super) fn line(text: impl std::fmt::Display) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        let code = i32::from(error.kind() != ErrorKind::BrokenPipe);
        std::process::exit(code);
    }
}

/// One line for the person at the terminal, not part of the results.
pub(super) fn aside(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Why a verb failed, with what led to it.
pub(super) fn failure(error: &anyhow::Error) {
    eprintln!("auscult: {error:#}");
}

/// A document as JSON.
pub(super) fn json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(document)?);
    Ok(())
}
