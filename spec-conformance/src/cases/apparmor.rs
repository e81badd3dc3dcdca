//! The profile of AppArmor that the program runs under. Spec: config.md#linux-process.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::MsFlags;
use serde_json::json;

use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::{Bundle, Error, stage};

pub(super) const CASES: &[Case] = &[PROFILE];

/// Where profiles are loaded.
const SECURITY: &str = "/sys/kernel/security";

/// A profile that is loaded, until this is dropped.
#[derive(Debug)]
struct Loaded {
    name: String,
}

impl Loaded {
    /// A profile that forbids nothing; `None` where none can be loaded.
    fn new(name: &str) -> Option<Loaded> {
        let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        let loaded = enabled.is_ok_and(|word| word.trim() == "Y") && parser(name, "--replace");
        loaded.then(|| Loaded { name: name.to_owned() })
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        parser(&self.name, "--remove");
    }
}

/// Runs apparmor_parser(8); whether it could.
fn parser(name: &str, operation: &str) -> bool {
    const RULES: &str = "capability, network, mount, umount, pivot_root, ptrace, signal, unix, file,";
    let mut command = Command::new("apparmor_parser");
    command.args([operation, "--skip-cache", "--quiet"]).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let text = format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{ {RULES} }}\n");
    let written = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(text.as_bytes()).is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}

const PROFILE: Case =
    Case { id: "process-apparmor", proves: &["config.linux-process.apparmor"], run: profile };

fn profile(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const ID: &str = "config.linux-process.apparmor";
    let name = runtime.fresh_id();
    let security = Path::new(SECURITY);
    // The stage can only read the host. This is the one place from which a profile comes into the kernel.
    let writable = stage::mount(None, security, None, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, "").is_ok();
    let loaded = if writable { Loaded::new(&name) } else { None };
    let Some(loaded) = loaded else {
        checks.skip(ID, "a kernel with AppArmor, and apparmor_parser(8)");
        return Ok(());
    };
    let bundle = Bundle::new().set("/process/apparmorProfile", json!(loaded.name)).build()?;
    let seen = runtime.observe(&bundle)?;
    let confined = seen.label.as_deref().is_some_and(|label| label.split(' ').next() == Some(&name));
    checks.holds(ID, &name, &seen.label, confined);
    let seen = runtime.observe(&Bundle::new().build()?)?;
    let free = seen.label.as_deref().is_none_or(|label| label.split(' ').next() != Some(&name));
    checks.holds(ID, "only if it is configured", &seen.label, free);
    let absent = Bundle::new().set("/process/apparmorProfile", json!(format!("{name}-absent")));
    checks.refuses(ID, runtime, absent, "a profile that is not loaded")
}
