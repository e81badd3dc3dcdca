//! The table of numbers, beside libseccomp's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use libseccomp::{ScmpArch, ScmpSyscall, ScmpVersion};

use super::super::architecture::{ARCHITECTURES, Architecture};
use super::super::table::VERSION;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/launch/filter/syscalls.tsv");

/// libseccomp's number, if it means something: others below zero only say that the call is known elsewhere.
fn number(name: &str, architecture: ScmpArch) -> Option<i32> {
    let number = ScmpSyscall::from_name_by_arch(name, architecture).ok().map(i32::from)?;
    (number >= 0 || (-120..=-100).contains(&number) || (-224..=-200).contains(&number)).then_some(number)
}

/// The architectures that libseccomp knows.
fn known() -> impl Iterator<Item = (&'static Architecture, ScmpArch)> {
    let tokens = ARCHITECTURES.iter().filter_map(|one| one.name.parse().ok().map(|token| (one, token)));
    tokens.filter(|(_, token)| number("read", *token).is_some())
}

/// Every name that libseccomp knows on any architecture.
fn names() -> BTreeSet<String> {
    let numbers = || (-300..7000).chain(0x000f_0000..0x000f_0010).chain(0x4000_0000..0x4000_0400);
    let names = known().flat_map(|(_, token)| {
        numbers().filter_map(move |n| ScmpSyscall::from_raw_syscall(n).get_name_by_arch(token).ok())
    });
    names.collect()
}

/// The table as libseccomp has it.
fn table(version: ScmpVersion) -> String {
    let columns: BTreeMap<&str, ScmpArch> = known().map(|(one, token)| (one.calls, token)).collect();
    let mut table = format!("{version}\t{}\n", columns.keys().copied().collect::<Vec<_>>().join("\t"));
    for name in names() {
        let numbers = columns.values().map(|token| number(&name, *token));
        let fields: Vec<String> = numbers.map(|n| n.map_or(String::new(), |n| n.to_string())).collect();
        if fields.iter().any(|field| !field.is_empty()) {
            writeln!(table, "{name}\t{}", fields.join("\t")).unwrap();
        }
    }
    table
}

#[test]
fn s10_the_table_has_libseccomps_names_and_numbers() {
    let linked = ScmpVersion::current().unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, table(linked)).unwrap();
    } else if linked.to_string() == VERSION {
        assert!(table(linked) == std::fs::read_to_string(FILE).unwrap(), "`just syscalls` writes it again");
    }
    // Of any other version at least the numbers are the same.
    for name in names() {
        for (architecture, token) in known() {
            let (ours, theirs) = (architecture.lookup(&name), number(&name, token));
            if let (Some(0..), Some(0..)) = (ours, theirs) {
                assert_eq!(ours, theirs, "{name} on {}", architecture.name);
            }
        }
    }
}

#[test]
fn s10_every_call_of_the_table_is_found_by_its_name() {
    let text = std::fs::read_to_string(FILE).unwrap();
    for line in text.lines().skip(1) {
        let name = line.split('\t').next().unwrap();
        assert!(Architecture::known().any(|one| one.lookup(name).is_some()), "{name}");
    }
    let numbers = |name| Architecture::known().filter_map(move |one| one.lookup(name)).count();
    assert_eq!(numbers("read"), Architecture::known().count());
    for nothing in ["", "no_such_call", "zzz", "\t"] {
        assert_eq!(numbers(nothing), 0, "{nothing:?}");
    }
}

#[test]
fn s04_this_program_is_of_one_of_the_architectures() {
    let native = Architecture::native().unwrap();
    let token: ScmpArch = native.name.parse().unwrap();
    assert_eq!(token, ScmpArch::native());
}
