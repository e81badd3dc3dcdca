//! Which devices the container may open. Spec: config-linux.md#allowed-device-list.

use std::fs;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::case::{Case, Checks};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const RULES: Case = Case {
    id: "cgroups-devices",
    proves: &[
        "config-linux.allowed-device-list.order",
        "config-linux.allowed-device-list.allow",
        "config-linux.allowed-device-list.type",
        "config-linux.allowed-device-list.access",
    ],
    run: rules,
};

/// A list of rules after one that denies everything, and whether the device can then be read and written.
struct Rules {
    id: &'static str,
    rules: Value,
    read: bool,
    write: bool,
}

/// A device that no runtime allows by itself, and that anybody may open: found out by opening it here.
fn device(place: &Path) -> Result<Option<(u64, u64)>, Error> {
    for name in ["fuse", "loop-control", "autofs", "cpu_dma_latency"] {
        let numbers = fs::read_to_string(format!("/sys/class/misc/{name}/dev")).unwrap_or_default();
        let parsed = numbers.trim().split_once(':').map(|(major, minor)| (major.parse(), minor.parse()));
        let Some((Ok(major), Ok(minor))) = parsed else { continue };
        mknod(place, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor))
            .map_err(Error::system("mknod"))?;
        if fs::File::options().read(true).write(true).open(place).is_ok() {
            return Ok(Some((major, minor)));
        }
        fs::remove_file(place).map_err(Error::file(place))?;
    }
    Ok(None)
}

fn rules(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    const NODE: &str = "/node";
    let attempt = ["/bin/probe", "report", "--read", NODE, "--write", NODE];
    let mut bundle = Bundle::new().args(attempt).build()?;
    let Some((major, minor)) = device(&bundle.rootfs().join("node"))? else {
        RULES.proves.iter().for_each(|id| checks.skip(id, "a device that can be opened, such as fuse"));
        return Ok(());
    };
    let rule = |allow: bool, kind: &str, access: &str| json!({"allow": allow, "type": kind, "major": major, "minor": minor, "access": access});
    const ORDER: &str = "config-linux.allowed-device-list.order";
    const ALLOW: &str = "config-linux.allowed-device-list.allow";
    const TYPE: &str = "config-linux.allowed-device-list.type";
    const ACCESS: &str = "config-linux.allowed-device-list.access";
    let all = [
        Rules { id: ALLOW, rules: json!([]), read: false, write: false },
        Rules { id: ALLOW, rules: json!([rule(true, "c", "rwm")]), read: true, write: true },
        Rules { id: TYPE, rules: json!([rule(true, "b", "rwm")]), read: false, write: false },
        Rules {
            id: TYPE,
            rules: json!([{"allow": true, "type": "a", "access": "rwm"}]),
            read: true,
            write: true,
        },
        Rules { id: ACCESS, rules: json!([rule(true, "c", "r")]), read: true, write: false },
        Rules { id: ACCESS, rules: json!([rule(true, "c", "w")]), read: false, write: true },
        Rules {
            id: ORDER,
            rules: json!([rule(true, "c", "rw"), rule(false, "c", "w")]),
            read: true,
            write: false,
        },
        Rules {
            id: ORDER,
            rules: json!([rule(false, "c", "w"), rule(true, "c", "rw")]),
            read: true,
            write: true,
        },
    ];
    let config = bundle.config().clone();
    for Rules { id, rules, read, write } in all {
        let mut list = vec![json!({"allow": false, "access": "rwm"})];
        list.extend(rules.as_array().into_iter().flatten().cloned());
        let mut config = config.clone();
        config["linux"]["resources"]["devices"] = json!(list);
        bundle.write(config)?;
        let call = runtime.run(&bundle)?;
        if !call.exit.success() {
            checks.fail(id, &format!("a container with the rules {list:?}"), call.stderr.trim());
            continue;
        }
        let seen = call.report()?.tries;
        let can = |word: &str| seen.get(&format!("{word} {NODE}")).is_some_and(Result::is_ok);
        let expected = format!("read {read}, write {write} with {rules}");
        checks.holds(id, &expected, &seen, (can("read"), can("write")) == (read, write));
    }
    Ok(())
}
