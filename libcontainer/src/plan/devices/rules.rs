//! The rules about which devices a container may use. Pure.
//!
//! A list of rules means: what a use needs (reading, writing, mknod) is decided bit by bit, each by the last
//! rule that fits the device and names the bit; without such a rule it is denied. All bits have to be allowed.
//! This is how runc and crun read the list for version 2, where the runtime makes the program. Version 1 of the
//! kernel keeps a default and a list of exceptions instead, and differs in one thing: denying a single device
//! does not take it out of an earlier rule about a whole range.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Spec};

use super::{Access, DeviceKind, DeviceRule};
use crate::plan::invalid::Findings;

const SPEC: &str = "config-linux.md#allowed-device-list";

use DeviceKind::{Block, Char};

/// What every container may use, whatever the config says: the default devices, its terminals, mknod(2) of
/// anything, and tun, the loss of which broke users of runc 1.2 and crun 1.5 (opencontainers/runc#4555).
const ALWAYS: &[(DeviceKind, Option<u32>, Option<u32>, Access)] = &[
    (Char, None, None, Access::MKNOD),
    (Block, None, None, Access::MKNOD),
    (Char, Some(1), Some(3), Access::ALL),
    (Char, Some(1), Some(5), Access::ALL),
    (Char, Some(1), Some(7), Access::ALL),
    (Char, Some(1), Some(8), Access::ALL),
    (Char, Some(1), Some(9), Access::ALL),
    (Char, Some(5), Some(0), Access::ALL),
    (Char, Some(5), Some(2), Access::ALL),
    (Char, Some(136), None, Access::ALL),
    (Char, Some(10), Some(200), Access::ALL),
];

/// Everything is denied unless a rule allows it (GHSA-g54h-m393-cpwq).
const DENY_ALL: DeviceRule =
    DeviceRule { allow: false, kind: None, major: None, minor: None, access: Access::ALL };

impl DeviceRule {
    /// It is about every use of every device, so no rule before it matters. Only such a rule has no `kind`.
    #[must_use]
    pub fn is_about_everything(&self) -> bool {
        (self.kind, self.major, self.minor, self.access) == (None, None, None, Access::ALL)
    }
}

impl Access {
    /// Reads a composition of `r`, `w` and `m`.
    #[must_use]
    pub fn read(text: &str) -> Option<Access> {
        let bits = text.chars().try_fold(0, |bits, letter| match letter {
            'r' => Some(bits | Access::READ.0),
            'w' => Some(bits | Access::WRITE.0),
            'm' => Some(bits | Access::MKNOD.0),
            _ => None,
        })?;
        Some(Access(bits)).filter(|access| access.0 != 0)
    }
}

/// Reads the device rules of the config and adds the ones that every container gets.
pub fn rules(spec: &Spec, findings: &mut Findings) -> Vec<DeviceRule> {
    let resources = spec.linux().as_ref().and_then(|l| l.resources().as_ref());
    let listed = resources.and_then(|r| r.devices().as_deref()).unwrap_or_default();
    let mut rules = vec![DENY_ALL];
    for (i, rule) in listed.iter().enumerate() {
        read_rule(rule, &format!("/linux/resources/devices/{i}"), &mut rules, findings);
    }
    rules.extend(ALWAYS.iter().map(|&(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind: Some(kind),
        major,
        minor,
        access,
    }));
    rules
}

fn read_rule(rule: &LinuxDeviceCgroup, at: &str, rules: &mut Vec<DeviceRule>, findings: &mut Findings) {
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(Block),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(Char),
        Some(LinuxDeviceType::P) => {
            findings.error(format!("{at}/type"), "p: a fifo is no device; there are a, b and c", SPEC);
            None
        }
    };
    let mut number = |value: Option<i64>, name: &str| match value {
        // Docker and runc write -1 for every number.
        None | Some(-1) => None,
        Some(value) => {
            let number = u32::try_from(value).ok();
            if number.is_none() {
                findings.error(format!("{at}/{name}"), format!("{value} is no device number"), SPEC);
            }
            number
        }
    };
    let (major, minor) = (number(rule.major(), "major"), number(rule.minor(), "minor"));
    // Nothing said is everything, as with the numbers.
    let access = rule.access().as_deref().map_or(Some(Access::ALL), Access::read);
    let Some(access) = access else {
        findings.error(format!("{at}/access"), "must be made of the letters r, w and m", SPEC);
        return;
    };
    let rule = DeviceRule { allow: rule.allow(), kind, major, minor, access };
    if kind.is_some() || rule.is_about_everything() {
        rules.push(rule);
    } else {
        // Version 1 takes `a 10:200 r` for everything there is. It is said for both kinds instead.
        rules.extend([Char, Block].map(|kind| DeviceRule { kind: Some(kind), ..rule }));
    }
}

