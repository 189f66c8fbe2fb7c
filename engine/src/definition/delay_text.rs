//! Delays as a definition writes them: durations as text, numbers of milliseconds, and the keys of `after`, which JavaScript reads
//! and prints.

/// Milliseconds as XState's clock sees them: nothing before now, and never early.
pub(crate) fn milliseconds(ms: f64) -> u64 {
    // `as` saturates and takes NaN for 0.
    ms.max(0.0).ceil() as u64
}

/// `250ms`, `1.5s`, or ISO 8601 as in `PT1H30M`: what XState v6 reads.
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(iso) = text.strip_prefix('p') {
        return parse_iso8601(iso);
    }
    if let Some(ms) = text.strip_suffix("ms") {
        return ms.bytes().all(|byte| byte.is_ascii_digit()).then(|| ms.parse().ok())?;
    }
    let seconds = text.strip_suffix('s')?;
    let plain = seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| seconds.parse::<f64>().ok())?.map(|seconds| milliseconds(seconds * 1_000.0))
}

/// What to write for a time such as `30m` or `1h`, which XState reads as a name.
pub(crate) fn as_iso8601(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = text.split_at_checked(text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?)?;
    let written = match unit.trim() {
        "m" | "min" | "mins" | "minutes" => format!("PT{number}M"),
        "h" | "hours" => format!("PT{number}H"),
        "d" | "days" => format!("P{number}D"),
        _ => return None,
    };
    parse_duration(&written).map(|_| written)
}

fn parse_iso8601(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('t').unwrap_or((text, ""));
    let units = [
        (date, &[('w', 604_800_000.0), ('d', 86_400_000.0)][..]),
        (time, &[('h', 3_600_000.0), ('m', 60_000.0), ('s', 1_000.0)][..]),
    ];
    let mut total = 0.0;
    let mut found = false;
    for (mut rest, units) in units {
        for (unit, ms) in units {
            let Some((number, after)) = rest.split_once(*unit) else { continue };
            let number = number.replace(',', ".");
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return None;
            }
            total += number.parse::<f64>().ok()? * ms;
            found = true;
            rest = after;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    found.then_some(milliseconds(total))
}

/// What JavaScript's `+key` makes of a key of `after`, if that is a number.
pub(crate) fn javascript_number(key: &str) -> Option<f64> {
    let text = key.trim();
    if text.is_empty() {
        return Some(0.0);
    }
    let radix = |prefix: &str, radix| text.strip_prefix(prefix).map(|digits| u64::from_str_radix(digits, radix));
    if let Some(parsed) =
        radix("0x", 16).or_else(|| radix("0X", 16)).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2))
    {
        return parsed.ok().map(|value| value as f64);
    }
    // Rust also reads "inf" and "nan", which JavaScript does not.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    numeric.then(|| text.parse().ok())?
}

/// A number as JavaScript prints it in `xstate.after.DELAY.ID`.
pub(crate) fn javascript_number_text(value: f64) -> String {
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_v6_does() {
        assert_eq!(parse_duration("250ms"), Some(250));
        assert_eq!(parse_duration("1.5s"), Some(1_500));
        assert_eq!(parse_duration("PT1H30M"), Some(5_400_000));
        assert_eq!(parse_duration("P1DT2S"), Some(86_402_000));
        assert_eq!(parse_duration("soon"), None);
        assert_eq!(parse_duration("P"), None);
        assert_eq!(parse_duration("-1s"), None);
    }

    #[test]
    fn minutes_hours_and_days_have_other_words() {
        assert_eq!(as_iso8601("30m").as_deref(), Some("PT30M"));
        assert_eq!(as_iso8601("1.5h").as_deref(), Some("PT1.5H"));
        assert_eq!(as_iso8601("2d").as_deref(), Some("P2D"));
        assert_eq!((as_iso8601("m"), as_iso8601("soon"), as_iso8601("5s")), (None, None, None));
    }

    #[test]
    fn delay_keys_are_numbers_as_javascript_reads_them() {
        assert_eq!(javascript_number("1000"), Some(1_000.0));
        assert_eq!(javascript_number("1e3"), Some(1_000.0));
        assert_eq!(javascript_number("0x10"), Some(16.0));
        assert_eq!(javascript_number("inf"), None);
        assert_eq!(javascript_number("short"), None);
        assert_eq!(javascript_number_text(1_000.0), "1000");
        assert_eq!(javascript_number_text(1.5), "1.5");
    }
}
