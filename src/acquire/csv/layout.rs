//! What the first lines of a text recording say of the rest: delimiter, header, time column, rate.

use std::borrow::Cow;

use super::JITTER_MAX;
use crate::types::{Stamp, Unit};

/// Lines of numbers compared to find the delimiter.
const SCORED_LINES: usize = 200;
/// Channels, at the most.
const CHANNELS_MAX: usize = 64;
/// Bytes of a number.
const NUMBER_BYTES_MAX: usize = 64;
/// Delimiter and whether numbers have a decimal comma; the earlier wins where two do as well.
const WRITINGS: [(char, bool); 7] = [
    ('\t', false),
    (';', false),
    (',', false),
    (' ', false),
    ('\t', true),
    (';', true),
    (' ', true),
];

/// The text of a line, or `None` for an empty line or a comment (`#` or `%`).
pub(super) fn content(line: &[u8]) -> Option<Cow<'_, str>> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let line = line.trim_ascii();
    let comment = matches!(line.first(), None | Some(b'#' | b'%'));
    (!comment).then(|| String::from_utf8_lossy(line))
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Samples of a channel.
    Value,
    /// The time of the line.
    Time,
    /// A running number, which says nothing.
    Counter,
}

/// How the lines are to be read.
#[derive(Debug)]
pub(super) struct Layout {
    delimiter: char,
    decimal_comma: bool,
    /// What each column holds.
    pub(super) roles: Vec<Role>,
    names: Vec<String>,
    /// Lines before the first of numbers.
    pub(super) n_head_lines: u64,
    /// Samples per second.
    pub(super) rate_hz: f64,
    /// Unit of all channels, if the header says.
    pub(super) unit: Option<Unit>,
    /// Time of the first line, if it is written as a date.
    pub(super) start: Option<Stamp>,
    /// Smallest step the times are written with, s.
    pub(super) time_resolution_s: f64,
    time_scale_s: f64,
    time_zero: f64,
}

