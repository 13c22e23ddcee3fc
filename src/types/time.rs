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
}
