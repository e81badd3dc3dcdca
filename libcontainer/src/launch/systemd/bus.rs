//! A connection to an instance of systemd, and calls that it answers. Runs in the runtime's process.
//!
//! systemd's own socket comes first: it saves the message bus, and works where there is none. Whoever may not use it
//! takes the bus.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::message::{self, Arguments, Heard, Object};
use crate::host;
use crate::plan::systemd::Manager;

/// How long systemd may take for one verb: as long as runc waits.
const DEADLINE: Duration = Duration::from_secs(30);

const SYSTEMD: Object = Object {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const BUS: Object = Object {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// Why systemd did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody answers at any of its addresses.
    #[error("systemd cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke.
    #[error("the connection to systemd broke: {0}")]
    Lost(#[from] io::Error),
    /// It took too long.
    #[error("systemd has not answered for {} s", DEADLINE.as_secs())]
    Late,
    /// It refused a call.
    #[error("{says} ({name})")]
    Refused { name: String, says: String },
    /// It tried, and failed.
    #[error("systemd's job for it ended as {0:?}; systemctl status and journalctl have more")]
    Job(String),
}

impl Trouble {
    /// It is the refusal of this name, one of systemd's or of D-Bus's.
    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(self, Trouble::Refused { name, .. } if name.rsplit('.').next() == Some(wanted))
    }
}

/// A place where systemd may be reached.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    socket: Socket,
    /// Behind it is systemd itself, not a message bus.
    direct: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Socket {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    direct: bool,
    received: Vec<u8>,
    serial: u32,
    deadline: Instant,
}

impl Bus {
    /// Connects to `manager`.
    pub(super) fn connect(manager: Manager) -> Result<Bus, Trouble> {
        Bus::connect_to(&addresses(manager), DEADLINE)
    }

    /// Connects to the first of `addresses` that takes us.
    fn connect_to(addresses: &[Address], granted: Duration) -> Result<Bus, Trouble> {
        let deadline = Instant::now() + granted;
        let mut failures = Vec::new();
        for address in addresses {
            match open(&address.socket, deadline) {
                Ok(stream) => {
                    let received = Vec::new();
                    let mut bus = Bus { stream, direct: address.direct, received, serial: 0, deadline };
                    match bus.authenticate() {
                        Ok(()) => return Ok(bus),
                        Err(trouble) => failures.push(format!("{}: {trouble}", address.socket)),
                    }
                }
                Err(error) => failures.push(format!("{}: {error}", address.socket)),
            }
        }
        Err(Trouble::Unreachable(failures.join("; ")))
    }

    /// Says who we are: whoever the kernel says. A name is not given, because a runtime in a user namespace knows
    /// another number of its user than the other side. See the D-Bus specification, Authentication Protocol.
    fn authenticate(&mut self) -> Result<(), Trouble> {
        self.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut is_accepted = false;
        while !is_accepted {
            let end = loop {
                match self.received.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break end,
                    None => self.receive()?,
                }
            };
            let line: Vec<u8> = self.received.drain(..end + 2).collect();
            is_accepted = line.starts_with(b"OK");
            if !is_accepted && !line.starts_with(b"DATA") {
                let says = String::from_utf8_lossy(&line).trim().to_owned();
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, says).into());
            }
        }
        if !self.direct {
            // Its answer is of no interest, nor is it waited for.
            self.send(BUS, "Hello", &Arguments::default())?;
        }
        Ok(())
    }

    fn send(&mut self, object: Object, method: &str, arguments: &Arguments) -> Result<u32, Trouble> {
        self.serial += 1;
        self.stream.write_all(&message::call(self.serial, object, method, arguments))?;
        Ok(self.serial)
    }

    /// Waits for more bytes.
    fn receive(&mut self) -> Result<(), Trouble> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::Late);
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Trouble::Late),
            Err(e) => Err(e.into()),
        }
    }

    fn hear(&mut self) -> Result<Heard, Trouble> {
        loop {
            let garbled = |_| io::Error::new(io::ErrorKind::InvalidData, "what came is no message of D-Bus");
            if let Some((heard, length)) = message::read(&self.received).map_err(garbled)? {
                self.received.drain(..length);
                return Ok(heard);
            }
            self.receive()?;
        }
    }

    /// Calls a method of systemd's and waits for its answer.
    pub(super) fn call(&mut self, method: &str, arguments: &Arguments) -> Result<String, Trouble> {
        let call = self.send(SYSTEMD, method, arguments)?;
        self.answer(call)
    }

    fn answer(&mut self, call: u32) -> Result<String, Trouble> {
        loop {
            match self.hear()? {
                Heard::Answer(serial, first) if serial == call => return Ok(first),
                // One to something that was said before is an error of the connection as a whole.
                Heard::Refusal(_, name, says) => return Err(Trouble::Refused { name, says }),
                _ => {}
            }
        }
    }

    /// Calls a method that makes a job for `unit`, and waits for the end of the job.
    pub(super) fn run_job(&mut self, method: &str, unit: &str, arguments: &Arguments) -> Result<(), Trouble> {
        if !self.direct {
            // Told before, since the job may end before its answer is read. Of this unit only: nobody is woken for
            // the jobs of others.
            let rule = format!(
                "type='signal',sender='{}',interface='{}',member='JobRemoved',arg2='{unit}'",
                SYSTEMD.destination, SYSTEMD.interface
            );
            self.send(BUS, "AddMatch", &Arguments::default().text(&rule))?;
        }
        let wanted = self.call(method, arguments)?;
        loop {
            match self.hear()? {
                Heard::JobRemoved { job, result, .. } if job == wanted => {
                    return if result == "done" { Ok(()) } else { Err(Trouble::Job(result)) };
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
impl Bus {
    /// Connects to a socket at this path.
    pub(super) fn at(path: &Path, direct: bool, granted: Duration) -> Result<Bus, Trouble> {
        Bus::connect_to(&[Address { socket: Socket::Path(path.into()), direct }], granted)
    }
}

/// Connects within the deadline, also where the other side is slow to accept.
fn open(socket: &Socket, deadline: Instant) -> io::Result<UnixStream> {
    let address = match socket {
        Socket::Path(path) => UnixAddr::new(path.as_path())?,
        Socket::Abstract(name) => UnixAddr::new_abstract(name)?,
    };
    let stream: OwnedFd =
        socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let left = TimeVal::seconds(i64::try_from(left.as_secs()).unwrap_or(1).max(1));
    socket::setsockopt(&stream, sockopt::SendTimeout, &left)?;
    socket::connect(stream.as_raw_fd(), &address)?;
    Ok(UnixStream::from(stream))
}

impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Socket::Path(path) => write!(f, "{}", path.display()),
            Socket::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// Where `manager` may be, the cheapest way first.
fn addresses(manager: Manager) -> Vec<Address> {
    let path = |path: PathBuf, direct| Address { socket: Socket::Path(path), direct };
    match manager {
        Manager::System => {
            let own = path("/run/systemd/private".into(), true);
            vec![own, path("/run/dbus/system_bus_socket".into(), false)]
        }
        Manager::User => {
            let told = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
            let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
            // Who comes without an environment, as from a service of root's, has the same directory.
            let directory =
                directory.map_or_else(|| format!("/run/user/{}", host::own_uid()).into(), PathBuf::from);
            user_addresses(&told, &directory)
        }
    }
}

fn user_addresses(told: &str, directory: &Path) -> Vec<Address> {
    let bus = |socket| Address { socket, direct: false };
    let mut addresses: Vec<Address> = told.split(';').filter_map(read_address).map(bus).collect();
    let own = Socket::Path(directory.join("systemd/private"));
    addresses.push(Address { socket: own, direct: true });
    let usual = bus(Socket::Path(directory.join("bus")));
    if !addresses.contains(&usual) {
        addresses.push(usual);
    }
    addresses
}

/// Reads an address such as `unix:path=/run/user/1000/bus,guid=...`. See the D-Bus specification, Server Addresses.
fn read_address(address: &str) -> Option<Socket> {
    address.strip_prefix("unix:")?.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = unescape(value)?;
        match key {
            "path" => String::from_utf8(value).ok().map(|path| Socket::Path(path.into())),
            "abstract" => Some(Socket::Abstract(value)),
            _ => None,
        }
    })
}

/// Bytes that are written as `%2f`.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b07_the_users_bus_is_where_the_environment_says_or_where_it_usually_is() {
        let texts = |told: &str| -> Vec<String> {
            user_addresses(told, Path::new("/run/user/7")).iter().map(|a| a.socket.to_string()).collect()
        };
        let usual = ["/run/user/7/systemd/private", "/run/user/7/bus"];
        assert_eq!(texts(""), usual);
        assert_eq!(texts("unix:path=/run/user/7/bus"), ["/run/user/7/bus", "/run/user/7/systemd/private"]);
        let told = "tcp:host=x;unix:guid=1,path=/tmp/a%20b;unix:abstract=/tmp/dbus-1,guid=2;unix:path=%zz";
        assert_eq!(texts(told)[..2], ["/tmp/a b", "@/tmp/dbus-1"]);
        assert_eq!(texts(told)[2..], usual);
    }

    #[test]
    fn b25_who_cannot_be_reached_is_named() {
        let nowhere = Socket::Path("/nonexistent/bus".into());
        assert!(open(&nowhere, Instant::now() + DEADLINE).is_err());
        let refused =
            Trouble::Refused { name: "org.freedesktop.systemd1.UnitExists".into(), says: "x".into() };
        assert!(refused.is("UnitExists") && !refused.is("Exists"));
    }
}
