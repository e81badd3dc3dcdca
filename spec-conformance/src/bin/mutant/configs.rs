//! Faults in what a runtime makes of its configuration.

use serde_json::{Value, json};

use crate::Fault::{self, Config, Refuse};

/// By name.
pub(crate) const FAULTS: &[(&str, Fault)] = &[
    ("nothing", Config(|_| {})),
    ("no-hooks", Config(|config| remove(config, "", "hooks"))),
    ("no-poststop-hooks", Config(|config| remove(config, "/hooks", "poststop"))),
    ("hooks-reversed", Config(hooks_reversed)),
    ("hooks-without-env", Config(hooks_without_env)),
    ("no-masked-paths", Config(|config| remove(config, "/linux", "maskedPaths"))),
    ("no-readonly-paths", Config(|config| remove(config, "/linux", "readonlyPaths"))),
    ("root-writable", Config(|config| set(config, "/root/readonly", json!(false)))),
    ("root-always-private", Config(|config| remove(config, "/linux", "rootfsPropagation"))),
    ("cwd-ignored", Config(|config| set(config, "/process/cwd", json!("/")))),
    ("env-ignored", Config(|config| set(config, "/process/env", json!(["PATH=/bin"])))),
    ("args-added", Config(args_added)),
    ("uid-ignored", Config(|config| set(config, "/process/user/uid", json!(0)))),
    ("umask-ignored", Config(|config| remove(config, "/process/user", "umask"))),
    ("groups-ignored", Config(|config| remove(config, "/process/user", "additionalGids"))),
    ("no-ambient-set", Config(|config| remove(config, "/process/capabilities", "ambient"))),
    ("no-rlimits", Config(|config| remove(config, "/process", "rlimits"))),
    ("new-privileges", Config(|config| remove(config, "/process", "noNewPrivileges"))),
    ("oom-score-ignored", Config(|config| remove(config, "/process", "oomScoreAdj"))),
    ("scheduler-ignored", Config(|config| remove(config, "/process", "scheduler"))),
    ("io-priority-ignored", Config(|config| remove(config, "/process", "ioPriority"))),
    ("console-size-ignored", Config(|config| remove(config, "/process", "consoleSize"))),
    ("personality-ignored", Config(|config| remove(config, "/linux", "personality"))),
    ("hostname-ignored", Config(|config| remove(config, "", "hostname"))),
    ("domainname-ignored", Config(|config| remove(config, "", "domainname"))),
    ("sysctl-ignored", Config(|config| remove(config, "/linux", "sysctl"))),
    ("no-devices", Config(|config| remove(config, "/linux", "devices"))),
    ("device-rules-ignored", Config(device_rules_ignored)),
    ("last-device-rule-first", Config(last_device_rule_first)),
    ("no-limits", Config(no_limits)),
    ("cgroups-path-ignored", Config(|config| remove(config, "/linux", "cgroupsPath"))),
    ("no-seccomp", Config(|config| remove(config, "/linux", "seccomp"))),
    ("namespace-paths-ignored", Config(namespace_paths_ignored)),
    ("namespaces-deduplicated", Config(namespaces_deduplicated)),
    ("last-mounts-swapped", Config(last_mounts_swapped)),
    ("nosuid-ignored", Config(|config| without_option(config, "nosuid"))),
    ("rbind-is-bind", Config(rbind_is_bind)),
    ("annotations-ignored", Config(|config| remove(config, "", "annotations"))),
    ("time-offsets-ignored", Config(|config| remove(config, "/linux", "timeOffsets"))),
    ("network-devices-ignored", Config(|config| remove(config, "/linux", "netDevices"))),
    ("propagation-ignored", Config(propagation_ignored)),
    ("recursive-read-only-ignored", Config(|config| without_option(config, "rro"))),
    ("mount-mappings-ignored", Config(mount_mappings_ignored)),
    ("id-mappings-swapped", Config(id_mappings_swapped)),
    ("listener-metadata-ignored", Config(|config| remove(config, "/linux/seccomp", "listenerMetadata"))),
    ("comparisons-ignored", Config(comparisons_ignored)),
    ("errno-ignored", Config(errno_ignored)),
    ("memory-policy-ignored", Config(|config| remove(config, "/linux", "memoryPolicy"))),
    ("affinity-ignored", Config(|config| remove(config, "/process", "execCPUAffinity"))),
    ("unknown-refused", Refuse(|config| config.pointer("/linux/unknown").is_some())),
];

