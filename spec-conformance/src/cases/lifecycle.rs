//! The operations and what they must refuse. Spec: runtime.md#operations.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::call::Exit;
use crate::case::{Case, Checks};
use crate::container::Container;
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[STATE, CREATE, ROLLBACK, START, KILL, DELETE, NO_ID, NO_PROCESS];

/// A process that stays until it is told to go.
const WAIT: [&str; 2] = ["/bin/probe", "wait"];

const STATE: Case = Case {
    id: "lifecycle-state",
    proves: &[
        "runtime.query-state.unknown",
        "runtime.query-state.state",
        "runtime.operations.all",
        "runtime.scope-of-a-container.use",
        "runtime.state.schema",
        "runtime.state.other-status",
        "runtime.state.version",
        "runtime.state.id",
        "runtime.state.status",
        "runtime.state.pid",
        "runtime.state.bundle",
        "runtime.state.annotations",
    ],
    run: state,
};

fn state(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    checks.refused("runtime.query-state.unknown", &runtime.call(["state", &runtime.fresh_id()])?);
    let bundle = Bundle::new().args(WAIT).set("/annotations", json!({"org.example.key": "value"})).build()?;
    let mut container = runtime.create(&bundle)?;
    schema(runtime, checks, container.id(), "created")?;
    let created = container.state()?;
    checks.holds(
        "runtime.state.version",
        "a version",
        &created.oci_version,
        created.oci_version.split('.').count() == 3,
    );
    checks.equal("runtime.state.id", container.id(), &created.id);
    checks.equal("runtime.state.status", "created", &created.status);
    checks.equal("runtime.state.pid", Some(container.pid()), created.pid);
    checks.equal("runtime.state.bundle", bundle.path(), &created.bundle);
    let annotation = created.annotations.as_ref().and_then(|all| all.get("org.example.key"));
    checks.equal("runtime.state.annotations", Some(&json!("value")), annotation);
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    schema(runtime, checks, container.id(), "running")?;
    let running = container.state()?;
    checks.equal("runtime.state.status", "running", &running.status);
    checks.equal("runtime.state.pid", Some(container.pid()), running.pid);
    container.kill("TERM")?.success()?;
    container.wait()?;
    checks.equal("runtime.state.status", "stopped", &container.state()?.status);
    schema(runtime, checks, container.id(), "stopped")?;
    // Each operation has been asked for once by now but this one, and by the same caller.
    let deleted = container.delete()?;
    for id in ["runtime.operations.all", "runtime.scope-of-a-container.use"] {
        checks.holds(id, "create, state, start, kill and delete work", &deleted, deleted.exit.success());
    }
    Ok(())
}

/// The state as the specification's JSON Schema has it. Spec: schema/state-schema.json.
fn schema(runtime: &Runtime, checks: &mut Checks, id: &str, status: &str) -> Result<(), Error> {
    let printed = runtime.call(["state", id])?.success()?.stdout;
    let state: Value = serde_json::from_str(&printed).unwrap_or_default();
    let texts = ["ociVersion", "id", "status", "bundle"].iter().all(|name| state[*name].is_string());
    let pid = state["pid"].as_u64();
    let annotations = state["annotations"].as_object().is_none_or(|all| all.values().all(Value::is_string));
    let shape = texts && annotations && (pid.is_some() || (status == "stopped" && state["pid"].is_null()));
    checks.holds("runtime.state.schema", "the shape of the schema", &state, shape);
    checks.holds("runtime.query-state.state", "a state", &state, texts);
    checks.equal("runtime.state.other-status", Some(status), state["status"].as_str());
    Ok(())
}

const CREATE: Case = Case {
    id: "lifecycle-create",
    proves: &[
        "runtime.create.id-in-use",
        "runtime.create.container",
        "runtime.create.args",
        "runtime.create.properties",
        "runtime.lifecycle.environment",
        "runtime.lifecycle.not-run",
        "runtime.lifecycle.edits",
    ],
    run: create,
};

fn create(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let mut bundle = Bundle::new()
        .args(["/bin/probe", "trap", "TERM"])
        .push("/mounts", json!({"destination": "/tmp", "type": "tmpfs", "source": "made-by-create"}))
        .build()?;
    let mut container = runtime.create(&bundle)?;
    checks.equal("runtime.create.container", "created", &container.state()?.status);
    made(checks, &container)?;
    let edited = Bundle::new().args(["/bin/probe", "exit", "7"]).set("/hostname", json!("edited"));
    bundle.write(edited.build()?.config().clone())?;
    for id in ["runtime.create.args", "runtime.lifecycle.not-run"] {
        checks.equal(id, "", &container.stdout()?);
    }
    container.start()?;
    container.wait_for_stdout("ready")?;
    container.kill("TERM")?.success()?;
    checks.equal("runtime.lifecycle.edits", Exit::Code(0), container.wait()?);
    in_use(runtime, checks)
}

