//! config.json as a document: where it is, its version, what is unknown in it, what is wrong in it.
//! Spec: config.md#specification-version, config.md#extensibility, config.md#valid-values, bundle.md.

use serde_json::{Value, json};

use crate::bundle::BundleBuilder;
use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[PLACE, VERSION, UNKNOWN, INVALID, ANNOTATIONS, ROOT];

const PLACE: Case =
    Case { id: "document-place", proves: &["bundle.container-format.config-json"], run: place };

fn place(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "bundle.container-format.config-json";
    let bundle = Bundle::new().set("/hostname", json!("by-its-name")).build()?;
    checks.equal(ID, "by-its-name", &runtime.observe(&bundle)?.hostname);
    let other = bundle.path().join("configuration.json");
    std::fs::rename(bundle.config_path(), &other).map_err(Error::file(&other))?;
    let call = runtime.run(&bundle)?;
    checks.holds(ID, "a bundle without config.json is an error", &call.exit, !call.exit.success());
    Ok(())
}

const VERSION: Case =
    Case { id: "document-version", proves: &["config.specification-version.version"], run: version };

fn version(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config.specification-version.version";
    for good in ["1.0.0", "1.0.2-dev"] {
        let bundle = Bundle::new().set("/ociVersion", json!(good));
        checks.accepts(ID, runtime, bundle, &format!("version {good}"))?;
    }
    checks.refuses(ID, runtime, Bundle::new().remove("/ociVersion"), "no version")?;
    for bad in ["", "one", "1", "1.0", "01.0.0"] {
        let bundle = Bundle::new().set("/ociVersion", json!(bad));
        checks.refuses(ID, runtime, bundle, &format!("version {bad:?}"))?;
    }
    Ok(())
}

const UNKNOWN: Case = Case {
    id: "document-unknown",
    proves: &["config.extensibility.unknown", "config.annotations.unknown"],
    run: unknown,
};

fn unknown(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let places = [
        "/unknown",
        "/process/unknown",
        "/process/user/unknown",
        "/process/capabilities/unknown",
        "/process/rlimits/0/unknown",
        "/root/unknown",
        "/mounts/0/unknown",
        "/hooks/unknown",
        "/linux/unknown",
        "/linux/namespaces/0/unknown",
        "/linux/resources/unknown",
        "/linux/resources/devices/0/unknown",
    ];
    for value in [json!("x"), json!({"a": [1, null]})] {
        let bundle = places.into_iter().fold(Bundle::new(), |bundle, place| bundle.set(place, value.clone()));
        let call = runtime.run(&bundle.build()?)?;
        if call.exit.success() {
            checks.equal("config.extensibility.unknown", "conformance", &call.report()?.hostname);
            continue;
        }
        for place in places {
            let bundle = Bundle::new().set(place, value.clone());
            checks.accepts(
                "config.extensibility.unknown",
                runtime,
                bundle,
                &format!("{place} of {value}"),
            )?;
        }
    }
    let known = json!({"org.example.unknown": "x", "org.opencontainers.unknown": "", "no domain": "y"});
    let bundle = Bundle::new().set("/annotations", known);
    checks.accepts("config.annotations.unknown", runtime, bundle, "an unknown annotation")
}

const INVALID: Case = Case { id: "document-invalid", proves: &["config.valid-values.error"], run: invalid };

/// Each is of a property that the first version of the specification had, or that has had time to be known.
fn invalid(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config.valid-values.error";
    runtime.run(&Bundle::new().build()?)?.success()?;
    let values: [(&str, Value); 20] = [
        ("/process/cwd", json!(7)),
        ("/process/args", json!("/bin/probe report")),
        ("/process/args", json!([])),
        ("/process/env", json!({"A": "b"})),
        ("/process/terminal", json!("no")),
        ("/process/user/uid", json!("root")),
        ("/process/user/uid", json!(-1)),
        ("/process/rlimits/0/soft", json!("1024")),
        ("/process/oomScoreAdj", json!(2000)),
        ("/root/readonly", json!("yes")),
        ("/root/path", json!(["rootfs"])),
        ("/mounts/0/options", json!("ro")),
        ("/linux/namespaces/0/type", json!("nope")),
        ("/linux/rootfsPropagation", json!("sideways")),
        ("/linux/personality", json!({"domain": "LINUX99"})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOPE"})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOPE"]})),
        ("/process/scheduler", json!({"policy": "SCHED_NOPE"})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NOPE", "priority": 0})),
        ("/linux/sysctl", json!({"net.ipv4.ip_forward": 1})),
    ];
    for (place, value) in values {
        let what = format!("{place} of {value}");
        checks.refuses(ID, runtime, Bundle::new().set(place, value), &what)?;
    }
    let pushed: [(&str, Value); 2] = [
        ("/linux/devices", json!({"path": "/dev/x", "type": "x", "major": 1, "minor": 3})),
        ("/process/rlimits", json!({"type": "RLIMIT_CORE", "soft": 10, "hard": 5})),
    ];
    for (place, value) in pushed {
        let what = format!("{value} in {place}");
        checks.refuses(ID, runtime, Bundle::new().push(place, value), &what)?;
    }
    Ok(())
}

const ANNOTATIONS: Case = Case {
    id: "document-annotations",
    proves: &["config.annotations.map", "config.annotations.empty-key", "config.annotations.values"],
    run: annotations,
};

fn annotations(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let with = |value: Value| Bundle::new().set("/annotations", value);
    checks.accepts("config.annotations.values", runtime, with(json!({"a": ""})), "an empty annotation")?;
    for list in [json!(["a=b"]), json!("a=b")] {
        let what = format!("{list} for annotations");
        checks.refuses("config.annotations.map", runtime, with(list), &what)?;
    }
    let nameless = with(json!({"": "value"}));
    checks.refuses("config.annotations.empty-key", runtime, nameless, "an annotation without a name")?;
    for value in [json!(1), json!(["a"]), json!({"b": "c"})] {
        let what = format!("an annotation of {value}");
        checks.refuses("config.annotations.values", runtime, with(json!({"a": value})), &what)?;
    }
    Ok(())
}

const ROOT: Case = Case {
    id: "root-path",
    proves: &["config.root.required", "config.root.path", "config.root.directory"],
    run: root,
};

fn root(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const PATH: &str = "config.root.path";
    let marked = || Bundle::new().file("/marker", "here").looking_at(["/marker", "/config.json"]);
    let mut look = |bundle: BundleBuilder, what: &str| -> Result<(), Error> {
        let seen = runtime.observe(&bundle.build()?)?;
        let right = seen.facts("/marker").is_some() && seen.facts("/config.json").is_none();
        checks.holds(PATH, &format!("{what} is the root"), &seen.paths, right);
        Ok(())
    };
    look(marked().set("/root/path", json!("rootfs")), "a path in the bundle")?;
    look(marked().set("/root/path", json!("$BUNDLE/rootfs")), "an absolute path")?;
    look(marked().set("/root/path", json!("./rootfs/../rootfs/")), "a path with dots")?;
    checks.refuses("config.root.required", runtime, Bundle::new().remove("/root"), "no root")?;
    let absent = Bundle::new().set("/root/path", json!("absent"));
    checks.refuses("config.root.directory", runtime, absent, "a root that does not exist")?;
    let file = Bundle::new().file_beside("file", "").set("/root/path", json!("file"));
    checks.refuses("config.root.directory", runtime, file, "a root that is a file")
}
