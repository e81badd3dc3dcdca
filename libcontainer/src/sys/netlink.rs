//! Network devices: rtnetlink's few messages, as bytes. See rtnetlink(7). Allocates.
//!
//! Addresses and routes are kept as the kernel tells them and given back as they are, so that nothing of them has
//! to be understood to be kept.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::{Call, Stop, socket};

/// Length of a message's header (`struct nlmsghdr`), and what every part is padded to.
const HEADER: usize = 16;
const ALIGN: usize = 4;
/// The kernel cuts its answers to the reader's buffer, up to this.
const ANSWER_MAX: usize = 32 << 10;

/// The calls, as the kernel numbers them.
const KINDS: &[(Call, u16)] = &[
    (Call::GetLink, libc::RTM_GETLINK),
    (Call::SetLink, libc::RTM_SETLINK),
    (Call::GetAddr, libc::RTM_GETADDR),
    (Call::NewAddr, libc::RTM_NEWADDR),
    (Call::GetRoute, libc::RTM_GETROUTE),
    (Call::NewRoute, libc::RTM_NEWROUTE),
];

const DUMP: u16 = libc::NLM_F_DUMP as u16;
const REPLACE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;

/// A conversation with the kernel about one network namespace: the calling thread's when it was opened.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
}

/// A network device, as its namespace knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// It is up.
    pub up: bool,
}

/// An address of a device: `struct ifaddrmsg` and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Vec<u8>);

/// A route over a device: `struct rtmsg` and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route(Vec<u8>);

impl Netlink {
    /// Opens the conversation.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn open() -> Result<Netlink, Stop> {
        socket::route().map(|socket| Netlink { socket })
    }

    /// Looks for the device of this name.
    ///
    /// # Errors
    /// ENODEV if there is none.
    pub fn link(&self, name: &CStr) -> Result<Link, Stop> {
        let mut request = Request::new(Call::GetLink, 0, &link_header(0, 0));
        request.attribute(libc::IFLA_IFNAME, name.to_bytes_with_nul());
        let answers = self.ask(request)?;
        let found = answers.first().and_then(|link| Some((word(link, 4)?, word(link, 8)?)));
        let (index, flags) = found.ok_or(Stop::new(Call::GetLink, Errno::EBADMSG))?;
        Ok(Link { index, up: flags & libc::IFF_UP.cast_unsigned() != 0 })
    }

    /// Moves a device into another namespace, where it has this name. It is down there, without addresses.
    ///
    /// # Errors
    /// EEXIST if the name is taken there, EINVAL for a device that belongs to its namespace, EPERM.
    pub fn move_link(&self, index: u32, namespace: BorrowedFd<'_>, name: &CStr) -> Result<(), Stop> {
        let mut request = Request::new(Call::SetLink, 0, &link_header(index, 0));
        request.attribute(libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        request.attribute(libc::IFLA_IFNAME, name.to_bytes_with_nul());
        self.ask(request).map(drop)
    }

    /// Sets a device up.
    ///
    /// # Errors
    /// Those of the device.
    pub fn set_up(&self, index: u32) -> Result<(), Stop> {
        let up = libc::IFF_UP.cast_unsigned();
        self.ask(Request::new(Call::SetLink, 0, &link_header(index, up))).map(drop)
    }

    /// The addresses of a device.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn addresses(&self, index: u32) -> Result<Vec<Address>, Stop> {
        let all = self.ask(Request::new(Call::GetAddr, DUMP, &[0; ADDRESS]))?;
        Ok(all.into_iter().filter(|address| word(address, 4) == Some(index)).map(Address).collect())
    }

    /// Gives a device an address. Its label is the name of the device, so it goes when that has `changed`.
    ///
    /// # Errors
    /// EACCES where the family is switched off.
    pub fn add_address(&self, index: u32, address: &Address, changed: bool) -> Result<(), Stop> {
        let Some((header, attributes)) = address.0.split_at_checked(ADDRESS) else { return Ok(()) };
        let mut header = header.to_vec();
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut request = Request::new(Call::NewAddr, REPLACE, &header);
        let kept = parts(attributes).filter(|(kind, _)| !changed || *kind != libc::IFA_LABEL);
        kept.for_each(|(kind, value)| request.attribute(kind, value));
        self.ask(request).map(drop)
    }

    /// The routes over a device that the kernel has not made by itself.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn routes(&self, index: u32) -> Result<Vec<Route>, Stop> {
        const PROTOCOL: usize = 5;
        let by_kernel = [libc::RTPROT_KERNEL, libc::RTPROT_REDIRECT].map(Some);
        let over = |route: &[u8]| {
            let attributes = route.get(ROUTE..).unwrap_or_default();
            let device = parts(attributes).find(|(kind, _)| *kind == libc::RTA_OIF);
            device.and_then(|(_, value)| word(value, 0)) == Some(index)
        };
        let all = self.ask(Request::new(Call::GetRoute, DUMP, &[0; ROUTE]))?;
        let wanted = all.into_iter().filter(|r| over(r) && !by_kernel.contains(&r.get(PROTOCOL).copied()));
        Ok(wanted.map(Route).collect())
    }

    /// Adds a route, over a device that has the number it had then.
    ///
    /// # Errors
    /// ENETUNREACH if its gateway cannot be reached.
    pub fn add_route(&self, route: &Route) -> Result<(), Stop> {
        const FLAGS: usize = 8;
        /// `RTNH_F_ONLINK`, see linux/rtnetlink.h.
        const ONLINK: u32 = 4;
        let mut body = route.0.clone();
        if let (Some(flags), Some(bytes)) = (word(&body, FLAGS), body.get_mut(FLAGS..ROUTE)) {
            // The others tell of the moment, and are refused.
            bytes.copy_from_slice(&(flags & ONLINK).to_ne_bytes());
        }
        self.ask(Request::new(Call::NewRoute, REPLACE, &body)).map(drop)
    }

    /// Sends a request; the bodies of the messages that answer it, once it is done.
    fn ask(&self, request: Request) -> Result<Vec<Vec<u8>>, Stop> {
        let call = request.call;
        socket::send(self.socket.as_fd(), &request.finish())?;
        let (mut answers, mut buffer) = (Vec::new(), vec![0; ANSWER_MAX]);
        loop {
            let len = socket::receive(self.socket.as_fd(), &mut buffer)?;
            let mut rest = buffer.get(..len).unwrap_or_default();
            while let Some((kind, body, after)) = message(rest) {
                rest = after;
                match i32::from(kind) {
                    // Both carry an errno, negative, or 0.
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        let errno = word(body, 0).map_or(libc::EBADMSG, |errno| -errno.cast_signed());
                        return if errno == 0 { Ok(answers) } else { Err(Stop { call, errno }) };
                    }
                    _ => answers.push(body.to_vec()),
                }
            }
            if len == 0 {
                return Err(Stop::new(call, Errno::EBADMSG));
            }
        }
    }
}