/// The first container of an id is left as it is, whatever its status.
fn in_use(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "runtime.create.id-in-use";
    let bundle = Bundle::new().args(WAIT).build()?;
    let first = runtime.create(&bundle)?;
    let before = first.state()?;
    let second = runtime.create_as(first.id(), &bundle);
    checks.holds(ID, "an error", &second, matches!(&second, Err(Error::Refused { .. })));
    if second.is_err() {
        let after = first.state()?;
        checks.equal(ID, (before.status, before.pid), (after.status, after.pid));
    }
    Ok(())
}

/// What is there of a container before it is started.
fn made(checks: &mut Checks, container: &Container<'_>) -> Result<(), Error> {
    let process = format!("/proc/{}", container.pid());
    let (inside, ours) = (
        super::namespaces::of(format!("{process}/ns").as_ref())?,
        super::namespaces::of("/proc/self/ns".as_ref())?,
    );
    let table = std::fs::read_to_string(format!("{process}/mountinfo")).map_err(Error::file(&process))?;
    for id in ["runtime.create.properties", "runtime.lifecycle.environment", "runtime.lifecycle.not-run"] {
        for name in ["mnt", "net", "ipc", "uts", "pid"] {
            checks.differ(id, (name, ours.get(name)), (name, inside.get(name)));
        }
        checks.holds(
            id,
            "the mounts are made",
            &table,
            table.contains(" /tmp ") && table.contains("made-by-create"),
        );
    }
    Ok(())
}

const ROLLBACK: Case = Case {
    id: "lifecycle-rollback",
    proves: &[
        "runtime.create.cannot-apply",
        "runtime.lifecycle.environment-error",
        "runtime.errors.nothing-left",
    ],
    run: rollback,
};

/// Each of these is found out at another stage of create: parsing, namespaces, mounts.
fn rollback(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let impossible = [
        Bundle::new().push("/process/rlimits", json!({"type": "RLIMIT_NONE", "soft": 1, "hard": 1})),
        Bundle::new().set("/linux/namespaces/1", json!({"type": "network", "path": "/proc/self/ns/uts"})),
        Bundle::new().push("/mounts", json!({"destination": "/tmp", "type": "no such type", "source": "x"})),
    ];
    for builder in impossible {
        let bundle = builder.build()?;
        let id = runtime.fresh_id();
        let created = runtime.create_as(&id, &bundle);
        for id in ["runtime.create.cannot-apply", "runtime.lifecycle.environment-error"] {
            checks.holds(id, "an error", &created, matches!(&created, Err(Error::Refused { .. })));
        }
        drop(created);
        checks.equal("runtime.errors.nothing-left", Vec::new(), runtime.leftovers(&id));
    }
    Ok(())
}

const START: Case = Case {
    id: "lifecycle-start",
    proves: &["runtime.start.not-created", "runtime.start.program", "runtime.lifecycle.program"],
    run: start,
};

fn start(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().args(WAIT).build()?;
    let mut container = runtime.create(&bundle)?;
    let started = container.start()?;
    let ready = container.wait_for_stdout("ready");
    for id in ["runtime.start.program", "runtime.lifecycle.program"] {
        let runs = started.exit.success() && ready.is_ok();
        checks.holds(id, "the program runs", &(&started, &ready), runs);
    }
    checks.refused("runtime.start.not-created", &container.start()?);
    checks.equal("runtime.start.not-created", "running", &container.state()?.status);
    container.kill("KILL")?.success()?;
    container.wait()?;
    checks.refused("runtime.start.not-created", &container.start()?);
    Ok(())
}

const KILL: Case =
    Case { id: "lifecycle-kill", proves: &["runtime.kill.not-running", "runtime.kill.signal"], run: kill };

fn kill(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().args(["/bin/probe", "trap", "USR1"]).build()?;
    let mut container = runtime.create(&bundle)?;
    container.start()?;
    container.wait_for_stdout("ready")?;
    container.kill("USR1")?.success()?;
    let ended = container.wait();
    checks.holds(
        "runtime.kill.signal",
        "the end that the signal asks for",
        &ended,
        matches!(ended, Ok(Exit::Code(0))),
    );
    checks.equal("runtime.kill.signal", "ready\ngot USR1\n", &container.stdout()?);
    if ended.is_err() {
        container.process().send(Signal::SIGKILL).map_err(Error::system("pidfd_send_signal"))?;
        container.wait()?;
    }
    checks.refused("runtime.kill.not-running", &container.kill("TERM")?);
    Ok(())
}

