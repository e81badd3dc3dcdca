//! The cases, by area of the specification.

mod apparmor;
mod cgroups;
mod devices;
mod document;
mod features;
mod filesystem;
mod hooks;
mod lifecycle;
mod mapped_mounts;
mod mount_options;
mod mount_trees;
mod namespaces;
mod net_devices;
mod process;
mod scheduling;
mod seccomp;
mod seccomp_notify;
mod terminal;

use crate::case::Case;

/// Every case, in the order in which they run.
pub const CASES: &[Case] = &ALL;

#[rustfmt::skip]
const AREAS: &[&[Case]] = &[
    process::CASES,
    terminal::CASES,
    scheduling::CASES,
    apparmor::CASES,
    namespaces::CASES,
    filesystem::CASES,
    devices::CASES,
    cgroups::CASES,
    lifecycle::CASES,
    document::CASES,
    hooks::CASES,
    features::CASES,
    mount_options::CASES,
    mount_trees::CASES,
    mapped_mounts::CASES,
    net_devices::CASES,
    seccomp::CASES,
    seccomp_notify::CASES,
];

const ALL: [Case; count()] = {
    let mut all = [AREAS[0][0]; count()];
    let (mut area, mut next) = (0, 0);
    while area < AREAS.len() {
        let mut case = 0;
        while case < AREAS[area].len() {
            all[next] = AREAS[area][case];
            next += 1;
            case += 1;
        }
        area += 1;
    }
    all
};

const fn count() -> usize {
    let (mut area, mut count) = (0, 0);
    while area < AREAS.len() {
        count += AREAS[area].len();
        area += 1;
    }
    count
}
