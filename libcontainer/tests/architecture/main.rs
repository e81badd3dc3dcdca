//! The invariants of ARCHITECTURE.md, read off the sources: floors, where `unsafe` is, sizes, forbidden words.

mod code;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use code::{blank, find, functions, identifier, paths, uses, without_tests};

const CRATES: &[&str] = &["libcontainer", "runtime", "integration-tests", "spec-conformance"];

/// What each module of libcontainer may import of the others, highest floor first. `plan::step` allows no more
/// of `plan` than that.
const FLOORS: &[(&str, &str)] = &[
    (
        "container",
        "error launch init bundle channel fault hooks host seal state stats timeline plan sys path",
    ),
    ("error", "launch init bundle channel fault hooks host seal state stats plan sys path"),
    ("launch", "init bundle channel fault hooks host seal state stats timeline plan sys path"),
    ("init", "channel fault hooks timeline plan sys path"),
    ("fault", "channel timeline plan sys path"),
    ("timeline", "plan::step sys path"),
    ("channel", "plan::step sys path"),
    ("hooks", "plan sys path"),
    ("host", "plan sys path"),
    ("seal", "sys path"),
    ("bundle", "timeline plan sys path"),
    ("state", "plan sys path"),
    ("stats", ""),
    ("plan", "path"),
    ("sys", "path"),
    ("path", ""),
];

/// What the two ground floors may use from outside. Of `nix`, `plan` takes numbers only.
const OUTSIDE: &[(&str, &str)] = &[
    ("stats", "std serde"),
    ("plan", "std nix::libc nix::errno oci_spec serde serde_json thiserror"),
    ("sys", "std nix dlmalloc"),
];

/// Parts of the standard library that act: `plan` only decides, `stats` only reads texts.
const ACTS: &[&str] =
    &["std::fs", "std::env", "std::time", "std::process", "std::net", "std::thread", "std::io"];

/// Where raw system calls are made. Nowhere else is `unsafe`.
const UNSAFE: &[&str] = &[
    "libcontainer/src/sys/",
    "spec-conformance/src/bin/probe/sys.rs",
    // The conformance suite drives any runtime and does not link libcontainer; nix has no pidfd_open, and hands out
    // received descriptors as numbers.
    "spec-conformance/src/wait/pidfd.rs",
    // As in integration-tests/tests/console.rs below.
    "spec-conformance/src/passed.rs",
    "spec-conformance/src/passed.rs",
    // An allocator that tells who uses it.
    "libcontainer/tests/no_allocation.rs",
    // A descriptor that came over a socket is a number; nix has no other word for it.
    "integration-tests/src/descriptor_socket.rs",
    // The agent of a filter: ioctls that nix does not have.
    "integration-tests/tests/seccomp_notify/agent.rs",
];

/// Where a pause is what is meant: a benchmark in a tight loop does not see the kernel's grace periods.
const PAUSES: &[&str] = &["integration-tests/src/bin/bench/case.rs"];

/// What allocates, prints or panics. The container's process does neither from the clone on.
const NOT_IN_INIT: &[&str] = &[
    "format!",
    "vec!",
    "panic!",
    "unreachable!",
    "print!",
    "println!",
    "eprintln!",
    "dbg!",
    "assert!",
    "tracing::",
    ".unwrap()",
    ".expect(",
    "String::",
    ".to_owned()",
    ".to_string()",
    ".to_vec()",
    ".clone()",
    ".collect()",
    "Box::new",
    ".push(",
];

const NO_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];
const FILE_MAX: usize = 450;
const FUNCTION_MAX: usize = 80;

/// A source file.
struct Source {
    /// Below the workspace.
    path: String,
    text: String,
    /// The text with blanks for comments and for what is in quotation marks, byte for byte.
    code: String,
    /// The code without what is there for tests only.
    live: String,
}

