//! Compiles the system call filter. Runs in the runtime's process.
//!
//! The architecture is looked up, then the number of the call by a binary search, then its arguments are compared.
//! libseccomp would take twenty times as long, for a filter that is slower too; its numbers are ours (`table`).

mod architecture;
mod program;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use nix::errno::Errno;

use crate::plan::invalid::Finding;
use crate::plan::seccomp::{Action, Compare, Op, Rule, Seccomp};
use crate::sys::creds::Instruction;
use crate::sys::{Call, Stop};

use architecture::{Architecture, X32_BIT};
pub use architecture::{architectures, library_version};
pub(super) use program::LONGEST;
use program::{Comparison, Graph, Id};
use rules::{Choice, decide, value};
use table::Named;

// Where struct seccomp_data has the number of the call and its architecture.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// What happens to calls of architectures that the config does not list. It is libseccomp's choice, which runc and
/// crun do not change: whoever makes such a call is not who the profile was written for.
const UNLISTED: Action = Action::KillThread;

/// What the kernel says of calls that it does not have.
const UNKNOWN: Action = Action::Errno(Errno::ENOSYS as u16);

/// Which of `architectures` cannot be compiled: libseccomp, in the version whose numbers these are, has none for them.
pub(crate) fn check(architectures: &[String]) -> Vec<Finding> {
    let finding = |name: &String| Finding {
        at: "/linux/seccomp/architectures".to_owned(),
        says: format!(
            "{name} is not known to libseccomp {}, whose numbers this runtime has; remove it",
            library_version()
        ),
        spec: "config-linux.md#seccomp",
    };
    architectures.iter().filter(|name| Architecture::named(name).is_none()).map(finding).collect()
}

/// The architecture of this program, as a filter sees it: `AUDIT_ARCH_` of linux/audit.h.
pub(super) fn native() -> Option<u32> {
    Architecture::native().map(|architecture| architecture.audit)
}

/// Compiles `plan` into a program for the kernel.
///
/// # Errors
/// EINVAL for an architecture that the table does not have; E2BIG for more instructions than the kernel takes.
pub(crate) fn compile(plan: &Seccomp) -> Result<Vec<Instruction>, Stop> {
    let mut architectures: Vec<&Architecture> = Vec::with_capacity(plan.architectures.len() + 1);
    let listed = plan.architectures.iter().map(|name| Architecture::named(name));
    for architecture in std::iter::once(Architecture::native()).chain(listed) {
        let architecture = architecture.ok_or(Stop::new(Call::Seccomp, Errno::EINVAL))?;
        if !architectures.contains(&architecture) {
            architectures.push(architecture);
        }
    }
    let rules = Rules::of(plan);
    let mut graph = Graph::default();
    let mut start = graph.finish(value(UNLISTED));
    let mut done = Vec::with_capacity(architectures.len());
    // From the last one: the native architecture is to be asked for first.
    for architecture in architectures.iter().rev() {
        // x32 has a part of the numbers of x86-64.
        if !done.contains(&architecture.audit) {
            done.push(architecture.audit);
            let sharing = architectures.iter().filter(|other| other.audit == architecture.audit);
            let ranges = ranges(&mut graph, &rules, &sharing.copied().collect::<Vec<_>>());
            let search = graph.search(&ranges);
            let search = graph.load(NUMBER, search);
            start = graph.test(Comparison::Equal, architecture.audit, search, start);
        }
    }
    let start = graph.load(ARCHITECTURE, start);
    let instructions = graph.assemble(start);
    if instructions.len() > LONGEST { Err(Stop::new(Call::Seccomp, Errno::E2BIG)) } else { Ok(instructions) }
}

/// What each number leads to, by the first number of each range.
fn ranges(graph: &mut Graph, rules: &Rules<'_>, sharing: &[&Architecture]) -> Vec<(u32, Id)> {
    let unlisted = graph.finish(value(UNLISTED));
    let mut one = |x32| {
        let architecture = sharing.iter().find(|architecture| architecture.is_x32() == x32)?;
        Some(part(graph, rules, architecture))
    };
    match [one(false), one(true)] {
        [Some(mut proper), Some(x32)] => {
            proper.ranges.extend(x32.ranges);
            proper.ranges
        }
        [Some(mut proper), None] => {
            if proper.end == X32_BIT {
                // -1 is how a tracer skips a call; it belongs to nobody.
                proper.ranges.extend([(X32_BIT, unlisted), (u32::MAX, proper.newer)]);
            }
            proper.ranges
        }
        [None, x32] => {
            let x32 = x32.into_iter().flat_map(|part| part.ranges);
            std::iter::once((0, unlisted)).chain(x32).collect()
        }
    }
}

