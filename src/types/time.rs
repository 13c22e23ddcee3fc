//! Time as the frames carry it: no block reads a clock.

use std::fmt;
use std::ops::{Add, Sub};

/// A length of time in nanoseconds; may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl Span {
    /// From seconds, rounded to the nanosecond.
    pub fn from_secs(secs: f64) -> Self {
        Self((secs * 1e9).round() as i64)
    }

    /// In seconds.
    pub fn as_secs(self) -> f64 {
        self.0 as f64 * 1e-9
    }

    /// In hours.
    pub fn as_hours(self) -> f64 {
        self.as_secs() / 3600.0
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// A moment: nanoseconds since 1970-01-01T00:00:00Z, good for the years 1678 to 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub i64);

impl Stamp {
    /// From milliseconds since the epoch.
    pub fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Milliseconds since the epoch, rounded down.
    pub fn as_ms(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Reads RFC 3339: `2026-01-31T12:00:00.123Z`, `2026-01-31 13:00:00+01:00`; at most nanoseconds
    /// are kept. `None` for anything else, a date that does not exist, or a year out of range.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = bytes.get(from..to)?;
            let all_digits = digits.iter().all(u8::is_ascii_digit);
            all_digits.then(|| digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
        };
        let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
        let marks = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (h, m, s) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !marks || h > 23 || m > 59 || s > 60 {
            return None;
        }
        let n_digits = if is(19, b".") {
            bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count()
        } else {
            0
        };
        let zone = if n_digits > 0 { 20 + n_digits } else { 19 };
        let kept = n_digits.min(9);
        let ns = if kept > 0 { number(20, 20 + kept)? * 10_i64.pow(9 - kept as u32) } else { 0 };
        let offset_s = match bytes.get(zone)? {
            b'Z' | b'z' if bytes.len() == zone + 1 => 0,
            sign @ (b'+' | b'-') if bytes.len() == zone + 6 && is(zone + 3, b":") => {
                let (oh, om) = (number(zone + 1, zone + 3)?, number(zone + 4, zone + 6)?);
                (oh <= 23 && om <= 59).then_some(())?;
                (oh * 3600 + om * 60) * if *sign == b'+' { 1 } else { -1 }
            }
            _ => return None,
        };
        // Civil date to days, the inverse of `date`.
        let y = year - i64::from(month <= 2);
        let (era, yoe) = (y.div_euclid(400), y.rem_euclid(400));
        let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
        let secs = days * 86_400 + h * 3600 + m * 60 + s - offset_s;
        let stamp = Self(secs.checked_mul(1_000_000_000)?.checked_add(ns)?);
        let midnight = Self(days.checked_mul(86_400_000_000_000)?);
        (midnight.date() == (year, month as u32, day as u32)).then_some(stamp)
    }

    /// Calendar date of the day, proleptic Gregorian: year, month 1-12, day 1-31.
    fn date(self) -> (i64, u32, u32) {
        // Days to civil date: H. Hinnant, "chrono-compatible low-level date algorithms".
        let z = self.0.div_euclid(86_400_000_000_000) + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        (year, month as u32, (doy - (153 * mp + 2) / 5 + 1) as u32)
    }
}

/// RFC 3339, UTC, with milliseconds: `2026-01-31T12:00:00.123Z`.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let ms = self.as_ms().rem_euclid(86_400_000);
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1000)
    }
}

impl Add<Span> for Stamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Stamp {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// Where the time comes from at the rim of the system; blocks take it from the frame.
pub trait Clock: Send + Sync {
    /// The wall clock. It may jump.
    fn now(&self) -> Stamp;
    /// A clock that never goes back; its zero means nothing.
    fn monotonic(&self) -> Span;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_written_as_rfc_3339() {
        let check = |ms: i64, expect: &str| assert_eq!(Stamp::from_ms(ms).to_string(), expect);
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_769_860_800_123, "2026-01-31T12:00:00.123Z");
        check(951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(-1, "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn rfc_3339_is_read_back() {
        let check = |text: &str, ns: Option<i64>| assert_eq!(Stamp::parse(text).map(|t| t.0), ns);
        for ms in [0, 1_769_860_800_123, 951_782_400_000, -1, -62_000_000_000] {
            check(&Stamp::from_ms(ms).to_string(), Some(ms * 1_000_000));
        }
        check("2026-01-31T13:00:00.123456789+01:00", Some(1_769_860_800_123_456_789));
        check("2026-01-31 12:00:00Z", Some(1_769_860_800_000_000_000));
        for bad in ["", "2026-01-31", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z"] {
            check(bad, None);
        }
        for bad in ["2026-01-31T12:00:00", "2026-01-31T12:00:00Zx", "2026-01-31T12:00:00.Z"] {
            check(bad, None);
        }
        check("9999-01-31T12:00:00Z", None);
        check("20é6-01-31T12:00:00Z", None);
    }
}
