//! The hooks: when, where and in which order they run, and what follows from one that fails.
//! Spec: config.md#posix-platform-hooks, runtime.md#lifecycle.

mod failing;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::BundleBuilder;
use crate::case::{Case, Checks};
use crate::container::Container;
use crate::report::Report;
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[
    ORDER,
    ENVIRONMENT,
    POSTSTART,
    failing::CREATE,
    failing::START,
    failing::STOP,
    failing::TIMEOUT,
    failing::INVALID,
];

/// A kind of hook, and the clauses that are for it alone.
struct Kind {
    name: &'static str,
    /// It runs.
    runs: &'static str,
    /// It runs at its moment.
    moment: &'static str,
    /// It is found where it should be.
    path: &'static str,
    /// It runs where it should.
    namespace: &'static str,
    /// What follows if it fails.
    fails: &'static str,
    /// Whether it runs in the container namespace.
    inside: bool,
    /// The operation that it is part of.
    within: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "prestart",
        runs: "runtime.lifecycle.prestart",
        moment: "config.prestart.moment",
        path: "config.prestart.path",
        namespace: "config.prestart.namespace",
        fails: "runtime.lifecycle.prestart-fails",
        inside: false,
        within: "create",
    },
    Kind {
        name: "createRuntime",
        runs: "runtime.lifecycle.create-runtime",
        moment: "config.createruntime-hooks.moment",
        path: "config.createruntime-hooks.path",
        namespace: "config.createruntime-hooks.namespace",
        fails: "runtime.lifecycle.create-runtime-fails",
        inside: false,
        within: "create",
    },
    Kind {
        name: "createContainer",
        runs: "runtime.lifecycle.create-container",
        moment: "config.createcontainer-hooks.moment",
        path: "config.createcontainer-hooks.path",
        namespace: "config.createcontainer-hooks.namespace",
        fails: "runtime.lifecycle.create-container-fails",
        inside: true,
        within: "create",
    },
    Kind {
        name: "startContainer",
        runs: "runtime.lifecycle.start-container",
        moment: "config.startcontainer-hooks.moment",
        path: "config.startcontainer-hooks.path",
        namespace: "config.startcontainer-hooks.namespace",
        fails: "runtime.lifecycle.start-container-fails",
        inside: true,
        within: "start",
    },
    Kind {
        name: "poststart",
        runs: "runtime.lifecycle.poststart",
        moment: "config.poststart.moment",
        path: "config.poststart.path",
        namespace: "config.poststart.namespace",
        fails: "runtime.lifecycle.poststart-fails",
        inside: false,
        within: "start",
    },
    Kind {
        name: "poststop",
        runs: "runtime.lifecycle.poststop",
        moment: "config.poststop.moment",
        path: "config.poststop.path",
        namespace: "config.poststop.namespace",
        fails: "runtime.lifecycle.poststop-fails",
        inside: false,
        within: "delete",
    },
];

impl Kind {
    /// Whether the root has been changed when it runs, so that it is found in the container.
    fn after_the_root(&self) -> bool {
        self.name == "startContainer"
    }

    /// A hook of this kind that runs the probe, with a path as this kind of hook sees it. The probe is at no such place
    /// on the host, and the bundle is at no such place in the container.
    fn hook(&self, args: &[&str]) -> Value {
        let place = if self.after_the_root() { "" } else { "$BUNDLE/rootfs" };
        let args: Vec<String> = args.iter().map(|arg| arg.replace("ROOT", place)).collect();
        json!({"path": format!("{place}/bin/probe"), "args": args})
    }
}

/// A root that can be written, and a program that adds a line to the log there and stays.
fn logging() -> BundleBuilder {
    Bundle::new().set("/root/readonly", json!(false)).file("/log", "").args([
        "/bin/probe",
        "log-wait",
        "/log",
        "program",
    ])
}

