//! What holds for every config, however odd: compiling never panics, is deterministic, and explains itself.

mod promises;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libcontainer::plan::facts::Facts;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

/// A node of a document by its number, counted depth first, and what becomes of it.
type Mutation = (u16, Edit);

/// The configs that are mutated: those of real clients, and one of everything that a config can say.
static RECORDED: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let cases = fs::read_dir(directory("plans")).expect("tests/plans can be listed");
    let mut files: Vec<_> =
        cases.map(|case| case.expect("tests/plans can be listed").path().join("config.json")).collect();
    // The order of a directory is nobody's promise, and a failing case has to fail again.
    files.sort();
    let texts = files.iter().filter_map(|file| fs::read(file).ok());
    texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect()
});

/// Every host of `facts/`.
static HOSTS: LazyLock<Vec<Facts>> = LazyLock::new(|| {
    let names = ["v2", "hybrid", "v1", "rootless", "userns-root-hybrid", "no-cgroups", "selinux", "v2-named"];
    let text = |name| fs::read(directory("facts").join(format!("{name}.json"))).expect("facts can be read");
    names.into_iter().map(|name| serde_json::from_slice(&text(name)).expect("facts are facts")).collect()
});

fn directory(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// What happens to one node.
#[derive(Debug, Clone)]
enum Edit {
    Replace(Value),
    Remove,
    /// An element is there twice; a member is also found under another name.
    Duplicate(String),
    /// Something of another place of the document is put here.
    Move(u16),
}

fn odd_text() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        "",
        "/",
        "..",
        ".",
        "/..",
        "//",
        "\0",
        "/\0",
        "=",
        "A=",
        "-1",
        "0",
        "a\nb",
        "rbind",
        "ro",
        "remount",
        "idmap",
        "cgroup",
        "ü/\u{1F980}",
        "slice:a:b",
        "18446744073709551616",
        "2.0.0",
        "user",
        "pid",
        "time",
        "~",
        "~1/~0",
        "SCMP_ACT_NOTIFY",
        "unified",
        "0-",
        "1024",
        "net.",
        ".",
        "/dev",
        "/dev/ptmx",
    ];
    prop_oneof![
        4 => proptest::sample::select(ODD).prop_map(str::to_owned),
        2 => ".{0,12}",
        1 => (1_usize..10_000).prop_map(|n| "/a".repeat(n)),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    const NUMBERS: &[i64] = &[
        0,
        1,
        -1,
        2,
        7,
        511,
        512,
        1 << 12,
        (1 << 16) - 1,
        1 << 16,
        1 << 20,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        i64::MAX,
        i64::MIN,
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        proptest::sample::select(NUMBERS).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        odd_text().prop_map(Value::from),
        odd_text().prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    const KEYS: &[&str] = &[
        "ociVersion",
        "root",
        "path",
        "process",
        "args",
        "cwd",
        "user",
        "mounts",
        "destination",
        "options",
        "linux",
        "namespaces",
        "type",
        "resources",
        "memory",
        "limit",
        "hooks",
        "prestart",
        "seccomp",
        "uidMappings",
        "devices",
        "netDevices",
        "sysctl",
    ];
    let key = || prop_oneof![proptest::sample::select(KEYS).prop_map(str::to_owned), odd_text()];
    scalar().prop_recursive(5, 48, 6, move |inner| {
        let object = btree_map(key(), inner.clone(), 0..6).prop_map(|m| m.into_iter().collect::<Value>());
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), object]
    })
}

fn mutated() -> impl Strategy<Value = Value> {
    let edit = prop_oneof![
        4 => scalar().prop_map(Edit::Replace),
        1 => tree().prop_map(Edit::Replace),
        2 => Just(Edit::Remove),
        2 => odd_text().prop_map(Edit::Duplicate),
        2 => any::<u16>().prop_map(Edit::Move),
    ];
    (0..RECORDED.len(), vec((any::<u16>(), edit), 0..6)).prop_map(|(i, mutations)| {
        let mut document = RECORDED.get(i).cloned().unwrap_or_default();
        mutations.into_iter().for_each(|mutation| mutate(&mut document, mutation));
        document
    })
}

fn mutate(document: &mut Value, (number, edit): Mutation) {
    let mut places = Vec::new();
    pointers(document, String::new(), &mut places);
    let place = |number: u16| places.get(usize::from(number) % places.len()).cloned().unwrap_or_default();
    let at = place(number);
    let Some((parent, token)) = at.rsplit_once('/') else { return };
    if let Edit::Replace(_) | Edit::Move(_) = edit {
        let new = match edit {
            Edit::Move(from) => document.pointer(&place(from)).cloned().unwrap_or_default(),
            Edit::Replace(new) => new,
            _ => Value::Null,
        };
        if let Some(node) = document.pointer_mut(&at) {
            *node = new;
        }
        return;
    }
    let node = document.pointer(&at).cloned().unwrap_or_default();
    let key = token.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent), edit, token.parse::<usize>()) {
        (Some(Value::Array(list)), Edit::Remove, Ok(i)) => drop(list.remove(i)),
        (Some(Value::Array(list)), Edit::Duplicate(_), Ok(i)) => list.insert(i, node),
        (Some(Value::Object(members)), Edit::Remove, _) => drop(members.remove(&key)),
        (Some(Value::Object(members)), Edit::Duplicate(other), _) => drop(members.insert(other, node)),
        _ => {}
    }
}

/// A pointer to every node below `node`, which is at `at`.
fn pointers(node: &Value, at: String, places: &mut Vec<String>) {
    match node {
        Value::Array(list) => {
            for (i, child) in list.iter().enumerate() {
                pointers(child, format!("{at}/{i}"), places);
            }
        }
        Value::Object(members) => {
            for (key, child) in members {
                let token = key.replace('~', "~0").replace('/', "~1");
                pointers(child, format!("{at}/{token}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

fn check(text: &[u8]) -> Result<(), TestCaseError> {
    for facts in HOSTS.iter() {
        let compiled = promises::check(text, facts).map_err(TestCaseError::fail)?;
        promises::check_again(text, facts, &compiled).map_err(TestCaseError::fail)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_never_panic(text in vec(any::<u8>(), 0..256)) {
        check(&text)?;
    }

    #[test]
    fn text_that_begins_as_a_document_never_panics(text in "\\{\"(root|mounts|linux|process)\": ?[\\[\\]{},:\"0-9a-z. -]{0,40}\\}") {
        check(text.as_bytes())?;
    }

    #[test]
    fn trees_are_compiled_or_explained(document in tree()) {
        check(document.to_string().as_bytes())?;
    }

    #[test]
    fn mutations_of_configs_are_compiled_or_explained(document in mutated()) {
        check(document.to_string().as_bytes())?;
    }
}

#[test]
fn every_config_of_plans_keeps_the_same_promises() {
    for document in RECORDED.iter() {
        check(document.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}\n{document:#}"));
    }
}
