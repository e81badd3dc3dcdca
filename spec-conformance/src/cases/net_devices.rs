//! Network devices that move into the container. The stage's network namespace is the host's here. Spec:
//! config-linux.md#network-devices.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::{Bundle, BundleBuilder, Error};

pub(super) const CASES: &[Case] = &[MOVED, TAKEN];

/// Runs `ip`, of iproute2; what it printed, or `None` if there is no such program or it failed.
fn ip(words: &str) -> Option<String> {
    let output =
        Command::new("ip").args(words.split(' ')).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes a device that is up and has addresses of several kinds, and a peer for it; skips every clause if that cannot
/// be.
fn device(checks: &mut Checks, case: &Case, name: &str) -> bool {
    let steps = [
        format!("link add {name} type veth peer name {name}peer"),
        format!("link set {name}peer up"),
        format!("addr add 10.1.0.1/24 dev {name}"),
        format!("addr add fd00::1/64 dev {name} nodad"),
        format!("addr add fd00::2/64 dev {name} nodad valid_lft 3000 preferred_lft 2000"),
        format!("link set {name} up"),
    ];
    let made = steps.iter().all(|words| ip(words).is_some());
    if !made {
        for id in case.proves {
            checks.skip(id, "iproute2, and a kernel with veth");
        }
    }
    made
}

fn taking(devices: Value) -> BundleBuilder {
    Bundle::new().set("/linux/netDevices", devices)
}

/// Whether the stage has the device.
fn is_here(device: &str) -> bool {
    ip("-o link").is_some_and(|links| {
        links.contains(&format!(": {device}@")) || links.contains(&format!(": {device}:"))
    })
}

const MOVED: Case = Case {
    id: "network-devices-moved",
    proves: &[
        "config-linux.network-devices.moved",
        "config-linux.network-devices.name",
        "config-linux.network-devices.addresses",
        "config-linux.network-devices.up",
        "config-linux.namespace-lifecycle-and-container-termination.not-moved-back",
    ],
    run: moved,
};

fn moved(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    if !device(checks, &MOVED, "v0") {
        return Ok(());
    }
    let seen = runtime.observe(&taking(json!({"v0": {"name": "lan0"}})).build()?)?;
    let names: Vec<&String> = seen.interfaces.keys().collect();
    checks.holds("config-linux.network-devices.moved", "a second device", &names, names.len() > 1);
    let device = seen.interfaces.get("lan0");
    checks.holds("config-linux.network-devices.name", "lan0", &names, device.is_some());
    let up = device.is_some_and(|device| device.flags.iter().any(|flag| flag == "UP"));
    checks.holds("config-linux.network-devices.up", "UP", &device.map(|device| &device.flags), up);
    // An address may keep a label that was the device's name, and is then found by that. See rtnetlink(7).
    let addresses: Vec<&String> =
        seen.interfaces.values().flat_map(|interface| interface.addresses.iter()).collect();
    let is_there = |wanted: &str| addresses.iter().any(|own| own.as_str() == wanted);
    let id = "config-linux.network-devices.addresses";
    for wanted in ["10.1.0.1", "fd00::1"] {
        checks.holds(id, wanted, &addresses, is_there(wanted));
    }
    checks.holds(id, "permanent ones only", &addresses, !is_there("fd00::2"));
    // Both ends of a pair of virtual devices end with the namespace of one, unless it was moved back before.
    let id = "config-linux.namespace-lifecycle-and-container-termination.not-moved-back";
    let back: Vec<&str> = ["v0", "lan0"].into_iter().filter(|name| is_here(name)).collect();
    checks.equal(id, Vec::<&str>::new(), back);
    Ok(())
}

const TAKEN: Case = Case {
    id: "network-devices-taken",
    proves: &[
        "config-linux.network-devices.possible",
        "config-linux.network-devices.name-taken",
        "config-linux.network-devices.template",
        "runtime.errors.nothing-left",
    ],
    run: taken,
};

fn taken(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    if !(device(checks, &TAKEN, "v0") && device(checks, &TAKEN, "w0")) {
        return Ok(());
    }
    let idle = |devices| taking(devices).args(["/bin/probe", "exit", "0"]);
    let absent = idle(json!({"absent0": {}}));
    checks.refuses("config-linux.network-devices.possible", runtime, absent, "a device that is not there")?;
    // Every namespace has this one.
    let loopback = idle(json!({"v0": {"name": "lo"}}));
    let id = "config-linux.network-devices.name-taken";
    checks.refuses(id, runtime, loopback, "a name that the container has")?;
    let stays = is_here("v0");
    checks.holds("runtime.errors.nothing-left", "the device stays where it was", &stays, stays);
    let seen = runtime.observe(&taking(json!({"w0": {"name": "lan%d"}})).build()?)?;
    let names: Vec<&String> = seen.interfaces.keys().collect();
    let unique = names.iter().any(|name| name.as_str() == "lan0");
    checks.holds("config-linux.network-devices.template", "lan0", &names, unique);
    Ok(())
}
