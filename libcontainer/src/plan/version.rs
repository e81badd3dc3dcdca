//! Which versions of the specification a document may name. Pure.

use super::invalid::Findings;

/// The oldest version that is supported in full: `ociVersionMin` of `features`.
pub const OLDEST: &str = "1.0.0";
/// The newest one: `ociVersionMax`.
pub const NEWEST: &str = "1.3.0";

const SPEC: &str = "config.md#specification-version";

/// Looks whether a document of this version can be honoured.
pub fn check(text: &str, findings: &mut Findings) {
    let Some([major, minor, _]) = parse(text) else {
        let says = format!(
            "{text:?} is not a version of the form MAJOR.MINOR.PATCH, as Semantic Versioning 2.0.0 has it"
        );
        return findings.error("/ociVersion", says, SPEC);
    };
    let [newest_major, newest_minor, _] = parse(NEWEST).unwrap_or_default();
    if major != newest_major {
        let says = format!("{text} is not supported; this runtime reads documents of version {newest_major}");
        findings.error("/ociVersion", says, SPEC);
    } else if minor > newest_minor {
        // Engines name the version of their library, whatever they use of it; what is new there is ignored.
        let says = format!("{text} is newer than {NEWEST}: what is new in it has no effect");
        findings.tolerate("/ociVersion", says, SPEC);
    }
}

/// The three numbers of a version of Semantic Versioning 2.0.0, if it is one.
fn parse(text: &str) -> Option<[u64; 3]> {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, before) = text.split_once('-').map_or((text, None), |(core, before)| (core, Some(before)));
    let mut numbers = core.split('.').map(|part| number(part)?.parse().ok());
    let version = [numbers.next()??, numbers.next()??, numbers.next()??];
    let identifiers = |list: Option<&str>, fine: fn(&str) -> bool| {
        list.is_none_or(|list| list.split('.').all(|part| is_identifier(part) && fine(part)))
    };
    let numeric = |part: &str| !part.bytes().all(|b| b.is_ascii_digit()) || number(part).is_some();
    let fine = numbers.next().is_none() && identifiers(before, numeric) && identifiers(build, |_| true);
    fine.then_some(version)
}

/// Digits without a zero in front.
fn number(part: &str) -> Option<&str> {
    let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (digits && (part == "0" || !part.starts_with('0'))).then_some(part)
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t01_versions_are_those_of_semantic_versioning() {
        for (text, numbers) in [
            ("1.0.0", [1, 0, 0]),
            ("1.3.0+dev", [1, 3, 0]),
            ("1.0.0-rc5-dev", [1, 0, 0]),
            ("1.2.1-alpha.1.x-y+001.sha-5", [1, 2, 1]),
            ("1.0.0-0.3.7", [1, 0, 0]),
            ("1.0.0+0.00", [1, 0, 0]),
            ("10.20.30", [10, 20, 30]),
        ] {
            assert_eq!(parse(text), Some(numbers), "{text}");
        }
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.02.3",
            "v1.2.3",
            "1.2.x",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-a..b",
            "1.2.3-01",
            "1.2.3-a_b",
            "1.2.3+a+b",
            " 1.2.3",
            "1.2.3 ",
            "1.-2.3",
            "99999999999999999999.0.0",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn t01_a_newer_minor_version_is_a_warning_and_strictly_an_error() {
        let found = |text: &str, strict: bool| {
            let mut findings = Findings::new(strict);
            check(text, &mut findings);
            findings.finish().map(|warnings| warnings.len()).map_err(|invalid| invalid.findings().len())
        };
        assert_eq!((found("1.0.0-rc5-dev", true), found("1.3.7", true)), (Ok(0), Ok(0)));
        assert_eq!((found("1.4.0", false), found("1.4.0", true)), (Ok(1), Err(1)));
        assert_eq!((found("0.9.0", false), found("2.0.0", false)), (Err(1), Err(1)));
    }
}
