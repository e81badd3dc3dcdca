//! Reads Rust as far as the architecture test needs it: what is code, and what it names.

/// A function: where `fn` is, and where its last brace is.
pub(crate) struct Function {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Its documentation says that it is called before the clone, so it may allocate.
    pub(crate) is_before_the_clone: bool,
}

/// Every function that has a body.
pub(crate) fn functions(code: &str, text: &str) -> Vec<Function> {
    let named = find(code, "fn ").filter(|at| !identifier(code, at + "fn ".len()).is_empty());
    let function = |start: usize| {
        let mut depth = 0_usize;
        let body = code[start..].char_indices().find(|(_, c)| {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(c, '{' | ';')
        });
        let (open, _) = body.filter(|(_, c)| *c == '{')?;
        let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let lines = text[..line].lines().rev();
        let is_above = |line: &&str| line.trim_start().starts_with(['/', '#']);
        let is_before_the_clone =
            lines.take_while(is_above).any(|line| line.contains("called before the clone"));
        Some(Function { start, end: closing(code, start + open), is_before_the_clone })
    };
    named.filter_map(function).collect()
}

/// Where the brace at `open` is closed.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    code.len()
}

/// Where `word` stands by itself.
pub(crate) fn find<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back().is_some_and(part) && word.starts_with(part);
        let after = code[at + word.len()..].starts_with(part) && word.ends_with(part);
        !before && !after
    })
}

pub(crate) fn identifier(code: &str, from: usize) -> &str {
    let rest = &code[from..];
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    &rest[..end]
}

/// Every path that a `use` names.
pub(crate) fn uses(code: &str) -> Vec<(usize, String)> {
    let paths = |at| paths(code, at + "use ".len()).into_iter().map(move |path| (at, path));
    find(code, "use ").flat_map(paths).collect()
}

/// The paths of a `use`, or of an expression, from `from`: two for `a::{b, c::d}`.
pub(crate) fn paths(code: &str, from: usize) -> Vec<String> {
    let name = identifier(code, from);
    let end = from + name.len();
    let Some(rest) = code[end..].strip_prefix("::").filter(|_| !name.is_empty()) else {
        if !code[from..].starts_with('{') {
            return vec![name.to_owned()];
        }
        let (open, close) = (from + 1, closing(code, from));
        let mut depth = 0_i32;
        let mut starts = vec![open];
        for (i, c) in code[open..close].char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if c == ',' && depth == 0 {
                starts.push(open + i + 1);
            }
        }
        let blank = |at: usize| at + code[at..].len() - code[at..].trim_start().len();
        let starts = starts.into_iter().map(blank).filter(|at| *at < close);
        return starts.flat_map(|at| paths(code, at)).collect();
    };
    let next = code.len() - rest.len();
    paths(code, next).into_iter().map(|path| format!("{name}::{path}")).collect()
}

/// The code without items under `#[cfg(test)]`.
pub(crate) fn without_tests(code: &str) -> String {
    let mut live = code.as_bytes().to_vec();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let end = match code[start..].find(['{', ';']).map(|at| start + at) {
            Some(at) if code[at..].starts_with('{') => closing(code, at),
            Some(at) => at,
            None => code.len(),
        };
        live.iter_mut().take(end).skip(start).filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8_lossy(&live).into_owned()
}

/// The text with blanks for comments, strings and characters, byte for byte.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let end = token(bytes, i);
        if let Some(end) = end {
            let inside = code.iter_mut().take(end).skip(i);
            inside.filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        i = end.unwrap_or(i + 1);
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Where the comment or the literal that begins at `i` ends, if one does.
fn token(bytes: &[u8], i: usize) -> Option<usize> {
    let rest = bytes.get(i..)?;
    let after = |length: usize, what: &[u8]| {
        let found = rest.get(length..)?.windows(what.len()).position(|window| window == what);
        Some(found.map_or(bytes.len(), |at| i + length + at + what.len()))
    };
    let word = i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => after(2, b"\n").map(|end| end - 1),
        [b'/', b'*', ..] => after(2, b"*/"),
        [b'r', b'"' | b'#', ..] if !word || bytes[i - 1] == b'b' || bytes[i - 1] == b'c' => {
            let hashes = rest.iter().skip(1).take_while(|byte| **byte == b'#').count();
            let open = *rest.get(hashes + 1)? == b'"';
            if open { after(hashes + 2, &[b"\"", &b"#".repeat(hashes)[..]].concat()) } else { None }
        }
        [b'"', ..] => Some(quoted(bytes, i, b'"')),
        [b'\'', b'\\', ..] => Some(quoted(bytes, i, b'\'')),
        // A lifetime has no second quotation mark.
        [b'\'', ..] => {
            let length = std::str::from_utf8(rest).ok()?.chars().nth(1)?.len_utf8();
            (rest.get(1 + length) == Some(&b'\'')).then_some(i + length + 2)
        }
        _ => None,
    }
}

fn quoted(bytes: &[u8], from: usize, mark: u8) -> usize {
    let mut i = from + 1;
    while i < bytes.len() && bytes[i] != mark {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i + 1
}

#[test]
fn code_is_what_is_neither_comment_nor_literal() {
    let text = "a /* \" */ \"//\\\"\" '\"' 'x 'é' r#\"\"unsafe\"# b\"{\" // }\nz";
    assert_eq!(blank(text).split_whitespace().collect::<Vec<_>>(), ["a", "'x", "b", "z"]);
    assert_eq!(blank(text).len(), text.len());
    assert_eq!(paths("a::{b, c::{d, e as f}};", 0), ["a::b", "a::c::d", "a::c::e"]);
    assert_eq!(find("unsafe_code my_unsafe unsafe", "unsafe").count(), 1);
}
