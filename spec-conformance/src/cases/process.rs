//! What the container's process is: program, user, limits, privileges, descriptors. Spec: config.md#process.

use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;

use crate::case::{Case, Checks};
use crate::report::{Capabilities, Ids, Mask, Rlimit};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] =
    &[PROGRAM, USER, CAPABILITIES, RLIMITS, UNGRANTED, CWD, ATTRIBUTES, DESCRIPTORS];

const PROGRAM: Case = Case {
    id: "process-program",
    proves: &["config.process.cwd", "config.process.env", "config.process.args", "config.process.path"],
    run: program,
};

fn program(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let args = ["/bin/probe", "report", "--stat", "/a path with spaces", "--sysctl", ""];
    let env = ["PATH=/nowhere:/bin", "EMPTY=", "SPACED= a b ", "EQUALS=a=b"];
    let bundle = Bundle::new().args(args).set("/process/env", json!(env)).set("/process/cwd", json!("/etc"));
    let seen = runtime.observe(&bundle.clone().build()?)?;
    checks.equal("config.process.cwd", "/etc", &seen.cwd);
    checks.equal("config.process.args", args.map(str::to_owned).to_vec(), seen.args);
    // The environment is a set: its order means nothing, and a runtime may add variables, HOME for one.
    for entry in env {
        checks.holds("config.process.env", entry, &seen.env, seen.env.iter().any(|own| own == entry));
    }
    let seen = runtime.observe(&bundle.args(["probe", "report"]).build()?)?;
    checks.equal("config.process.path", "probe", &seen.args[0]);
    Ok(())
}

const USER: Case = Case {
    id: "process-user",
    proves: &[
        "config.posix-platform-user.uid",
        "config.posix-platform-user.gid",
        "config.posix-platform-user.additional-gids",
        "config.posix-platform-user.umask",
    ],
    run: user,
};

fn user(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let user = json!({"uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [5, 6]});
    let seen = runtime.observe(&Bundle::new().set("/process/user", user).build()?)?;
    checks.equal("config.posix-platform-user.uid", Ids::all(1000), seen.uid);
    checks.equal("config.posix-platform-user.gid", Ids::all(1001), seen.gid);
    // Whether the primary group is listed among the supplementary ones is left open.
    let groups: Vec<u32> = seen.groups.into_iter().filter(|gid| *gid != 1001).collect();
    checks.equal("config.posix-platform-user.additional-gids", vec![5, 6], groups);
    checks.equal("config.posix-platform-user.umask", 0o027, seen.umask);
    Ok(())
}

const CAPABILITIES: Case = Case {
    id: "process-capabilities",
    proves: &["config.linux-process.capabilities", "config.linux-process.no-new-privileges"],
    run: capabilities,
};

/// As an ordinary user: for root, execve(2) itself widens the permitted set to the bounding set.
fn capabilities(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let (wide, narrow) = (["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"], ["CAP_KILL", "CAP_CHOWN"]);
    let sets = json!({
        "bounding": wide, "effective": narrow, "permitted": narrow, "inheritable": narrow, "ambient": narrow,
    });
    let bundle = Bundle::new()
        .set("/process/capabilities", sets)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/noNewPrivileges", json!(true));
    let seen = runtime.observe(&bundle.build()?)?;
    let narrow = Mask::of_capabilities(&narrow).unwrap_or_default();
    let expected = Capabilities {
        bounding: Mask::of_capabilities(&wide).unwrap_or_default(),
        effective: narrow,
        inheritable: narrow,
        permitted: narrow,
        ambient: narrow,
    };
    checks.equal("config.linux-process.capabilities", expected, seen.capabilities);
    checks.equal("config.linux-process.no-new-privileges", true, seen.no_new_privs);
    let bundle = Bundle::new().set("/process/noNewPrivileges", json!(false)).build()?;
    checks.equal("config.linux-process.no-new-privileges", false, runtime.observe(&bundle)?.no_new_privs);
    Ok(())
}

const RLIMITS: Case = Case {
    id: "process-rlimits",
    proves: &[
        "config.posix-process.rlimit-type",
        "config.posix-process.rlimit-succeeds",
        "config.posix-process.soft",
        "config.posix-process.soft-value",
        "config.posix-process.hard",
        "config.posix-process.hard-value",
        "config.posix-process.rlimit-unknown",
        "config.posix-process.rlimit-twice",
    ],
    run: rlimits,
};

fn rlimits(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let limits = [("RLIMIT_NOFILE", 100, 200), ("RLIMIT_CORE", 0, 4096), ("RLIMIT_FSIZE", 1 << 40, 1 << 41)];
    let entry = |(kind, soft, hard): &(&str, u64, u64)| json!({"type": kind, "soft": soft, "hard": hard});
    let config = limits.iter().map(entry).collect::<Vec<_>>();
    let seen = runtime.observe(&Bundle::new().set("/process/rlimits", json!(config)).build()?)?;
    for (kind, soft, hard) in limits {
        let found = seen.rlimits.get(kind).copied();
        checks.holds("config.posix-process.rlimit-succeeds", kind, &seen.rlimits, found.is_some());
        let found = found.unwrap_or(Rlimit { soft: 0, hard: 0 });
        checks.equal("config.posix-process.rlimit-type", Rlimit { soft, hard }, found);
        checks.equal("config.posix-process.soft-value", (kind, soft), (kind, found.soft));
        checks.equal("config.posix-process.hard-value", (kind, hard), (kind, found.hard));
    }
    let tight = Bundle::new()
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 120}]))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .remove("/process/capabilities");
    let enforced = runtime.run(&tight.clone().args(["/bin/probe", "descriptors"]).build()?)?.success()?;
    checks.equal("config.posix-process.soft", "100 EMFILE", enforced.stdout.trim());
    let raised = runtime.run(&tight.args(["/bin/probe", "raise-limit"]).build()?)?.success()?;
    checks.equal("config.posix-process.hard", "120 EPERM", raised.stdout.trim());
    let with = |kind| Bundle::new().push("/process/rlimits", json!({"type": kind, "soft": 64, "hard": 64}));
    checks.refused("config.posix-process.rlimit-unknown", &runtime.run(&with("RLIMIT_NONE").build()?)?);
    checks.refused("config.posix-process.rlimit-twice", &runtime.run(&with("RLIMIT_NOFILE").build()?)?);
    Ok(())
}

