//! Files of cgroup version 2, written as they are. Spec: config-linux.md#unified.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{TOP, at, is_unified, place};
use crate::Error;
use crate::case::{Case, Checks};
use crate::runtime::Runtime;

pub(super) const FILES: Case = Case {
    id: "cgroups-unified",
    proves: &[
        "config-linux.unified.file",
        "config-linux.unified.controllers",
        "config-linux.unified.unknown",
        "config-linux.unified.absent",
    ],
    run: files,
};

/// A controller, one of its files and a value that is not the default.
const SETTINGS: [(&str, &str, &str); 4] = [
    ("pids", "pids.max", "23"),
    ("memory", "memory.high", "104857600"),
    ("cpu", "cpu.weight", "50"),
    ("hugetlb", "hugetlb.2MB.max", "4194304"),
];

fn files(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let known: Vec<_> = SETTINGS.iter().filter(|(name, ..)| place((name, name), "").is_some()).collect();
    if !is_unified() || known.is_empty() {
        let needs = "a controller in cgroup version 2 alone: --cgroup v2";
        FILES.proves.iter().for_each(|id| checks.skip(id, needs));
        return Ok(());
    }
    let path = format!("/{}", runtime.fresh_id());
    let directory = Path::new(TOP).join(&path[1..]);
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default().trim().to_owned();
    for (controller, file, value) in known {
        let _container =
            runtime.create(&at(&path).set("/linux/resources/unified", json!({*file: value})).build()?)?;
        checks.equal("config-linux.unified.file", (file, (*value).to_owned()), (file, read(file)));
        let enabled = read("cgroup.controllers");
        let has = enabled.split_whitespace().any(|name| name == *controller);
        checks.holds("config-linux.unified.controllers", controller, &enabled, has);
    }
    // A file that is of no controller.
    let other = json!({"cgroup.max.descendants": "7"});
    {
        let _container = runtime.create(&at(&path).set("/linux/resources/unified", other).build()?)?;
        checks.equal("config-linux.unified.unknown", "7".to_owned(), read("cgroup.max.descendants"));
    }
    let absent = at(&path).set("/linux/resources/unified", json!({"conformance.max": "1"}));
    checks.refuses("config-linux.unified.absent", runtime, absent, "a controller that is not there")
}

pub(super) const CONVERSION: Case =
    Case { id: "cgroups-conversion", proves: &["config-linux.unified.conversion"], run: conversion };

/// Version 2 has no swappiness of a cgroup.
fn conversion(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config-linux.unified.conversion";
    let path = format!("/{}", runtime.fresh_id());
    if !is_unified() || place(("memory", "memory"), &path).is_none() {
        checks.skip(ID, "the controller memory in cgroup version 2");
        return Ok(());
    }
    let memory = |value| at(&path).set("/linux/resources/memory", value);
    checks.accepts(ID, runtime, memory(json!({"limit": 67_108_864})), "a limit")?;
    checks.refuses(ID, runtime, memory(json!({"limit": 67_108_864, "swappiness": 10})), "swappiness")
}