const DELETE: Case = Case {
    id: "lifecycle-delete",
    proves: &[
        "runtime.delete.not-stopped",
        "runtime.delete.resources",
        "runtime.delete.foreign",
        "runtime.delete.reuse",
        "runtime.lifecycle.destroy",
    ],
    run: delete,
};

fn delete(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new()
        .args(WAIT)
        .file_beside("kept/file", "kept")
        .push("/mounts", json!({"destination": "/tmp", "source": "$BUNDLE/kept", "options": ["bind"]}))
        .build()?;
    let mut container = runtime.create(&bundle)?;
    // Clients delete containers that they have not started, so runtimes let them unless told otherwise.
    let deleted = runtime.call_strictly(["delete", container.id()])?;
    checks.refused("runtime.delete.not-stopped", &deleted);
    if deleted.exit.success() {
        container = runtime.create(&bundle)?;
    }
    checks.equal("runtime.delete.not-stopped", "created", &container.state()?.status);
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    let deleted = container.delete()?;
    checks.refused("runtime.delete.not-stopped", &deleted);
    if deleted.exit.success() && container.state().is_err() {
        container = runtime.create(&bundle)?;
        container.start()?.success()?;
        container.wait_for_stdout("ready")?;
    }
    checks.equal("runtime.delete.not-stopped", "running", &container.state()?.status);
    container.kill("KILL")?.success()?;
    container.wait()?;
    let deleted = container.delete()?;
    checks.holds(
        "runtime.delete.resources",
        "a stopped container can be deleted",
        &deleted,
        deleted.exit.success(),
    );
    checks.refused("runtime.delete.resources", &runtime.call(["state", container.id()])?);
    for id in ["runtime.delete.resources", "runtime.lifecycle.destroy"] {
        checks.equal(id, Vec::new(), runtime.leftovers(container.id()));
    }
    for kept in ["kept/file", "config.json", "rootfs/bin/probe"] {
        let there = bundle.path().join(kept).exists();
        checks.holds("runtime.delete.foreign", &format!("{kept} is left"), &there, there);
    }
    let other = Bundle::new().build()?;
    let again = runtime.create_as(container.id(), &other);
    checks.holds("runtime.delete.reuse", "the id is free again", &again, again.is_ok());
    Ok(())
}

const NO_ID: Case = Case {
    id: "lifecycle-no-id",
    proves: &[
        "runtime.query-state.no-id",
        "runtime.create.no-arguments",
        "runtime.start.no-id",
        "runtime.kill.no-id",
        "runtime.delete.no-id",
    ],
    run: no_id,
};

fn no_id(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().args(WAIT).build()?;
    let container = runtime.create(&bundle)?;
    let path = bundle.path().to_string_lossy().into_owned();
    let calls: [(&'static str, &[&str]); 7] = [
        ("runtime.query-state.no-id", &["state"]),
        ("runtime.start.no-id", &["start"]),
        ("runtime.kill.no-id", &["kill"]),
        ("runtime.delete.no-id", &["delete"]),
        ("runtime.create.no-arguments", &["create"]),
        ("runtime.create.no-arguments", &["create", "--bundle", &path]),
        // No bundle is where the harness runs.
        ("runtime.create.no-arguments", &["create", "without-a-bundle"]),
    ];
    for (requirement, words) in calls {
        let mut command = runtime.command(words);
        command.current_dir("/");
        checks.refused(requirement, &runtime.finish(command)?);
    }
    // There is one container, and it has nothing to do with any of these calls.
    checks.equal("runtime.start.no-id", "created", &container.state()?.status);
    Ok(())
}

const NO_PROCESS: Case = Case {
    id: "lifecycle-no-process",
    proves: &["runtime.start.no-process", "config.process.required"],
    run: no_process,
};

/// The configuration may lack a process until start is called; a runtime may refuse it before.
fn no_process(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().remove("/process").build()?;
    let id = runtime.fresh_id();
    let created = runtime.create_as(&id, &bundle);
    for requirement in ["runtime.start.no-process", "config.process.required"] {
        checks.refused(requirement, &runtime.call(["start", &id])?);
    }
    drop(created);
    Ok(())
}