impl Layout {
    /// From the first lines; `whole` if they are all there are.
    ///
    /// # Errors
    /// In words, if there are no numbers in columns, or no rate can be told.
    pub(super) fn find(probe: &[u8], whole: bool, rate_hz: Option<f64>) -> Result<Self, String> {
        let mut raw: Vec<&[u8]> = probe.split(|byte| *byte == b'\n').collect();
        if !whole && raw.len() > 1 {
            raw.pop();
        }
        let lines: Vec<(u64, Cow<'_, str>)> = (0..)
            .zip(raw)
            .filter_map(|(number, line)| content(line).map(|text| (number, text)))
            .collect();
        let (mut layout, first) = WRITINGS
            .iter()
            .rev()
            .filter_map(|writing| Self::try_writing(*writing, &lines))
            .max_by_key(|(n_good, layout, _)| (*n_good, layout.roles.len()))
            .map(|(_, layout, first)| (layout, first))
            .ok_or_else(|| {
                let head: String =
                    lines.first().map_or("", |(_, text)| text).chars().take(24).collect();
                format!("is no recording: text without columns of numbers; it begins `{head}`")
            })?;
        layout.read_header(&lines[..first]);
        layout.find_time(&lines[first..], rate_hz)?;
        match layout.n_channels() {
            0 => Err("has a time column and no channel".into()),
            n if n > CHANNELS_MAX => Err(format!("has {n} channels; {CHANNELS_MAX} are read")),
            _ => Ok(layout),
        }
    }

    /// How many lines this writing explains, the layout, and the index of the first of them.
    fn try_writing(
        (delimiter, decimal_comma): (char, bool),
        lines: &[(u64, Cow<'_, str>)],
    ) -> Option<(usize, Self, usize)> {
        let mut layout = Self {
            delimiter,
            decimal_comma,
            roles: Vec::new(),
            names: Vec::new(),
            n_head_lines: 0,
            rate_hz: 0.0,
            unit: None,
            start: None,
            time_resolution_s: 0.0,
            time_scale_s: 1.0,
            time_zero: 0.0,
        };
        // One line of numbers above a header of words is not yet the table.
        let n_numbers = |line: &str| layout.n_numbers(line);
        let first = (0..lines.len()).find(|idx| {
            let n = n_numbers(&lines[*idx].1);
            n > 0 && lines.get(idx + 1).is_none_or(|next| n_numbers(&next.1) == n)
        })?;
        let n_columns = n_numbers(&lines[first].1);
        let scored = &lines[first..(first + SCORED_LINES).min(lines.len())];
        let n_good = scored.iter().filter(|(_, line)| n_numbers(line) == n_columns).count();
        layout.roles = vec![Role::Value; n_columns];
        layout.names = vec![String::new(); n_columns];
        layout.n_head_lines = lines[first].0;
        Some((n_good, layout, first))
    }

    /// Columns of a line that holds only numbers (and a date in front), else 0.
    fn n_numbers(&self, line: &str) -> usize {
        let good = |(idx, field): (usize, &str)| {
            self.number(field).is_some() || (idx == 0 && date(field).is_some())
        };
        if self.split(line).enumerate().all(good) { self.split(line).count() } else { 0 }
    }

    /// The fields of a line; an empty last one is none.
    pub(super) fn split<'a>(&self, line: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let (delimiter, spaces) = (self.delimiter, self.delimiter == ' ');
        line.strip_suffix(delimiter)
            .unwrap_or(line)
            .split(delimiter)
            .map(|field| field.trim().trim_matches('"').trim())
            .filter(move |field| !(spaces && field.is_empty()))
    }

    /// The value of a field; `nan` and `inf` are values.
    pub(super) fn number(&self, field: &str) -> Option<f64> {
        if !self.decimal_comma || !field.contains(',') {
            return field.parse().ok();
        }
        let mut dotted = [0; NUMBER_BYTES_MAX];
        let dotted = dotted.get_mut(..field.len())?;
        for (to, from) in dotted.iter_mut().zip(field.bytes()) {
            *to = if from == b',' { b'.' } else { from };
        }
        std::str::from_utf8(dotted).ok()?.parse().ok()
    }

    /// Seconds from the first line to the time in `field`.
    pub(super) fn seconds(&self, field: &str) -> Option<f64> {
        match self.start {
            Some(start) => date(field).map(|at| (at - start).as_secs()),
            None => self.number(field).map(|at| (at - self.time_zero) * self.time_scale_s),
        }
    }

    /// Columns that hold samples.
    pub(super) fn n_channels(&self) -> usize {
        self.roles.iter().filter(|role| **role == Role::Value).count()
    }

    /// ` (name)`, or nothing where the column has none.
    pub(super) fn column_name(&self, column_idx: usize) -> String {
        match self.names.get(column_idx) {
            Some(name) if !name.is_empty() => format!(" ({name})"),
            _ => String::new(),
        }
    }

    /// Names, units and the time column, as far as lines above the numbers give them.
    fn read_header(&mut self, head: &[(u64, Cow<'_, str>)]) {
        let mut units = vec![None; self.roles.len()];
        for (_, line) in head {
            if self.split(line).count() != self.roles.len() {
                continue;
            }
            let fields: Vec<String> =
                self.split(line).map(|field| field.chars().take(64).collect()).collect();
            for (idx, field) in fields.into_iter().enumerate() {
                let (name, unit) = name_and_unit(&field);
                if let Some(scale) = time_scale(name, unit) {
                    self.roles[idx] = Role::Time;
                    self.time_scale_s = scale;
                } else if is_counter(name) {
                    self.roles[idx] = Role::Counter;
                } else if let Some(unit) = Unit::parse(unit) {
                    units[idx] = Some(unit);
                }
                self.names[idx] = field;
            }
        }
        // A file has one clock: the first of several time columns.
        let first_time = self.roles.iter().position(|role| *role == Role::Time);
        for (idx, role) in self.roles.iter_mut().enumerate() {
            if *role == Role::Time && Some(idx) != first_time {
                *role = Role::Counter;
            }
        }
        let mut said = (0..units.len()).filter(|idx| self.roles[*idx] == Role::Value);
        if let Some(first) = said.next() {
            let all = said.all(|idx| units[idx] == units[first]);
            self.unit = units[first].filter(|_| all);
        }
    }

    /// The time column and the rate, from the first lines of numbers.
    fn find_time(
        &mut self,
        lines: &[(u64, Cow<'_, str>)],
        rate_hz: Option<f64>,
    ) -> Result<(), String> {
        let good = |line: &&(u64, Cow<'_, str>)| self.n_numbers(&line.1) == self.roles.len();
        let fields_of = |column_idx: usize| -> Vec<&str> {
            let fields = lines.iter().take_while(good);
            fields.filter_map(|(_, line)| self.split(line).nth(column_idx)).collect()
        };
        let named = self.roles.iter().position(|role| *role == Role::Time);
        let column_idx = named.unwrap_or(0);
        let fields = fields_of(column_idx);
        let first = fields.first().copied().unwrap_or_default();
        let is_date = self.number(first).is_none();
        if named.is_none() && !is_date && !self.looks_like_time(&fields, rate_hz) {
            let values: Vec<f64> = fields.iter().filter_map(|field| self.number(field)).collect();
            let counts = values.len() > 2 && values.windows(2).all(|two| two[1] - two[0] == 1.0);
            if counts && self.roles.len() > 1 {
                self.roles[0] = Role::Counter;
            }
            self.rate_hz = rate_hz.ok_or(
                "has no time column; give its rate (rate_hz in the configuration or the sidecar)",
            )?;
            return Ok(());
        }
        self.roles[column_idx] = Role::Time;
        let decimals = |field: &str| {
            let mantissa = field.split(['e', 'E', 'Z', '+']).next().unwrap_or_default();
            mantissa.rsplit_once(['.', ',']).map_or(0, |(_, digits)| digits.len())
        };
        let n_decimals = fields.iter().map(|field| decimals(field)).max().unwrap_or(0);
        let scale = if is_date { 1.0 } else { self.time_scale_s };
        let exponent = fields.iter().any(|field| field.contains(['e', 'E']));
        let written =
            if exponent { 0.0 } else { 10_f64.powi(-(n_decimals.min(18) as i32)) * scale };
        if is_date {
            self.start = date(first);
        } else {
            self.time_zero = self.number(first).unwrap_or_default();
        }
        let seconds: Vec<f64> = fields.iter().filter_map(|field| self.seconds(field)).collect();
        let span = seconds.last().copied().unwrap_or(0.0);
        if seconds.len() < 2 || !span.is_finite() || span <= 0.0 {
            return Err("has a time column that does not rise".into());
        }
        let rate = (seconds.len() - 1) as f64 / span;
        // Digits are short only where the steps show it: 0.01 s is exact at 100 Hz.
        let off = |two: &[f64]| (two[1] - two[0] - 1.0 / rate).abs();
        let uneven = seconds.windows(2).map(off).fold(0.0, f64::max) * rate > JITTER_MAX;
        let binary = (self.time_zero.abs() * scale + span) * f64::EPSILON * 4.0;
        self.time_resolution_s = if uneven { written + binary } else { binary };
        if self.time_resolution_s > 0.5 / rate {
            return Err(format!(
                "has times written in steps of {written} s, too coarse for {rate:.0} Hz; export \
                 more digits, or leave the column out and give rate_hz"
            ));
        }
        let doubt = 2.0 * self.time_resolution_s / span + 1e-9;
        let whole = rate.round();
        self.rate_hz =
            if (rate - whole).abs() <= doubt * rate && whole > 0.0 { whole } else { rate };
        Ok(())
    }

    /// Whether a first column without a name rises evenly, by 1/`rate_hz` if that is given, and is
    /// no running number.
    fn looks_like_time(&self, fields: &[&str], rate_hz: Option<f64>) -> bool {
        let values: Vec<f64> = fields.iter().filter_map(|field| self.number(field)).collect();
        if self.roles.len() < 2 || values.len() < 3 || self.roles[0] != Role::Value {
            return false;
        }
        let mean = (values[values.len() - 1] - values[0]) / (values.len() - 1) as f64;
        let even = |two: &[f64]| (two[1] - two[0] - mean).abs() <= 0.5 * mean;
        let expected = rate_hz.is_none_or(|rate| (mean * rate - 1.0).abs() < 0.01);
        mean > 0.0 && (mean - 1.0).abs() > 1e-9 && expected && values.windows(2).all(even)
    }
}

/// A date with its time; without a zone it is taken as UTC.
fn date(field: &str) -> Option<Stamp> {
    if !(19..=35).contains(&field.len()) || !field.as_bytes()[4].eq(&b'-') {
        return None;
    }
    Stamp::parse(field).or_else(|| Stamp::parse(&format!("{field}Z")))
}

/// `acc x [g]` and `acc x (g)` are `acc x` and `g`; a bare unit is its own.
fn name_and_unit(field: &str) -> (&str, &str) {
    let closed = field.strip_suffix([']', ')']).and_then(|rest| rest.rsplit_once(['[', '(']));
    match closed {
        Some((name, unit)) => (name.trim(), unit.trim()),
        None => field.rsplit_once('_').unwrap_or((field, field)),
    }
}

/// Seconds per unit of a column that is named as a time, else `None`.
fn time_scale(name: &str, unit: &str) -> Option<f64> {
    let lower = name.to_lowercase();
    if !matches!(lower.as_str(), "t" | "time" | "timestamp" | "datetime" | "date time" | "zeit") {
        return None;
    }
    Some(match unit {
        "ms" => 1e-3,
        "us" | "µs" | "μs" => 1e-6,
        "ns" => 1e-9,
        "min" => 60.0,
        _ => 1.0,
    })
}

fn is_counter(name: &str) -> bool {
    let lower = name.to_lowercase();
    matches!(lower.as_str(), "sample" | "samples" | "index" | "n" | "no" | "nr" | "i")
}
