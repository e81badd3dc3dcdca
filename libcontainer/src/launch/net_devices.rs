//! Moves network devices of the host into the container's network namespace. Runs in the runtime's process.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::{Inside, OWN_NETWORK};
use crate::channel::Failure;
use crate::fault::Fault;
use crate::path::KernelString;
use crate::plan::namespaces::Namespace;
use crate::plan::net_devices::{NUMBER, NetDevice};
use crate::plan::step::Step;
use crate::sys::netlink::{Address, Link, Netlink, Route};
use crate::sys::{Call, Stop, process};

/// Devices that have been moved; they come back unless they are kept.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    way: Option<Way>,
    devices: Vec<Device>,
}

/// Both namespaces: the runtime's and the container's.
#[derive(Debug)]
struct Way {
    home: Netlink,
    home_namespace: OwnedFd,
    away: Netlink,
    away_namespace: OwnedFd,
}

/// A device as it was.
#[derive(Debug)]
struct Device {
    name: KernelString,
    link: Link,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    /// Its number in the container's namespace, once it is there.
    index: Option<u32>,
}

/// Moves `devices` into the network namespace of process `pid`, and sets them up there.
///
/// # Errors
/// The kernel refuses one of them. All are where they were.
pub(super) fn take(devices: &[NetDevice], pid: i32, fault: Fault) -> Result<Moved, Failure> {
    let mut moved = Moved::default();
    for (device, i) in devices.iter().zip(0..) {
        fault.attempt(Step::NetDevice(i), || {
            let way = match moved.way.take() {
                Some(way) => way,
                None => Way::to(pid)?,
            };
            moved.way.insert(way).take(device, &mut moved.devices)
        })?;
    }
    Ok(moved)
}

impl Moved {
    /// Leaves the devices where they are now.
    pub(super) fn keep(mut self) {
        self.devices.clear();
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        let Some(way) = &self.way else { return };
        for device in self.devices.iter().rev() {
            // The error that leads here is the one to report.
            let _lost = way.give_back(device);
        }
    }
}

impl Way {
    fn to(pid: i32) -> Result<Way, Stop> {
        let away_namespace: OwnedFd = fs::File::open(format!("/proc/{pid}/ns/net"))
            .map_err(|e| Stop { call: Call::Open, errno: e.raw_os_error().unwrap_or(libc::EIO) })?
            .into();
        let home_namespace = process::own_namespace(OWN_NETWORK)?;
        let home = Netlink::open()?;
        let inside = Inside::enter(away_namespace.as_fd(), Namespace::Network)?;
        let away = Netlink::open();
        drop(inside);
        Ok(Way { home, home_namespace, away: away?, away_namespace })
    }

    /// Moves one device. What has to be undone is in `moved` before anything is done.
    fn take(&self, device: &NetDevice, moved: &mut Vec<Device>) -> Result<(), Stop> {
        let link = self.home.link(device.host.as_c_str())?;
        let addresses = self.home.addresses(link.index)?;
        let routes = self.home.routes(link.index)?;
        let name = self.free_name(&device.name)?;
        let lasting = |address: &&Address| address.is_global() && address.is_permanent();
        let kept: Vec<Address> = addresses.iter().filter(lasting).cloned().collect();
        moved.push(Device { name: device.host.clone(), link, addresses, routes, index: None });
        self.home.move_link(link.index, self.away_namespace.as_fd(), name.as_c_str())?;
        let index = self.away.link(name.as_c_str())?.index;
        if let Some(device) = moved.last_mut() {
            device.index = Some(index);
        }
        for address in &kept {
            self.away.add_address(index, address, name != device.host)?;
        }
        self.away.set_up(index)
    }

    /// The name that a device is to have in the container's namespace, where it must not be taken. A template is
    /// filled in here and not by the kernel, which would not tell what has become of it.
    fn free_name(&self, name: &KernelString) -> Result<KernelString, Stop> {
        let is_free = |name: &CStr| match self.away.link(name) {
            Ok(_) => Ok(false),
            Err(stop) if stop.is(Errno::ENODEV) => Ok(true),
            Err(stop) => Err(stop),
        };
        let taken = Stop::new(Call::SetLink, Errno::EEXIST);
        let Some(stem) = name.as_str().strip_suffix(NUMBER) else {
            return if is_free(name.as_c_str())? { Ok(name.clone()) } else { Err(taken) };
        };
        for number in 0_u32.. {
            let candidate = KernelString::new(format!("{stem}{number}")).map_err(|_| taken)?;
            if candidate.as_str().len() >= libc::IFNAMSIZ {
                break;
            }
            if is_free(candidate.as_c_str())? {
                return Ok(candidate);
            }
        }
        Err(taken)
    }

    /// Puts a device back to where and how it was.
    fn give_back(&self, device: &Device) -> Result<(), Stop> {
        let name = device.name.as_c_str();
        if self.home.link(name).is_ok_and(|link| link.index == device.link.index) {
            // It has not been moved.
            return Ok(());
        }
        // Without a number it was moved and could not be renamed.
        let index = device.index.map_or_else(|| self.away.link(name).map(|link| link.index), Ok)?;
        self.away.move_link(index, self.home_namespace.as_fd(), name)?;
        let index = self.home.link(name)?.index;
        // What is refused of one thing is no reason to leave out the others.
        for address in &device.addresses {
            let _refused = self.home.add_address(index, address, false);
        }
        if device.link.up {
            self.home.set_up(index)?;
        }
        // Routes name their device by its number, which is another one if somebody took it meanwhile.
        for route in device.routes.iter().filter(|_| index == device.link.index) {
            let _refused = self.home.add_route(route);
        }
        Ok(())
    }
}
