//! CEL's points and spans of time: parsing, printing, calendar. Time is data
//! here; nothing reads a clock.

use std::fmt;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, CEL's bounds.
const MIN_SECONDS: i64 = -62_135_596_800;
const MAX_SECONDS: i64 = 253_402_300_799;

/// A point in time, between the years 1 and 9999, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// A span of time in nanoseconds (some 292 years either way).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    nanos: i64,
}

/// A timestamp taken apart, UTC or shifted by an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12
    pub(crate) month: i64,
    /// 1 to 31
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    /// 0 is Sunday
    pub(crate) weekday: i64,
    /// 0 is the first of January
    pub(crate) day_of_year: i64,
}

impl Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z and nanoseconds after that; None
    /// outside the years 1 to 9999 or with a second or more of nanoseconds.
    pub fn new(seconds: i64, nanos: u32) -> Option<Timestamp> {
        let fits = (MIN_SECONDS..=MAX_SECONDS).contains(&seconds) && nanos < 1_000_000_000;
        fits.then_some(Timestamp { seconds, nanos })
    }

    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`Timestamp::seconds`].
    pub fn subsec_nanos(self) -> u32 {
        self.nanos
    }

    /// This much later; None outside the range.
    pub fn checked_add(self, span: Duration) -> Option<Timestamp> {
        let nanos = i64::from(self.nanos) + span.nanos.rem_euclid(NANOS_PER_SECOND);
        let seconds =
            self.seconds.checked_add(span.nanos.div_euclid(NANOS_PER_SECOND))?.checked_add(nanos / NANOS_PER_SECOND)?;
        Timestamp::new(seconds, u32::try_from(nanos % NANOS_PER_SECOND).ok()?)
    }

    /// The span from `earlier` to this; None when it does not fit.
    pub fn checked_since(self, earlier: Timestamp) -> Option<Duration> {
        let seconds = self.seconds.checked_sub(earlier.seconds)?;
        let nanos = i64::from(self.nanos) - i64::from(earlier.nanos);
        let nanos = seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)?;
        Some(Duration { nanos })
    }

    /// Reads RFC 3339: `2009-02-13T23:31:30.5Z` or with an offset.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let mut scan = Scan(text.as_bytes());
        let year = scan.digits(4)?;
        scan.byte(b'-')?;
        let month = scan.digits(2)?;
        scan.byte(b'-')?;
        let day = scan.digits(2)?;
        scan.byte(b'T').or_else(|| scan.byte(b't'))?;
        let hour = scan.digits(2)?;
        scan.byte(b':')?;
        let minute = scan.digits(2)?;
        scan.byte(b':')?;
        let second = scan.digits(2)?;
        let nanos = match scan.byte(b'.') {
            Some(()) => scan.fraction()?,
            None => 0,
        };
        let offset = scan.zone()?;
        let valid = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60
            && scan.0.is_empty();
        if !valid {
            return None;
        }
        let days = days_from_civil(year, month, day);
        let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
        Timestamp::new(seconds, u32::try_from(nanos).ok()?)
    }

    /// The calendar reading `offset_seconds` east of UTC.
    pub(crate) fn civil(self, offset_seconds: i64) -> Civil {
        let local = self.seconds + offset_seconds;
        let days = local.div_euclid(SECONDS_PER_DAY);
        let time = local.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
            weekday: (days + 4).rem_euclid(7),
            day_of_year: days - days_from_civil(year, 1, 1),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.civil(0);
        write!(f, "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second)?;
        write_fraction(f, self.nanos)?;
        f.write_str("Z")
    }
}

impl Duration {
    /// A span of `nanos` nanoseconds.
    pub fn from_nanos(nanos: i64) -> Duration {
        Duration { nanos }
    }

    /// The span in nanoseconds.
    pub fn as_nanos(self) -> i64 {
        self.nanos
    }

    /// The span in whole milliseconds, cut towards zero.
    pub fn as_millis(self) -> i64 {
        self.nanos / 1_000_000
    }

    /// Both together; None when that does not fit.
    pub fn checked_add(self, other: Duration) -> Option<Duration> {
        let nanos = self.nanos.checked_add(other.nanos)?;
        Some(Duration { nanos })
    }

    /// The opposite span; None for the one span that has none.
    pub fn checked_neg(self) -> Option<Duration> {
        let nanos = self.nanos.checked_neg()?;
        Some(Duration { nanos })
    }

