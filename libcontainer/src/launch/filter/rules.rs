//! Turns the rules for one system call into decisions about its arguments. Runs in the runtime's process.
//!
//! Profiles are written for libseccomp, so the rule that decides is the one that decides there: one without
//! conditions, the first such; else the most specific one in libseccomp's order, in which the order of the list has
//! no part, except between rules with the same conditions.

use std::cmp::Reverse;

use super::architecture::Architecture;
use super::program::{Comparison, Graph, Id};
use crate::plan::seccomp::{Action, Compare, Op};

/// A rule for one system call.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) action: Action,
    /// All of these must hold, at most one for each argument.
    pub(super) args: Vec<Compare>,
}

/// The value that a filter returns for `action`. See linux/seccomp.h.
pub(super) fn value(action: Action) -> u32 {
    match action {
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
        Action::Trap => 0x0003_0000,
        Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
        Action::Trace(value) => 0x7ff0_0000 | u32::from(value),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
        Action::Notify => 0x7fc0_0000,
    }
}

/// The decision between `choices`, listed as in the config; `default` is for when none applies.
pub(super) fn decide(
    graph: &mut Graph,
    architecture: &Architecture,
    mut choices: Vec<Choice>,
    default: Id,
) -> Id {
    for choice in &mut choices {
        choice.args = choice.args.iter().filter_map(|arg| simplify(architecture, *arg)).collect();
        choice.args.sort_by_key(|arg| arg.index);
    }
    if let Some(choice) = choices.iter().find(|choice| choice.args.is_empty()) {
        return graph.finish(value(choice.action));
    }
    choices.sort_by_cached_key(|choice| choice.args.iter().map(rank).collect::<Vec<_>>());
    let runs: Vec<&[Choice]> =
        choices.chunk_by(|a, b| ranged(a).is_some() && ranged(a) == ranged(b)).collect();
    let mut otherwise = default;
    for run in runs.into_iter().rev() {
        otherwise = match ranged(&run[0]) {
            Some(argument) => by_range(graph, architecture, argument, run, otherwise),
            None => {
                let mut yes = graph.finish(value(run[0].action));
                for arg in run[0].args.iter().rev() {
                    yes = compare(graph, architecture, arg, yes, otherwise);
                }
                yes
            }
        };
    }
    otherwise
}

/// The condition in the width that arguments have; nothing if it always holds.
pub(super) fn simplify(architecture: &Architecture, arg: Compare) -> Option<Compare> {
    let width = if architecture.is_wide() { u64::MAX } else { u64::from(u32::MAX) };
    let value = arg.value & width;
    match arg.op {
        Op::MaskedEq if value == 0 => None,
        Op::MaskedEq => Some(Compare { value, masked: arg.masked & value, ..arg }),
        _ => Some(Compare { value, ..arg }),
    }
}

/// libseccomp's order: last arguments first; equality, then upper limits, then lower ones; narrow ones first.
pub(super) fn rank(arg: &Compare) -> (Reverse<u8>, u8, u64) {
    let (class, value) = match arg.op {
        Op::Eq | Op::Ne => (0, !arg.value),
        Op::MaskedEq => (0, !arg.masked),
        Op::Lt | Op::Le => (1, arg.value),
        Op::Ge | Op::Gt => (2, !arg.value),
    };
    (Reverse(arg.index), class, value)
}

/// The argument, if the rule is about a range of one.
fn ranged(choice: &Choice) -> Option<u8> {
    match choice.args[..] {
        [arg] if arg.op != Op::MaskedEq => Some(arg.index),
        _ => None,
    }
}

