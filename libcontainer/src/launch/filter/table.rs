//! The numbers of system calls by name, for every architecture, as libseccomp has them. Runs in the runtime's process.
//!
//! The table is syscalls.tsv, which a test compares with libseccomp and rewrites (`just syscalls`). It is read by
//! the compiler: here it costs no time, no relocation and no C library.

/// The first line has libseccomp's version and the names of the columns, each other one a call and its numbers.
const TEXT: &[u8] = include_bytes!("syscalls.tsv");

const COLUMNS: usize = count(TEXT, b'\t', first_line(TEXT));
const ROWS: usize = count(TEXT, b'\n', TEXT.len()) - 1;

/// A call that an architecture does not have.
const NONE: i32 = i32::MIN;

/// A call, and its number in each column.
type Row = (&'static str, [i32; COLUMNS]);

/// In the order of names.
static TABLE: [Row; ROWS] = rows();

/// The version of libseccomp whose numbers these are.
pub(super) const VERSION: &str = field(0).0;

/// The column of this name.
pub(super) const fn column(name: &str) -> Option<usize> {
    let (mut at, mut column) = (field(0).1, 0);
    while column < COLUMNS {
        let (text, next) = field(at);
        if equal(text.as_bytes(), name.as_bytes()) {
            return Some(column);
        }
        (at, column) = (next, column + 1);
    }
    None
}

/// A call, on any architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named(&'static Row);

impl Named {
    /// The call of this name.
    pub(super) fn find(name: &str) -> Option<Named> {
        let row = TABLE.binary_search_by(|row| row.0.cmp(name)).ok()?;
        TABLE.get(row).map(Named)
    }

    /// Its number: negative for one that goes through socketcall(2) or ipc(2).
    pub(super) fn number(self, column: usize) -> Option<i32> {
        self.0.1.get(column).copied().filter(|number| *number != NONE)
    }
}

const fn rows() -> [Row; ROWS] {
    let mut rows = [("", [NONE; COLUMNS]); ROWS];
    let (mut at, mut row) = (first_line(TEXT) + 1, 0);
    while row < ROWS {
        (rows[row].0, at) = field(at);
        let mut column = 0;
        while column < COLUMNS {
            let (text, next) = field(at);
            rows[row].1[column] = parse(text.as_bytes());
            (at, column) = (next, column + 1);
        }
        row += 1;
    }
    rows
}

/// The text from `at` to the next tab or line end, and where the text behind that begins.
const fn field(at: usize) -> (&'static str, usize) {
    let mut end = at;
    while TEXT[end] != b'\t' && TEXT[end] != b'\n' {
        end += 1;
    }
    let (text, _) = TEXT.split_at(at).1.split_at(end - at);
    match str::from_utf8(text) {
        Ok(text) => (text, end + 1),
        Err(_) => panic!("syscalls.tsv is not text"),
    }
}

/// A decimal number; nothing at all for a call that is not there.
const fn parse(text: &[u8]) -> i32 {
    if text.is_empty() {
        return NONE;
    }
    let negative = text[0] == b'-';
    let (mut value, mut at) = (0, if negative { 1 } else { 0 });
    while at < text.len() {
        assert!(text[at].is_ascii_digit());
        value = value * 10 + (text[at] - b'0') as i32;
        at += 1;
    }
    if negative { -value } else { value }
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    let (mut same, mut at) = (a.len() == b.len(), 0);
    while same && at < a.len() {
        same = a[at] == b[at];
        at += 1;
    }
    same
}

const fn count(text: &[u8], byte: u8, end: usize) -> usize {
    let (mut found, mut at) = (0, 0);
    while at < end {
        if text[at] == byte {
            found += 1;
        }
        at += 1;
    }
    found
}

const fn first_line(text: &[u8]) -> usize {
    let mut at = 0;
    while text[at] != b'\n' {
        at += 1;
    }
    at
}