#[test]
fn the_sources_keep_the_invariants() {
    let wrong = violations(&sources());
    let lines: Vec<String> =
        wrong.iter().map(|(path, line, says)| format!("{path}:{line}: {says}")).collect();
    assert!(lines.is_empty(), "{} violations\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn every_rule_is_broken_by_something() {
    let long = format!("//! x\nfn long() {{\n{}}}\n", "    x();\n".repeat(FILE_MAX));
    let broken = [
        ("libcontainer/src/plan/x.rs", "//! x\nuse crate::sys::Stop;\n", "2: plan imports sys::Stop"),
        ("libcontainer/src/plan/x.rs", "//! x\nuse std::{fmt, fs::File};\n", "2: plan imports std::fs::File"),
        ("libcontainer/src/plan/x.rs", "//! x\nuse nix::{libc, unistd};\n", "2: plan imports nix::unistd"),
        (
            "libcontainer/src/plan/x.rs",
            "//! x\nfn f() { std::env::args(); }\n",
            "2: std::env: plan does no I/O",
        ),
        (
            "libcontainer/src/plan/a/b.rs",
            "//! x\nuse super::super::super::sys::fs;\n",
            "2: plan imports sys::fs",
        ),
        ("libcontainer/src/sys/x.rs", "//! x\nuse oci_spec::Spec;\n", "2: sys imports oci_spec::Spec"),
        (
            "libcontainer/src/channel.rs",
            "//! x\nuse crate::plan::{Plan, step};\n",
            "2: channel imports plan::Plan",
        ),
        (
            "libcontainer/src/launch/x.rs",
            "//! x\nfn f() -> crate::error::Error {}\n",
            "2: launch imports error::Error",
        ),
        ("libcontainer/src/new.rs", "//! x\n", "1: the module new has no floor; give it a row in FLOORS"),
        ("libcontainer/src/init/x.rs", "//! x\nfn f() { x.push(1) }\n", "2: .push( after the clone"),
        (
            "libcontainer/src/host.rs",
            "//! x\nfn f() { unsafe { g() } }\n",
            "2: unsafe is in libcontainer/src/sys only",
        ),
        ("runtime/src/main.rs", "//! x\n", "1: lacks #![forbid(unsafe_code)]"),
        ("runtime/src/x.rs", "fn f() {}\n", "1: does not begin with a line of //!"),
        ("runtime/src/util.rs", "//! x\n", "1: util says nothing about what is in it"),
        ("runtime/src/x.rs", "//! x\nmod helpers {}\n", "2: helpers says nothing about what is in it"),
        ("runtime/src/x.rs", "//! x\nfn f() { todo!() }\n", "2: todo!( is not finished"),
        ("runtime/tests/x.rs", "#[ignore]\nfn f() {}\n", "1: a test that does not run proves nothing"),
        (
            "runtime/tests/x.rs",
            "fn f() { std::thread::sleep(x) }\n",
            "1: wait for the event, with a deadline",
        ),
        ("runtime/tests/x.rs", "use std::thread::{self, sleep};\n", "1: wait for the event, with a deadline"),
        ("runtime/src/x.rs", &long, "1: 453 lines; at most 450"),
        ("runtime/src/x.rs", &long, "2: a function of 452 lines; at most 80"),
    ];
    for (path, text, says) in broken {
        let found = violations(&[Source::new(path.to_owned(), text.to_owned())]);
        let found: Vec<_> = found.iter().map(|(_, line, says)| format!("{line}: {says}")).collect();
        assert!(found.contains(&says.to_owned()), "{path}: {text:?} is not {says:?} but {found:?}");
    }
    let circle = [("state", "use crate::bundle::X;"), ("bundle", "use crate::state::Y;")];
    let circle =
        circle.map(|(module, text)| Source::new(format!("libcontainer/src/{module}.rs"), text.to_owned()));
    assert!(violations(&circle).iter().any(|(_, _, says)| says == "is in a circle: it imports state"));
}

#[test]
fn what_keeps_the_rules_is_let_be() {
    let fine = [
        (
            "libcontainer/src/plan/x.rs",
            "//! x\nuse crate::path::X;\nuse super::ids;\nuse serde::Serialize;\n",
        ),
        ("libcontainer/src/plan/x.rs", "//! x\n#[cfg(test)]\nmod tests { use crate::sys; use std::fs; }\n"),
        (
            "libcontainer/src/plan/x.rs",
            "//! x\n// unsafe std::fs todo!()\nconst X: &str = \"unsafe std::fs\";\n",
        ),
        ("libcontainer/src/channel.rs", "//! x\nuse crate::plan::step::Step;\n"),
        (
            "libcontainer/src/init/x.rs",
            "//! x\n/// Allocates: called before the clone.\nfn f() { x.push(1) }\n",
        ),
        ("libcontainer/src/sys/x.rs", "//! x\nfn f() { unsafe { g() } }\n"),
    ];
    for (path, text) in fine {
        assert_eq!(violations(&[Source::new(path.to_owned(), text.to_owned())]), Wrong::new(), "{path}");
    }
}

/// A place and what is wrong there.
type Wrong = BTreeSet<(String, usize, String)>;

fn violations(sources: &[Source]) -> Wrong {
    let mut wrong = Wrong::new();
    for source in sources {
        words(source, &mut wrong);
        shape(source, &mut wrong);
        imports(source, &mut wrong);
    }
    circles(sources, &mut wrong);
    wrong
}

impl Source {
    fn new(path: String, text: String) -> Source {
        let code = blank(&text);
        let live = without_tests(&code);
        Source { path, text, code, live }
    }

    fn read(path: &Path) -> Source {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Source::new(path.strip_prefix(workspace()).unwrap_or(path).display().to_string(), text)
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    fn note(&self, at: usize, says: impl Into<String>, wrong: &mut Wrong) {
        wrong.insert((self.path.clone(), self.line(at), says.into()));
    }

    /// Its module's path, if it belongs to libcontainer: `["launch", "idmap"]`.
    fn module(&self) -> Option<Vec<&str>> {
        let path = self.path.strip_prefix("libcontainer/src/")?.strip_suffix(".rs")?;
        Some(path.split('/').filter(|part| *part != "mod" && *part != "lib").collect())
    }

    /// Its module right below libcontainer's root.
    fn top(&self) -> Option<&str> {
        self.module()?.first().copied()
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for name in CRATES {
        for directory in ["src", "tests", "examples"] {
            list(&workspace().join(name).join(directory), &mut files);
        }
    }
    assert!(files.len() > 50, "the sources are not where they were: {files:?}");
    files.iter().map(|path| Source::read(path)).collect()
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Words that have no place in a file.
fn words(source: &Source, wrong: &mut Wrong) {
    let allowed = |list: &[&str]| list.iter().any(|path| source.path.starts_with(path));
    let in_code = |word: &str, says: &str, wrong: &mut Wrong| {
        find(&source.code, word).for_each(|at| source.note(at, says, wrong));
    };
    for word in ["todo!(", "unimplemented!("] {
        in_code(word, &format!("{word} is not finished"), wrong);
    }
    in_code("#[ignore", "a test that does not run proves nothing", wrong);
    if !allowed(PAUSES) {
        let says = "wait for the event, with a deadline";
        in_code("thread::sleep", says, wrong);
        let uses = uses(&source.code).into_iter().filter(|(_, path)| path == "std::thread::sleep");
        uses.for_each(|(at, _)| source.note(at, says, wrong));
    }
    if !allowed(UNSAFE) {
        in_code("unsafe", "unsafe is in libcontainer/src/sys only", wrong);
        in_code("allow(unsafe_code", "unsafe is in libcontainer/src/sys only", wrong);
    }
    let root = source.path == "runtime/src/main.rs";
    if root && !source.code.contains("#![forbid(unsafe_code)]") {
        source.note(0, "lacks #![forbid(unsafe_code)]", wrong);
    }
    let module = source.top().filter(|_| !source.is_test());
    let live = |list: &[&str], says: &str, wrong: &mut Wrong| {
        for word in list {
            find(&source.live, word).for_each(|at| source.note(at, format!("{word}: {says}"), wrong));
        }
    };
    match module {
        Some("plan") => {
            live(ACTS, "plan does no I/O", wrong);
            live(
                &["print!", "println!", "eprint!", "eprintln!", "dbg!", "tracing"],
                "plan does no I/O",
                wrong,
            );
        }
        Some("sys") => live(&["oci_spec", "serde", "serde_json"], "sys knows no OCI word", wrong),
        Some("init") => {
            let before: Vec<_> =
                functions(&source.code, &source.text).into_iter().filter(|f| f.is_before_the_clone).collect();
            for word in NOT_IN_INIT {
                let places = find(&source.live, word);
                let after = places.filter(|at| !before.iter().any(|f| f.start <= *at && *at < f.end));
                after.for_each(|at| source.note(at, format!("{word} after the clone"), wrong));
            }
        }
        _ => {}
    }
}

/// Names and sizes.
fn shape(source: &Source, wrong: &mut Wrong) {
    let in_src = source.path.contains("/src/");
    if in_src && !source.text.starts_with("//!") {
        source.note(0, "does not begin with a line of //!", wrong);
    }
    let lines = source.text.lines().count();
    if lines > FILE_MAX {
        source.note(0, format!("{lines} lines; at most {FILE_MAX}"), wrong);
    }
    for function in functions(&source.code, &source.text) {
        let lines = source.line(function.end) - source.line(function.start) + 1;
        if lines > FUNCTION_MAX {
            source.note(
                function.start,
                format!("a function of {lines} lines; at most {FUNCTION_MAX}"),
                wrong,
            );
        }
    }
    let mut parts = source.path.trim_end_matches(".rs").split('/');
    if let Some(name) = parts.find(|part| NO_NAMES.contains(part)) {
        source.note(0, format!("{name} says nothing about what is in it"), wrong);
    }
    for at in find(&source.code, "mod ") {
        let name = identifier(&source.code, at + "mod ".len());
        if NO_NAMES.contains(&name) {
            source.note(at, format!("{name} says nothing about what is in it"), wrong);
        }
    }
}

/// Imports of other modules and of other crates.
fn imports(source: &Source, wrong: &mut Wrong) {
    let Some(top) = source.top().filter(|_| !source.is_test()) else { return };
    let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == top) else {
        return source.note(0, format!("the module {top} has no floor; give it a row in FLOORS"), wrong);
    };
    for (at, path) in imported(source) {
        if !is_below(&path, top) && !allowed.split(' ').any(|module| is_below(&path, module)) {
            source.note(at, format!("{top} imports {path}"), wrong);
        }
    }
    let Some((_, allowed)) = OUTSIDE.iter().find(|(name, _)| *name == top) else { return };
    for (at, path) in uses(&source.live) {
        let root = path.split("::").next().unwrap_or_default();
        let inside =
            ["crate", "super", "self", "libc"].contains(&root) || root.starts_with(char::is_uppercase);
        let inside = inside || source.live.contains(&format!("mod {root};"));
        let acts = ["plan", "stats"].contains(&top) && ACTS.iter().any(|part| is_below(&path, part));
        if acts || !inside && !allowed.split(' ').any(|module| is_below(&path, module)) {
            source.note(at, format!("{top} imports {path}"), wrong);
        }
    }
}

/// Whether `path` is `module` or something in it.
fn is_below(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What a file names of libcontainer's other modules, from the root: `plan::step::Step`.
fn imported(source: &Source) -> Vec<(usize, String)> {
    let live = &source.live;
    let mut found: Vec<(usize, String)> = Vec::new();
    for at in find(live, "crate::") {
        found.extend(paths(live, at + "crate::".len()).into_iter().map(|path| (at, path)));
    }
    let module = source.module().unwrap_or_default();
    for at in find(live, "super::").filter(|at| !live[..*at].ends_with("super::")) {
        let (mut from, mut base) = (at, module.clone());
        while let Some(rest) = live[from..].strip_prefix("super::") {
            from = live.len() - rest.len();
            base.pop();
        }
        for path in paths(live, from) {
            found.push((at, base.iter().copied().chain([path.as_str()]).collect::<Vec<_>>().join("::")));
        }
    }
    found
}

/// Modules that import each other, whatever the table says.
fn circles(sources: &[Source], wrong: &mut Wrong) {
    let mut graph: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(top) = source.top() else { continue };
        let imports =
            imported(source).into_iter().filter_map(|(_, path)| Some(path.split("::").next()?.to_owned()));
        graph.entry(top).or_default().extend(imports.filter(|module| module != top));
    }
    let modules: BTreeSet<String> = graph.keys().map(|module| (*module).to_owned()).collect();
    graph.values_mut().for_each(|imports| imports.retain(|module| modules.contains(module)));
    // What imports nothing that is left is in no circle.
    while let Some(free) = graph.iter().find(|(_, imports)| imports.is_empty()).map(|(module, _)| *module) {
        graph.remove(free);
        graph.values_mut().for_each(|imports| {
            imports.remove(free);
        });
    }
    let left: BTreeSet<String> = graph.keys().map(|module| (*module).to_owned()).collect();
    for (module, imports) in graph {
        let imports: Vec<_> = imports.intersection(&left).cloned().collect();
        let says = format!("is in a circle: it imports {}", imports.join(", "));
        wrong.insert((format!("libcontainer/src/{module}"), 1, says));
    }
}
