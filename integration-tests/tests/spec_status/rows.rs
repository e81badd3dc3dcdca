//! Reads rows.txt.

/// A line of the table.
pub(crate) enum Line<'a> {
    /// A heading.
    Section(&'a str),
    /// A row.
    Row(Row<'a>),
}

/// One behaviour.
pub(crate) struct Row<'a> {
    /// Its id, as `M-17`.
    pub(crate) id: &'a str,
    /// There are ways to get it wrong, which have to be refused.
    pub(crate) refusable: bool,
    /// The clause of the specification, or `-`.
    pub(crate) clause: &'a str,
    /// What it is.
    pub(crate) what: &'a str,
    /// Why it is not as it should be, or not shown.
    pub(crate) reason: Option<&'a str>,
}

/// All lines, in order.
pub(crate) fn read(text: &str) -> Vec<Line<'_>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines.map(|line| line.strip_prefix("## ").map_or_else(|| Line::Row(row(line)), Line::Section)).collect()
}

/// The rows among them.
pub(crate) fn of<'a>(lines: &'a [Line<'a>]) -> impl Iterator<Item = &'a Row<'a>> {
    lines.iter().filter_map(|line| match line {
        Line::Row(row) => Some(row),
        Line::Section(_) => None,
    })
}

fn row(line: &str) -> Row<'_> {
    let mut fields = line.splitn(5, '|').map(str::trim);
    let mut next = || fields.next().unwrap_or_else(|| panic!("a row has four fields: {line}"));
    let (id, errors, clause, what) = (next(), next(), next(), next());
    assert!(matches!(errors, "+" | "±"), "neither + nor ±: {line}");
    Row { id, refusable: errors == "±", clause, what, reason: fields.next() }
}

#[test]
fn a_row_has_an_id_a_clause_and_perhaps_a_reason() {
    let lines = read("# note\n\n## Part\nM-01 | ± | config.md#mounts | order | why | not\n");
    assert!(matches!(lines[0], Line::Section("Part")));
    let row = of(&lines).next().unwrap();
    assert_eq!((row.id, row.refusable, row.clause, row.what), ("M-01", true, "config.md#mounts", "order"));
    assert_eq!(row.reason, Some("why | not"));
}
