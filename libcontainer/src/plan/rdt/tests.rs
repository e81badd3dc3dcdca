//! The resctrl group: tests of `plan/rdt.rs`.

use serde_json::{Value, json};

use super::super::tests::{FACTS, choices, spec};
use super::*;

const MOUNT: &str = "/sys/fs/resctrl";

fn compiled_on(rdt: Value, facts: &Facts) -> Result<(Rdt, Vec<String>), Vec<String>> {
    let spec = spec(json!({"linux": {"intelRdt": rdt}}));
    let mut findings = Findings::default();
    let rdt = compile(&spec, &choices(), facts, &mut findings);
    let place = |finding: &super::super::invalid::Finding| finding.at.replace("/linux/intelRdt", "");
    match findings.finish() {
        Ok(warnings) => Ok((rdt.unwrap(), warnings.iter().map(place).collect())),
        Err(invalid) => Err(invalid.findings().iter().map(place).collect()),
    }
}

fn compiled(rdt: Value) -> Result<(Rdt, Vec<String>), Vec<String>> {
    compiled_on(rdt, &Facts { resctrl: Some(MOUNT.into()), ..FACTS.clone() })
}

fn group(rdt: Value) -> Rdt {
    compiled(rdt).unwrap().0
}

#[test]
fn i01_without_a_name_the_group_is_the_containers_own() {
    let rdt = group(json!({}));
    assert_eq!((rdt.group.as_str(), rdt.make, rdt.own), ("/sys/fs/resctrl/box", true, true));
    assert_eq!((rdt.schemata, rdt.monitor), (vec![], None));
    // Go's programs write what is not set as an empty string.
    assert_eq!(
        group(json!({"closID": "", "l3CacheSchema": "", "memBwSchema": "", "schemata": []})),
        group(json!({}))
    );
}

#[test]
fn i01_e28_a_name_alone_must_exist_and_with_schemata_may_be_made() {
    let alone = group(json!({"closID": "gold"}));
    assert_eq!((alone.group.as_str(), alone.make, alone.own), ("/sys/fs/resctrl/gold", false, false));
    for line in [
        json!({"l3CacheSchema": "L3:0=f"}),
        json!({"memBwSchema": "MB:0=20"}),
        json!({"schemata": ["L2:0=f"]}),
    ] {
        let mut rdt = line;
        rdt["closID"] = json!("gold");
        let rdt = group(rdt);
        assert_eq!((rdt.make, rdt.own), (true, false));
    }
}

#[test]
fn i01_the_default_group_is_never_made() {
    let rdt = group(json!({"closID": "/", "schemata": ["L3:0=f"], "enableMonitoring": true}));
    assert_eq!((rdt.group.as_str(), rdt.make, rdt.own), (MOUNT, false, false));
    assert_eq!(rdt.monitor.as_deref(), Some("/sys/fs/resctrl/mon_groups/box"));
}

#[test]
fn i01_a_name_that_leaves_resctrl_or_is_its_own_is_refused() {
    for name in
        [".", "..", "a/b", "/a", "../x", "info", "mon_groups", "schemata", "a\nb", "a\0b", &"x".repeat(256)]
    {
        assert_eq!(compiled(json!({"closID": name})).unwrap_err(), ["/closID"], "{name:?}");
    }
    for name in ["a", "...", "a b", "info2"] {
        assert!(compiled(json!({"closID": name})).is_ok(), "{name:?}");
    }
}