const UNGRANTED: Case = Case {
    id: "process-ungranted",
    proves: &[
        "config.linux-process.capability-unknown",
        "config.linux-process.capability-not-granted",
        "runtime.warnings.go-on",
    ],
    run: ungranted,
};

/// A capability that no kernel has. The specification leaves open whether anybody hears of a warning.
fn ungranted(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const NAME: &str = "CAP_CONFORMANCE";
    let wide = json!(["CAP_KILL", NAME]);
    let sets = json!({"bounding": wide, "effective": wide, "permitted": wide});
    let bundle = Bundle::new().set("/process/capabilities", sets).build()?;
    let log = bundle.path().join("log");
    let id = runtime.fresh_id();
    let log_option = ["--log".as_ref(), log.as_os_str()];
    let mut command = runtime.command(log_option);
    command.args(["run".as_ref(), "--bundle".as_ref(), bundle.path().as_os_str(), id.as_ref()]);
    let logged = runtime.finish(command)?;
    let silent = runtime.run(&bundle)?;
    let ran = silent.exit.success();
    for id in ["config.linux-process.capability-not-granted", "runtime.warnings.go-on"] {
        checks.holds(id, "the container runs", &silent, ran);
    }
    if ran {
        let seen = silent.report()?.capabilities.bounding;
        checks.equal(
            "runtime.warnings.go-on",
            Mask::of_capabilities(&["CAP_KILL"]).unwrap_or_default(),
            seen,
        );
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    let heard = [&said, &logged.stderr, &silent.stderr].iter().any(|text| text.contains(NAME));
    if ran && !heard {
        checks.skip("config.linux-process.capability-unknown", "a runtime whose warnings can be heard");
    } else {
        checks.holds("config.linux-process.capability-unknown", "a warning", &(said, silent), ran && heard);
    }
    Ok(())
}

const CWD: Case =
    Case { id: "process-cwd-relative", proves: &["config.process.cwd-absolute"], run: relative_cwd };

fn relative_cwd(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let with = |cwd: &str| Bundle::new().set("/process/cwd", json!(cwd));
    runtime.run(&with("/etc").build()?)?.success()?;
    for cwd in ["etc", "./etc", ""] {
        checks.refuses("config.process.cwd-absolute", runtime, with(cwd), &format!("the cwd {cwd:?}"))?;
    }
    Ok(())
}

const ATTRIBUTES: Case = Case {
    id: "process-attributes",
    proves: &["config.linux-process.oom-score", "config.linux-process.oom-score-unset"],
    run: attributes,
};

fn attributes(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let seen = runtime.observe(&Bundle::new().set("/process/oomScoreAdj", json!(321)).build()?)?;
    checks.equal("config.linux-process.oom-score", 321, seen.oom_score_adj);
    // Other than the default, which a runtime could have written.
    const FILE: &str = "/proc/self/oom_score_adj";
    let own = std::fs::read_to_string(FILE).map_err(Error::file(FILE))?;
    std::fs::write(FILE, "77").map_err(Error::file(FILE))?;
    let seen = runtime.observe(&Bundle::new().build()?);
    std::fs::write(FILE, own).map_err(Error::file(FILE))?;
    checks.equal("config.linux-process.oom-score-unset", 77, seen?.oom_score_adj);
    Ok(())
}

const DESCRIPTORS: Case = Case {
    id: "process-descriptors",
    proves: &["runtime-linux.file-descriptors.standard-streams"],
    run: descriptors,
};

/// The runtime gets a stray descriptor, as shims leave them, and must not hand it on.
fn descriptors(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let (stray, _writer) = std::io::pipe().map_err(Error::file("pipe"))?;
    fcntl(stray.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).map_err(Error::system("fcntl"))?;
    let seen = runtime.observe(&Bundle::new().build()?)?;
    checks.equal(
        "runtime-linux.file-descriptors.standard-streams",
        vec![0, 1, 2],
        seen.fds.keys().copied().collect(),
    );
    Ok(())
}