/// What the numbers of one architecture lead to.
struct Part {
    ranges: Vec<(u32, Id)>,
    /// Where a number leads that is larger than any that is named.
    newer: Id,
    /// The first number that is not in the table of system calls proper.
    end: u32,
}

fn part(graph: &mut Graph, rules: &Rules<'_>, architecture: &Architecture) -> Part {
    let first = if architecture.is_x32() { X32_BIT } else { 0 };
    let end = architecture.end();
    let (mut named, newest) = rules.named(architecture);
    let default = graph.finish(value(rules.default));
    let mut newer = default;
    let mut background = vec![(first, default)];
    // A call that is newer than the profile is one that its author could not know, and a C library tries the
    // older one only if it hears that there is no such call. runc does the same, and engines rely on it.
    if let Some(newest) = newest.filter(|_| refuses(rules.default)) {
        newer = graph.finish(value(UNKNOWN));
        if architecture.hides_unknown_calls() {
            named.retain(|(number, _)| *number != 0);
            background = vec![(0, newer), (1, default)];
        }
        background.push((newest + 1, newer));
        if end != u32::MAX && end != X32_BIT {
            background.push((end, default));
        }
    }
    named.sort_by_key(|(number, _)| *number);
    let mut ranges = Vec::with_capacity(2 * named.len());
    let mut background = background.into_iter().peekable();
    let mut under = default;
    for call in named.chunk_by(|a, b| a.0 == b.0) {
        let number = call[0].0;
        while let Some(start) = background.next_if(|start| start.0 <= number) {
            under = start.1;
            ranges.push(start);
        }
        let decision = match &call[0].1 {
            // Nothing to decide, and that is the rule.
            Choice { action, args } if args.is_empty() => graph.finish(value(*action)),
            _ => {
                decide(graph, architecture, call.iter().map(|(_, choice)| choice.clone()).collect(), default)
            }
        };
        ranges.push((number, decision));
        ranges.push((number + 1, under));
    }
    ranges.extend(background);
    // Of several entries for one number the last one holds.
    ranges.reverse();
    ranges.dedup_by_key(|range| range.0);
    ranges.reverse();
    Part { ranges, newer, end }
}

/// The rules of a profile, with their calls looked up once for all architectures.
struct Rules<'a> {
    default: Action,
    rules: Vec<(&'a Rule, Vec<Named>)>,
}

impl Rules<'_> {
    fn of(plan: &Seccomp) -> Rules<'_> {
        // Names differ by architecture and kernel: one that is not known here cannot be called either.
        let calls = |rule: &Rule| rule.names.iter().filter_map(|name| Named::find(name)).collect();
        Rules { default: plan.default, rules: plan.rules.iter().map(|rule| (rule, calls(rule))).collect() }
    }

    /// Every number that rules say something of which is not done anyway, and the largest that they name at all.
    fn named(&self, architecture: &Architecture) -> (Vec<(u32, Choice)>, Option<u32>) {
        let mut named = Vec::with_capacity(512);
        let mut newest = None;
        for (rule, calls) in &self.rules {
            let alternatives = if rule.action == self.default { vec![] } else { alternatives(rule) };
            for call in calls.iter().flat_map(|call| architecture.resolve(*call)) {
                if call.number < architecture.end() {
                    newest = newest.max(Some(call.number));
                }
                for args in &alternatives {
                    let args = match call.subcall {
                        Some(subcall) => through(args, subcall),
                        None => args.clone(),
                    };
                    named.push((call.number, Choice { action: rule.action, args }));
                }
            }
        }
        (named, newest)
    }
}

/// The conditions of a rule. Any of several on the same argument is enough, which is how Docker once wrote "one of
/// these values", and how runc and crun read it.
fn alternatives(rule: &Rule) -> Vec<Vec<Compare>> {
    let repeated = (0..6).any(|i| rule.args.iter().filter(|arg| arg.index == i).count() > 1);
    if repeated { rule.args.iter().map(|arg| vec![*arg]).collect() } else { vec![rule.args.clone()] }
}

/// The conditions for a call that is made through socketcall(2) or ipc(2), whose first argument says which it is.
fn through(args: &[Compare], subcall: u32) -> Vec<Compare> {
    let which = Compare { index: 0, op: Op::Eq, value: u64::from(subcall), masked: 0 };
    std::iter::once(which).chain(args.iter().filter(|arg| arg.index != 0).copied()).collect()
}

/// The action is a refusal. To ask somebody is none: who is asked can say ENOSYS too.
fn refuses(action: Action) -> bool {
    matches!(action, Action::Errno(_) | Action::Trap | Action::KillThread | Action::KillProcess)
}
