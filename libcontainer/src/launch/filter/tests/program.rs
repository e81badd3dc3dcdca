//! How programs are laid out, and what they are made of.

use std::collections::BTreeSet;

use libseccomp::{ScmpArch, ScmpSyscall};

use super::super::architecture::Architecture;
use super::super::program::{Comparison, Graph};
use super::super::table::Named;
use super::super::{compile, library_version};
use super::machine::{Call, check, run};
use super::plan;
use crate::plan::seccomp::{Action, Compare, Op, Rule, Seccomp};
use crate::sys;

fn number(number: u32) -> Call {
    Call { number, ..Call::default() }
}

fn rule(names: &[&str], action: Action) -> Rule {
    Rule { names: names.iter().map(|name| (*name).to_owned()).collect(), action, args: vec![] }
}

#[test]
fn s14_ranges_are_searched_in_logarithmic_time_over_long_jumps() {
    let mut graph = Graph::default();
    // Each value returns another one, so nothing is shared and the program is longer than a branch.
    let ranges: Vec<_> = (0..1000).map(|n| (n * 2, graph.finish(n))).collect();
    let search = graph.search(&ranges);
    let start = graph.load(0, search);
    let program = graph.assemble(start);
    check(&program);
    assert!(program.iter().any(|instruction| instruction.code == 0x05), "no long jump to test");
    for n in 0..2000 {
        let (found, steps) = run(&program, &number(n));
        assert_eq!(found, n / 2);
        assert!(steps <= 2 + 2 * 11, "{steps} instructions for {n}");
    }
    assert_eq!(run(&program, &number(u32::MAX)).0, 999);
}

#[test]
fn s14_neighbours_with_the_same_outcome_and_equal_tails_are_one() {
    let mut graph = Graph::default();
    let (yes, no) = (graph.finish(1), graph.finish(0));
    let ranges: Vec<_> = (0..100).map(|n| (n, if n < 50 { yes } else { no })).collect();
    let search = graph.search(&ranges);
    assert_eq!(graph.search(&[(0, yes), (50, no)]), search);
    assert_eq!(graph.assemble(search).len(), 3);
    assert_eq!(graph.test(Comparison::Equal, 5, yes, yes), yes);
    assert_eq!(graph.load(0, yes), yes);
}

#[test]
fn s14_a_value_that_many_jump_to_from_afar_is_returned_near_each() {
    let mut graph = Graph::default();
    let rare = graph.finish(9);
    let ranges: Vec<_> = (0..2000).map(|n| (n, if n % 2 == 0 { rare } else { graph.finish(n) })).collect();
    let search = graph.search(&ranges);
    let start = graph.load(0, search);
    let program = graph.assemble(start);
    check(&program);
    for n in 0..2000 {
        assert_eq!(run(&program, &number(n)).0, if n % 2 == 0 { 9 } else { n });
    }
}

#[test]
fn s09_more_than_the_kernel_takes_is_refused_by_name() {
    let args = |n| vec![Compare { index: 0, op: Op::MaskedEq, value: 0xff00_00ff, masked: n }];
    let rules = (0..2000).map(|n| Rule { args: args(n << 8 << 16), ..rule(&["read"], Action::Allow) });
    let rules: Vec<Rule> = rules.collect();
    let stop = compile(&plan(Action::Errno(1), rules)).unwrap_err();
    assert_eq!((stop.call, stop.errno), (sys::Call::Seccomp, nix::libc::E2BIG));
}

#[test]
fn s01_a_filter_without_rules_does_the_default_and_nothing_else() {
    let native = Architecture::native().unwrap();
    for default in [Action::Allow, Action::Log, Action::Errno(5), Action::KillProcess, Action::Trace(3)] {
        let program = compile(&plan(default, vec![])).unwrap();
        check(&program);
        for n in [0, 1, 400, 5000] {
            let (found, _) = run(&program, &Call::of(native, n, [0; 6]));
            assert_eq!(found, super::super::value(default));
        }
    }
}

#[test]
fn s04_calls_of_an_architecture_that_is_not_listed_kill_the_thread() {
    let program = compile(&plan(Action::Allow, vec![])).unwrap();
    let native = Architecture::native().unwrap();
    for architecture in Architecture::known().filter(|other| other.audit != native.audit) {
        assert_eq!(run(&program, &Call::of(architecture, 1, [0; 6])).0, 0, "{}", architecture.name);
    }
    if native.name == "SCMP_ARCH_X86_64" {
        // x32 is another architecture, although the kernel calls it the same.
        assert_eq!(run(&program, &Call::of(native, 0x4000_0001, [0; 6])).0, 0);
        let allowed = super::super::value(Action::Allow);
        assert_eq!(run(&program, &Call::of(native, u32::MAX, [0; 6])).0, allowed);
    }
}

