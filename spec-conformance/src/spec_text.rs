//! Reads a copy of the specification to see whether the registry still says all that it demands. The project
//! quotes none of the text: the registry keeps a digest of each sentence.

use std::path::Path;

use crate::Error;
use crate::requirement::{Level, Requirement};

/// The files that bind a runtime on Linux.
pub const FILES: [&str; 7] = [
    "runtime.md",
    "runtime-linux.md",
    "bundle.md",
    "config.md",
    "config-linux.md",
    "features.md",
    "features-linux.md",
];

/// Words of RFC 2119 that bind, and how strongly. `NOT` before or after them does not change that.
const WORDS: [(&str, Level); 5] = [
    ("MUST", Level::Must),
    ("SHALL", Level::Must),
    ("REQUIRED", Level::Must),
    ("SHOULD", Level::Should),
    ("RECOMMENDED", Level::Should),
];

/// A sentence of the specification: what ends with a full stop, or an entry of a list or of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Anchors of the headings above it, the outermost first.
    pub sections: Vec<String>,
    /// The text, each run of white space one space.
    pub text: String,
}

impl Sentence {
    /// Anchor of the heading that it stands under.
    pub fn section(&self) -> &str {
        self.sections.last().map_or("", String::as_str)
    }

    /// How strongly it binds, by its first word that does; `None` if it demands nothing.
    pub fn level(&self) -> Option<Level> {
        let mut words = self.text.split(|c: char| !c.is_alphanumeric());
        words.find_map(|own| WORDS.iter().find(|(word, _)| *word == own)).map(|(_, level)| *level)
    }

    /// [`digest`] of the text.
    pub fn digest(&self) -> u64 {
        digest(&self.text)
    }
}

/// A digest of a statement that does not change with white space (64-bit FNV-1a).
pub fn digest(statement: &str) -> u64 {
    let words = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Every sentence of a document, without its examples.
pub fn sentences(markdown: &str) -> Vec<Sentence> {
    let mut reader = Reader::default();
    let mut example = false;
    for line in markdown.lines() {
        let fence = line.trim_start().starts_with("```");
        example ^= fence;
        if !example && !fence {
            reader.line(line);
        }
    }
    reader.end_block();
    reader.found
}

#[derive(Default)]
struct Reader {
    /// Depth and anchor of the open headings.
    headings: Vec<(usize, String)>,
    /// A paragraph or an entry of a list, so far.
    block: String,
    found: Vec<Sentence>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let depth = line.bytes().take_while(|byte| *byte == b'#').count();
        let text = line.trim_start_matches([' ', '>']);
        let is_entry =
            text.starts_with("* ") || text.starts_with("- ") || text.starts_with("[^") || numbered(text);
        let is_row = text.contains('|');
        if depth > 0 || text.is_empty() || is_entry || is_row {
            self.end_block();
        }
        if depth > 0 {
            let anchor = slug(&line[depth..]);
            // What follows an example's code belongs to what the example is of.
            if !anchor.starts_with("example") {
                self.headings.retain(|(open, _)| *open < depth);
                self.headings.push((depth, anchor));
            }
            return;
        }
        self.block.push(' ');
        self.block.push_str(text);
        if is_row {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        let block = block.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in split(&block) {
            let sections = self.headings.iter().map(|(_, anchor)| anchor.clone()).collect();
            self.found.push(Sentence { sections, text: text.to_owned() });
        }
    }
}

/// Whether this is an entry of a numbered list.
fn numbered(text: &str) -> bool {
    text.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok())
}