    /// Reads `1h30m`, `-1.5s`, `250ms`, `0`: decimal numbers, each with one of
    /// h, m, s, ms, us, ns.
    pub fn parse(text: &str) -> Option<Duration> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest == b"0" {
            return Some(Duration { nanos: 0 });
        }
        let mut scan = Scan(rest);
        let mut total: i128 = 0;
        while !scan.0.is_empty() || total == 0 && rest.is_empty() {
            total = total.checked_add(scan.span()?)?;
        }
        let total = if negative { -total } else { total };
        let nanos = i64::try_from(total).ok()?;
        Some(Duration { nanos })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        let nanos = self.nanos.unsigned_abs();
        write!(f, "{}", nanos / 1_000_000_000)?;
        write_fraction(f, (nanos % 1_000_000_000) as u32)?;
        f.write_str("s")
    }
}

/// `.5`, `.000000001`, or nothing.
fn write_fraction(f: &mut fmt::Formatter<'_>, nanos: u32) -> fmt::Result {
    if nanos == 0 {
        return Ok(());
    }
    let digits = format!("{nanos:09}");
    write!(f, ".{}", digits.trim_end_matches('0'))
}

/// What is left to read.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn byte(&mut self, expected: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == expected).then(|| self.0 = rest)
    }

    /// One digit.
    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        first.is_ascii_digit().then(|| {
            self.0 = rest;
            i64::from(first - b'0')
        })
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let mut value = 0;
        for _ in 0..count {
            value = value * 10 + self.digit()?;
        }
        Some(value)
    }

    /// One to nine digits after a point, as billionths.
    fn fraction(&mut self) -> Option<i64> {
        let mut value = self.digit()?;
        let mut unit = NANOS_PER_SECOND / 10;
        while let Some(digit) = self.digit() {
            unit /= 10;
            if unit == 0 {
                return None;
            }
            value = value * 10 + digit;
        }
        Some(value * unit)
    }

    /// `Z`, `+01:00`: seconds east of UTC.
    fn zone(&mut self) -> Option<i64> {
        if self.byte(b'Z').or_else(|| self.byte(b'z')).is_some() {
            return Some(0);
        }
        let sign = match self.byte(b'+') {
            Some(()) => 1,
            None => self.byte(b'-').map(|()| -1)?,
        };
        let hours = self.digits(2)?;
        self.byte(b':')?;
        let minutes = self.digits(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }

    /// `1.5h` in nanoseconds.
    fn span(&mut self) -> Option<i128> {
        let mut whole: i128 = 0;
        let mut any = false;
        while let Some(digit) = self.digit() {
            whole = whole.checked_mul(10)?.checked_add(i128::from(digit))?;
            any = true;
        }
        let (mut part, mut scale): (i128, i128) = (0, 1);
        if self.byte(b'.').is_some() {
            while let Some(digit) = self.digit() {
                any = true;
                // Beyond this nothing of even an hour is left.
                if scale < 1_000_000_000_000_000 {
                    part = part * 10 + i128::from(digit);
                    scale *= 10;
                }
            }
        }
        let unit = any.then(|| self.unit()).flatten()?;
        whole.checked_mul(unit)?.checked_add(part * unit / scale)
    }

    fn unit(&mut self) -> Option<i128> {
        const UNITS: [(&[u8], i128); 8] = [
            (b"ns", 1),
            (b"us", 1_000),
            ("µs".as_bytes(), 1_000),
            ("μs".as_bytes(), 1_000),
            (b"ms", 1_000_000),
            (b"s", 1_000_000_000),
            (b"m", 60_000_000_000),
            (b"h", 3_600_000_000_000),
        ];
        let (name, nanos) = UNITS.iter().find(|(name, _)| self.0.starts_with(name))?;
        self.0 = self.0.get(name.len()..)?;
        Some(*nanos)
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant's
/// algorithm: years begin in March, so that the leap day comes last).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip_through_text() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2009-02-13T23:31:30Z",
            "2024-02-29T12:00:00.5Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        let shifted = Timestamp::parse("2009-02-14T00:31:30+01:00").unwrap();
        assert_eq!(shifted.seconds(), 1_234_567_890);
        for bad in ["", "2023-02-29T00:00:00Z", "2009-02-13T24:00:00Z", "2009-02-13", "0000-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_calendar() {
        for days in -150_000..150_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn durations_read_go_s_notation() {
        let nanos = |text| Duration::parse(text).map(Duration::as_nanos);
        assert_eq!(nanos("1h30m"), Some(5_400_000_000_000));
        assert_eq!(nanos("-1.5s"), Some(-1_500_000_000));
        assert_eq!(nanos("250ms"), Some(250_000_000));
        assert_eq!(nanos("0"), Some(0));
        for bad in ["", "1", "s", "-", ".s", "1x", "99999999999h"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
        assert_eq!(Duration::from_nanos(-1_500_000_000).to_string(), "-1.5s");
    }
}
