//! Text from runtimes in the languages of reports.

/// As text or an attribute of XML and HTML. What XML 1.0 cannot say becomes the replacement character.
pub(super) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // In an attribute it would be read as a space.
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push(c),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// As a description in TAP.
pub(super) fn tap(text: &str) -> String {
    line(text).replace('\\', "\\\\").replace('#', "\\#")
}

/// In a cell of a Markdown table.
pub(super) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in line(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// On one line.
pub(super) fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_text_early() {
        assert_eq!(xml("a\"<b>&\n\u{1b}[0m"), "a&quot;&lt;b&gt;&amp;&#10;\u{fffd}[0m");
        assert_eq!(tap("a # skip\n\\b"), "a \\# skip \\\\b");
        assert_eq!(markdown("a | `b`\nc"), "a \\| \\`b\\` c");
    }
}
