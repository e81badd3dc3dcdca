//! Device nodes, the links of /dev, and the rules about which devices may be used. Pure.

mod rules;

use std::collections::HashMap;

use nix::libc;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use serde::Serialize;

use super::invalid::Findings;
use super::options::is_bind;
use crate::path::{KernelString, RootPath};
pub use rules::{effective, rules};

const SPEC: &str = "config-linux.md#devices";

/// A file to make in the container with mknod(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Where, inside the container.
    pub path: RootPath,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as the container sees it.
    pub uid: u32,
    /// Group, as the container sees it.
    pub gid: u32,
    /// The node on the host to bind when mknod(2) is not allowed.
    pub source: KernelString,
}

/// A symbolic link to make in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Where, inside the container.
    pub path: RootPath,
    /// What it says.
    pub target: KernelString,
    /// Whatever is there before is removed; otherwise it may stay.
    pub replace: bool,
}

/// A rule about the use of devices. `None` stands for every number, or for both kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRule {
    /// Allowed, or denied.
    pub allow: bool,
    /// Character or block device; `None` is both.
    pub kind: Option<DeviceKind>,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// What is allowed or denied.
    pub access: Access,
}

/// Character or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
}

/// Ways to use a device: bits as in `BPF_DEVCG_ACC_*` (linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Access(pub u8);

impl Access {
    /// mknod(2)
    pub const MKNOD: Access = Access(1);
    /// reading
    pub const READ: Access = Access(2);
    /// writing
    pub const WRITE: Access = Access(4);
    /// everything
    pub const ALL: Access = Access(7);
}

/// The devices of every container: path, major and minor number. Spec: config-linux.md#default-devices.
///
/// /dev/ptmx is a link, and /dev/console is there with a terminal only.
const DEFAULT_DEVICES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links of every container: where, to what, and whether something else may be there.
/// Spec: runtime-linux.md#dev-symbolic-links.
const LINKS: &[(&str, &str, bool)] = &[
    ("/dev/fd", "/proc/self/fd", false),
    ("/dev/stdin", "/proc/self/fd/0", false),
    ("/dev/stdout", "/proc/self/fd/1", false),
    ("/dev/stderr", "/proc/self/fd/2", false),
    // runc makes it where the kernel has /proc/kcore. Where not, it dangles, which is as good as missing.
    ("/dev/core", "/proc/kcore", false),
    // The container's own devpts: a node of an image would be the host's multiplexer.
    (PTMX, "pts/ptmx", true),
];

const PTMX: &str = "/dev/ptmx";
const MODE: u32 = 0o666;
/// mknod(2) takes 12 bits of a major number and 20 bits of a minor one.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// Decides the device nodes and links. When the config binds a /dev of its own, none are made in there.
pub fn compile(spec: &Spec, findings: &mut Findings) -> (Vec<Device>, Vec<Link>) {
    let listed = spec.linux().as_ref().and_then(|l| l.devices().as_deref()).unwrap_or_default();
    let listed = read_devices(listed, findings);
    if binds_dev(spec) {
        let outside = listed.into_iter().filter(|device| !device.path.as_str().starts_with("/dev/"));
        return (outside.collect(), Vec::new());
    }
    let mut devices: Vec<Device> = DEFAULT_DEVICES.iter().filter_map(default_device).collect();
    devices.retain(|default| listed.iter().all(|device| device.path != default.path));
    devices.extend(listed);
    let links = LINKS.iter().filter_map(|(path, target, replace)| {
        let (path, target) = (RootPath::new(path).ok()?, KernelString::path(target).ok()?);
        Some(Link { path, target, replace: *replace })
    });
    (devices, links.collect())
}

/// A /dev of the host's has its devices, and making others there would make them on the host.
fn binds_dev(spec: &Spec) -> bool {
    let is_dev = |path: &str| RootPath::new(path).is_ok_and(|path| path.as_str() == "/dev");
    let mut mounts = spec.mounts().iter().flatten();
    mounts.any(|mount| is_bind(mount) && mount.destination().to_str().is_some_and(is_dev))
}

fn default_device(&(path, major, minor): &(&str, u32, u32)) -> Option<Device> {
    let source = KernelString::path(path).ok()?;
    let path = RootPath::new(path).ok()?;
    Some(Device { path, kind: libc::S_IFCHR, major, minor, mode: MODE, uid: 0, gid: 0, source })
}

fn read_devices(listed: &[LinuxDevice], findings: &mut Findings) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::with_capacity(listed.len());
    let mut places = HashMap::new();
    for (i, device) in listed.iter().enumerate() {
        let at = format!("/linux/devices/{i}");
        let Some(device) = read_device(device, &at, findings) else { continue };
        if device.path.as_str() == PTMX {
            continue; // The link takes its place.
        }
        let number = |d: &Device| (d.kind, d.major, d.minor);
        match places.get(&device.path).and_then(|i: &usize| devices.get_mut(*i)) {
            None => {
                places.insert(device.path.clone(), devices.len());
                devices.push(device);
            }
            Some(earlier) if number(earlier) == number(&device) => *earlier = device,
            Some(_) => {
                let says = format!("{} is listed before as another device; a path can hold one", device.path);
                findings.error(format!("{at}/path"), says, SPEC);
            }
        }
    }
    devices
}

fn read_device(device: &LinuxDevice, at: &str, findings: &mut Findings) -> Option<Device> {
    let path = device.path().to_str().unwrap_or_default();
    if !path.starts_with('/') {
        findings.error(format!("{at}/path"), format!("{path:?} is not an absolute path"), SPEC);
        return None;
    }
    let source = findings.check(KernelString::path(path), format!("{at}/path"), SPEC);
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => Some(libc::S_IFCHR),
        LinuxDeviceType::B => Some(libc::S_IFBLK),
        LinuxDeviceType::P => Some(libc::S_IFIFO),
        LinuxDeviceType::A => {
            findings.error(
                format!("{at}/type"),
                "a is no type of a device node; there are b, c, u and p",
                SPEC,
            );
            None
        }
    };
    // A fifo has no numbers.
    let fifo = kind == Some(libc::S_IFIFO);
    let mut number = |value: i64, max: u32, name: &str| {
        let value = if fifo { 0 } else { value };
        let number = u32::try_from(value).ok().filter(|n| *n <= max);
        if number.is_none() {
            findings.error(format!("{at}/{name}"), format!("{value} is not between 0 and {max}"), SPEC);
        }
        number
    };
    let (major, minor) =
        (number(device.major(), MAJOR_MAX, "major"), number(device.minor(), MINOR_MAX, "minor"));
    Some(Device {
        path: RootPath::new(path).ok()?,
        kind: kind?,
        major: major?,
        minor: minor?,
        // Some clients put the type of the file in front.
        mode: device.file_mode().unwrap_or(MODE) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        source: source?,
    })
}

#[cfg(test)]
mod tests;