/// Splits a block after each full stop that a capital letter or a markup character follows.
fn split(block: &str) -> Vec<&str> {
    let ends = block.match_indices(". ").map(|(at, _)| at + 1);
    let starts_anew = |at: &usize| {
        block[*at..].trim_start().starts_with(|c: char| c.is_uppercase() || matches!(c, '`' | '[' | '*'))
    };
    let mut from = 0;
    let cuts = ends.filter(starts_anew).chain([block.len()]);
    let texts = cuts.map(|to| block[std::mem::replace(&mut from, to)..to].trim_matches([' ', '*', '-', '|']));
    texts.filter(|text| !text.is_empty()).collect()
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

/// How a copy of the specification differs from the registry.
#[derive(Debug, Default)]
pub struct Drift {
    /// Sentences that bind and that no requirement says, by file.
    pub new: Vec<(&'static str, Sentence)>,
    /// Requirements whose sentence is not in their section any more, and the new sentences there: one of them
    /// may be what it has become.
    pub gone: Vec<(&'static Requirement, Vec<Sentence>)>,
}

impl Drift {
    /// Whether the registry says all that this copy demands, and nothing else.
    pub fn is_none(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

/// Compares the registry with the specification's files in a directory.
pub fn drift(directory: &Path) -> Result<Drift, Error> {
    let mut drift = Drift::default();
    for file in FILES {
        let path = directory.join(file);
        let markdown = std::fs::read_to_string(&path).map_err(Error::file(path))?;
        let requirements: Vec<_> =
            Requirement::all().filter(|requirement| requirement.file() == file).collect();
        compare(file, &sentences(&markdown), &requirements, &mut drift);
    }
    Ok(drift)
}

fn compare(file: &'static str, text: &[Sentence], requirements: &[&'static Requirement], drift: &mut Drift) {
    let mut new: Vec<Sentence> = Vec::new();
    for sentence in
        text.iter().filter(|sentence| sentence.level().is_some() && !is_said(sentence, text, requirements))
    {
        if !new.contains(sentence) {
            new.push(sentence.clone());
        }
    }
    for requirement in requirements {
        let at = |sentence: &&Sentence| sentence.section() == requirement.anchor();
        if !text.iter().filter(at).any(|sentence| sentence.digest() == requirement.digest) {
            drift.gone.push((requirement, new.iter().filter(at).cloned().collect()));
        }
    }
    drift.new.extend(new.into_iter().map(|sentence| (file, sentence)));
}

/// Whether a requirement of the sentence's section says it, or one of a section below that repeats it.
fn is_said(sentence: &Sentence, text: &[Sentence], requirements: &[&Requirement]) -> bool {
    let digest = sentence.digest();
    let repeats = text
        .iter()
        .filter(|other| other.text == sentence.text && other.sections.starts_with(&sentence.sections));
    let sections: Vec<&str> = repeats.map(Sentence::section).collect();
    requirements
        .iter()
        .any(|requirement| requirement.digest == digest && sections.contains(&requirement.anchor()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# <a name=\"x\" />Top\n\nOutside. It MUST be.\n\n## <a name=\"y\" />Query State\n\n\
        * **`One`** (REQUIRED), e.g. this. Two SHOULD\n  hold.\n    `Three` too.\n\n```json\n# \"no\": MUST\n```\n\
        ### Inner\nIt MUST be.\n\n1. Four.\n 2. `a` | MUST | Five\n#### Example\nSix.\n## Next\nSeven.\n";

    fn texts(section: &str) -> Vec<String> {
        let all = sentences(TEXT);
        all.into_iter()
            .filter(|sentence| sentence.section() == section)
            .map(|sentence| sentence.text)
            .collect()
    }

    #[test]
    fn sentences_go_over_lines_and_not_over_entries() {
        assert_eq!(texts("top"), ["Outside.", "It MUST be."]);
        assert_eq!(
            texts("query-state"),
            ["`One`** (REQUIRED), e.g. this.", "Two SHOULD hold.", "`Three` too."]
        );
        assert_eq!(texts("inner"), ["It MUST be.", "1.", "Four.", "2.", "`a` | MUST | Five", "Six."]);
        assert_eq!(texts("next"), ["Seven."]);
    }

    #[test]
    fn the_first_word_is_the_level() {
        let level = |text: &str| Sentence { sections: Vec::new(), text: text.to_owned() }.level();
        assert_eq!(level("a SHOULD, and b MUST NOT"), Some(Level::Should));
        assert_eq!(level("(NOT RECOMMENDED)"), Some(Level::Should));
        assert_eq!(level("it must not, MAYBE, MUSTARD"), None);
    }

    #[test]
    fn the_digest_ignores_white_space_and_nothing_else() {
        assert_eq!(digest("a  b\n c"), digest(" a b c"));
        assert_ne!(digest("a b c"), digest("a b d"));
    }

    #[test]
    fn a_sentence_is_new_until_it_is_registered_where_it_stands_or_below() {
        let registered: &'static Requirement = Box::leak(Box::new(Requirement {
            id: "file.inner.be",
            level: Level::Must,
            digest: digest("It MUST be."),
            says: "",
            waived: None,
        }));
        let mut drift = Drift::default();
        compare("file.md", &sentences(TEXT), &[registered], &mut drift);
        let new: Vec<&str> = drift.new.iter().map(|(_, sentence)| sentence.text.as_str()).collect();
        assert_eq!(new, ["`One`** (REQUIRED), e.g. this.", "Two SHOULD hold.", "`a` | MUST | Five"]);
        assert!(drift.gone.is_empty());
        let next = TEXT.replace("# Inner\nIt MUST be.", "# Inner\nIt MUST not be.");
        let mut drift = Drift::default();
        compare("file.md", &sentences(&next), &[registered], &mut drift);
        assert_eq!(drift.gone[0].0.id, "file.inner.be");
        assert_eq!(drift.gone[0].1.iter().map(|now| now.text.as_str()).next(), Some("It MUST not be."));
    }

    /// Needs the text of the specification: `SPEC_DIR`.
    #[test]
    fn the_registry_says_all_that_the_specification_demands() {
        let Some(directory) = std::env::var_os("SPEC_DIR") else { return };
        let drift = drift(Path::new(&directory)).unwrap();
        assert!(drift.is_none(), "{drift:#?}");
    }

    /// As above: a MUST is registered as one.
    #[test]
    fn the_registry_has_the_levels_of_the_specification() {
        let Some(directory) = std::env::var_os("SPEC_DIR") else { return };
        for file in FILES {
            let text = sentences(&std::fs::read_to_string(Path::new(&directory).join(file)).unwrap());
            for requirement in Requirement::all().filter(|requirement| requirement.file() == file) {
                let said = text.iter().find(|sentence| sentence.digest() == requirement.digest).unwrap();
                assert!(said.level().is_none_or(|level| level == requirement.level), "{}", requirement.id);
            }
        }
    }
}
