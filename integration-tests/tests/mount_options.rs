//! Every option of a mount, set and cleared, on new file systems, binds and trees: what the kernel shows of it.
//! Spec: config.md#linux-mount-options.

use integration_tests::{Stage, at, bind, mounted, runtime};
use serde_json::{Value, json};
use spec_conformance::report::Mount;
use spec_conformance::{Bundle, Exit};

/// Setting name, clearing name; mountinfo shows the first one. The r-forms have an `r` before.
const FLAGS: &[(&str, &str)] = &[
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("nodiratime", "diratime"),
    ("nosymfollow", "symfollow"),
];

/// Each option about access times, and what mountinfo shows then; strictatime is shown as neither.
const ATIMES: &[(&str, Option<&str>)] = &[
    ("noatime", Some("noatime")),
    ("atime", Some("relatime")),
    ("relatime", Some("relatime")),
    ("norelatime", Some("relatime")),
    ("strictatime", None),
    ("nostrictatime", Some("relatime")),
];

/// Two trees of two mounts: all of `strict` have every flag, all of `lax` have none.
const TREES: &str = "
    for tree in strict lax; do
        mkdir $PLACE/$tree
        mount -t tmpfs tree $PLACE/$tree
        mkdir $PLACE/$tree/below
        mount -t tmpfs tree $PLACE/$tree/below
    done
    for mount in $PLACE/strict/below $PLACE/strict; do
        mount -o remount,bind,ro,nosuid,nodev,noexec,nodiratime,nosymfollow,noatime $mount
    done
    for mount in $PLACE/lax/below $PLACE/lax; do
        mount -o remount,bind,strictatime $mount
    done";

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "new", "options": options})
}

/// The flags of a mount that are options.
fn flags(mount: &Mount) -> Vec<&str> {
    FLAGS.iter().map(|(name, _)| *name).filter(|name| mount.has(name)).collect()
}

fn atime(mount: &Mount) -> Option<&str> {
    ["noatime", "relatime"].into_iter().find(|name| mount.has(name))
}

const ALL: [&str; 6] = ["ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow"];

fn all_but(name: &str) -> Vec<&'static str> {
    ALL.into_iter().filter(|flag| *flag != name).collect()
}

#[test]
fn m09_m10_m23_each_flag_is_set_and_cleared_on_the_mount_and_not_below() {
    let stage = Stage::new(TREES);
    let (strict, lax) = (stage.path("strict"), stage.path("lax"));
    let both = FLAGS.iter().flat_map(|(set, clear)| {
        let strict = bind(&strict, &format!("/t/{clear}"), &["rbind", clear]);
        [strict, bind(&lax, &format!("/t/{set}"), &["rbind", set])]
    });
    let inherited = [bind(&strict, "/t/strict", &["rbind"]), bind(&lax, "/t/lax", &["bind"])];
    let bundle = mounted(Bundle::new(), both.chain(inherited)).build().unwrap();
    let report = stage.runtime().observe(&bundle).unwrap();
    for (set, clear) in FLAGS {
        assert_eq!(flags(at(&report, &format!("/t/{clear}"))), all_but(set), "{clear}");
        assert_eq!(flags(at(&report, &format!("/t/{clear}/below"))), ALL, "below {clear}");
        assert_eq!(flags(at(&report, &format!("/t/{set}"))), [*set]);
        assert_eq!(flags(at(&report, &format!("/t/{set}/below"))), [] as [&str; 0], "below {set}");
    }
    // What is not named stays as it is at the source, its time of access too.
    assert_eq!(flags(at(&report, "/t/strict")), ALL);
    assert_eq!(atime(at(&report, "/t/rw")), Some("noatime"));
    assert_eq!(flags(at(&report, "/t/lax")), [] as [&str; 0]);
    assert_eq!(atime(at(&report, "/t/ro")), None);
    // A bind without the r does not take what is below along.
    assert!(report.mount("/t/lax/below").is_none());
}

