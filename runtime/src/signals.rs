//! Signals by name and number. See signal(7).

use nix::sys::signal::Signal;

/// The first real-time signal that libc leaves to programs.
const RTMIN: i32 = 34;
/// The last signal.
const RTMAX: i32 = 64;

/// The number of `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3` or `RTMAX-1`.
pub(crate) fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        // Out of range is for the kernel to refuse, in the words that clients know.
        return Some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+').map(|n| RTMIN + n);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return offset(rest, '-').map(|n| RTMAX - n);
    }
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

fn offset(rest: &str, sign: char) -> Option<i32> {
    if rest.is_empty() {
        return Some(0);
    }
    let number = rest.strip_prefix(sign)?.parse::<u8>().ok()?;
    Some(i32::from(number)).filter(|n| *n <= RTMAX - RTMIN)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn k37_signals_are_known_by_every_spelling() {
        for text in ["9", "KILL", "SIGKILL", "kill", "sigKill"] {
            assert_eq!(number(text), Some(9), "{text}");
        }
        assert_eq!(number("5"), Some(5));
        assert_eq!(number("SIGTRAP"), Some(5));
        assert_eq!(number("BUS"), Some(7));
        assert_eq!(number("37"), Some(37));
        assert_eq!(number("RTMIN+3"), Some(37));
        assert_eq!(number("SIGRTMAX-14"), Some(50));
        assert_eq!(number("SIGRTMIN"), Some(34));
        for text in ["", "SIG", "KILLS", "RTMIN-1", "RTMIN+31", "9x"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