/// Lengths of `struct ifaddrmsg` and `struct rtmsg`.
const ADDRESS: usize = 8;
const ROUTE: usize = 12;

impl Address {
    /// It was given to the device to stay.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        const FLAGS: usize = 2;
        let attributes = self.0.get(ADDRESS..).unwrap_or_default();
        let wide = parts(attributes).find(|(kind, _)| *kind == libc::IFA_FLAGS).and_then(|(_, v)| word(v, 0));
        let flags = wide.unwrap_or(self.0.get(FLAGS).copied().unwrap_or(0).into());
        flags & libc::IFA_F_PERMANENT != 0
    }

    /// It is good beyond its own link and host.
    #[must_use]
    pub fn is_global(&self) -> bool {
        const SCOPE: usize = 3;
        self.0.get(SCOPE) == Some(&libc::RT_SCOPE_UNIVERSE)
    }
}

/// `struct ifinfomsg` for the device `index`, with these flags to be set.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    // Which flags are meant.
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// A message that is being written.
struct Request {
    call: Call,
    bytes: Vec<u8>,
}

impl Request {
    fn new(call: Call, flags: u16, body: &[u8]) -> Request {
        let kind = KINDS.iter().find(|(known, _)| *known == call).map_or(0, |(_, kind)| *kind);
        let flags = flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(body);
        Request { call, bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = (ALIGN + value.len()) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes
    }
}

/// The first message of `bytes`: its kind, its body, and what comes after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = word(bytes, 0)? as usize;
    let kind = half(bytes, 4)?;
    let after = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
    Some((kind, bytes.get(HEADER..len)?, after))
}

/// Attributes: their kinds and values.
fn parts(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(half(bytes, 0)?);
        let (kind, value) = (half(bytes, 2)?, bytes.get(ALIGN..len)?);
        bytes = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_and_its_attributes_are_padded() {
        let mut request = Request::new(Call::SetLink, 0, &link_header(7, 1));
        request.attribute(libc::IFLA_IFNAME, b"eth0\0");
        request.attribute(libc::IFLA_NET_NS_FD, &9_i32.to_ne_bytes());
        let bytes = request.finish();
        let (kind, body, rest) = message(&bytes).unwrap();
        assert_eq!(
            (kind, rest.len(), word(body, 4), word(body, 8)),
            (libc::RTM_SETLINK, 0, Some(7), Some(1))
        );
        let attributes: Vec<_> = parts(&body[16..]).collect();
        let nine = 9_i32.to_ne_bytes();
        assert_eq!(attributes, [(libc::IFLA_IFNAME, b"eth0\0".as_slice()), (libc::IFLA_NET_NS_FD, &nine)]);
    }

    #[test]
    fn noise_is_no_message_and_has_no_attributes() {
        for bytes in [&[][..], &[0; 3], &[1; 15], &[0xff; 40], &[0; 16]] {
            assert!(message(bytes).is_none(), "{bytes:?}");
        }
        for bytes in [&[][..], &[0; 8], &[0xff; 9], &[3, 0, 1, 0]] {
            assert_eq!(parts(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn the_loopback_device_of_this_namespace_is_found_and_no_device_is_not() {
        let netlink = Netlink::open().unwrap();
        assert_eq!(netlink.link(c"lo").map(|link| link.index), Ok(1));
        assert_eq!(netlink.link(c"no-such-device"), Err(Stop::new(Call::GetLink, Errno::ENODEV)));
    }

    #[test]
    fn the_wide_flags_of_an_address_win_over_the_narrow_ones() {
        let mut bytes = vec![0; ADDRESS];
        bytes[2] = 0x80;
        assert!(Address(bytes.clone()).is_permanent() && Address(bytes.clone()).is_global());
        bytes.extend([8, 0, 8, 0, 0, 1, 0, 0]);
        bytes[3] = 253;
        assert!(!Address(bytes.clone()).is_permanent() && !Address(bytes).is_global());
    }
}
