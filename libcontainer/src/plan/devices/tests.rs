//! Device nodes and rules: tests of `plan/devices.rs`.

use super::*;
use crate::plan::tests::spec;
use serde_json::{Value, json};

fn compiled(part: Value) -> (Vec<Device>, Vec<Link>, Vec<String>) {
    let mut findings = Findings::default();
    let (devices, links) = compile(&spec(part), &mut findings);
    let wrong = findings.finish().err();
    let at = wrong.iter().flat_map(|w| w.findings()).map(|f| f.at.clone()).collect();
    (devices, links, at)
}

fn listed(devices: Value) -> (Vec<Device>, Vec<Link>, Vec<String>) {
    compiled(json!({"linux": {"devices": devices}}))
}

#[test]
fn d06_the_default_devices_are_there_without_being_asked_for() {
    let (devices, ..) = compiled(json!({}));
    let paths: Vec<_> = devices.iter().map(|d| d.path.as_str()).collect();
    assert_eq!(paths, ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]);
    assert!(devices.iter().all(|d| (d.kind, d.mode, d.uid, d.gid) == (libc::S_IFCHR, 0o666, 0, 0)));
    assert_eq!((devices[0].major, devices[0].minor, devices[0].source.as_str()), (1, 3, "/dev/null"));
}

#[test]
fn n16_the_links_are_there_and_ptmx_replaces_whatever_is_there() {
    let (_, links, _) = compiled(json!({}));
    let link =
        |path: &str| links.iter().find(|l| l.path.as_str() == path).map(|l| (l.target.as_str(), l.replace));
    assert_eq!(link("/dev/fd"), Some(("/proc/self/fd", false)));
    assert_eq!(link("/dev/stderr"), Some(("/proc/self/fd/2", false)));
    assert_eq!(link("/dev/ptmx"), Some(("pts/ptmx", true)));
    assert_eq!(links.len(), 6);
}

#[test]
fn d01_d02_d03_a_device_is_made_anywhere_with_mode_and_owner() {
    let (devices, _, wrong) = listed(json!([
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o020_660, "uid": 7, "gid": 8},
        {"path": "/disk//sda", "type": "b", "major": 8, "minor": 0},
        {"path": "/run/queue", "type": "p", "major": -1, "minor": -1},
        {"path": "/dev/raw", "type": "u", "major": 162, "minor": 1_048_575}
    ]));
    assert!(wrong.is_empty());
    let of = |d: &Device| (d.path.to_string(), d.kind, d.major, d.minor, d.mode, d.uid, d.gid);
    let made: Vec<_> = devices.iter().skip(6).map(of).collect();
    let expected = [
        ("/dev/fuse".to_owned(), libc::S_IFCHR, 10, 229, 0o660, 7, 8),
        ("/disk/sda".to_owned(), libc::S_IFBLK, 8, 0, 0o666, 0, 0),
        ("/run/queue".to_owned(), libc::S_IFIFO, 0, 0, 0o666, 0, 0),
        ("/dev/raw".to_owned(), libc::S_IFCHR, 162, 1_048_575, 0o666, 0, 0),
    ];
    assert_eq!(made, expected);
}

#[test]
fn a_listed_device_replaces_the_default_one_and_ptmx_stays_a_link() {
    let (devices, ..) = listed(json!([
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "uid": 5},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}
    ]));
    assert_eq!(devices.len(), 6);
    let null: Vec<_> = devices.iter().filter(|d| d.path.as_str() == "/dev/null").map(|d| d.uid).collect();
    assert_eq!(null, [5]);
}

#[test]
fn d04_d05_a_path_listed_twice_has_to_be_the_same_device() {
    let (devices, _, wrong) = listed(json!([
        {"path": "/dev/a", "type": "c", "major": 9, "minor": 1},
        {"path": "/dev//a", "type": "c", "major": 9, "minor": 1, "gid": 4}
    ]));
    assert!(wrong.is_empty());
    assert_eq!(devices.iter().skip(6).map(|d| d.gid).collect::<Vec<_>>(), [4]);
    let (.., wrong) = listed(json!([
        {"path": "/dev/a", "type": "c", "major": 9, "minor": 1},
        {"path": "/dev/a", "type": "b", "major": 9, "minor": 1}
    ]));
    assert_eq!(wrong, ["/linux/devices/1/path"]);
}

#[test]
fn wrong_devices_are_named() {
    let (.., wrong) = listed(json!([
        {"path": "dev/a", "type": "c", "major": 1, "minor": 1},
        {"path": "/dev/b", "type": "a", "major": 1, "minor": 1},
        {"path": "/dev/c", "type": "c", "major": 4096, "minor": -1},
        {"path": "", "type": "c", "major": 1, "minor": 1},
        {"path": "/dev/\0", "type": "p"}
    ]));
    let expected = ["0/path", "1/type", "2/major", "2/minor", "3/path", "4/path"];
    assert_eq!(wrong, expected.map(|e| format!("/linux/devices/{e}")));
}

#[test]
fn a_dev_bound_from_the_host_gets_neither_devices_nor_links() {
    for mount in [
        json!({"destination": "/dev/", "source": "/dev", "options": ["rbind"]}),
        json!({"destination": "/dev", "type": "bind", "source": "/dev"}),
    ] {
        let (devices, links, _) = compiled(json!({"mounts": [mount]}));
        assert!(devices.is_empty() && links.is_empty());
    }
    let (devices, ..) = compiled(json!({"mounts": [
        {"destination": "/dev", "type": "tmpfs"}, {"destination": "/dev/shm", "source": "/x", "options": ["bind"]}
    ]}));
    assert_eq!(devices.len(), 6);
}
