//! Any text, for any host: compiling it does not panic, and keeps the promises of `promises/mod.rs`.
//!
//! The last byte chooses the host, so every config.json is an input as it is.
#![no_main]

#[path = "../../libcontainer/tests/promises/mod.rs"]
mod promises;

use std::sync::LazyLock;

use libcontainer::plan::facts::Facts;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use serde_json::{Value, json};

static HOSTS: LazyLock<Vec<Facts>> = LazyLock::new(|| {
    [
        include_str!("../../libcontainer/tests/facts/v2.json"),
        include_str!("../../libcontainer/tests/facts/hybrid.json"),
        include_str!("../../libcontainer/tests/facts/v1.json"),
        include_str!("../../libcontainer/tests/facts/rootless.json"),
        include_str!("../../libcontainer/tests/facts/userns-root-hybrid.json"),
        include_str!("../../libcontainer/tests/facts/no-cgroups.json"),
        include_str!("../../libcontainer/tests/facts/selinux.json"),
    ]
    .into_iter()
    .map(|text| serde_json::from_str(text).expect("facts are facts"))
    .collect()
});

/// What a value is likely to be wrong with.
static VALUES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    json!([
        null, true, false, 0, 1, -1, 7, 511, 1000, 4095, 65536, 4_294_967_295_u32, 4_294_967_296_u64, i64::MIN, u64::MAX,
        1.5, "", "/", "a", "..", "/..", "\u{0}", "a\n", "=", "A=b", "-1", "user", "mount", "time", "rbind", "idmap", "remount",
        "cgroup", "/dev", "/dev/ptmx", "0-3,7", "SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW", "1.0.0", "a:b:c", "net.x", "rshared",
        [], [""], [0], [null], {}, {"": ""}, {"type": "user"}, {"path": "/x", "type": "network"}, {"size": 1},
        {"destination": "/x", "type": "tmpfs"}
    ])
    .as_array()
    .cloned()
    .unwrap_or_default()
});

fuzz_target!(|data: &[u8]| {
    let Some((host, text)) = data.split_last() else { return };
    let facts = &HOSTS[usize::from(*host) % HOSTS.len()];
    let compiled = promises::check(text, facts).unwrap_or_else(|broken| panic!("{broken}"));
    // It costs as much again.
    if data.len() % 8 == 0 {
        promises::check_again(text, facts, &compiled).unwrap_or_else(|broken| panic!("{broken}"));
    }
});

// Bytes that change by chance are seldom JSON again: three times out of four a whole value changes.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let text = data[..size].split_last().map(|(host, text)| (*host, serde_json::from_slice::<Value>(text)));
    let Some((host, Ok(mut document))) = text.filter(|_| seed % 4 != 0) else {
        return fuzzer_mutate(data, size, max_size);
    };
    change(&mut document, (seed >> 2) as usize);
    let mut text = document.to_string().into_bytes();
    text.push(if seed % 64 < 8 { (seed >> 6) as u8 } else { host });
    if text.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..text.len()].copy_from_slice(&text);
    text.len()
});

/// Changes one value of `document`: `chance` says which, and how.
fn change(document: &mut Value, chance: usize) {
    let values = count(document);
    let (which, how) = (chance % values, chance / values);
    let (how, other) = (how % 4, how / 4);
    let new = match how {
        0 => VALUES[other % VALUES.len()].clone(),
        _ => nth(document, &mut (other % values)).cloned().unwrap_or_default(),
    };
    match (how, nth(document, &mut which.clone())) {
        (2, Some(Value::Array(list))) if !list.is_empty() => drop(list.remove(other % list.len())),
        (2, Some(Value::Object(members))) if !members.is_empty() => {
            let name = members.keys().nth(other % members.len()).cloned();
            name.map(|name| members.remove(&name));
        }
        (3, Some(Value::Array(list))) => list.push(new),
        (3, Some(Value::Object(members))) => drop(members.insert(format!("x{}", other % 3), new)),
        (_, Some(node)) => *node = new,
        (_, None) => {}
    }
}

/// How many values there are, counted from the outside in.
fn count(node: &Value) -> usize {
    match node {
        Value::Array(list) => 1 + list.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// The value of this number.
fn nth<'a>(node: &'a mut Value, number: &mut usize) -> Option<&'a mut Value> {
    if *number == 0 {
        return Some(node);
    }
    *number -= 1;
    match node {
        Value::Array(list) => list.iter_mut().find_map(|element| nth(element, number)),
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, number)),
        _ => None,
    }
}
