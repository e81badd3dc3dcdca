//! Times as Go writes them, which is how clients of runc do: `5s`, `100ms`, `1m30s`, `1.5h`.

use std::time::Duration;

/// The units, in nanoseconds. Of the two letters for micro, either is in use.
const UNITS: &[(&str, f64)] = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a time that is more than none. What is wrong with another is said in runc's words.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let nanoseconds = read(digits)
        .ok_or_else(|| "not a duration: give numbers with units, such as 5s, 100ms or 1m30s".to_owned())?;
    if negative || nanoseconds < 1.0 {
        return Err("duration interval must be greater than 0".to_owned());
    }
    // As Go: what does not fit is an error, not another number.
    if nanoseconds > i64::MAX as f64 {
        return Err("duration interval is longer than 292 years".to_owned());
    }
    Ok(Duration::from_secs_f64(nanoseconds / 1e9))
}

/// Nanoseconds. Only zero needs no unit.
fn read(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k62_an_interval_is_read_as_go_reads_it() {
        let milliseconds = |text: &str| interval(text).unwrap().as_millis();
        let known = [
            ("5s", 5000),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1000),
            ("+2s", 2000),
            ("2000us", 2),
            ("3000\u{b5}s", 3),
            ("4000\u{3bc}s", 4),
        ];
        for (text, expected) in known {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
        assert_eq!(interval("1ns"), Ok(Duration::from_nanos(1)));
    }

    #[test]
    fn k62_what_is_no_interval_is_refused() {
        for text in ["0", "-0", "0s", "-5s", "0.1ns", "-1h2m"] {
            assert!(interval(text).unwrap_err().contains("must be greater than 0"), "{text}");
        }
        for text in
            ["", "-", "+", "5", "s", ".", ".s", "5 s", "5x", "5s5", "1e3s", "1..5s", "five", "\u{b5}s"]
        {
            assert!(interval(text).unwrap_err().contains("not a duration"), "{text}");
        }
        assert!(interval("999999999h").unwrap_err().contains("292 years"));
    }
}
