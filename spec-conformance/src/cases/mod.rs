//! The cases, by area of the specification.

mod filesystem;
mod lifecycle;
mod namespaces;
mod process;

use crate::case::Case;

/// Every case, in the order in which they run.
pub const CASES: &[Case] = &[
    process::PROGRAM,
    process::USER,
    process::CAPABILITIES,
    process::RLIMITS,
    process::ATTRIBUTES,
    process::DESCRIPTORS,
    namespaces::NEW,
    namespaces::INHERITED,
    namespaces::INVALID,
    namespaces::NAMES,
    filesystem::MOUNT_ORDER,
    filesystem::MOUNT_OPTIONS,
    filesystem::READONLY,
    filesystem::MASKED,
    filesystem::DEVICES,
    lifecycle::STATE,
    lifecycle::CREATE,
    lifecycle::ROLLBACK,
    lifecycle::START,
    lifecycle::KILL,
    lifecycle::DELETE,
];