#[test]
fn m24_m25_m26_m27_each_r_form_is_set_and_cleared_on_the_mount_and_below() {
    let stage = Stage::new(TREES);
    let (strict, lax) = (stage.path("strict"), stage.path("lax"));
    let both = FLAGS.iter().flat_map(|(set, clear)| {
        let strict = bind(&strict, &format!("/t/{clear}"), &["rbind", &format!("r{clear}")]);
        [strict, bind(&lax, &format!("/t/{set}"), &["rbind", &format!("r{set}")])]
    });
    let single = [bind(&strict, "/t/single", &["bind", "rexec"])];
    let bundle = mounted(Bundle::new(), both.chain(single)).build().unwrap();
    let report = stage.runtime().observe(&bundle).unwrap();
    for (set, clear) in FLAGS {
        for below in ["", "/below"] {
            assert_eq!(flags(at(&report, &format!("/t/{clear}{below}"))), all_but(set), "r{clear} {below}");
            assert_eq!(flags(at(&report, &format!("/t/{set}{below}"))), [*set], "r{set} {below}");
        }
    }
    assert_eq!(flags(at(&report, "/t/single")), all_but("noexec"));
}

#[test]
fn m12_m13_m26_each_choice_about_access_times_holds_on_binds_trees_and_new_file_systems() {
    let stage = Stage::new(TREES);
    let mut mounts = Vec::new();
    for tree in ["strict", "lax"] {
        for (name, _) in ATIMES {
            mounts.push(bind(&stage.path(tree), &format!("/{tree}/{name}"), &["rbind", name]));
            let recursive = format!("r{name}");
            mounts.push(bind(&stage.path(tree), &format!("/{tree}/{recursive}"), &["rbind", &recursive]));
        }
    }
    mounts.extend(ATIMES.iter().map(|(name, _)| tmpfs(&format!("/new/{name}"), &[name])));
    let bundle = mounted(Bundle::new(), mounts).build().unwrap();
    let report = stage.runtime().observe(&bundle).unwrap();
    for (tree, own) in [("strict", Some("noatime")), ("lax", None)] {
        for (name, shown) in ATIMES {
            assert_eq!(atime(at(&report, &format!("/{tree}/{name}"))), *shown, "{name} of {tree}");
            assert_eq!(atime(at(&report, &format!("/{tree}/{name}/below"))), own, "below {name} of {tree}");
            for below in ["", "/below"] {
                let seen = atime(at(&report, &format!("/{tree}/r{name}{below}")));
                assert_eq!(seen, *shown, "r{name} of {tree} {below}");
            }
        }
    }
    for (name, shown) in ATIMES {
        assert_eq!(atime(at(&report, &format!("/new/{name}"))), *shown, "{name} of a new file system");
    }
}

#[test]
fn m08_m09_m10_m25_a_new_file_system_has_what_is_set_last() {
    let set: Vec<Value> = FLAGS.iter().map(|(set, _)| tmpfs(&format!("/set/{set}"), &[set])).collect();
    let recursive = FLAGS.iter().map(|(set, _)| tmpfs(&format!("/r/{set}"), &[&format!("r{set}")]));
    let cleared = FLAGS.iter().map(|(set, clear)| tmpfs(&format!("/cleared/{set}"), &[set, clear]));
    let again = FLAGS.iter().map(|(set, clear)| tmpfs(&format!("/again/{set}"), &[clear, set]));
    let plain = [tmpfs("/defaults", &["defaults"]), tmpfs("/nothing", &[])];
    let mounts = set.into_iter().chain(recursive).chain(cleared).chain(again).chain(plain);
    let report = runtime().observe(&mounted(Bundle::new(), mounts).build().unwrap()).unwrap();
    for (set, _) in FLAGS {
        assert_eq!(flags(at(&report, &format!("/set/{set}"))), [*set]);
        assert_eq!(flags(at(&report, &format!("/r/{set}"))), [*set]);
        assert_eq!(flags(at(&report, &format!("/again/{set}"))), [*set]);
        assert_eq!(flags(at(&report, &format!("/cleared/{set}"))), [] as [&str; 0]);
    }
    for point in ["/defaults", "/nothing"] {
        assert_eq!(at(&report, point).options, ["rw", "relatime"], "{point}");
    }
}