/// The lines of the log. A hook's line may be made of several processes, each of which writes it at once.
fn log(bundle: &Bundle) -> Result<Vec<String>, Error> {
    let path = bundle.rootfs().join("log");
    let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn lines(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const ORDER: Case = Case {
    id: "hooks-order",
    proves: &[
        "config.posix-platform-hooks.order",
        "config.posix-platform-hooks.path",
        "config.posix-platform-hooks.path-in-runtime",
        "config.posix-platform-hooks.path-in-container",
        "config.prestart.before-create-runtime",
        "config.createcontainer-hooks.after-create-runtime",
        "config.startcontainer-hooks.moment",
        "runtime.lifecycle.prestart",
        "runtime.lifecycle.create-runtime",
        "runtime.lifecycle.create-container",
        "runtime.lifecycle.start-container",
        "runtime.lifecycle.poststart",
        "runtime.lifecycle.poststop",
    ],
    run: order,
};

/// Two hooks of each kind write a line each.
fn order(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let mut bundle = logging();
    for kind in &KINDS {
        for number in ["1", "2"] {
            let line = format!("{} {number}", kind.name);
            let hook = kind.hook(&["probe", "hook", "ROOT/log", &line]);
            bundle = bundle.push(&format!("/hooks/{}", kind.name), hook);
        }
    }
    let bundle = bundle.build()?;
    let mut container = runtime.create(&bundle)?;
    let mut seen = vec![("create", log(&bundle)?)];
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    seen.push(("start", log(&bundle)?));
    container.kill("TERM")?.success()?;
    container.wait()?;
    container.delete()?.success()?;
    seen.push(("delete", log(&bundle)?));

    for kind in &KINDS {
        let line = |number: &str| format!("{} {number}", kind.name);
        let (_, all) = seen.iter().find(|(operation, _)| *operation == kind.within).unwrap_or(&seen[2]);
        let own: Vec<&String> = all.iter().filter(|line| line.starts_with(kind.name)).collect();
        checks.equal("config.posix-platform-hooks.order", vec![&line("1"), &line("2")], own.clone());
        checks.holds(kind.runs, &format!("{} ran within {}", kind.name, kind.within), all, own.len() == 2);
        let found = match kind.after_the_root() {
            true => "config.posix-platform-hooks.path-in-container",
            false => "config.posix-platform-hooks.path-in-runtime",
        };
        checks.holds(found, &format!("{} is found", kind.name), all, !own.is_empty());
        checks.holds("config.posix-platform-hooks.path", kind.name, all, !own.is_empty());
    }
    let all = &seen[2].1;
    let at = |line: &str| all.iter().position(|own| own == line);
    let before = |first: &str, second: &str| at(first).is_some() && at(first) < at(second);
    let ordered = before("prestart 2", "createRuntime 1");
    checks.holds("config.prestart.before-create-runtime", "prestart, then createRuntime", all, ordered);
    let ordered = before("createRuntime 2", "createContainer 1");
    checks.holds("config.createcontainer-hooks.after-create-runtime", "one after the other", all, ordered);
    let ordered = before("createContainer 2", "startContainer 1") && before("startContainer 2", "program");
    checks.holds("config.startcontainer-hooks.moment", "startContainer, then the program", all, ordered);
    let early = seen[0].1.iter().any(|line| line.starts_with("startContainer"));
    checks.holds("config.startcontainer-hooks.moment", "not before start", &seen[0].1, !early);
    Ok(())
}

const ENVIRONMENT: Case = Case {
    id: "hooks-environment",
    proves: &[
        "config.posix-platform-hooks.args",
        "config.posix-platform-hooks.env",
        "config.posix-platform-hooks.state",
        "config.prestart.moment",
        "config.prestart.path",
        "config.prestart.namespace",
        "config.createruntime-hooks.moment",
        "config.createruntime-hooks.path",
        "config.createruntime-hooks.namespace",
        "config.createcontainer-hooks.moment",
        "config.createcontainer-hooks.path",
        "config.createcontainer-hooks.namespace",
        "config.startcontainer-hooks.path",
        "config.startcontainer-hooks.namespace",
        "config.poststart.moment",
        "config.poststart.path",
        "config.poststart.namespace",
        "config.poststop.moment",
        "config.poststop.path",
        "config.poststop.namespace",
    ],
    run: environment,
};

/// One hook of each kind reports what it sees.
fn environment(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const BUNDLE: &str = "$BUNDLE/config.json";
    let mut bundle = logging().set("/annotations", json!({"org.example.key": "value"}));
    for kind in &KINDS {
        let out = format!("ROOT/{}.json", kind.name);
        let mut hook = kind.hook(&["hook arg0", "report", "--stdin", "--out", &out, "--stat", BUNDLE]);
        hook["env"] = json!([format!("HOOK={}", kind.name), "EMPTY="]);
        bundle = bundle.push(&format!("/hooks/{}", kind.name), hook);
    }
    let bundle = bundle.build()?;
    let mut container = runtime.create(&bundle)?;
    let created: Vec<bool> = KINDS.iter().map(|kind| out(&bundle, kind).exists()).collect();
    let inside = crate::cases::namespaces::of(Path::new(&format!("/proc/{}/ns", container.pid())))?;
    container.start()?.success()?;
    let started: Vec<bool> = KINDS.iter().map(|kind| out(&bundle, kind).exists()).collect();
    container.wait_for_stdout("ready")?;
    container.kill("TERM")?.success()?;
    container.wait()?;
    let pid = container.pid();
    container.delete()?.success()?;
    let ours = crate::cases::namespaces::of(Path::new("/proc/self/ns"))?;
    for (number, kind) in KINDS.iter().enumerate() {
        let path = out(&bundle, kind);
        let Ok(text) = std::fs::read_to_string(&path) else {
            checks.fail(kind.path, "the hook reports", &format!("no {}", path.display()));
            continue;
        };
        let seen = Report::parse_partial(&text)?;
        checks.holds(kind.path, "the hook is found and runs", &seen.args, !seen.args.is_empty());
        told(checks, &bundle, &container, kind, &seen);
        let expected = if kind.inside { &inside } else { &ours };
        // Cgroup and time namespaces may be entered later.
        for name in ["mnt", "net", "uts", "ipc", "pid"] {
            let of = |all: &BTreeMap<String, u64>| (name, all.get(name).copied());
            checks.equal(kind.namespace, of(expected), of(&seen.namespaces));
        }
        if kind.within == "create" {
            checks.holds(kind.moment, "it ran before create returned", &created[number], created[number]);
        }
        let peer = seen.peer.as_ref();
        match kind.name {
            "prestart" | "createRuntime" => {
                let made = peer.is_some_and(|peer| peer.namespaces.get("net") == inside.get("net"));
                checks.holds(kind.moment, "after the namespaces are made", &peer, made);
                let early = peer.is_some_and(|peer| peer.sees_bundle);
                checks.holds(kind.moment, "before the root is changed", &peer, early);
                checks.equal(kind.moment, Some(pid), peer.map(|peer| peer.pid));
            }
            "createContainer" => {
                let early = seen.paths.values().any(|path| path.present().is_some());
                checks.holds(kind.moment, "before the root is changed", &seen.paths, early);
            }
            "poststart" => {
                let early = created[number];
                checks.holds(kind.moment, "not before start", &early, !early);
                checks.holds(kind.moment, "it ran before start returned", &started[number], started[number]);
            }
            "poststop" => {
                checks.holds(kind.moment, "the container's process is gone", &peer, peer.is_none());
                let early = started[number];
                checks.holds(kind.moment, "not before delete", &early, !early);
            }
            _ => {}
        }
    }
    Ok(())
}

fn out(bundle: &Bundle, kind: &Kind) -> std::path::PathBuf {
    bundle.rootfs().join(format!("{}.json", kind.name))
}

const POSTSTART: Case = Case { id: "hooks-poststart", proves: &["config.poststart.moment"], run: poststart };

/// The startContainer hook takes its time, so that the program is executed late. It would go on at once if the poststart
/// hook came before.
fn poststart(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let (start, poststart) = (&KINDS[3], &KINDS[4]);
    let bundle = logging()
        .push("/hooks/startContainer", start.hook(&["probe", "await", "ROOT/seen.json", "1"]))
        .push("/hooks/poststart", poststart.hook(&["probe", "report", "--stdin", "--out", "ROOT/seen.json"]))
        .build()?;
    let mut container = runtime.create(&bundle)?;
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    let path = bundle.rootfs().join("seen.json");
    let seen = Report::parse_partial(&std::fs::read_to_string(&path).map_err(Error::file(&path))?)?;
    let runs = seen.peer.as_ref().is_some_and(|peer| peer.args.iter().any(|arg| arg == "log-wait"));
    checks.holds(poststart.moment, "the program has been executed", &seen.peer, runs);
    Ok(())
}

/// What a hook is given: arguments, environment, the container's state.
fn told(checks: &mut Checks, bundle: &Bundle, container: &Container<'_>, kind: &Kind, seen: &Report) {
    checks.equal(
        "config.posix-platform-hooks.args",
        Some("hook arg0"),
        seen.args.first().map(String::as_str),
    );
    let mut env = seen.env.clone();
    env.sort();
    checks.equal(
        "config.posix-platform-hooks.env",
        vec!["EMPTY=".to_owned(), format!("HOOK={}", kind.name)],
        env,
    );
    const STATE: &str = "config.posix-platform-hooks.state";
    let state: Value =
        seen.stdin.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    checks.equal(STATE, (kind.name, Some(container.id())), (kind.name, state["id"].as_str()));
    checks.equal(STATE, (kind.name, bundle.path().to_str()), (kind.name, state["bundle"].as_str()));
    checks.equal(
        STATE,
        (kind.name, Some("value")),
        (kind.name, state["annotations"]["org.example.key"].as_str()),
    );
    let expected: &[&str] = match kind.name {
        "poststart" => &["running"],
        "poststop" => &["stopped"],
        "startContainer" => &["created", "creating"],
        _ => &["creating", "created"],
    };
    let status = state["status"].as_str().unwrap_or_default();
    // A word of the runtime's own may stand for what none of these says. See runtime.md#state.
    let own_word = !["", "creating", "created", "running", "stopped"].contains(&status);
    let fits = expected.contains(&status) || own_word;
    checks.holds(STATE, &format!("{}: {expected:?}", kind.name), &status, fits);
    let pid = match (kind.name, kind.inside) {
        // It has to be there once the container is created.
        _ if status == "creating" && matches!(state["pid"].as_i64(), None | Some(0)) => return,
        ("poststop", _) => return,
        // As seen by the container, whose pid namespace is its own.
        (_, true) => 1,
        (_, false) => container.pid(),
    };
    checks.equal(STATE, (kind.name, Some(i64::from(pid))), (kind.name, state["pid"].as_i64()));
}
