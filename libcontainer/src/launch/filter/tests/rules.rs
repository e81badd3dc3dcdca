//! Rules about arguments: each operator at its borders, and which of several rules decides.

use proptest::prelude::*;

use super::super::architecture::Architecture;
use super::super::program::Graph;
use super::super::rules::{Choice, decide, rank, simplify, value};
use super::machine::{Call, check, run};
use crate::plan::seccomp::{Action, Compare, Op};

const OPERATORS: [Op; 7] = [Op::Ne, Op::Lt, Op::Le, Op::Eq, Op::Ge, Op::Gt, Op::MaskedEq];

/// Of the four kinds: 32 and 64 bits, either way round.
const KINDS: [&str; 4] = ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_MIPS", "SCMP_ARCH_S390X"];

fn kinds() -> impl Iterator<Item = &'static Architecture> {
    KINDS.iter().map(|name| Architecture::named(name).unwrap())
}

/// Values with something to get wrong in either half.
const VALUES: [u64; 12] = [
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x5_8000_0002,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

/// What a condition means.
fn holds(arg: &Compare, value: u64) -> bool {
    match arg.op {
        Op::Ne => value != arg.value,
        Op::Lt => value < arg.value,
        Op::Le => value <= arg.value,
        Op::Eq => value == arg.value,
        Op::Ge => value >= arg.value,
        Op::Gt => value > arg.value,
        Op::MaskedEq => value & arg.value == arg.masked & arg.value,
    }
}

/// What the rules mean, read one after the other.
fn says(architecture: &Architecture, choices: &[Choice], args: &[u64; 6]) -> Option<Action> {
    let simple = |choice: &Choice| {
        let mut args: Vec<_> = choice.args.iter().filter_map(|arg| simplify(architecture, *arg)).collect();
        args.sort_by_key(|arg| arg.index);
        (args, choice.action)
    };
    let choices: Vec<(Vec<Compare>, Action)> = choices.iter().map(simple).collect();
    let matching = choices.iter().filter(|(conditions, _)| {
        conditions.is_empty() || conditions.iter().all(|arg| holds(arg, args[usize::from(arg.index)]))
    });
    // Of equals, the first: that is what `min_by_key` takes.
    let key = |conditions: &[Compare]| conditions.iter().map(rank).collect::<Vec<_>>();
    matching.min_by_key(|(conditions, _)| key(conditions)).map(|(_, action)| *action)
}

/// Whether the filter of `choices` does what they mean, for arguments taken from `values`.
fn agrees(architecture: &Architecture, choices: &[Choice], values: &[u64]) -> Result<(), String> {
    let mut graph = Graph::default();
    let default = graph.finish(7);
    let start = decide(&mut graph, architecture, choices.to_vec(), default);
    let program = graph.assemble(start);
    check(&program);
    let width = if architecture.is_wide() { u64::MAX } else { 0xffff_ffff };
    for first in values {
        for second in values {
            let args = [*first, *second, first ^ second, 0, 0, *first].map(|arg| arg & width);
            let expected = says(architecture, choices, &args).map_or(7, value);
            let (found, _) = run(&program, &Call::of(architecture, 0, args));
            if found != expected {
                return Err(format!("{} {args:x?}: {found:#x}, not {expected:#x}", architecture.name));
            }
        }
    }
    Ok(())
}

fn near(values: impl IntoIterator<Item = u64>) -> Vec<u64> {
    values.into_iter().flat_map(|v| [v.wrapping_sub(1), v, v.wrapping_add(1), v ^ (1 << 32)]).collect()
}

fn only(index: u8, op: Op, value: u64, masked: u64) -> Choice {
    Choice { action: Action::Allow, args: vec![Compare { index, op, value, masked }] }
}

#[test]
fn s09_every_operator_holds_up_to_its_border_and_not_beyond() {
    let values = near(VALUES);
    for architecture in kinds() {
        for op in OPERATORS {
            for number in VALUES {
                for index in [0, 5] {
                    agrees(architecture, &[only(index, op, number, 1)], &values).unwrap();
                    agrees(architecture, &[only(index, op, number, number)], &values).unwrap();
                }
            }
        }
    }
}

#[test]
fn s09_all_conditions_of_a_rule_must_hold() {
    let values = near(VALUES);
    for architecture in kinds() {
        for (first, second) in OPERATORS.into_iter().flat_map(|a| OPERATORS.map(|b| (a, b))) {
            let args = [(0, first, 0x1_0000_0001), (1, second, 0xffff_ffff)];
            let args = args.map(|(index, op, value)| Compare { index, op, value, masked: 1 }).to_vec();
            agrees(architecture, &[Choice { action: Action::Allow, args }], &values).unwrap();
        }
    }
}

/// What a filter of these rules says about a first argument.
fn decided(choices: &[(Op, u64, Action)], argument: u64) -> u32 {
    let choice = |(op, value, action): &(Op, u64, Action)| Choice {
        action: *action,
        args: vec![Compare { index: 0, op: *op, value: *value, masked: 0 }],
    };
    let architecture = Architecture::named("SCMP_ARCH_X86_64").unwrap();
    let mut graph = Graph::default();
    let default = graph.finish(7);
    let start = decide(&mut graph, architecture, choices.iter().map(choice).collect(), default);
    run(&graph.assemble(start), &Call::of(architecture, 0, [argument, 0, 0, 0, 0, 0])).0
}

#[test]
fn s09_the_narrower_rule_decides_in_whichever_order_they_are_listed() {
    let cases = [
        [(Op::Ge, 3, Action::Allow), (Op::Eq, 5, Action::Trap)],
        [(Op::Le, 9, Action::Allow), (Op::Eq, 5, Action::Trap)],
        [(Op::Ge, 3, Action::Allow), (Op::Ge, 5, Action::Trap)],
        [(Op::Le, 9, Action::Allow), (Op::Le, 5, Action::Trap)],
    ];
    for mut case in cases {
        for _ in 0..2 {
            assert_eq!(decided(&case, 5), value(Action::Trap), "{case:?}");
            case.reverse();
        }
    }
}

#[test]
fn s09_a_rule_without_conditions_overrides_and_of_equal_ones_the_first_decides() {
    // The mask makes a condition that always holds, which is none.
    let free = (Op::MaskedEq, 0, Action::Trap);
    let bound = (Op::Eq, 5, Action::Allow);
    for case in [[free, bound], [bound, free], [free, (Op::MaskedEq, 0, Action::Log)]] {
        assert_eq!(decided(&case, 5), value(Action::Trap));
        assert_eq!(decided(&case, 6), value(Action::Trap));
    }
    assert_eq!(decided(&[bound, (Op::Eq, 5, Action::Log)], 5), value(Action::Allow));
    assert_eq!(decided(&[(Op::Eq, 5, Action::Log), bound], 5), value(Action::Log));
}

#[test]
fn s09_many_values_of_one_argument_are_searched_not_listed() {
    let architecture = Architecture::named("SCMP_ARCH_X86_64").unwrap();
    let choices: Vec<Choice> = (0..1000).map(|n| only(0, Op::Eq, 3 * n, 0)).collect();
    let mut graph = Graph::default();
    let default = graph.finish(7);
    let start = decide(&mut graph, architecture, choices, default);
    let program = graph.assemble(start);
    check(&program);
    for argument in 0..3010 {
        let (found, steps) = run(&program, &Call::of(architecture, 0, [argument, 0, 0, 0, 0, 0]));
        let expected = if argument % 3 == 0 && argument < 3000 { value(Action::Allow) } else { 7 };
        assert_eq!(found, expected, "{argument}");
        assert!(steps < 25, "{steps} instructions for {argument}");
    }
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::KillThread),
        Just(Action::KillProcess),
        Just(Action::Trap),
        Just(Action::Log),
        Just(Action::Allow),
        (1..40u16).prop_map(Action::Errno),
        (1..3u16).prop_map(Action::Trace),
    ]
}

pub(super) fn choice() -> impl Strategy<Value = Choice> {
    let number = || prop_oneof![0..4u64, prop::sample::select(VALUES.to_vec()), any::<u64>()];
    let condition = (prop::sample::select(OPERATORS.to_vec()), number(), number());
    let arguments = prop::sample::subsequence(vec![0, 1, 2, 5], 0..4);
    (action(), arguments, prop::collection::vec(condition, 4)).prop_map(|(action, arguments, conditions)| {
        let args = arguments.into_iter().zip(conditions);
        let args = args.map(|(index, (op, value, masked))| Compare { index, op, value, masked });
        Choice { action, args: args.collect() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s09_arbitrary_rules_for_one_call_do_what_they_mean(
        choices in prop::collection::vec(choice(), 0..12),
        kind in 0..KINDS.len(),
    ) {
        let numbers = choices.iter().flat_map(|choice| &choice.args).flat_map(|arg| [arg.value, arg.masked]);
        let architecture = kinds().nth(kind).unwrap();
        if let Err(says) = agrees(architecture, &choices, &near(numbers.chain([0]))) {
            prop_assert!(false, "{says}");
        }
    }
}