fn set(config: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = config.pointer_mut(pointer) {
        *place = value;
    }
}

fn remove(config: &mut Value, pointer: &str, name: &str) {
    if let Some(members) = config.pointer_mut(pointer).and_then(Value::as_object_mut) {
        members.remove(name);
    }
}

fn array<'a>(config: &'a mut Value, pointer: &str) -> Option<&'a mut Vec<Value>> {
    config.pointer_mut(pointer).and_then(Value::as_array_mut)
}

fn hooks(config: &mut Value) -> impl Iterator<Item = &mut Vec<Value>> {
    config["hooks"].as_object_mut().into_iter().flatten().filter_map(|(_, list)| list.as_array_mut())
}

fn hooks_reversed(config: &mut Value) {
    if config.get("hooks").is_some() {
        hooks(config).for_each(|list| list.reverse());
    }
}

fn hooks_without_env(config: &mut Value) {
    if config.get("hooks").is_some() {
        for hook in hooks(config).flatten() {
            remove(hook, "", "env");
        }
    }
}

fn args_added(config: &mut Value) {
    if let Some(args) = array(config, "/process/args").filter(|args| args.len() > 5) {
        args.extend([json!("--stat"), json!("/added")]);
    }
}

fn device_rules_ignored(config: &mut Value) {
    set(config, "/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
}

fn last_device_rule_first(config: &mut Value) {
    if let Some(rules) = array(config, "/linux/resources/devices").filter(|rules| rules.len() > 2) {
        rules[1..].rotate_right(1);
    }
}

fn no_limits(config: &mut Value) {
    for name in ["memory", "cpu", "pids", "blockIO", "hugepageLimits", "network", "unified"] {
        remove(config, "/linux/resources", name);
    }
}

fn namespace_paths_ignored(config: &mut Value) {
    for namespace in array(config, "/linux/namespaces").into_iter().flatten() {
        remove(namespace, "", "path");
    }
}

fn namespaces_deduplicated(config: &mut Value) {
    if let Some(namespaces) = array(config, "/linux/namespaces") {
        let mut seen = Vec::new();
        namespaces.retain(|namespace| {
            let new = !seen.contains(&namespace["type"]);
            seen.push(namespace["type"].clone());
            new
        });
    }
}

fn last_mounts_swapped(config: &mut Value) {
    if let Some(mounts) = array(config, "/mounts").filter(|mounts| mounts.len() == 10) {
        mounts.swap(7, 8);
    }
}

fn without_option(config: &mut Value, option: &str) {
    for mount in array(config, "/mounts").into_iter().flatten() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|own| own != option);
        }
    }
}

fn rbind_is_bind(config: &mut Value) {
    for mount in array(config, "/mounts").into_iter().flatten() {
        for option in mount["options"].as_array_mut().into_iter().flatten() {
            if option == "rbind" {
                *option = json!("bind");
            }
        }
    }
}

fn propagation_ignored(config: &mut Value) {
    for name in ["private", "shared", "slave", "unbindable"] {
        without_option(config, name);
        without_option(config, &format!("r{name}"));
    }
}

fn mount_mappings_ignored(config: &mut Value) {
    for option in ["idmap", "ridmap"] {
        without_option(config, option);
    }
    for mount in array(config, "/mounts").into_iter().flatten() {
        remove(mount, "", "uidMappings");
        remove(mount, "", "gidMappings");
    }
}

/// Users as if they were groups, and groups as if they were users.
fn id_mappings_swapped(config: &mut Value) {
    if let Some(linux) = config["linux"].as_object_mut().filter(|linux| linux.contains_key("uidMappings")) {
        let (users, groups) = (linux["uidMappings"].take(), linux["gidMappings"].take());
        linux["uidMappings"] = groups;
        linux["gidMappings"] = users;
    }
}

fn rules(config: &mut Value) -> impl Iterator<Item = &mut Value> {
    array(config, "/linux/seccomp/syscalls").into_iter().flatten()
}

fn comparisons_ignored(config: &mut Value) {
    rules(config).for_each(|rule| remove(rule, "", "args"));
}

fn errno_ignored(config: &mut Value) {
    rules(config).for_each(|rule| remove(rule, "", "errnoRet"));
}
