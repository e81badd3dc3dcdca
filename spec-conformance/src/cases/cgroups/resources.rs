//! Limits, read back where the kernel keeps them. Spec: config-linux.md#memory to config-linux.md#pids.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::settings::{Setting, settings};
use super::{at, is_unified, needs, place};
use crate::Error;
use crate::case::{Case, Checks};
use crate::runtime::Runtime;

pub(super) const MEMORY: Case = Case {
    id: "cgroups-memory",
    proves: &[
        "config-linux.memory.limit",
        "config-linux.memory.reservation",
        "config-linux.memory.swap",
        "config-linux.memory.swappiness",
        "config-linux.memory.oom-killer",
    ],
    run: |runtime, checks| values(&MEMORY, runtime, checks),
};

pub(super) const CPU: Case = Case {
    id: "cgroups-cpu",
    proves: &[
        "config-linux.cpu.shares",
        "config-linux.cpu.quota",
        "config-linux.cpu.burst",
        "config-linux.cpu.period",
        "config-linux.cpu.cpus",
        "config-linux.cpu.mems",
        "config-linux.cpu.idle",
    ],
    run: |runtime, checks| values(&CPU, runtime, checks),
};

pub(super) const BLOCK_IO: Case = Case {
    id: "cgroups-block-io",
    proves: &[
        "config-linux.block-io.group-weight",
        "config-linux.block-io.device",
        "config-linux.block-io.weight",
        "config-linux.block-io.bytes",
        "config-linux.block-io.operations",
    ],
    run: |runtime, checks| values(&BLOCK_IO, runtime, checks),
};

pub(super) const OTHERS: Case = Case {
    id: "cgroups-limits",
    proves: &[
        "config-linux.huge-page-limits.size",
        "config-linux.huge-page-limits.limit",
        "config-linux.network.class",
        "config-linux.network.name",
        "config-linux.network.priority",
        "config-linux.pids.limit",
    ],
    run: |runtime, checks| values(&OTHERS, runtime, checks),
};

