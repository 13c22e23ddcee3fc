//! Text recordings: one sample of every channel per line, with or without a header and a time column.
//!
//! The delimiter (tab, semicolon, comma or spaces), the decimal comma, the units of the header and
//! the time column are found in the first lines; every later line is held to them. Only a line is
//! in memory at a time.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};

use super::recording::Meta;

mod layout;

use layout::{Layout, Role};

/// Bytes in a line, at the most.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes looked at to find the layout.
const PROBE_BYTES: u64 = 256 * 1024;
/// How far one time step may be from the others, beside the digits it is written with.
const JITTER_MAX: f64 = 0.01;

/// An open text recording, standing at its next line.
pub(super) struct Csv {
    file: BufReader<File>,
    layout: Layout,
    rate_hz: f64,
    n_lines: u64,
    last_time: Option<f64>,
    line: Vec<u8>,
    over: bool,
    /// Set where the last line is not whole.
    pub(super) cut: Option<String>,
}

impl Csv {
    /// Whether a file that begins like this may be for this reader: text, in one of its encodings.
    pub(super) fn recognises(head: &[u8]) -> bool {
        let text = |byte: &u8| matches!(byte, 9 | 10 | 13 | 32..=126 | 128..=255);
        head.iter().all(text)
    }

    /// Finds the layout. `rate_hz` serves where there is no time column.
    ///
    /// # Errors
    /// In words, if there are no columns of numbers, or no rate.
    pub(super) fn open(mut file: File, rate_hz: Option<f64>) -> Result<Self, String> {
        let unreadable = |why: std::io::Error| format!("cannot be read: {why}");
        let mut probe = Vec::new();
        (&mut file).take(PROBE_BYTES).read_to_end(&mut probe).map_err(unreadable)?;
        let whole = (probe.len() as u64) < PROBE_BYTES;
        let layout = Layout::find(&probe, whole, rate_hz)?;
        file.rewind().map_err(unreadable)?;
        let mut csv = Self {
            file: BufReader::new(file),
            rate_hz: layout.rate_hz,
            layout,
            n_lines: 0,
            last_time: None,
            line: Vec::new(),
            over: false,
            cut: None,
        };
        while csv.n_lines < csv.layout.n_head_lines {
            csv.next_line()?;
        }
        Ok(csv)
    }

    /// What the first lines say.
    pub(super) fn meta(&self) -> Meta {
        Meta {
            rate_hz: self.rate_hz,
            n_channels: self.layout.n_channels(),
            n_frames: None,
            counts_full_scale: Some(1.0),
            unit: self.layout.unit,
            start: self.layout.start,
        }
    }

    /// Whether the last line has been read.
    pub(super) fn is_done(&self) -> bool {
        self.over
    }

    /// Appends up to `n_frames` samples of every channel to `out`; fewer only at the end.
    ///
    /// # Errors
    /// In words, with line and column, where the text is not as its first lines.
    pub(super) fn read(&mut self, out: &mut Vec<f32>, n_frames: usize) -> Result<(), String> {
        let mut n_read = 0;
        while n_read < n_frames && !self.over {
            if self.next_line()? {
                n_read += usize::from(self.parse(out)?);
            }
            self.look_ahead()?;
        }
        Ok(())
    }

    /// Reads the next line into `line`; false at the end.
    fn next_line(&mut self) -> Result<bool, String> {
        self.line.clear();
        let mut limited = (&mut self.file).take(LINE_BYTES_MAX as u64 + 1);
        let n = limited
            .read_until(b'\n', &mut self.line)
            .map_err(|why| format!("cannot be read after line {}: {why}", self.n_lines))?;
        if n > LINE_BYTES_MAX {
            return Err(format!(
                "line {} is over {LINE_BYTES_MAX} bytes; is it a text recording?",
                self.n_lines + 1
            ));
        }
        self.n_lines += 1;
        Ok(n > 0)
    }

    fn look_ahead(&mut self) -> Result<(), String> {
        let rest = self.file.fill_buf().map_err(|why| format!("cannot be read: {why}"))?;
        self.over = rest.is_empty();
        Ok(())
    }

    /// Takes the line's values; false for a line that holds none (empty, comment, cut).
    fn parse(&mut self, out: &mut Vec<f32>) -> Result<bool, String> {
        let Some(text) = layout::content(&self.line) else { return Ok(false) };
        let n_before = out.len();
        let ended = self.line.ends_with(b"\n");
        let mut n_fields = 0;
        let mut time = None;
        for (idx, field) in self.layout.split(&text).enumerate() {
            n_fields += 1;
            let good = match self.layout.roles.get(idx) {
                Some(Role::Value) => {
                    let value = self.layout.number(field);
                    out.extend(value.map(|value| value as f32));
                    value.is_some()
                }
                Some(Role::Time) => {
                    time = self.layout.seconds(field);
                    time.is_some()
                }
                Some(Role::Counter) | None => true,
            };
            if !good && ended {
                return Err(self.not_a_number(idx, field));
            }
        }
        let whole =
            n_fields == self.layout.roles.len() && out.len() - n_before == self.layout.n_channels();
        if !whole && ended {
            return Err(format!(
                "line {} has {n_fields} columns; the lines before have {}",
                self.n_lines,
                self.layout.roles.len()
            ));
        }
        if !whole {
            out.truncate(n_before);
            self.cut = Some(format!("is cut short: line {}, its last, is not whole", self.n_lines));
            return Ok(false);
        }
        if let Some(now) = time {
            self.check_step(now)?;
        }
        Ok(true)
    }

    fn not_a_number(&self, column_idx: usize, field: &str) -> String {
        let shown: String = field.chars().take(32).flat_map(char::escape_debug).collect();
        let what = if self.layout.roles[column_idx] == Role::Time { "time" } else { "number" };
        let name = self.layout.column_name(column_idx);
        format!(
            "line {}, column {}{name}: `{shown}` is not a {what}; mend or remove the line",
            self.n_lines,
            column_idx + 1
        )
    }

    /// Holds the step from the last line to this one to the rate.
    fn check_step(&mut self, now: f64) -> Result<(), String> {
        let last = self.last_time.replace(now);
        let Some(last) = last else { return Ok(()) };
        let step = 1.0 / self.rate_hz;
        let off = (now - last - step).abs();
        if off.is_nan() || off > JITTER_MAX * step + self.layout.time_resolution_s {
            return Err(format!(
                "line {}: the time steps by {:.6} s where {step:.6} s is the rule; samples must be \
                 evenly spaced: resample the recording or cut it there",
                self.n_lines,
                now - last
            ));
        }
        Ok(())
    }
}
