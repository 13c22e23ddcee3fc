//! A mistake in the configuration, shown where it stands and with what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One mistake: where, what, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as given.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, starting with the key.
    pub message: String,
    /// What to write instead.
    pub fix: Option<String>,
    shown: String,
    width: usize,
}

impl Fault {
    /// A mistake at bytes `span` of `text`.
    pub fn new(file: &Path, text: &str, span: &Range<usize>, message: String) -> Self {
        let start = span.start.min(text.len());
        let before = text.get(..start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let shown = text.get(line_start..).and_then(|it| it.lines().next()).unwrap_or("");
        let column = text.get(line_start..start).unwrap_or("").chars().count() + 1;
        let width = text.get(span.clone()).and_then(|it| it.lines().next()).unwrap_or("");
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            fix: suggestion(&message),
            message,
            shown: shown.to_owned(),
            width: width.chars().count().max(1),
        }
    }

    /// With what to write instead, unless the message already gave it away.
    #[must_use]
    pub fn or_fix(mut self, fix: Option<String>) -> Self {
        self.fix = self.fix.or(fix);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, shown, width, .. } = self;
        writeln!(f, "{}:{line}:{column}: {message}", self.file.display())?;
        let margin = line.to_string().len();
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{line} | {shown}")?;
        write!(f, "{:margin$} | {:indent$}{}", "", "", "^".repeat(*width), indent = column - 1)?;
        match &self.fix {
            Some(fix) => write!(f, "\n{:margin$} = fix: {fix}", ""),
            None => Ok(()),
        }
    }
}

/// The nearest of the names a message lists, where it complains of one: "unknown field `a`, expected
/// one of `b`, `c`".
fn suggestion(message: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (wrong, known) = quoted.split_first().filter(|_| message.contains("unknown "))?;
    let best = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(wrong, a).total_cmp(&strsim::jaro_winkler(wrong, b)))?;
    if strsim::jaro_winkler(wrong, best) > 0.75 {
        Some(format!("did you mean `{best}`?"))
    } else {
        Some(format!("use one of: {}", known.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_where_it_stands() {
        let text = "site = \"a\"\nwindw_ms = 5\n";
        let message =
            "unknown field `windw_ms`, expected one of `window_ms`, `record_ms`".to_owned();
        let fault = Fault::new(Path::new("x.toml"), text, &(11..19), message);
        let expect =
            "x.toml:2:1: unknown field `windw_ms`, expected one of `window_ms`, `record_ms`
  |
2 | windw_ms = 5
  | ^^^^^^^^
  = fix: did you mean `window_ms`?";
        assert_eq!(fault.to_string(), expect);
    }
}