#[test]
fn m11_m20_m21_m22_m29_flags_of_a_file_system_are_what_its_superblock_shows() {
    // The kernel shows neither iversion nor silent, and has no mandatory locks since Linux 5.15: they are taken.
    let shown = [("sync", "async"), ("lazytime", "nolazytime")];
    let silent = [("silent", "loud"), ("iversion", "noiversion"), ("mand", "nomand")];
    let mut mounts = vec![tmpfs("/dirsync", &["dirsync"])];
    for (set, clear) in shown.iter().chain(&silent) {
        mounts.push(tmpfs(&format!("/{set}"), &[set]));
        mounts.push(tmpfs(&format!("/{clear}"), &[set, clear]));
        mounts.push(tmpfs(&format!("/again-{set}"), &[clear, set]));
    }
    let report = runtime().observe(&mounted(Bundle::new(), mounts).build().unwrap()).unwrap();
    let has = |point: &str, name: &str| at(&report, point).super_options.iter().any(|own| own == name);
    assert!(has("/dirsync", "dirsync"));
    for (set, clear) in shown {
        assert!(has(&format!("/{set}"), set) && has(&format!("/again-{set}"), set), "{set}");
        assert!(!has(&format!("/{clear}"), set), "{clear}");
    }
    for (set, clear) in silent {
        for point in [format!("/{set}"), format!("/{clear}"), format!("/again-{set}")] {
            let mount = at(&report, &point);
            assert_eq!((mount.fstype.as_str(), mount.source.as_str()), ("tmpfs", "new"), "{point}");
        }
    }
}

#[test]
fn m14_a_remount_changes_what_it_names_of_an_earlier_entry() {
    let remount =
        |destination: &str, options: &[&str]| json!({"destination": destination, "options": options});
    let mounts = [
        tmpfs("/a", &["nosuid", "nodev", "noexec", "noatime", "size=64k"]),
        remount("/a", &["remount", "ro", "exec", "size=128k"]),
        tmpfs("/b", &["ro", "nosuid", "strictatime"]),
        remount("/b", &["remount", "rw", "sync", "nodiratime"]),
        tmpfs("/c", &["nosuid", "size=64k"]),
        tmpfs("/c/below", &[]),
        remount("/c", &["remount", "bind", "ro", "noexec", "rnodev"]),
        tmpfs("/d", &[]),
        remount("/d", &["remount", "unbindable"]),
    ];
    let report = runtime().observe(&mounted(Bundle::new(), mounts).build().unwrap()).unwrap();
    let own = |point: &str, name: &str| at(&report, point).super_options.iter().any(|own| own == name);
    assert_eq!(flags(at(&report, "/a")), ["ro", "nosuid", "nodev"]);
    assert_eq!(atime(at(&report, "/a")), Some("noatime"));
    assert!(own("/a", "ro") && own("/a", "size=128k"));
    assert_eq!(flags(at(&report, "/b")), ["nosuid", "nodiratime"]);
    assert_eq!(atime(at(&report, "/b")), None);
    assert!(own("/b", "rw") && own("/b", "sync"));
    // With `bind` it is about the mount, and its file system stays as it is.
    assert_eq!(flags(at(&report, "/c")), ["ro", "nosuid", "nodev", "noexec"]);
    assert!(own("/c", "rw") && own("/c", "size=64k"));
    assert_eq!(flags(at(&report, "/c/below")), ["nodev"]);
    assert_eq!(at(&report, "/d").propagation, ["unbindable"]);
}

#[test]
fn m14_a_remount_of_what_is_no_mount_fails_and_says_which() {
    let runtime = runtime();
    for options in [["remount", "ro"].as_slice(), &["remount", "bind", "ro"]] {
        let entry = json!({"destination": "/etc", "options": options});
        let finished = runtime.run(&mounted(Bundle::new(), [entry]).build().unwrap()).unwrap();
        assert_eq!(finished.exit, Exit::Code(1));
        assert!(finished.stderr.contains("mounts[7]: remount on /etc: mount"), "{finished:?}");
        assert!(finished.stderr.contains("invalid argument"), "{finished:?}");
    }
}