/// The settings that are about the clauses of a case, one container for each.
fn values(case: &Case, runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let all: Vec<Setting> =
        settings().into_iter().filter(|setting| case.proves.contains(&setting.id)).collect();
    for id in case.proves.iter().filter(|id| !all.iter().any(|setting| setting.id == **id)) {
        checks.skip(id, "a block device");
    }
    for setting in all {
        let path = format!("/{}", runtime.fresh_id());
        let Some((file, wanted)) = (if is_unified() { setting.unified } else { setting.legacy }) else {
            checks.skip(setting.id, "cgroup version 1");
            continue;
        };
        let Some(directory) = place(setting.controller, &path) else {
            checks.skip(setting.id, &needs(setting.controller));
            continue;
        };
        // The stage's own cgroup has the files that a container's would have.
        let parent = directory.parent().unwrap_or(&directory);
        if !parent.join(file).exists() && !has_below(parent, file)? {
            checks.skip(setting.id, &format!("a kernel with {file}"));
            continue;
        }
        // What a runtime copies from above shows nothing.
        let above = fs::read_to_string(parent.join(file)).unwrap_or_default();
        if setting.controller.0 == "cpuset" && above.trim() == wanted {
            checks.skip(setting.id, &format!("a host of which {file} is not {wanted}"));
            continue;
        }
        let bundle = at(&path).set("/linux/resources", setting.resources.clone()).build()?;
        let created = runtime.create(&bundle);
        let found = match &created {
            Ok(_) => fs::read_to_string(directory.join(file)).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let right = found.as_ref().is_ok_and(|text| says(text.trim(), &wanted));
        let expected = format!("{wanted} in {file} for {}", setting.resources);
        checks.holds(setting.id, &expected, &found, right);
    }
    Ok(())
}

/// Whether a file says this, alone or in one of its lines; or something else than the default, for `not DEFAULT`.
fn says(text: &str, wanted: &str) -> bool {
    match wanted.strip_prefix("not ") {
        Some(default) => !text.is_empty() && text != default,
        None if text.contains([' ', '\n']) => text.lines().any(|line| line_has(line, wanted)),
        None => text == wanted,
    }
}

/// Whether a line is this text, or has it as one or several of its words.
fn line_has(line: &str, wanted: &str) -> bool {
    line.trim() == wanted || format!(" {} ", line.trim()).contains(&format!(" {wanted} "))
}

/// Whether cgroups below this one would have a file that this one, the top of version 2, does not have.
fn has_below(parent: &Path, file: &str) -> Result<bool, Error> {
    let trial = parent.join("conformance-trial");
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    let handed = parent.join("cgroup.subtree_control");
    for name in controllers.split_whitespace() {
        // One that cannot be handed down has no files below.
        drop(fs::write(&handed, format!("+{name}")));
    }
    fs::DirBuilder::new().create(&trial).map_err(Error::file(&trial))?;
    let has = trial.join(file).exists();
    fs::remove_dir(&trial).map_err(Error::file(&trial))?;
    Ok(has)
}

pub(super) const PIDS_ZERO: Case =
    Case { id: "cgroups-pids-zero", proves: &["config-linux.pids.zero"], run: pids_zero };

/// A runtime for which the container's process is one too many has taken the limit for one, too.
fn pids_zero(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config-linux.pids.zero";
    let path = format!("/{}", runtime.fresh_id());
    let controller = ("pids", "pids");
    let Some(directory) = place(controller, &path) else {
        checks.skip(ID, &needs(controller));
        return Ok(());
    };
    let created = runtime.create(&at(&path).set("/linux/resources/pids/limit", json!(0)).build()?);
    let found = fs::read_to_string(directory.join("pids.max")).unwrap_or_default();
    let limited = created.is_err() || found.trim() == "0";
    checks.holds(ID, "no further tasks", &(created.map(|_| found)), limited);
    Ok(())
}

pub(super) const BELOW_USAGE: Case =
    Case { id: "cgroups-below-usage", proves: &["config-linux.memory.below-usage"], run: below_usage };

fn below_usage(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config-linux.memory.below-usage";
    const MIB: u64 = 1 << 20;
    let controller = ("memory", "memory");
    let path = format!("/{}", runtime.fresh_id());
    let Some(directory) = place(controller, &path) else {
        checks.skip(ID, &needs(controller));
        return Ok(());
    };
    let mut memory = json!({"limit": 256 * MIB});
    if !is_unified() {
        // Nothing may leave the memory to make room.
        memory["swappiness"] = json!(0);
    }
    let bundle = at(&path)
        .args(["/bin/probe", "alloc", "64", "hold"])
        .set("/linux/resources/memory", memory)
        .build()?;
    let mut container = runtime.create(&bundle)?;
    container.start()?.success()?;
    container.wait_for_stdout("ready")?;
    let update = bundle.path().join("update.json");
    let wanted = json!({"memory": {"limit": 16 * MIB, "checkBeforeUpdate": true}});
    fs::write(&update, wanted.to_string()).map_err(Error::file(&update))?;
    let call = runtime.call([
        "update".as_ref(),
        "--resources".as_ref(),
        update.as_os_str(),
        container.id().as_ref(),
    ])?;
    checks.refused(ID, &call);
    let file = directory.join(if is_unified() { "memory.max" } else { "memory.limit_in_bytes" });
    let limit = fs::read_to_string(&file).map_err(Error::file(&file))?;
    checks.equal(ID, (256 * MIB).to_string().as_str(), limit.trim());
    Ok(())
}

pub(super) const NO_RESCTRL: Case =
    Case { id: "cgroups-no-resctrl", proves: &["config-linux.intelrdt.no-resctrl"], run: no_resctrl };

fn no_resctrl(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config-linux.intelrdt.no-resctrl";
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(Error::file("/proc/self/mountinfo"))?;
    if table.contains(" - resctrl ") {
        checks.skip(ID, "a host without a mounted resctrl");
        return Ok(());
    }
    let path = format!("/{}", runtime.fresh_id());
    runtime.run(&at(&path).build()?)?.success()?;
    let class = json!({"closID": "conformance", "l3CacheSchema": "L3:0=f"});
    checks.refuses(ID, runtime, at(&path).set("/linux/intelRdt", class), "intelRdt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_a_value_alone_or_as_words_of_a_line() {
        assert!(says("64", "64") && !says("640", "64"));
        assert!(says("8:0 rbps=64 wbps=max\n8:1 rbps=1 wbps=max", "rbps=64"));
        assert!(!says("8:0 rbps=640 wbps=max", "rbps=64"));
        assert!(says("oom_kill_disable 1\nunder_oom 0", "oom_kill_disable 1"));
    }

    #[test]
    fn a_converted_value_is_any_but_the_default() {
        assert!(says("default 300", "not default 100") && !says("default 100", "not default 100"));
        assert!(!says("", "not 100"));
    }
}
