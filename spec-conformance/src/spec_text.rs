//! Reads a copy of the specification to see whether its wording moved since the registry was written. The
//! project quotes none of the text: the registry keeps a digest of each statement.

use std::path::Path;

use crate::Error;
use crate::requirement::{REQUIREMENTS, Requirement};

/// A digest of a statement that does not change with white space (64-bit FNV-1a).
pub fn digest(statement: &str) -> u64 {
    let words = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The statements of one section: from the heading whose anchor this is to the next heading of its level or
/// above. A statement is a sentence, or a line that holds none: the text keeps sentences on their own lines.
pub fn statements<'a>(markdown: &'a str, anchor: &str) -> Vec<&'a str> {
    let mut level = None;
    let mut found = Vec::new();
    let mut example = false;
    for line in markdown.lines() {
        example ^= line.trim_start().starts_with("```");
        if example {
            continue;
        }
        let depth = line.bytes().take_while(|byte| *byte == b'#').count();
        match level {
            None if depth > 0 && slug(&line[depth..]) == anchor => level = Some(depth),
            Some(open) if depth > 0 && depth <= open => break,
            Some(_) if depth == 0 => found.extend(sentences(line).filter(|text| !text.starts_with("```"))),
            Some(_) => {}
            None => {}
        }
    }
    found
}

/// Requirements whose statement is not in this copy of the specification any more, or whose file is missing.
pub fn drifted(directory: &Path) -> Result<Vec<&'static Requirement>, Error> {
    let mut drifted = Vec::new();
    for requirement in REQUIREMENTS {
        let (file, anchor) = requirement.anchor.split_once('#').unwrap_or((requirement.anchor, ""));
        let path = directory.join(file);
        let markdown = std::fs::read_to_string(&path).map_err(Error::file(path))?;
        if !statements(&markdown, anchor).into_iter().any(|text| digest(text) == requirement.digest) {
            drifted.push(requirement);
        }
    }
    Ok(drifted)
}

/// The anchor of a heading, as forges make it: tags dropped, lower case, spaces to hyphens.
fn slug(heading: &str) -> String {
    let text = match (heading.find('<'), heading.rfind('>')) {
        (Some(open), Some(close)) if open < close => format!("{}{}", &heading[..open], &heading[close + 1..]),
        _ => heading.to_owned(),
    };
    let kept = text.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Splits a line after each full stop that a capital letter or a markup character follows.
fn sentences(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim_start_matches([' ', '*', '-', '|', '>']).trim();
    let ends = line.match_indices(". ").map(|(at, _)| at + 1);
    let starts_anew = |at: &usize| {
        line[*at..].trim_start().starts_with(|c: char| c.is_uppercase() || matches!(c, '`' | '[' | '*'))
    };
    let mut cuts: Vec<usize> = ends.filter(starts_anew).collect();
    cuts.push(line.len());
    let mut from = 0;
    cuts.into_iter().filter_map(move |to| {
        let sentence = line[std::mem::replace(&mut from, to)..to].trim();
        (!sentence.is_empty()).then_some(sentence)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# <a name=\"x\" />Top\n\nOutside.\n\n## <a name=\"y\" />Query State\n\n\
        * One, e.g. this. Two must hold.\n    `Three` too.\n\n```json\n# \"no\": 1\n```\n### Inner\nFour.\n## Next\nFive.\n";

    #[test]
    fn a_section_has_no_examples_and_ends_at_the_next_heading_of_its_level() {
        assert_eq!(
            statements(TEXT, "query-state"),
            ["One, e.g. this.", "Two must hold.", "`Three` too.", "Four."]
        );
        assert!(statements(TEXT, "absent").is_empty());
    }

    #[test]
    fn the_digest_ignores_white_space_and_nothing_else() {
        assert_eq!(digest("a  b\n c"), digest(" a b c"));
        assert_ne!(digest("a b c"), digest("a b d"));
    }
}
