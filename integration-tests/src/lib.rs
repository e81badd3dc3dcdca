//! What the tests of ketch's promises share: the binary under test, and oracles that see what it leaves behind.
//!
//! The tests need root, a debug build of `ketch` and the `probe`:
//! `cargo build -p ketch -p spec-conformance && cargo test -p integration-tests`.

mod descriptor_socket;
mod host;
mod look;
mod namespaces;
mod resctrl;
mod rootless;
mod stage;
mod terminal;
mod words;
mod wrapped;

use std::path::{Path, PathBuf};

use spec_conformance::{Profile, Runtime};

pub use descriptor_socket::{DescriptorSocket, receive_with_descriptors};
pub use host::HostState;
pub use look::{at, bind, facts, looking, mounted};
pub use namespaces::Namespaces;
pub use resctrl::Resctrl;
pub use rootless::Rootless;
pub use stage::{LEGACY, Stage, UNIFIED};
pub use terminal::{in_a_terminal, read_until};
pub use words::{create, deadline, has_ended, nothing_left, refused, running, text_of, waiting};
pub use wrapped::{VERSION_2_ALONE, Wrapped, runtime_of};

/// The binary under test: what `KETCH` names, else `ketch` beside this test in the target directory.
///
/// # Panics
/// There is none; the message has the command that builds it.
pub fn ketch() -> PathBuf {
    let named = std::env::var_os("KETCH").map(PathBuf::from);
    let beside = || {
        let this = std::env::current_exe().unwrap_or_default();
        // target/debug/deps/test-0123: two directories up.
        this.parent().and_then(Path::parent).map(|directory| directory.join("ketch"))
    };
    let program = named.or_else(beside).unwrap_or_default();
    assert!(
        program.is_file(),
        "no runtime at {}: build it with `cargo build -p ketch`, or set KETCH to its path",
        program.display()
    );
    program
}

/// The binary under test with an empty state directory of its own.
///
/// # Panics
/// It is missing or cannot be used.
pub fn runtime() -> Runtime {
    Runtime::new(ketch(), &Profile::KETCH).unwrap_or_else(|error| panic!("{error}"))
}
