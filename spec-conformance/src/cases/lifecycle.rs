//! The operations and what they must refuse. Spec: runtime.md#operations.

use serde_json::json;

use crate::call::Exit;
use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[STATE, CREATE, ROLLBACK, START, KILL, DELETE];

/// A process that stays until it is told to go.
const WAIT: [&str; 2] = ["/bin/probe", "wait"];

const STATE: Case = Case {
    id: "lifecycle-state",
    proves: &[
        "runtime.query-state.unknown",
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
    let running = container.state()?;
    checks.equal("runtime.state.status", "running", &running.status);
    checks.equal("runtime.state.pid", Some(container.pid()), running.pid);
    container.kill("TERM")?.success()?;
    container.wait()?;
    checks.equal("runtime.state.status", "stopped", &container.state()?.status);
    Ok(())
}

const CREATE: Case = Case {
    id: "lifecycle-create",
    proves: &["runtime.create.id-in-use", "runtime.create.args", "runtime.lifecycle.edits"],
    run: create,
};

fn create(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let mut bundle = Bundle::new().args(["/bin/probe", "trap", "TERM"]).build()?;
    let mut container = runtime.create(&bundle)?;
    let second = runtime.create_as(container.id(), &bundle);
    checks.holds(
        "runtime.create.id-in-use",
        "an error",
        &second,
        matches!(&second, Err(Error::Refused { .. })),
    );
    checks.equal("runtime.create.id-in-use", "created", &container.state()?.status);
    let edited = Bundle::new().args(["/bin/probe", "exit", "7"]).set("/hostname", json!("edited"));
    bundle.write(edited.build()?.config().clone())?;
    checks.equal("runtime.create.args", "", &container.stdout()?);
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    container.kill("TERM")?.success()?;
    checks.equal("runtime.lifecycle.edits", Exit::Code(0), container.wait()?);
    Ok(())
}

const ROLLBACK: Case = Case {
    id: "lifecycle-rollback",
    proves: &["runtime.create.cannot-apply", "runtime.errors.nothing-left"],
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
        checks.holds(
            "runtime.create.cannot-apply",
            "an error",
            &created,
            matches!(&created, Err(Error::Refused { .. })),
        );
        drop(created);
        checks.equal("runtime.errors.nothing-left", Vec::new(), runtime.leftovers(&id));
    }
    Ok(())
}

const START: Case = Case {
    id: "lifecycle-start",
    proves: &["runtime.start.not-created", "runtime.start.program"],
    run: start,
};

fn start(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().args(WAIT).build()?;
    let mut container = runtime.create(&bundle)?;
    let started = container.start()?;
    checks.holds("runtime.start.program", "the program runs", &started, started.exit.success());
    container.wait_for_stdout("ready")?;
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
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    container.kill("USR1")?.success()?;
    checks.equal("runtime.kill.signal", Exit::Code(0), container.wait()?);
    checks.equal("runtime.kill.signal", "ready\ngot USR1\n", &container.stdout()?);
    checks.refused("runtime.kill.not-running", &container.kill("TERM")?);
    Ok(())
}

const DELETE: Case = Case {
    id: "lifecycle-delete",
    proves: &["runtime.delete.not-stopped", "runtime.delete.resources", "runtime.delete.reuse"],
    run: delete,
};

fn delete(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().args(WAIT).build()?;
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
    checks.refused("runtime.delete.not-stopped", &container.delete()?);
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
    checks.equal("runtime.delete.resources", Vec::new(), runtime.leftovers(container.id()));
    let again = runtime.create_as(container.id(), &bundle);
    checks.holds("runtime.delete.reuse", "the id is free again", &again, again.is_ok());
    Ok(())
}
