//! What the program is when it begins to run: directory, environment, user, limits, rights. Rows P-03 to P-13,
//! P-19 to P-21, E-13 to E-15.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use integration_tests::{Wrapped, ketch, running, runtime};
use serde_json::{Value, json};
use spec_conformance::report::{Capabilities, Ids, Mask, Rlimit};
use spec_conformance::{Bundle, BundleBuilder, Exit, Finished, Report};

fn ran(bundle: BundleBuilder) -> Finished {
    runtime().run(&bundle.build().unwrap()).unwrap()
}

fn seen(bundle: BundleBuilder) -> Report {
    ran(bundle).success().unwrap().report().unwrap()
}

/// Why this is refused.
fn refused(bundle: BundleBuilder) -> String {
    let call = ran(bundle);
    assert!(!call.exit.success() && call.stdout.is_empty(), "{call:?}");
    call.stderr
}

/// `run`, called by a shell that has done this first.
fn seen_after(script: &str, bundle: BundleBuilder) -> Report {
    let (runtime, bundle) = (runtime(), bundle.build().unwrap());
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{script} exec \"$@\""), "sh"])
        .arg(ketch())
        .arg("--root")
        .arg(runtime.root());
    command.arg("run").arg("--bundle").arg(bundle.path()).arg(runtime.fresh_id());
    runtime.finish(command).unwrap().success().unwrap().report().unwrap()
}

#[test]
fn p03_a_working_directory_that_is_missing_is_made_also_in_a_read_only_root() {
    for readonly in [false, true] {
        let bundle = Bundle::new()
            .args(["/bin/probe", "report", "--stat", "/new", "--stat", "/new/deep"])
            .set("/root/readonly", json!(readonly))
            .set("/process/cwd", json!("/new/deep"))
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let report = seen(bundle);
        assert_eq!(report.cwd, "/new/deep");
        for path in ["/new", "/new/deep"] {
            let facts = report.paths[path].present().unwrap();
            assert_eq!((facts.mode, facts.uid), (0o755, 0), "{path}");
        }
    }
}

#[test]
fn p03_a_working_directory_that_was_deleted_is_made_again_for_exec() {
    let runtime = runtime();
    let bundle = Bundle::new()
        .with_busybox()
        .args(["/bin/probe", "wait"])
        .set("/root/readonly", json!(false))
        .set("/process/cwd", json!("/work"))
        .build()
        .unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    fs::remove_dir(bundle.rootfs().join("work")).unwrap();
    let report = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
    assert_eq!(report.cwd, "/work");
}

#[test]
fn p03_a_working_directory_behind_links_stays_in_the_root() {
    let outside = tempfile::tempdir().unwrap();
    let bundle = Bundle::new()
        .set("/root/readonly", json!(false))
        .set("/process/cwd", json!("/way/out"))
        .build()
        .unwrap();
    std::os::unix::fs::symlink(outside.path(), bundle.rootfs().join("way")).unwrap();
    let runtime = runtime();
    let report = runtime.run(&bundle).unwrap().success().unwrap().report().unwrap();
    assert_eq!(report.cwd, format!("{}/out", outside.path().display()));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(bundle.rootfs().join(report.cwd.trim_start_matches('/')).is_dir());
}

#[test]
fn p03_a_working_directory_that_is_none_is_refused() {
    let file = Bundle::new().file("etc/file", "x");
    let why = refused(file.clone().set("/process/cwd", json!("/etc/file")));
    assert!(why.contains("working directory /etc/file: chdir: not a directory"), "{why}");
    let why = refused(file.clone().set("/process/cwd", json!("etc")));
    assert!(why.contains("/process/cwd: \"etc\" is not an absolute path"), "{why}");
    let why = refused(file.remove("/process/cwd"));
    assert!(why.contains("/process/cwd: is missing"), "{why}");
}

#[test]
fn p04_the_environment_is_the_configs_with_the_last_of_each_name() {
    let env =
        json!(["A=1", "PATH=/bin", "SPACED= a b ", "EQUALS=a=b", "EMPTY=", "LINES=a\nb", "A=2", "HOME=/h"]);
    let report = seen(Bundle::new().set("/process/env", env));
    assert_eq!(
        report.env,
        ["PATH=/bin", "SPACED= a b ", "EQUALS=a=b", "EMPTY=", "LINES=a\nb", "A=2", "HOME=/h"]
    );
    // Nothing of the caller's.
    let report = seen_after("export LEAKED=1;", Bundle::new().set("/process/env", json!([])));
    assert_eq!(report.env, ["HOME=/"]);
    let why = refused(Bundle::new().set("/process/env", json!(["A=1", "B", "=c"])));
    assert!(why.contains("/process/env/1: \"B\" has no \"=\""), "{why}");
    assert!(why.contains("/process/env/2: \"=c\" has no name"), "{why}");
}