#[test]
fn s04_an_architecture_that_the_library_does_not_know_is_refused() {
    let known: BTreeSet<_> = Architecture::known().map(|architecture| architecture.name).collect();
    let mut plan = plan(Action::Allow, vec![]);
    for name in ["SCMP_ARCH_M68K", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_SH", "SCMP_ARCH_X32", "SCMP_ARCH_S390"]
    {
        plan.architectures = vec![name.to_owned()];
        assert_eq!(compile(&plan).is_ok(), known.contains(name), "{name}, libseccomp {}", library_version());
    }
    plan.architectures = vec!["SCMP_ARCH_X86".to_owned(), "SCMP_ARCH_NONE".to_owned()];
    assert!(compile(&plan).is_err());
    let findings = super::super::check(&plan.architectures);
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(finding.at, "/linux/seccomp/architectures");
    let says = format!("SCMP_ARCH_NONE is not known to libseccomp {}", library_version());
    assert!(finding.says.starts_with(&says), "{finding}");
}

#[test]
fn s04_every_architecture_fits_in_one_filter() {
    let architectures = Architecture::known().map(|architecture| architecture.name.to_owned()).collect();
    let rules = vec![rule(&["read", "write", "openat", "close", "exit_group"], Action::Allow)];
    let program = compile(&Seccomp { architectures, ..plan(Action::Errno(1), rules) }).unwrap();
    check(&program);
    for architecture in Architecture::known() {
        let read = architecture.resolve(Named::find("read").unwrap()).next().unwrap().number;
        assert_eq!(
            run(&program, &Call::of(architecture, read, [0; 6])).0,
            super::super::value(Action::Allow)
        );
    }
}

#[test]
fn s10_a_name_that_no_kernel_knows_is_skipped() {
    let with =
        compile(&plan(Action::Errno(1), vec![rule(&["read", "no_such_call"], Action::Allow)])).unwrap();
    let without = compile(&plan(Action::Errno(1), vec![rule(&["read"], Action::Allow)])).unwrap();
    assert_eq!(with, without);
}

#[test]
fn s10_calls_that_are_folded_into_others_keep_their_own_numbers() {
    for architecture in Architecture::known() {
        let token: ScmpArch = architecture.name.parse().unwrap();
        for n in 0..5000 {
            let Ok(name) = ScmpSyscall::from_raw_syscall(n).get_name_by_arch(token) else { continue };
            let pseudo = ScmpSyscall::from_name_by_arch(&name, token).map_or(0, i32::from);
            if (-300..-99).contains(&pseudo) && (n > 3999 || !architecture.name.contains("MIPS")) {
                let calls: Vec<_> = architecture
                    .resolve(Named::find(&name).unwrap())
                    .map(|call| (call.number, call.subcall))
                    .collect();
                let own = (u32::try_from(n).unwrap(), None);
                assert_eq!(calls[0], own, "{name} on {}", architecture.name);
                assert_eq!(calls[1].1, Some(pseudo.unsigned_abs() % 100), "{name} on {}", architecture.name);
            }
        }
    }
}

#[test]
fn s11_calls_newer_than_the_profile_do_not_exist() {
    let native = Architecture::native().unwrap();
    let newest = native.resolve(Named::find("openat2").unwrap()).next().unwrap().number;
    let says = |plan: &Seccomp, n| run(&compile(plan).unwrap(), &Call::of(native, n, [0; 6])).0;
    let rules = || vec![rule(&["read", "openat2"], Action::Allow)];
    for default in [Action::Errno(1), Action::KillProcess, Action::KillThread, Action::Trap] {
        let plan = plan(default, rules());
        assert_eq!(says(&plan, newest + 1), 0x0005_0026, "{default:?}");
        assert_eq!(says(&plan, newest - 1), super::super::value(default));
    }
    for default in [Action::Log, Action::Trace(1)] {
        let plan = plan(default, rules());
        assert_eq!(says(&plan, newest + 1), super::super::value(default), "{default:?} can answer itself");
    }
    // A rule that says what is done anyway shows all the same what the author knew.
    let known =
        plan(Action::Errno(1), vec![rule(&["read"], Action::Allow), rule(&["openat2"], Action::Errno(1))]);
    assert_eq!(says(&known, newest), 0x0005_0001);
    assert_eq!(says(&known, newest + 1), 0x0005_0026);
    let nothing = plan(Action::Errno(1), vec![rule(&["no_such_call"], Action::Allow)]);
    assert_eq!(says(&nothing, newest + 1), 0x0005_0001, "the profile names no call, so none is newer");
}

#[test]
fn s15_a_filter_is_compiled_faster_than_a_cached_one_could_be_found() {
    // A file that is read, checked and kept up to date costs some hundred microseconds too; this only holds the
    // order of magnitude, in a debug build on a busy machine.
    let rules: Vec<Rule> = (0..300).map(|_| rule(&["read", "openat", "socket"], Action::Allow)).collect();
    let start = std::time::Instant::now();
    assert!(compile(&plan(Action::Errno(1), rules)).is_ok());
    assert!(start.elapsed() < std::time::Duration::from_secs(1));
}
