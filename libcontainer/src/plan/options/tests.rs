//! Every option, set and cleared, on a new file system and on a bind mount.

use super::*;
use std::collections::BTreeSet;

/// Setting name, clearing name, what mount(2) and mount_setattr(2) call it. The r-forms have an `r` before.
const PAIRS: &[(&str, &str, u64, u64)] = &[
    ("ro", "rw", 0x1, 0x1),
    ("nosuid", "suid", 0x2, 0x2),
    ("nodev", "dev", 0x4, 0x4),
    ("noexec", "exec", 0x8, 0x8),
    ("nodiratime", "diratime", 0x800, 0x80),
    ("nosymfollow", "symfollow", 0x100, 0x20_0000),
];
const ATIMES: &[(&str, &str, u64, u64)] = &[
    ("noatime", "atime", 0x400, 0x10),
    ("relatime", "norelatime", 0x20_0000, 0),
    ("strictatime", "nostrictatime", 0x100_0000, 0x20),
];
const SUPER: &[(&str, &str, u64)] = &[
    ("sync", "async", 0x10),
    ("mand", "nomand", 0x40),
    ("dirsync", "", 0x80),
    ("silent", "loud", 0x8000),
    ("iversion", "noiversion", 0x80_0000),
    ("lazytime", "nolazytime", 0x200_0000),
];
const PROPAGATIONS: &[(&str, u64)] =
    &[("unbindable", 1 << 17), ("private", 1 << 18), ("slave", 1 << 19), ("shared", 1 << 20)];
/// Those of [`SUPER`] that crun has with an r before.
const SUPER_OF_TREES: &[&str] = &["sync", "async", "mand", "nomand", "dirsync"];
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "defaults", "bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup", "copy-symlink", "src-nofollow",
    "dest-nofollow",
];
const ATIME_MASK: u64 = 0x70;

fn read<'a>(list: &[&'a str]) -> Options<'a> {
    Options::read(list.iter().copied())
}

fn attributes(set: u64, clear: u64) -> Attributes {
    Attributes { set, clear }
}

#[test]
fn m47_the_table_is_sorted_and_the_tests_know_every_name() {
    assert!(OPTIONS.is_sorted_by(|a, b| a.0 < b.0));
    let mut known: BTreeSet<String> = OTHERS.iter().map(|name| (*name).to_owned()).collect();
    for (set, clear, ..) in PAIRS.iter().chain(ATIMES) {
        known.extend([(*set).to_owned(), (*clear).to_owned(), format!("r{set}"), format!("r{clear}")]);
    }
    for (set, clear, _) in SUPER {
        known.extend([*set, *clear].into_iter().filter(|name| !name.is_empty()).map(String::from));
    }
    for (name, _) in PROPAGATIONS {
        known.extend([(*name).to_owned(), format!("r{name}")]);
    }
    known.extend(SUPER_OF_TREES.iter().map(|name| format!("r{name}")));
    let table: BTreeSet<String> = OPTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(table, known);
    assert_eq!(names().into_iter().map(String::from).collect::<BTreeSet<_>>(), known);
}

#[test]
fn m09_m10_m23_a_flag_is_set_or_cleared_and_the_later_wins() {
    for &(set, clear, flag, attribute) in PAIRS {
        for (list, flags, expected) in [
            (vec![set], flag, attributes(attribute, 0)),
            (vec![clear], 0, attributes(0, attribute)),
            (vec![set, clear], 0, attributes(0, attribute)),
            (vec![clear, set], flag, attributes(attribute, 0)),
        ] {
            let options = read(&list);
            assert_eq!(options.flags(), flags, "{list:?}");
            assert_eq!(options.attributes(), (expected, Attributes::default()), "{list:?}");
            assert!(options.data.is_empty());
        }
    }
}

#[test]
fn m24_m25_m27_an_r_form_changes_the_tree_and_folds_into_a_new_file_system() {
    for &(set, clear, flag, attribute) in PAIRS {
        let (rset, rclear) = (format!("r{set}"), format!("r{clear}"));
        for (list, flags, expected) in [
            (vec![rset.as_str()], flag, attributes(attribute, 0)),
            (vec![rclear.as_str()], 0, attributes(0, attribute)),
            (vec![set, &rclear], 0, attributes(0, attribute)),
            (vec![&rset, clear], flag, attributes(attribute, 0)),
        ] {
            let options = read(&list);
            assert_eq!(options.flags(), flags, "{list:?}");
            assert_eq!(options.attributes(), (Attributes::default(), expected), "{list:?}");
        }
    }
}

