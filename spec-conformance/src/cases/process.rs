//! What the container's process is: program, user, limits, privileges, descriptors. Spec: config.md#process.

use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;

use crate::case::{Case, Checks};
use crate::report::{Capabilities, Ids, Mask, Rlimit};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[PROGRAM, USER, CAPABILITIES, RLIMITS, ATTRIBUTES, DESCRIPTORS];

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
        "config.posix-platform-user.additional-gids",
        "config.posix-platform-user.umask",
    ],
    run: user,
};

fn user(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let user = json!({"uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [5, 6]});
    let seen = runtime.observe(&Bundle::new().set("/process/user", user).build()?)?;
    checks.equal("config.posix-platform-user.uid", (Ids::all(1000), Ids::all(1001)), (seen.uid, seen.gid));
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
        "config.posix-process.soft-value",
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
        let found = seen.rlimits.get(kind).copied().unwrap_or(Rlimit { soft: 0, hard: 0 });
        checks.equal("config.posix-process.soft-value", (kind, soft), (kind, found.soft));
        checks.equal("config.posix-process.hard-value", (kind, hard), (kind, found.hard));
    }
    let with = |kind| Bundle::new().push("/process/rlimits", json!({"type": kind, "soft": 64, "hard": 64}));
    checks.refused("config.posix-process.rlimit-unknown", &runtime.run(&with("RLIMIT_NONE").build()?)?);
    checks.refused("config.posix-process.rlimit-twice", &runtime.run(&with("RLIMIT_NOFILE").build()?)?);
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
    let own = std::fs::read_to_string("/proc/self/oom_score_adj")
        .map_err(Error::file("/proc/self/oom_score_adj"))?;
    let seen = runtime.observe(&Bundle::new().build()?)?;
    checks.equal("config.linux-process.oom-score-unset", own.trim(), &seen.oom_score_adj.to_string());
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
