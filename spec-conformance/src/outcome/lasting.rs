//! What of a verdict is kept: nothing that is of one run or one host alone, so that results can be compared.

use std::path::Path;

use crate::requirement::Verdict;

/// A verdict without what is of one run and one host alone.
pub(super) fn verdict(verdict: &Verdict, program: &Path) -> Verdict {
    const LONGEST: usize = 800;
    let place = program.parent().map(|directory| directory.join("").display().to_string());
    let without = |text: &str| {
        let text = nameless(text);
        let text = match &place {
            Some(place) if place.starts_with('/') => text.replace(place, ""),
            _ => text,
        };
        // Some runtimes add all that they were about.
        shortened(&text, LONGEST)
    };
    match verdict {
        Verdict::Fail { expected, observed } => {
            Verdict::Fail { expected: without(expected), observed: without(observed) }
        }
        Verdict::Pass | Verdict::Skip { .. } => verdict.clone(),
    }
}

/// The beginning of a text, of at most so many characters.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The text without what makes the names of temporary directories unique.
fn nameless(text: &str) -> String {
    const NAMES: [&str; 2] = ["conformance-", "bundle-"];
    const UNIQUE: usize = 6;
    let end = |text: &str| NAMES.iter().filter_map(|name| Some(text.find(name)? + name.len())).min();
    let (mut rest, mut kept) = (text, String::with_capacity(text.len()));
    while let Some(at) = end(rest) {
        let unique = rest[at..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        kept.push_str(&rest[..at]);
        kept.push_str(if unique == UNIQUE { "*" } else { &rest[at..at + unique] });
        rest = &rest[at + unique..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_runtime_lies_is_not_kept_nor_all_that_it_said() {
        let fail = |observed: &str| Verdict::Fail { expected: String::new(), observed: observed.to_owned() };
        let lasting = |observed| verdict(&fail(observed), Path::new("/opt/bin/runtime"));
        assert_eq!(lasting("/opt/bin/runtime: /opt/binary"), fail("runtime: /opt/binary"));
        assert_eq!(lasting(&"ä".repeat(900)), fail(&format!("{}…", "ä".repeat(800))));
    }

    #[test]
    fn names_of_one_run_are_not_kept() {
        let text = "/tmp/conformance-Ab12Cd/bundle-xY34zW/rootfs of conformance-Ab12Cd-00001";
        assert_eq!(nameless(text), "/tmp/conformance-*/bundle-*/rootfs of conformance-*-00001");
        assert_eq!(nameless("no conformance-suite, bundle-"), "no conformance-suite, bundle-");
    }
}
