//! Builds a filter as a graph of decisions and lays it out as classic BPF. Runs in the runtime's process.
//!
//! A node is made after what it leads to, and equal nodes are one node, so equal tails share their code. BPF jumps
//! forward only: the program is laid out from its end, in the order in which the nodes were made.
//! See linux/filter.h and Documentation/userspace-api/seccomp_filter.rst.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::sys::creds::Instruction;

/// What the kernel takes at most: BPF_MAXINSNS of linux/bpf_common.h.
pub(in crate::launch) const LONGEST: usize = 4096;

/// A node of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(usize);

/// How the accumulator is compared with a constant. A test that wants the opposite swaps its branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    /// They are equal.
    Equal,
    /// It is greater, without sign.
    Greater,
    /// It is greater or equal, without sign.
    AtLeast,
    /// They have a bit in common.
    Bits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Node {
    Return(u32),
    /// Loads the word at this offset of struct seccomp_data.
    Load(u32, Id),
    And(u32, Id),
    Test {
        how: Comparison,
        with: u32,
        yes: Id,
        no: Id,
    },
}

/// Decisions, each made after those that it leads to.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    known: HashMap<Node, Id, BuildHasherDefault<Fold>>,
}

/// Hashes a few small numbers, of FNV-1a's kind, a word at a time: whoever writes a profile wins nothing by numbers that
/// collide.
#[derive(Debug, Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, word: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u32(u32::try_from(word).unwrap_or_default());
    }

    fn finish(&self) -> u64 {
        // The table looks at the upper bits.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Graph {
    fn node(&mut self, node: Node) -> Id {
        *self.known.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            Id(self.nodes.len() - 1)
        })
    }

    /// Ends with this value: `SECCOMP_RET_` and its data.
    pub(super) fn finish(&mut self, value: u32) -> Id {
        self.node(Node::Return(value))
    }

    /// Loads a word and goes on; not if nobody looks at it.
    pub(super) fn load(&mut self, offset: u32, next: Id) -> Id {
        match self.nodes[next.0] {
            Node::Return(_) | Node::Load(..) => next,
            Node::And(..) | Node::Test { .. } => self.node(Node::Load(offset, next)),
        }
    }

    /// Keeps these bits of the accumulator and goes on.
    pub(super) fn and(&mut self, mask: u32, next: Id) -> Id {
        self.node(Node::And(mask, next))
    }

    /// Compares the accumulator with a constant.
    pub(super) fn test(&mut self, how: Comparison, with: u32, yes: Id, no: Id) -> Id {
        if yes == no { yes } else { self.node(Node::Test { how, with, yes, no }) }
    }

    /// Searches for the range that the accumulator is in. `ranges` has the first value of each and where it leads,
    /// ascending from 0.
    pub(super) fn search(&mut self, ranges: &[(u32, Id)]) -> Id {
        let mut merged: Vec<(u32, Id)> = Vec::with_capacity(ranges.len());
        for range in ranges {
            if merged.last().is_none_or(|last| last.1 != range.1) {
                merged.push(*range);
            }
        }
        self.halve(&merged)
    }

    fn halve(&mut self, ranges: &[(u32, Id)]) -> Id {
        match *ranges {
            [(_, only)] => only,
            // One value among others.
            [(_, others), (value, one), (after, more)] if others == more && after - value == 1 => {
                self.test(Comparison::Equal, value, one, others)
            }
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let (no, yes) = (self.halve(low), self.halve(high));
                self.test(Comparison::AtLeast, high[0].0, yes, no)
            }
        }
    }

    /// Lays out what is reached from `root`.
    pub(super) fn assemble(&self, root: Id) -> Vec<Instruction> {
        let mut layout = Layout { backwards: Vec::new(), places: vec![0; root.0 + 1] };
        for (id, node) in self.reached(root) {
            match node {
                Node::Return(value) => layout.push(RET, 0, 0, value),
                Node::Load(offset, next) => {
                    layout.adjoin(self, next);
                    layout.push(LOAD, 0, 0, offset);
                }
                Node::And(mask, next) => {
                    layout.adjoin(self, next);
                    layout.push(AND, 0, 0, mask);
                }
                Node::Test { how, with, yes, no } => {
                    layout.reach(self, no);
                    layout.reach(self, yes);
                    let [jt, jf] = [yes, no].map(|id| u8::try_from(layout.distance(id)).unwrap_or(u8::MAX));
                    layout.push(how.code(), jt, jf, with);
                }
            }
            layout.places[id.0] = layout.backwards.len() - 1;
        }
        layout.backwards.reverse();
        layout.backwards
    }

    /// The nodes that are reached from `root`, in the order in which they were made.
    fn reached(&self, root: Id) -> Vec<(Id, Node)> {
        let mut reached = vec![false; root.0 + 1];
        reached[root.0] = true;
        // Whatever leads to a node was made after it.
        for at in (0..=root.0).rev().filter(|at| self.nodes.len() > *at) {
            if !reached[at] {
                continue;
            }
            match self.nodes[at] {
                Node::Return(_) => {}
                Node::Load(_, next) | Node::And(_, next) => reached[next.0] = true,
                Node::Test { yes, no, .. } => {
                    reached[yes.0] = true;
                    reached[no.0] = true;
                }
            }
        }
        let nodes = self.nodes.iter().enumerate().zip(reached);
        nodes.filter(|(_, reached)| *reached).map(|((at, node), _)| (Id(at), *node)).collect()
    }
}

// The codes of linux/bpf_common.h.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const RET: u16 = 0x06;
const JUMP: u16 = 0x05;

impl Comparison {
    fn code(self) -> u16 {
        match self {
            Comparison::Equal => 0x15,
            Comparison::Greater => 0x25,
            Comparison::AtLeast => 0x35,
            Comparison::Bits => 0x45,
        }
    }
}

/// A program from its last instruction to its first.
struct Layout {
    backwards: Vec<Instruction>,
    /// Where each node, or something that does the same, was put last.
    places: Vec<usize>,
}

impl Layout {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        self.backwards.push(Instruction { code, jt, jf, k });
    }

    /// How far the next instruction would have to jump.
    fn distance(&self, to: Id) -> usize {
        self.backwards.len() - 1 - self.places[to.0]
    }

    /// Makes the node stand where the next instruction falls through to.
    fn adjoin(&mut self, graph: &Graph, to: Id) {
        if self.distance(to) != 0 {
            self.repeat(graph, to);
        }
    }

    /// Brings the node near enough for the next instruction but one: a conditional jump has eight bits.
    fn reach(&mut self, graph: &Graph, to: Id) {
        if self.distance(to) >= usize::from(u8::MAX) {
            self.repeat(graph, to);
        }
    }

    /// Puts a jump to the node here; or the node itself, if it is no longer than that.
    fn repeat(&mut self, graph: &Graph, to: Id) {
        match graph.nodes[to.0] {
            Node::Return(value) => self.push(RET, 0, 0, value),
            _ => {
                let distance = u32::try_from(self.distance(to)).unwrap_or(u32::MAX);
                self.push(JUMP, 0, 0, distance);
            }
        }
        self.places[to.0] = self.backwards.len() - 1;
    }
}
