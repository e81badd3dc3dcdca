//! Devices that are listed. Spec: config-linux.md#devices.

use serde_json::{Value, json};

use crate::case::{Case, Checks};
use crate::report::Kind;
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[LISTED, OCCUPIED];

const LISTED: Case = Case {
    id: "devices-listed",
    proves: &[
        "config-linux.devices.available",
        "config-linux.devices.type",
        "config-linux.devices.path",
        "config-linux.devices.numbers",
        "config-linux.devices.mode",
        "config-linux.devices.owner",
    ],
    run: listed,
};

/// A device as it is configured and as it is to be seen.
struct Listed {
    config: Value,
    path: &'static str,
    kind: Kind,
    numbers: Option<(u64, u64)>,
    mode: u32,
    owner: (u32, u32),
}

fn devices() -> [Listed; 5] {
    let device = |config: Value, path, kind, numbers, mode, owner| {
        let mut config = config;
        config["path"] = json!(path);
        config["fileMode"] = json!(mode);
        Listed { config, path, kind, numbers, mode, owner }
    };
    let (character, block) = (Kind::Character, Kind::Block);
    let owned = json!({"type": "c", "major": 10, "minor": 229, "uid": 5, "gid": 6});
    let of_group = json!({"type": "b", "major": 7, "minor": 200, "gid": 7});
    [
        device(owned, "/dev/character", character, Some((10, 229)), 0o640, (5, 6)),
        device(
            json!({"type": "u", "major": 1, "minor": 5}),
            "/dev/unbuffered",
            character,
            Some((1, 5)),
            0o606,
            (0, 0),
        ),
        device(of_group, "/dev/deep/block", block, Some((7, 200)), 0o600, (0, 7)),
        device(
            json!({"type": "c", "major": 1, "minor": 3}),
            "/data/elsewhere",
            character,
            Some((1, 3)),
            0o666,
            (0, 0),
        ),
        device(json!({"type": "p", "uid": 8, "gid": 9}), "/dev/pipe", Kind::Fifo, None, 0o620, (8, 9)),
    ]
}

fn listed(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    for Listed { config, path, kind, numbers, mode, owner } in devices() {
        let bundle = Bundle::new()
            .looking_at([path])
            .set("/root/readonly", json!(false))
            .set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]))
            .set("/linux/devices", json!([config]));
        let call = runtime.run(&bundle.build()?)?;
        if !call.exit.success() {
            let what = format!("{path}: {}", call.stderr.trim());
            checks.fail("config-linux.devices.available", path, &what);
            continue;
        }
        let seen = call.report()?;
        let facts = seen.facts(path);
        for id in ["config-linux.devices.available", "config-linux.devices.path"] {
            checks.holds(id, path, &seen.paths, facts.is_some());
        }
        checks.equal("config-linux.devices.type", (path, Some(kind)), (path, facts.map(|facts| facts.kind)));
        checks.equal(
            "config-linux.devices.numbers",
            (path, numbers),
            (path, facts.and_then(|facts| facts.device)),
        );
        let found = facts.map(|facts| format!("{:o}", facts.mode));
        checks.equal("config-linux.devices.mode", (path, Some(format!("{mode:o}"))), (path, found));
        let found = facts.map(|facts| (facts.uid, facts.gid));
        checks.equal("config-linux.devices.owner", (path, Some(owner)), (path, found));
    }
    Ok(())
}

const OCCUPIED: Case =
    Case { id: "devices-occupied", proves: &["config-linux.devices.other-file"], run: occupied };

fn occupied(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let device = |path: &str| {
        let device = json!({"path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 0o666});
        Bundle::new()
            .set("/root/readonly", json!(false))
            .file("/data/file", "mine")
            .push("/linux/devices", device)
    };
    checks.accepts("config-linux.devices.other-file", runtime, device("/data/free"), "a free path")?;
    for path in ["/data/file", "/data"] {
        let what = format!("a device at {path}, where another file is,");
        checks.refuses("config-linux.devices.other-file", runtime, device(path), &what)?;
    }
    Ok(())
}