#[test]
fn m07_options_of_the_file_system_reach_it_and_nonsense_is_refused_with_mount_type_and_data() {
    let runtime = runtime();
    let options = ["size=128k", "nr_inodes=77", "mode=0711", "uid=5", "gid=6", ""];
    let bundle = Bundle::new().args(["/bin/probe", "report", "--stat", "/a"]);
    let report = runtime.observe(&mounted(bundle, [tmpfs("/a", &options)]).build().unwrap()).unwrap();
    let mount = at(&report, "/a");
    for option in ["size=128k", "nr_inodes=77", "mode=711", "uid=5", "gid=6"] {
        assert!(mount.super_options.iter().any(|own| own == option), "{option}: {mount:?}");
    }
    let facts = report.paths["/a"].present().unwrap();
    assert_eq!((facts.mode, facts.uid, facts.gid), (0o711, 5, 6));
    for nonsense in ["nonsense", "size=lots"] {
        let bundle = mounted(Bundle::new(), [tmpfs("/a", &["ro", "mode=755", nonsense])]).build().unwrap();
        let finished = runtime.run(&bundle).unwrap();
        assert_eq!(finished.exit, Exit::Code(1));
        let wanted = ["mounts[7]: tmpfs new on /a: mount: invalid argument", &format!("mode=755,{nonsense}")];
        assert!(wanted.iter().all(|text| finished.stderr.contains(text)), "{finished:?}");
    }
    let unknown = json!({"destination": "/a", "type": "nonsensefs", "source": "new"});
    let finished = runtime.run(&mounted(Bundle::new(), [unknown]).build().unwrap()).unwrap();
    assert!(
        finished.stderr.contains("mounts[7]: nonsensefs new on /a: mount: no such device"),
        "{finished:?}"
    );
    assert!(finished.stderr.contains("this kernel does not know the type"), "{finished:?}");
}

/// Perl starts the runtime under a filter that hides mount_setattr(2), as a kernel before Linux 5.12 has none.
const OLD_KERNEL: &str = r#"exec perl -e "
    my \$filter = pack(q(SCCL)x4, 32,0,0,0, 21,0,1,442, 6,0,0,0x50026, 6,0,0,0x7fff0000);
    my \$program = pack(q(Sx6P), 4, \$filter);
    syscall(157, 22, 2, \$program) == 0 or die q(no filter: ) . \$!;
    exec @ARGV or die;" --"#;

#[test]
#[cfg(target_arch = "x86_64")]
fn m46_without_mount_setattr_one_mount_can_be_changed_all_the_same() {
    let stage = Stage::new(TREES);
    let (strict, lax) = (stage.path("strict"), stage.path("lax"));
    let flags_and_atimes = FLAGS.iter().flat_map(|(set, clear)| {
        let strict = bind(&strict, &format!("/t/{clear}"), &["rbind", clear]);
        [strict, bind(&lax, &format!("/t/{set}"), &["rbind", set])]
    });
    let atimes = ATIMES.iter().map(|(name, _)| bind(&strict, &format!("/a/{name}"), &["bind", name]));
    let others = [
        bind(&lax, "/strict-nodiratime", &["bind", "nodiratime"]),
        bind(&lax, "/slave", &["rbind", "rslave"]),
        json!({"destination": "/slave", "options": ["remount", "bind", "noexec"]}),
    ];
    let mounts = flags_and_atimes.chain(atimes).chain(others);
    let bundle =
        mounted(Bundle::new(), mounts).set("/linux/readonlyPaths", json!(["/proc/sys"])).build().unwrap();
    let runtime = stage.runtime_after(OLD_KERNEL);
    let report = runtime.observe(&bundle).unwrap();
    assert_eq!(report.seccomp, 2, "the runtime was not under the filter");
    for (set, clear) in FLAGS {
        assert_eq!(flags(at(&report, &format!("/t/{clear}"))), all_but(set), "{clear}");
        assert_eq!(flags(at(&report, &format!("/t/{set}"))), [*set]);
    }
    for (name, shown) in ATIMES {
        assert_eq!(atime(at(&report, &format!("/a/{name}"))), *shown, "{name}");
    }
    // The choice about access times stays strict, which no flag says.
    assert_eq!(atime(at(&report, "/strict-nodiratime")), None);
    assert_eq!(flags(at(&report, "/slave")), ["noexec"]);
    assert!(at(&report, "/proc/sys").read_only() && at(&report, "/").read_only());
}

#[test]
#[cfg(target_arch = "x86_64")]
fn m24_e12_a_kernel_that_cannot_change_a_tree_makes_every_r_form_an_error() {
    let stage = Stage::new(TREES);
    let runtime = stage.runtime_after(OLD_KERNEL);
    for option in ["rro", "rrw", "rnosuid", "rexec", "rnoatime", "rnosymfollow"] {
        let bundle =
            mounted(Bundle::new(), [bind(&stage.path("lax"), "/t", &["rbind", option])]).build().unwrap();
        let finished = runtime.run(&bundle).unwrap();
        assert_eq!(finished.exit, Exit::Code(1), "{option}");
        assert!(finished.stderr.contains("on /t: mount_setattr: function not implemented"), "{finished:?}");
        assert!(finished.stderr.contains("Linux 5.12"), "{finished:?}");
    }
}