#[test]
fn i02_i03_lines_are_written_in_the_order_of_the_specification() {
    let rdt = group(
        json!({"schemata": ["L3:0=f0", "MB:0=70"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f"}),
    );
    assert_eq!(rdt.schemata, ["L3:0=f", "MB:0=20", "L3:0=f0", "MB:0=70"]);
}

#[test]
fn e29_i02_malformed_lines_are_refused() {
    let cases = [
        (json!({"memBwSchema": "L3:0=f"}), "/memBwSchema"),
        (json!({"memBwSchema": " MB:0=20"}), "/memBwSchema"),
        (json!({"memBwSchema": "MB:0=20\nL3:0=f"}), "/memBwSchema"),
        (json!({"l3CacheSchema": "L3:0=f\nMB:0=20"}), "/l3CacheSchema"),
        (json!({"l3CacheSchema": "L3"}), "/l3CacheSchema"),
        (json!({"schemata": ["L3:0=f", "L2:0=f\n"]}), "/schemata/1"),
        (json!({"schemata": [""]}), "/schemata/0"),
        (json!({"schemata": ["L3:"]}), "/schemata/0"),
        (json!({"schemata": ["L3:0"]}), "/schemata/0"),
        (json!({"schemata": ["L3:a=f"]}), "/schemata/0"),
        (json!({"schemata": ["L3:=f"]}), "/schemata/0"),
        (json!({"schemata": ["L3:0=f;"]}), "/schemata/0"),
        (json!({"schemata": [":0=f"]}), "/schemata/0"),
    ];
    for (rdt, wrong) in cases {
        assert_eq!(compiled(rdt.clone()).unwrap_err(), [wrong], "{rdt}");
    }
}

#[test]
fn i02_another_beginning_of_l3_is_a_warning() {
    let (rdt, warnings) = compiled(json!({"l3CacheSchema": "L3CODE:0=f"})).unwrap();
    assert_eq!(warnings, ["/l3CacheSchema"]);
    assert_eq!(rdt.schemata, ["L3CODE:0=f"]);
}

#[test]
fn i05_monitoring_has_a_group_below_the_containers() {
    let monitor = |rdt: Value| group(rdt).monitor;
    assert_eq!(
        monitor(json!({"enableMonitoring": true})).as_deref(),
        Some("/sys/fs/resctrl/box/mon_groups/box")
    );
    let named = json!({"enableMonitoring": true, "closID": "gold"});
    assert_eq!(monitor(named).as_deref(), Some("/sys/fs/resctrl/gold/mon_groups/box"));
    assert_eq!(monitor(json!({"enableMonitoring": false})), None);
}

#[test]
fn e26_i07_without_resctrl_it_is_refused_with_the_fix_and_other_mistakes_are_found_too() {
    assert_eq!(
        compiled_on(json!({"closID": "..", "memBwSchema": "x"}), &FACTS).unwrap_err(),
        ["/closID", "/memBwSchema", ""]
    );
    let spec = spec(json!({"linux": {}}));
    let mut findings = Findings::default();
    assert_eq!(compile(&spec, &choices(), &FACTS, &mut findings), None);
    assert!(findings.finish().is_ok());
}

#[test]
fn e27_i04_a_group_is_compared_in_any_spelling() {
    const CURRENT: &str = "    L3:0=007ff;1=7ff\n    MB:0= 20;1= 70\nSMBA:0=2048\n";
    let differs = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        difference(&lines, CURRENT, Some(10))
    };
    let same: &[&[&str]] = &[
        &[],
        &["L3:0=7ff;1=7ff"],
        &["L3:1=7FF;0=0x07ff"],
        &["MB:1=70", "L3:0=7ff"],
        &["MB:0=020;1=70"],
        // The kernel rounds up.
        &["MB:0=15;1=61"],
        &["SMBA: 0 = 2048"],
        // The last one counts.
        &["L3:0=1;1=7ff", "L3:0=7ff"],
    ];
    for lines in same {
        assert_eq!(differs(lines), None, "{lines:?}");
    }
    let different: &[(&[&str], &str)] = &[
        (&["L3:0=7fe"], "has L3:0=007ff, and 7fe is wanted"),
        (&["L3:0=7ff;1=1"], "has L3:1=7ff, and 1 is wanted"),
        (&["L3:2=1"], "has no L3:2, and 1 is wanted"),
        (&["L2:0=f"], "has no L2:0, and f is wanted"),
        (&["MB:0=21"], "has MB:0=20, and 21 is wanted"),
        (&["MB:0=0x20"], "has MB:0=20, and 0x20 is wanted"),
        (&["L3:0=7ff", "L3:0=1"], "has L3:0=007ff, and 1 is wanted"),
    ];
    for (lines, says) in different {
        assert_eq!(differs(lines).as_deref(), Some(*says), "{lines:?}");
    }
}
