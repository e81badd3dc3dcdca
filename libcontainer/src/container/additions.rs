//! What the caller of the runtime adds to a config. Runs in the runtime's process.

use std::borrow::Cow;

use oci_spec::runtime::{Mount, Spec};

use super::Options;
use crate::state::Store;

/// Where a container has the socket for its notifications. See sd_notify(3).
const NOTIFY_DIRECTORY: &str = "/run/notify";

/// The name of that socket, here and there.
pub const NOTIFY_SOCKET: &str = "notify.sock";

/// The config with what `options` add, for a container that has its place in `store`.
pub(super) fn apply<'a>(spec: &'a Spec, options: &Options, store: &Store) -> Cow<'a, Spec> {
    if options.environment.is_empty() && !options.notify {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    let mut environment = options.environment.clone();
    if options.notify {
        let mut mount = Mount::default();
        let flags = ["bind", "nosuid", "nodev", "noexec", "ro"].map(str::to_owned).to_vec();
        mount.set_destination(NOTIFY_DIRECTORY.into()).set_typ(Some("bind".to_owned()));
        mount.set_source(Some(store.notify_directory(&options.id))).set_options(Some(flags));
        let mut mounts = spec.mounts().clone().unwrap_or_default();
        mounts.push(mount);
        spec.set_mounts(Some(mounts));
        environment.push(format!("NOTIFY_SOCKET={NOTIFY_DIRECTORY}/{NOTIFY_SOCKET}"));
    }
    if let Some(process) = spec.process_mut() {
        // The last of a name counts.
        let mut all = process.env().clone().unwrap_or_default();
        all.extend(environment);
        process.set_env(Some(all));
    }
    Cow::Owned(spec)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::tests::spec;

    fn added(options: &Options) -> (Value, Value) {
        let own = json!({
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"], "env": ["A=1"]},
            "mounts": [{"destination": "/proc", "type": "proc"}]
        });
        let spec = serde_json::to_value(apply(&spec(own), options, &Store::new("/store"))).unwrap();
        (spec["process"]["env"].clone(), spec["mounts"].clone())
    }

    #[test]
    fn variables_come_last_and_the_socket_is_a_mount_and_a_variable() {
        let plain = Options::new("x");
        let (env, mounts) = added(&plain);
        assert_eq!((env, mounts.as_array().unwrap().len()), (json!(["A=1"]), 1));
        let (env, mounts) = added(&Options { environment: vec!["A=2".into()], notify: true, ..plain });
        assert_eq!(env, json!(["A=1", "A=2", "NOTIFY_SOCKET=/run/notify/notify.sock"]));
        assert_eq!(mounts[1]["source"], "/store/x/notify");
        assert_eq!(mounts[1]["options"], json!(["bind", "nosuid", "nodev", "noexec", "ro"]));
    }
}
