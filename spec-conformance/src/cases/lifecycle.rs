//! The operations and what they must refuse. Spec: runtime.md#operations.

use serde_json::json;

use crate::call::Exit;
use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

/// A process that stays until it is told to go.
const WAIT: [&str; 2] = ["/bin/probe", "wait"];

pub(super) const STATE: Case = Case {
    id: "lifecycle-state",
    proves: &["L-01", "L-02.version", "L-02.id", "L-02.status", "L-02.pid", "L-02.bundle", "T-08"],
    run: state,
};

fn state(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    checks.refused("L-01", &runtime.call(["state", &runtime.fresh_id()])?);
    let bundle = Bundle::new().args(WAIT).set("/annotations", json!({"org.example.key": "value"})).build()?;
    let mut container = runtime.create(&bundle)?;
    let created = container.state()?;
    checks.holds(
        "L-02.version",
        "a version",
        &created.oci_version,
        created.oci_version.split('.').count() == 3,
    );
    checks.equal("L-02.id", container.id(), &created.id);
    checks.equal("L-02.status", "created", &created.status);
    checks.equal("L-02.pid", Some(container.pid()), created.pid);
    checks.equal("L-02.bundle", bundle.path(), &created.bundle);
    let annotation = created.annotations.as_ref().and_then(|all| all.get("org.example.key"));
    checks.equal("T-08", Some(&json!("value")), annotation);
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    let running = container.state()?;
    checks.equal("L-02.status", "running", &running.status);
    checks.equal("L-02.pid", Some(container.pid()), running.pid);
    container.kill("TERM")?.success()?;
    container.wait()?;
    checks.equal("L-02.status", "stopped", &container.state()?.status);
    Ok(())
}

pub(super) const CREATE: Case =
    Case { id: "lifecycle-create", proves: &["L-03", "L-07", "T-11"], run: create };

fn create(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let mut bundle = Bundle::new().args(["/bin/probe", "trap", "TERM"]).build()?;
    let mut container = runtime.create(&bundle)?;
    let second = runtime.create_as(container.id(), &bundle);
    checks.holds("L-03", "an error", &second, matches!(&second, Err(Error::Refused { .. })));
    checks.equal("L-03", "created", &container.state()?.status);
    let edited = Bundle::new().args(["/bin/probe", "exit", "7"]).set("/hostname", json!("edited"));
    bundle.write(edited.build()?.config().clone())?;
    checks.equal("L-07", "", &container.stdout()?);
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    container.kill("TERM")?.success()?;
    checks.equal("T-11", Exit::Code(0), container.wait()?);
    Ok(())
}

pub(super) const ROLLBACK: Case = Case { id: "lifecycle-rollback", proves: &["L-05", "L-06"], run: rollback };

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
        checks.holds("L-05", "an error", &created, matches!(&created, Err(Error::Refused { .. })));
        drop(created);
        checks.equal("L-06", Vec::new(), runtime.leftovers(&id));
    }
    Ok(())
}

pub(super) const START: Case = Case { id: "lifecycle-start", proves: &["L-08", "L-08.effect"], run: start };

fn start(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().args(WAIT).build()?;
    let mut container = runtime.create(&bundle)?;
    let started = container.start()?;
    checks.holds("L-08.effect", "the program runs", &started, started.exit.success());
    container.wait_for_stdout("ready")?;
    checks.refused("L-08", &container.start()?);
    checks.equal("L-08", "running", &container.state()?.status);
    container.kill("KILL")?.success()?;
    container.wait()?;
    checks.refused("L-08", &container.start()?);
    Ok(())
}

pub(super) const KILL: Case = Case { id: "lifecycle-kill", proves: &["L-11", "L-12"], run: kill };

fn kill(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().args(["/bin/probe", "trap", "USR1"]).build()?;
    let mut container = runtime.create(&bundle)?;
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    container.kill("USR1")?.success()?;
    checks.equal("L-12", Exit::Code(0), container.wait()?);
    checks.equal("L-12", "ready\ngot USR1\n", &container.stdout()?);
    checks.refused("L-11", &container.kill("TERM")?);
    Ok(())
}

pub(super) const DELETE: Case =
    Case { id: "lifecycle-delete", proves: &["L-14", "L-15", "L-15.reuse"], run: delete };

fn delete(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let bundle = Bundle::new().args(WAIT).build()?;
    let mut container = runtime.create(&bundle)?;
    // Clients delete containers that they have not started, so runtimes let them unless told otherwise.
    let deleted = runtime.call_strictly(["delete", container.id()])?;
    checks.refused("L-14", &deleted);
    if deleted.exit.success() {
        container = runtime.create(&bundle)?;
    }
    checks.equal("L-14", "created", &container.state()?.status);
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    checks.refused("L-14", &container.delete()?);
    checks.equal("L-14", "running", &container.state()?.status);
    container.kill("KILL")?.success()?;
    container.wait()?;
    let deleted = container.delete()?;
    checks.holds("L-15", "a stopped container can be deleted", &deleted, deleted.exit.success());
    checks.refused("L-15", &runtime.call(["state", container.id()])?);
    checks.equal("L-15", Vec::new(), runtime.leftovers(container.id()));
    let again = runtime.create_as(container.id(), &bundle);
    checks.holds("L-15.reuse", "the id is free again", &again, again.is_ok());
    Ok(())
}