/// The same meaning in fewer rules: a list that allows everything becomes one rule that says so.
#[must_use]
pub fn effective(rules: &[DeviceRule]) -> Vec<DeviceRule> {
    // Nothing before a rule about everything matters.
    let last = rules.iter().rposition(DeviceRule::is_about_everything).unwrap_or(0);
    let rules = rules.get(last..).unwrap_or_default();
    // Nor does a rule whose every bit is decided again, for the same devices, by later ones.
    let mut decided: HashMap<_, u8> = HashMap::new();
    let mut kept: Vec<DeviceRule> = Vec::with_capacity(rules.len());
    for rule in rules.iter().rev() {
        let seen = decided.entry((rule.kind, rule.major, rule.minor)).or_default();
        if rule.access.0 & !*seen != 0 {
            kept.push(*rule);
        }
        *seen |= rule.access.0;
    }
    kept.reverse();
    // Nor do the first exceptions when they say what holds anyway.
    let base = kept.first().copied().filter(DeviceRule::is_about_everything);
    let holds = base.is_some_and(|rule| rule.allow);
    let exceptions =
        kept.into_iter().skip(usize::from(base.is_some())).skip_while(|rule| rule.allow == holds);
    base.into_iter().chain(exceptions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::spec;
    use serde_json::{Value, json};

    fn read(devices: Value) -> (Vec<DeviceRule>, Vec<String>) {
        let mut findings = Findings::default();
        let rules = rules(&spec(json!({"linux": {"resources": {"devices": devices}}})), &mut findings);
        let wrong = findings.finish().err();
        let at = wrong.iter().flat_map(|w| w.findings()).map(|f| f.at.clone()).collect();
        (rules, at)
    }

    fn rule(
        allow: bool,
        kind: Option<DeviceKind>,
        major: Option<u32>,
        minor: Option<u32>,
        access: u8,
    ) -> DeviceRule {
        DeviceRule { allow, kind, major, minor, access: Access(access) }
    }

    /// The meaning of a list, by the words at the top of this file.
    fn allows(rules: &[DeviceRule], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
        let fits = |rule: &&DeviceRule| {
            rule.kind.is_none_or(|k| k == kind)
                && rule.major.is_none_or(|n| n == major)
                && rule.minor.is_none_or(|n| n == minor)
        };
        (0..3).map(|bit| 1 << bit).filter(|bit| access & bit != 0).all(|bit| {
            let last = rules.iter().filter(fits).rfind(|rule| rule.access.0 & bit != 0);
            last.is_some_and(|rule| rule.allow)
        })
    }

    fn mean_the_same(a: &[DeviceRule], b: &[DeviceRule]) -> bool {
        let uses = [Char, Block].into_iter().flat_map(|kind| {
            [1, 5, 8]
                .into_iter()
                .flat_map(move |major| [0, 3].into_iter().map(move |minor| (kind, major, minor)))
        });
        uses.into_iter().all(|(kind, major, minor)| {
            (1..=7)
                .all(|access| allows(a, kind, major, minor, access) == allows(b, kind, major, minor, access))
        })
    }

    #[test]
    fn without_a_list_everything_but_the_defaults_is_denied() {
        let (rules, _) = read(json!([]));
        assert_eq!(rules[0], DENY_ALL);
        assert!(!allows(&rules, Block, 8, 0, Access::READ.0));
        assert!(allows(&rules, Block, 8, 0, Access::MKNOD.0));
        assert!(allows(&rules, Char, 10, 200, Access::ALL.0), "C8: tun");
        assert!(allows(&rules, Char, 136, 7, Access::ALL.0));
        assert!(!allows(&rules, Char, 10, 229, Access::READ.0));
    }

    #[test]
    fn d07_a_list_that_denies_everything_leaves_the_default_devices() {
        let (rules, wrong) = read(json!([{"allow": false, "access": "rwm"}]));
        assert!(wrong.is_empty());
        for &(_, major, minor) in super::super::DEFAULT_DEVICES {
            assert!(allows(&rules, Char, major, minor, Access::ALL.0));
        }
    }

    #[test]
    fn rules_are_read_in_order_with_minus_one_and_nothing_as_every_number() {
        let (rules, wrong) = read(json!([
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": false, "type": "b", "major": 8, "minor": -1},
            {"allow": true, "type": "u", "access": "m"}
        ]));
        assert!(wrong.is_empty());
        let expected = [
            DENY_ALL,
            rule(true, Some(Char), Some(10), Some(229), 6),
            rule(false, Some(Block), Some(8), None, 7),
            rule(true, Some(Char), None, None, 1),
        ];
        assert_eq!(rules[..4], expected);
    }

    #[test]
    fn a_rule_of_both_kinds_with_numbers_is_two_rules_and_never_opens_everything() {
        let (rules, _) =
            read(json!([{"allow": true, "type": "a", "major": 10, "minor": 1, "access": "rwm"}]));
        let expected =
            [rule(true, Some(Char), Some(10), Some(1), 7), rule(true, Some(Block), Some(10), Some(1), 7)];
        assert_eq!(rules[1..3], expected);
        assert!(!allows(&rules, Block, 8, 0, Access::READ.0));
    }

    #[test]
    fn wrong_rules_are_named() {
        let (_, at) = read(json!([
            {"allow": true, "type": "p", "access": "r"},
            {"allow": true, "type": "c", "major": -2, "minor": 4_294_967_296_i64, "access": "r"},
            {"allow": true, "access": "rx"},
            {"allow": true, "access": ""}
        ]));
        let expected = ["0/type", "1/major", "1/minor", "2/access", "3/access"];
        assert_eq!(at, expected.map(|e| format!("/linux/resources/devices/{e}")));
    }

    #[test]
    fn a_privileged_container_gets_one_rule() {
        let (rules, _) = read(json!([
            {"allow": false, "access": "rwm"},
            {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
            {"allow": true, "access": "rwm"}
        ]));
        assert_eq!(effective(&rules), [rule(true, None, None, None, 7)]);
    }

    #[test]
    fn dockers_doubled_list_is_halved() {
        let once = [
            json!({"allow": false, "access": "rwm"}),
            json!({"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"}),
        ];
        let (rules, _) = read(json!([once[0], once[1], once[0], once[1]]));
        let shorter = effective(&rules);
        assert_eq!(shorter[..2], [DENY_ALL, rule(true, Some(Char), Some(5), Some(1), 7)]);
        assert_eq!(shorter.len(), 2 + ALWAYS.len());
    }

    #[test]
    fn shortening_keeps_the_meaning_of_every_short_list() {
        let all = [
            DENY_ALL,
            DeviceRule { allow: true, ..DENY_ALL },
            rule(true, Some(Char), Some(1), Some(3), 7),
            rule(false, Some(Char), Some(1), Some(3), 4),
            rule(true, Some(Char), None, None, 1),
            rule(false, Some(Block), Some(8), None, 6),
            rule(true, Some(Block), Some(8), Some(0), 2),
        ];
        let mut lists: Vec<Vec<DeviceRule>> = vec![Vec::new()];
        for length in 1..=4 {
            let longer = lists.iter().filter(|list| list.len() == length - 1).flat_map(|list| {
                all.iter().map(|rule| list.iter().copied().chain([*rule]).collect::<Vec<_>>())
            });
            let longer: Vec<_> = longer.collect();
            lists.extend(longer);
        }
        for list in lists {
            let shorter = effective(&list);
            assert!(shorter.len() <= list.len());
            assert!(mean_the_same(&list, &shorter), "{list:?} became {shorter:?}");
        }
    }
}
