//! A mistake in the configuration, shown where it stands and with what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Characters of a line that are shown, and of them before the mistake.
const SHOWN_MAX: usize = 120;
const SHOWN_BEFORE: usize = 60;

/// Rust's words for what was expected, and a person's.
const WORDS: [(&str, &str); 16] = [
    ("expected f64", "expected a number"),
    ("expected u8", "expected a whole number, 0 to 255"),
    ("expected u16", "expected a whole number, 0 to 65535"),
    ("expected u32", "expected a whole number, 0 or more"),
    ("expected u64", "expected a whole number, 0 or more"),
    ("expected usize", "expected a whole number, 0 or more"),
    ("expected a boolean", "expected true or false"),
    ("expected path string", "expected a path in quotes"),
    ("expected a string", "expected a text in quotes"),
    ("expected a sequence", "expected a list: [..., ...]"),
    ("expected a map", "expected a table"),
    ("expected struct ", "expected a table of "),
    ("floating point `", "`"),
    ("type: sequence", "type: a list"),
    ("type: map", "type: a table"),
    ("invalid type: ", "wrong type: "),
];

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
    indent: String,
    width: usize,
}

impl Fault {
    /// A mistake at bytes `span` of `text`.
    pub fn new(file: &Path, text: &str, span: &Range<usize>, message: String) -> Self {
        let start = text.floor_char_boundary(span.start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line: Vec<char> = text[line_start..].lines().next().unwrap_or("").chars().collect();
        let column_idx = text[line_start..start].chars().count();
        let marked = text.get(start..span.end).and_then(|it| it.lines().next()).unwrap_or("");
        // What is shown goes to a terminal: no control character may reach it.
        let plain = |c: &char| if *c == '\t' || c.is_control() { ' ' } else { *c };
        let from = column_idx.saturating_sub(SHOWN_BEFORE);
        let from = if line.len() > SHOWN_MAX { from } else { 0 };
        let shown: String = line.iter().skip(from).take(SHOWN_MAX).map(plain).collect();
        let width_max = shown.chars().count().saturating_sub(column_idx - from);
        let message = in_words(message);
        let fix = suggestion(&message);
        // The names it might have been are in the fix.
        let message = match message.split_once(", expected ") {
            Some((unknown, _)) if message.starts_with("unknown field") => unknown.to_owned(),
            _ => message,
        };
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: column_idx + 1,
            fix,
            message,
            shown,
            indent: " ".repeat(column_idx - from),
            width: marked.chars().count().min(width_max).max(1),
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
        let Self { line, column, message, shown, indent, width, .. } = self;
        writeln!(f, "{}:{line}:{column}: {message}", self.file.display())?;
        let margin = line.to_string().len();
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{line} | {shown}")?;
        write!(f, "{:margin$} | {indent}{}", "", "^".repeat(*width))?;
        match &self.fix {
            Some(fix) => write!(f, "\n{:margin$} = fix: {fix}", ""),
            None => Ok(()),
        }
    }
}

/// One line of plain words.
fn in_words(mut message: String) -> String {
    message = message.replace('\n', "; ");
    for (theirs, ours) in WORDS {
        message = message.replace(theirs, ours);
    }
    message.chars().filter(|c| !c.is_control()).collect()
}

/// What to write, where the message alone says it: the nearest of the names it lists ("unknown field
/// `a`, expected one of `b`, `c`"), the line that is missing, the number without its quotes.
fn suggestion(message: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let Some(name) = message.strip_prefix("missing field `") {
        let name = name.split('`').next()?;
        return Some(match name {
            "site" => "add the line site = \"plant-1\" at the top".to_owned(),
            "gateway" => "add the line gateway = \"box-1\" at the top".to_owned(),
            "id" => "add the line id = \"pump-1\"".to_owned(),
            "kind" => "add the line kind = \"vibration\", or \"sound\"".to_owned(),
            "source" => "add the table [asset.sensor.source] with its type".to_owned(),
            "type" => return None,
            name => format!("add {name} = ..."),
        });
    }
    if message.contains("unknown ") {
        let (wrong, known) = quoted.split_first()?;
        let likeness = |name: &str| strsim::jaro_winkler(wrong, name);
        let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        let is_slip = strsim::osa_distance(wrong, best) <= best.len() / 2;
        return Some(if likeness(best) > 0.75 || is_slip {
            format!("did you mean `{best}`?")
        } else {
            format!("use one of: {}", known.join(", "))
        });
    }
    let (key, rest) = message.split_once(": wrong type: ")?;
    let text = rest.split('"').nth(1);
    if rest.starts_with("string") && rest.contains("number") {
        let number = text.filter(|text| text.parse::<f64>().is_ok())?;
        return Some(format!("{key} = {number}"));
    }
    if rest.starts_with("string") && rest.contains("true or false") {
        let word = text.filter(|text| ["true", "false"].contains(text))?;
        return Some(format!("{key} = {word}"));
    }
    let value = quoted.first().filter(|_| rest.contains("in quotes"))?;
    Some(format!("{key} = \"{value}\""))
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
        let expect = "x.toml:2:1: unknown field `windw_ms`
  |
2 | windw_ms = 5
  | ^^^^^^^^
  = fix: did you mean `window_ms`?";
        assert_eq!(fault.to_string(), expect);
    }

    #[test]
    fn a_long_line_is_cut_and_control_characters_do_not_pass() {
        let text = format!("k = [{}\u{1b}[2J, 7]", "1, ".repeat(5000));
        let at = text.find('7').unwrap();
        let fault = Fault::new(Path::new("x"), &text, &(at..at + 1), "a\u{1b}b\nc".to_owned());
        let shown = fault.to_string();
        assert!(shown.len() < 400, "{shown}");
        assert!(shown.starts_with("x:1:15012: ab; c"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].find('^').unwrap(), lines[2].find('7').unwrap());
    }

    proptest::proptest! {
        #[test]
        fn any_place_in_any_text_can_be_shown(text in ".{0,40}(\n.{0,40}){0,3}", from in 0usize..99, n in 0usize..9) {
            let fault = Fault::new(Path::new("x"), &text, &(from..from + n), "m".to_owned());
            assert!(fault.line >= 1 && fault.column >= 1 && !fault.to_string().is_empty());
        }
    }
}