#[test]
fn p05_home_is_the_one_of_the_containers_passwd_unless_it_is_given() {
    let passwd =
        "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/trap:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
    let home = |uid: u32, env: Value| {
        let bundle = Bundle::new()
            .file("etc/passwd", passwd)
            .set("/process/user", json!({"uid": uid, "gid": 0}))
            .set("/process/env", env);
        let report = seen(bundle);
        // A name that looks like the number is nobody's number.
        assert_eq!(report.uid, Ids::all(uid));
        report.variable("HOME").unwrap().to_owned()
    };
    assert_eq!(home(0, json!([])), "/root");
    assert_eq!(home(1000, json!(["HOMER=x"])), "/home/user");
    assert_eq!(home(1001, json!([])), "/");
    assert_eq!(home(1000, json!(["HOME=/given"])), "/given");
    assert_eq!(seen(Bundle::new().set("/process/env", json!([]))).variable("HOME"), Some("/"));
}

#[test]
fn p06_the_program_is_looked_up_as_execvp_does() {
    let args = |args: &[&str], path: &str| {
        let env = json!([format!("PATH={path}")]);
        Bundle::new().args(args.iter().copied()).set("/process/env", env).set("/process/cwd", json!("/bin"))
    };
    let odd = ["probe", "report", "--stat", "", "--stat", "two words"];
    assert_eq!(seen(args(&odd, "/nowhere:/etc/file:/bin").file("etc/file", "x")).args, odd);
    // An empty element, and a name with a slash, count from the working directory.
    seen(args(&["probe", "report"], "/nowhere::/etc"));
    seen(args(&["./probe", "report"], "/nowhere"));
    seen(args(&["../bin/probe", "report"], ""));
    // A file that cannot be executed does not hide one that can; alone it is refused.
    let hidden = args(&["probe", "report"], "/etc:/bin").file("etc/probe", "x");
    seen(hidden);
    for (bundle, exit, words) in [
        (args(&["probe"], "/nowhere"), 127, "exec: \"probe\": executable file not found in $PATH"),
        (args(&["file"], "/etc").file("etc/file", "x"), 126, "exec: \"file\": faccessat: permission denied"),
        (args(&["/etc"], ""), 126, "exec: \"/etc\": execve: is a directory"),
        (args(&["/absent"], ""), 127, "\"/absent\""),
    ] {
        let call = ran(bundle);
        assert_eq!((call.exit, call.stderr.contains(words)), (Exit::Code(exit), true), "{call:?}");
    }
    let why = refused(args(&[], ""));
    assert!(why.contains("/process/args: args must not be empty"), "{why}");
}

#[test]
fn p07_every_limit_is_exactly_what_is_configured() {
    let own = seen(Bundle::new().set("/process/rlimits", json!([]))).rlimits;
    assert_eq!(own.len(), 16);
    // Within what the test has itself: raising takes CAP_SYS_RESOURCE, which not everybody has.
    let lowered =
        |limit: &Rlimit| Rlimit { soft: limit.hard.min(1 << 40) / 2, hard: limit.hard.min(1 << 40) };
    let wanted: BTreeMap<_, _> = own.iter().map(|(name, limit)| (name.clone(), lowered(limit))).collect();
    let entry =
        |(name, limit): (&String, &Rlimit)| json!({"type": name, "soft": limit.soft, "hard": limit.hard});
    let config: Vec<Value> = wanted.iter().map(entry).collect();
    assert_eq!(seen(Bundle::new().set("/process/rlimits", json!(config))).rlimits, wanted);
}

#[test]
fn e13_e14_p07_a_limit_that_does_not_exist_or_comes_twice_is_refused() {
    let twice =
        Bundle::new().push("/process/rlimits", json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}));
    let why = refused(twice);
    assert!(why.contains("/process/rlimits/1/type: RLIMIT_NOFILE is listed twice"), "{why}");
    let unknown =
        Bundle::new().push("/process/rlimits", json!({"type": "RLIMIT_MOON", "soft": 1, "hard": 1}));
    let why = refused(unknown);
    assert!(why.contains("/process/rlimits/1/type: ") && why.contains("RLIMIT_MOON"), "{why}");
}

