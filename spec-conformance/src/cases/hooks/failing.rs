//! What follows from a hook that fails, takes too long or is wrong.

use serde_json::{Value, json};

use super::{KINDS, Kind, lines, log, logging};
use crate::call::Finished;
use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::wait::Pidfd;
use crate::{Bundle, Error};

/// A bundle of which one hook of this kind fails, and whose poststop hook writes a line.
fn failing(kind: &Kind) -> Result<Bundle, Error> {
    let fail = kind.hook(&["probe", "hook", "ROOT/log", "failed", "7"]);
    let after = kind.hook(&["probe", "hook", "ROOT/log", "next"]);
    let hooks = format!("/hooks/{}", kind.name);
    logging().push(&hooks, fail).push(&hooks, after).build()
}

pub(super) const CREATE: Case = Case {
    id: "hooks-failing-create",
    proves: &[
        "runtime.lifecycle.prestart-fails",
        "runtime.lifecycle.create-runtime-fails",
        "runtime.lifecycle.create-container-fails",
        "runtime.lifecycle.destroy",
    ],
    run: failing_create,
};

fn failing_create(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    for kind in KINDS.iter().filter(|kind| kind.within == "create") {
        let bundle = failing(kind)?;
        let id = runtime.fresh_id();
        let created = runtime.create_as(&id, &bundle);
        let refused = matches!(&created, Err(Error::Refused { .. }));
        checks.holds(kind.fails, "create generates an error", &created, refused);
        drop(created);
        checks.equal(kind.fails, lines(&["failed"]), log(&bundle)?);
        checks.refused(kind.fails, &runtime.call(["state", &id])?);
        checks.equal("runtime.lifecycle.destroy", Vec::new(), runtime.leftovers(&id));
    }
    Ok(())
}

pub(super) const START: Case = Case {
    id: "hooks-failing-start",
    proves: &["runtime.lifecycle.start-container-fails", "runtime.lifecycle.poststart-fails"],
    run: failing_start,
};

fn failing_start(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    for kind in KINDS.iter().filter(|kind| kind.within == "start") {
        let bundle = failing(kind)?;
        let mut container = runtime.create(&bundle)?;
        checks.refused(kind.fails, &container.start()?);
        let ended = container.wait();
        checks.holds(kind.fails, "the container is stopped", &ended, ended.is_ok());
        let state = container.state();
        let stopped = state.as_ref().map_or(true, |state| state.status == "stopped");
        checks.holds(kind.fails, "the container is stopped, or gone", &state, stopped);
        let seen = log(&bundle)?;
        let rest: Vec<&str> = seen.iter().map(String::as_str).filter(|line| *line != "failed").collect();
        let expected = if kind.name == "poststart" {
            "no further hook"
        } else {
            "neither a further hook nor the program"
        };
        let none = rest.iter().all(|line| kind.name == "poststart" && *line == "program");
        checks.holds(kind.fails, expected, &seen, none && seen.len() > rest.len());
    }
    Ok(())
}

pub(super) const STOP: Case = Case {
    id: "hooks-failing-stop",
    proves: &["runtime.lifecycle.poststop-fails", "runtime.warnings.go-on"],
    run: failing_stop,
};

fn failing_stop(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = failing(&KINDS[5])?;
    let mut container = runtime.create(&bundle)?;
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    container.kill("KILL")?.success()?;
    container.wait()?;
    let deleted: Finished = container.delete()?;
    checks.holds("runtime.lifecycle.poststop-fails", "delete succeeds", &deleted, deleted.exit.success());
    checks.equal("runtime.lifecycle.poststop-fails", lines(&["program", "failed", "next"]), log(&bundle)?);
    let gone = runtime.call(["state", container.id()])?;
    checks.refused("runtime.warnings.go-on", &gone);
    Ok(())
}

pub(super) const TIMEOUT: Case =
    Case { id: "hooks-timeout", proves: &["config.posix-platform-hooks.aborted"], run: timeout };

/// A hook that would stay for ever.
fn timeout(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let mut hook = KINDS[1].hook(&["probe", "stay", "ROOT/log"]);
    hook["timeout"] = json!(1);
    let bundle = logging().push("/hooks/createRuntime", hook).build()?;
    let created = runtime.create(&bundle);
    let refused = matches!(&created, Err(Error::Refused { .. }));
    checks.holds("config.posix-platform-hooks.aborted", "create generates an error", &created, refused);
    drop(created);
    let pid = log(&bundle)?.first().and_then(|line| line.parse::<i32>().ok());
    checks.holds("config.posix-platform-hooks.aborted", "the hook has run", &pid, pid.is_some());
    let alive = pid.is_some_and(|pid| {
        let args = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Pidfd::open(pid).is_ok() && args.contains("stay")
    });
    checks.holds("config.posix-platform-hooks.aborted", "the hook is gone", &alive, !alive);
    Ok(())
}

pub(super) const INVALID: Case = Case {
    id: "hooks-invalid",
    proves: &["config.posix-platform-hooks.path-absolute", "config.posix-platform-hooks.timeout"],
    run: invalid,
};

fn invalid(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let with = |hook: Value| logging().args(["/bin/probe", "report"]).push("/hooks/createRuntime", hook);
    let valid = KINDS[1].hook(&["probe", "hook", "ROOT/log", "ran"]);
    runtime.run(&with(valid.clone()).build()?)?.success()?;
    // Every program that looks it up from its working directory finds this one.
    let relative = json!({"path": "bin/probe", "args": ["probe", "exit", "0"]});
    checks.refuses(
        "config.posix-platform-hooks.path-absolute",
        runtime,
        with(relative),
        "a relative path of a hook",
    )?;
    let mut zero = valid;
    zero["timeout"] = json!(0);
    checks.refuses("config.posix-platform-hooks.timeout", runtime, with(zero), "a timeout of zero")
}