/// The decision between rules about ranges of the same argument: a search.
fn by_range(
    graph: &mut Graph,
    architecture: &Architecture,
    argument: u8,
    run: &[Choice],
    otherwise: Id,
) -> Id {
    let (low, high) = architecture.halves(argument);
    let values = run.iter().flat_map(|choice| &choice.args).map(|arg| arg.value);
    let mut starts: Vec<u64> =
        values.flat_map(|value| [Some(value), value.checked_add(1)]).flatten().collect();
    starts.push(0);
    starts.sort_unstable();
    starts.dedup();
    let mut ranges: Vec<(u64, Id)> = Vec::with_capacity(starts.len());
    for start in starts {
        let choice = run.iter().find(|choice| choice.args.iter().all(|arg| holds(arg, start)));
        ranges.push((start, choice.map_or(otherwise, |choice| graph.finish(value(choice.action)))));
    }
    if !architecture.is_wide() {
        let ranges: Vec<_> =
            ranges.iter().filter(|range| upper(range.0) == 0).map(|r| (lower(r.0), r.1)).collect();
        let search = graph.search(&ranges);
        return graph.load(low, search);
    }
    let mut uppers: Vec<(u32, Id)> = Vec::new();
    let mut before = otherwise;
    for group in ranges.chunk_by(|a, b| upper(a.0) == upper(b.0)) {
        let mut lowers = vec![(0, before)];
        lowers.extend(group.iter().map(|range| (lower(range.0), range.1)));
        // The first value of the group may be 0 itself.
        if lower(group[0].0) == 0 {
            lowers.remove(0);
        }
        before = group.last().map_or(before, |range| range.1);
        let search = graph.search(&lowers);
        let search = graph.load(low, search);
        // What comes between this group and the one before.
        let this = upper(group[0].0);
        if uppers.last().is_some_and(|last| last.0 == this) {
            uppers.pop();
        }
        uppers.push((this, search));
        uppers.extend(this.checked_add(1).map(|next| (next, before)));
    }
    let search = graph.search(&uppers);
    graph.load(high, search)
}

/// Whether a condition that is not masked holds for an argument.
fn holds(arg: &Compare, value: u64) -> bool {
    match arg.op {
        Op::Ne => value != arg.value,
        Op::Lt => value < arg.value,
        Op::Le => value <= arg.value,
        Op::Eq => value == arg.value,
        Op::Ge => value >= arg.value,
        Op::Gt => value > arg.value,
        Op::MaskedEq => value & arg.value == arg.masked,
    }
}

/// One condition: an argument is compared half by half, as the accumulator has 32 bits.
fn compare(graph: &mut Graph, architecture: &Architecture, arg: &Compare, yes: Id, no: Id) -> Id {
    let (low, high) = architecture.halves(arg.index);
    let wide = architecture.is_wide();
    let [low_value, high_value] = [lower(arg.value), upper(arg.value)];
    let (how, yes, no) = match arg.op {
        Op::MaskedEq => {
            let mut next = masked(graph, low, low_value, lower(arg.masked), yes, no);
            if wide {
                next = masked(graph, high, high_value, upper(arg.masked), next, no);
            }
            return next;
        }
        Op::Eq => (Comparison::Equal, yes, no),
        Op::Ne => (Comparison::Equal, no, yes),
        Op::Gt => (Comparison::Greater, yes, no),
        Op::Le => (Comparison::Greater, no, yes),
        Op::Ge => (Comparison::AtLeast, yes, no),
        Op::Lt => (Comparison::AtLeast, no, yes),
    };
    let test = graph.test(how, low_value, yes, no);
    let test = graph.load(low, test);
    if !wide {
        return test;
    }
    let equal = graph.test(Comparison::Equal, high_value, test, no);
    let test = match how {
        Comparison::Equal | Comparison::Bits => equal,
        Comparison::Greater | Comparison::AtLeast => graph.test(Comparison::Greater, high_value, yes, equal),
    };
    graph.load(high, test)
}

/// Whether the word at `offset` has the bits `value` under `mask`.
fn masked(graph: &mut Graph, offset: u32, mask: u32, value: u32, yes: Id, no: Id) -> Id {
    let test = match (mask, value) {
        (0, _) => return yes,
        (_, 0) => graph.test(Comparison::Bits, mask, no, yes),
        _ if mask == value && mask.is_power_of_two() => graph.test(Comparison::Bits, mask, yes, no),
        _ => {
            let test = graph.test(Comparison::Equal, value, yes, no);
            if mask == u32::MAX || yes == no { test } else { graph.and(mask, test) }
        }
    };
    if yes == no { yes } else { graph.load(offset, test) }
}

fn lower(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or_default()
}

fn upper(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or_default()
}