#[test]
fn p08_a_profile_is_applied_where_apparmor_is_and_refused_where_it_is_not() {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    let with = |profile: &str| Bundle::new().set("/process/apparmorProfile", json!(profile));
    if enabled.starts_with('Y') {
        let why = refused(with("ketch-no-such-profile"));
        assert!(why.contains("set the security label"), "{why}");
        let label = seen(with("unconfined")).label;
        assert!(label.is_some_and(|label| label.starts_with("unconfined")));
        if let Some(profile) = loaded_profile() {
            let label = seen(with(&profile)).label.unwrap();
            assert!(label.starts_with(&profile), "{label}");
        }
    } else {
        let why = refused(with("docker-default"));
        let words = "/process/apparmorProfile: \"docker-default\" cannot be applied: AppArmor is not enabled";
        assert!(why.contains(words), "{why}");
        assert_eq!(seen(with("")).label, None);
    }
}

/// A profile that lets a program do anything, if an engine has loaded one.
fn loaded_profile() -> Option<String> {
    let loaded = fs::read_to_string("/sys/kernel/security/apparmor/profiles").ok()?;
    let names = loaded.lines().filter_map(|line| line.split_once(" ("));
    names.map(|(name, _)| name.to_owned()).find(|name| name == "docker-default" || name == "crun")
}

#[test]
fn p09_a_label_is_refused_where_selinux_is_not() {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        let why = refused(Bundle::new().set("/process/selinuxLabel", json!("no:such:label")));
        assert!(why.contains("set the security label"), "{why}");
        return;
    }
    let label = "system_u:system_r:container_t:s0";
    let why = refused(Bundle::new().set("/process/selinuxLabel", json!(label)));
    assert!(why.contains(&format!("/process/selinuxLabel: {label:?} cannot be applied: SELinux")), "{why}");
}

fn user_with(capabilities: Value) -> BundleBuilder {
    Bundle::new()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/capabilities", capabilities)
}

#[test]
fn p10_each_of_the_five_sets_is_exactly_what_is_configured() {
    let mask = |names: &[&str]| Mask::of_capabilities(names).unwrap();
    let sets = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN", "CAP_KILL"], "inheritable": ["CAP_KILL", "CAP_NET_RAW"], "ambient": ["CAP_KILL"],
    });
    for privileges in [false, true] {
        let report = seen(user_with(sets.clone()).set("/process/noNewPrivileges", json!(privileges)));
        // Of a user's permitted capabilities execve(2) leaves the ambient ones, see capabilities(7).
        let expected = Capabilities {
            bounding: mask(&["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]),
            inheritable: mask(&["CAP_KILL", "CAP_NET_RAW"]),
            permitted: mask(&["CAP_KILL"]),
            effective: mask(&["CAP_KILL"]),
            ambient: mask(&["CAP_KILL"]),
        };
        assert_eq!(report.capabilities, expected);
    }
    assert_eq!(seen(user_with(json!({}))).capabilities, Capabilities::default());
    let none = seen(Bundle::new().remove("/process/capabilities"));
    assert_eq!(none.capabilities, Capabilities::default());
}

#[test]
fn p10_e15_p11_a_capability_that_cannot_be_given_is_a_warning() {
    let odd = json!({"bounding": ["CAP_TIME_TRAVEL", "CAP_KILL"], "permitted": ["CAP_KILL"],
        "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_KILL", "CAP_CHOWN"]});
    let (runtime, bundle) = (runtime(), user_with(odd).build().unwrap());
    let log = bundle.path().join("log");
    let mut command = Command::new(ketch());
    command.arg("--root").arg(runtime.root()).arg("--log").arg(&log);
    command.arg("run").arg("--bundle").arg(bundle.path()).arg(runtime.fresh_id());
    let sets = runtime.finish(command).unwrap().success().unwrap().report().unwrap().capabilities;
    let [chown, kill] = ["CAP_CHOWN", "CAP_KILL"].map(|name| Mask::of_capabilities(&[name]).unwrap());
    // What is not in the bounding set becomes inheritable only before it is taken out of that.
    assert_eq!((sets.bounding, sets.inheritable, sets.ambient), (kill, chown, Mask(0)));
    let said = fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("level=warning")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[0].contains("/process/capabilities/bounding/0") && lines[0].contains("CAP_TIME_TRAVEL"),
        "{said}"
    );
    assert!(lines[1].contains("/process/capabilities/ambient: left out: CAP_CHOWN, CAP_KILL"), "{said}");
}

#[test]
fn p12_no_new_privileges_is_as_configured_also_beside_a_filter() {
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]});
    for wanted in [Some(true), Some(false), None] {
        let bundle = user_with(json!({})).set("/linux/seccomp", filter.clone());
        let report = seen(match wanted {
            Some(wanted) => bundle.set("/process/noNewPrivileges", json!(wanted)),
            None => bundle.remove("/process/noNewPrivileges"),
        });
        assert_eq!((report.no_new_privs, report.seccomp), (wanted == Some(true), 2));
        assert_eq!(report.capabilities, Capabilities::default());
    }
}