#[test]
fn m12_m13_access_time_is_one_choice_and_the_whole_field_is_cleared() {
    for &(set, clear, flag, attribute) in ATIMES {
        assert_eq!(read(&[set]).flags(), flag);
        assert_eq!(read(&[set]).attributes().0, attributes(attribute, ATIME_MASK));
        assert_eq!(
            read(&[clear]).attributes().0,
            attributes(0, ATIME_MASK),
            "{clear} is the kernel's default"
        );
        assert_eq!(read(&[set, clear]).flags(), 0x20_0000, "{set},{clear}");
        for &(other, unother, other_flag, other_attribute) in ATIMES {
            assert_eq!(read(&[set, other]).flags(), other_flag, "{set},{other}");
            assert_eq!(read(&[set, other]).attributes().0, attributes(other_attribute, ATIME_MASK));
            if other != set {
                assert_eq!(read(&[set, unother]).flags(), flag, "{set},{unother}");
            }
        }
    }
}

#[test]
fn m26_access_time_of_a_tree_is_one_choice_and_wins_over_the_top() {
    for &(set, clear, flag, attribute) in ATIMES {
        let (rset, rclear) = (format!("r{set}"), format!("r{clear}"));
        let expected = attributes(attribute, ATIME_MASK);
        for list in [vec![rset.as_str()], vec!["noatime", &rset], vec![&rset, "strictatime"]] {
            assert_eq!(read(&list).attributes(), (Attributes::default(), expected), "{list:?}");
            assert_eq!(read(&list).flags(), flag, "{list:?}");
        }
        assert_eq!(read(&[&rset, &rclear]).attributes().1, attributes(0, ATIME_MASK));
    }
}

#[test]
fn m11_m20_m21_m22_m29_a_flag_of_the_file_system_is_set_and_cleared() {
    for &(set, clear, flag) in SUPER {
        assert_eq!(read(&[set]).flags(), flag, "{set}");
        assert_eq!(read(&[set]).attributes(), Default::default(), "{set}");
        assert_eq!(read(&[set, clear]).flags(), if clear.is_empty() { flag } else { 0 }, "{set},{clear}");
        assert_eq!(read(&[clear, set]).flags(), flag, "{clear},{set}");
    }
}

#[test]
fn m28_a_flag_of_the_file_system_is_the_same_with_an_r_before() {
    for name in SUPER_OF_TREES {
        let recursive = format!("r{name}");
        assert_eq!(read(&[&recursive]), read(&[name]), "{name}");
        assert_eq!(lookup(&recursive), lookup(name));
        for (set, ..) in SUPER {
            assert_eq!(read(&[set, &recursive]), read(&[set, name]), "{set},{name}");
        }
    }
}

#[test]
fn m31_fsconfig_has_names_for_the_flags_that_it_knows() {
    let names = |list: &[&'static str]| read(list).superblock_names().collect::<Vec<_>>();
    assert_eq!(names(&["lazytime", "sync", "dirsync", "mand"]), ["sync", "dirsync", "mand", "lazytime"]);
    assert_eq!(names(&["silent", "iversion", "sync", "async"]), [""; 0]);
}

#[test]
fn m16_to_m19_propagation_is_kept_in_listed_order() {
    for &(name, flags) in PROPAGATIONS {
        let recursive = format!("r{name}");
        let options = read(&[&recursive, "ro", name]);
        let both = [Propagation { flags: flags | 1 << 14 }, Propagation { flags }];
        assert_eq!(options.propagation, both);
        assert_eq!(propagation(name), Some(both[1]));
    }
    assert_eq!(propagation("ro"), None);
}

#[test]
fn m07_m08_an_unknown_option_is_the_file_systems_and_an_empty_one_nobodys() {
    let options = read(&["defaults", "", "size=64k", "rsilent", "RO", "mode=755"]);
    assert_eq!(options.data, ["size=64k", "rsilent", "RO", "mode=755"]);
    assert_eq!(Options { data: Vec::new(), ..options }, Options::default());
}

#[test]
fn m14_m15_m30_m31_m33_m35_m36_m37_the_rest_says_how_to_mount() {
    assert_eq!(read(&["bind"]).bind, Some(Top));
    assert_eq!(read(&["bind", "rbind"]).bind, Some(Tree));
    assert_eq!(read(&["idmap"]).idmap, Some(Top));
    assert_eq!(read(&["idmap", "ridmap"]).idmap, Some(Tree));
    assert!(read(&["remount"]).remount);
    assert!(read(&["tmpcopyup"]).copy_up);
    assert_eq!(read(&["bind", "src-nofollow"]).link, SourceLink::Bound);
    assert_eq!(read(&["bind", "copy-symlink"]).link, SourceLink::Copied);
    assert!(read(&["dest-nofollow"]).nofollow);
    let options = read(&["rbind", "ridmap=uids=0-1-2;gids=0-1-2"]);
    assert_eq!((options.idmap, options.mappings), (Some(Tree), Some((1, "uids=0-1-2;gids=0-1-2"))));
    assert_eq!(read(&["nosuid=1"]).data, ["nosuid=1"]);
}