#[test]
fn p13_the_oom_score_is_the_configs_or_the_callers() {
    let score = |value: i32| Bundle::new().set("/process/oomScoreAdj", json!(value));
    assert_eq!(seen(score(1000)).oom_score_adj, 1000);
    assert_eq!(seen_after("echo 77 >/proc/self/oom_score_adj;", Bundle::new()).oom_score_adj, 77);
    let lowered = ran(score(-1000));
    if lowered.exit.success() {
        assert_eq!(lowered.report().unwrap().oom_score_adj, -1000);
    } else {
        assert!(lowered.stderr.contains("set oom_score_adj: write: permission denied"), "{lowered:?}");
        assert!(lowered.stderr.contains("hint: this takes CAP_SYS_RESOURCE"), "{lowered:?}");
    }
}

#[test]
fn p19_p20_ids_and_groups_are_exactly_the_listed_ones() {
    let user = |user: Value| seen_after("", Bundle::new().set("/process/user", user));
    let report = user(json!({"uid": 4_294_967_294_u32, "gid": 7, "additionalGids": [300, 5, 70000]}));
    assert_eq!((report.uid, report.gid), (Ids::all(u32::MAX - 1), Ids::all(7)));
    assert_eq!(report.groups, [5, 300, 70000]);
    // The caller's own groups are not the container's.
    let runtime = runtime();
    let bundle = Bundle::new().set("/process/user", json!({"uid": 0, "gid": 0})).build().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--groups", "4,24,27"]).arg(ketch()).arg("--root").arg(runtime.root());
    command.arg("run").arg("--bundle").arg(bundle.path()).arg(runtime.fresh_id());
    let report = runtime.finish(command).unwrap().success().unwrap().report().unwrap();
    assert_eq!((report.groups, report.gid), (vec![], Ids::all(0)));
    let why = refused(Bundle::new().set("/process/user", json!({"uid": u32::MAX, "gid": 0})));
    assert!(why.contains("/process/user/uid: 4294967295 is not a uid"), "{why}");
}

#[test]
fn p21_the_umask_is_the_configs_or_the_callers() {
    let masked = |mask: u32| Bundle::new().set("/process/user/umask", json!(mask));
    assert_eq!(seen_after("umask 077;", Bundle::new()).umask, 0o077);
    assert_eq!(seen_after("umask 077;", masked(0)).umask, 0);
    assert_eq!(seen(masked(0o777)).umask, 0o777);
    let why = refused(masked(0o1000));
    assert!(why.contains("/process/user/umask: 512 is more than 511"), "{why}");
}

#[test]
fn p22_a_closed_standard_stream_is_no_door_to_another_file() {
    let report = |script: &str| seen_after(script, Bundle::new()).fds;
    assert_eq!(report("exec 5</etc/passwd 9</dev/null;").keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    // Whatever the runtime opens must not end up as the program's standard input.
    let without = report("exec <&-;");
    assert!(without.get(&0).is_none_or(|file| file == "/dev/null"), "{without:?}");
}

#[test]
fn p06_exec_looks_its_program_up_in_the_containers_path() {
    let runtime = runtime();
    let bundle =
        Bundle::new().args(["/bin/probe", "wait"]).set("/process/env", json!(["PATH=/bin"])).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    assert_eq!(container.exec(["probe", "exit", "3"]).unwrap().exit, Exit::Code(3));
}

#[test]
fn a02_the_callers_groups_are_the_programs_and_those_of_exec_if_the_annotation_says_so() {
    let wrapped = Wrapped::new("exec setpriv --groups 7,9 \"$@\"");
    let runtime = wrapped.runtime();
    let container = |keep: &str| {
        let bundle = Bundle::new()
            .with_busybox()
            .args(["/bin/sh", "-c", "probe report; exec probe wait"])
            .set("/annotations", json!({"run.oci.keep_original_groups": keep}))
            .build()
            .unwrap();
        let mut container = running(runtime, &bundle);
        let said = container.stdout().unwrap();
        let own = Report::parse(said.lines().next().unwrap()).unwrap();
        let exec = container.exec(["/bin/probe", "report"]).unwrap().success().unwrap().report().unwrap();
        (own.groups, exec.groups)
    };
    assert_eq!(container("1"), (vec![7, 9], vec![7, 9]));
    assert_eq!(container("0"), (Vec::new(), Vec::new()));
}
