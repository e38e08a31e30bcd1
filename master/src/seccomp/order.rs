// SPDX-License-Identifier: Apache-2.0
//! The order in which the rules of one call are tried.
//!
//! As long as all of them have the same action it does not matter. Where actions differ and
//! conditions overlap, profiles rely on the order of libseccomp, which is not that of the profile.
//! It keeps the comparisons of a call in a tree, one word of an argument at each level. On a level,
//! higher arguments come first, then equality before "less" before "greater", then what is
//! narrower. Rules that begin alike share their way, and where a rule ends, longer ones on the same
//! way are not looked at. This is the same tree, kept only to read the order off it.

use oci_spec::runtime::LinuxSeccompOperator as Operator;

use super::bpf::{Test, Word};
use super::condition::Condition;

/// A rule of one call on one architecture, with at least one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: u32,
    /// Where the rule stands in the profile.
    pub(super) position: usize,
}

/// Two rules that apply to the same arguments with different actions, by their positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) later: usize,
    pub(super) earlier: usize,
}

/// Orders the rules of a call, so that the first one that applies decides. Rules that could never
/// do so are left out.
pub(super) fn arrange(chains: Vec<Chain>, narrow: bool) -> Result<Vec<Chain>, Conflict> {
    if chains.windows(2).all(|pair| pair[0].action == pair[1].action) {
        return Ok(chains);
    }
    let mut root = Vec::new();
    for (i, chain) in chains.iter().enumerate() {
        insert(&mut root, &steps(chain, narrow), i, &chains)?;
    }
    let mut order = Vec::new();
    collect(&root, &mut order);
    Ok(order.into_iter().filter_map(|i| chains.get(i).cloned()).collect())
}

/// A comparison of one word.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Twice the argument's index, and one more for its upper word.
    word: u8,
    operator: Operator,
    /// What is compared in fact.
    test: Test,
    masked: bool,
    value: u32,
    mask: u32,
    /// Whether the rule goes on where the comparison fails.
    negated: bool,
}

impl Step {
    fn new(condition: &Condition, word: Word) -> Self {
        let (value, mask) = condition.half(word);
        let high = word == Word::High;
        let test = match condition.test() {
            Test::GreaterOrEqual if high => Test::Greater,
            test => test,
        };
        Self {
            word: 2 * condition.index + u8::from(high),
            operator: condition.operator,
            test,
            masked: condition.operator == Operator::ScmpCmpMaskedEq,
            value,
            mask,
            negated: !high && condition.is_negated(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let key = |s: &Self| (s.word, s.test, s.masked, s.value, s.mask);
        key(self) == key(other)
    }

    /// Whether `other` is tried before this one.
    fn yields_to(&self, other: &Self) -> bool {
        let rank = |s: &Self| (s.word, operator_rank(s.operator));
        match rank(self).cmp(&rank(other)) {
            std::cmp::Ordering::Equal => match self.operator {
                Operator::ScmpCmpLe | Operator::ScmpCmpLt => self.value > other.value,
                _ => self.value < other.value,
            },
            order => order.is_lt(),
        }
    }
}

fn operator_rank(operator: Operator) -> u8 {
    match operator {
        Operator::ScmpCmpEq | Operator::ScmpCmpNe | Operator::ScmpCmpMaskedEq => 3,
        Operator::ScmpCmpLe | Operator::ScmpCmpLt => 2,
        Operator::ScmpCmpGe | Operator::ScmpCmpGt => 1,
    }
}

fn steps(chain: &Chain, narrow: bool) -> Vec<Step> {
    let words: &[Word] = if narrow { &[Word::Low] } else { &[Word::High, Word::Low] };
    chain
        .conditions
        .iter()
        .flat_map(|condition| words.iter().map(|word| Step::new(condition, *word)))
        .collect()
}

#[derive(Debug)]
struct Node {
    step: Step,
    if_true: Branch,
    if_false: Branch,
}

#[derive(Debug, Default)]
struct Branch {
    /// The rule that ends here.
    ends: Option<usize>,
    next: Vec<Node>,
}

impl Node {
    fn new(step: Step) -> Self {
        Self { step, if_true: Branch::default(), if_false: Branch::default() }
    }
}

fn insert(
    level: &mut Vec<Node>,
    steps: &[Step],
    chain: usize,
    chains: &[Chain],
) -> Result<(), Conflict> {
    let Some((step, rest)) = steps.split_first() else { return Ok(()) };
    let node = find_or_add(level, *step);
    let branch = if step.negated { &mut node.if_false } else { &mut node.if_true };
    let agrees = |other: usize| {
        if chains[other].action == chains[chain].action {
            return Ok(());
        }
        Err(Conflict { later: chains[chain].position, earlier: chains[other].position })
    };
    match branch.ends {
        Some(other) if rest.is_empty() => agrees(other),
        Some(_) => {
            log::debug!(
                "linux.seccomp.syscalls[{}]: is covered by an earlier rule",
                chains[chain].position
            );
            Ok(())
        }
        None if rest.is_empty() => {
            let mut covered = Vec::new();
            collect(&branch.next, &mut covered);
            covered.into_iter().try_for_each(agrees)?;
            branch.next.clear();
            branch.ends = Some(chain);
            Ok(())
        }
        None => insert(&mut branch.next, rest, chain, chains),
    }
}

/// A comparison's node on a level. The search stops at the first node that it precedes, though the
/// same comparison may stand further on: so does the library's.
fn find_or_add(level: &mut Vec<Node>, step: Step) -> &mut Node {
    let at = level
        .iter()
        .position(|node| node.step.is_same(&step) || node.step.yields_to(&step))
        .unwrap_or(level.len());
    if level.get(at).is_none_or(|node| !node.step.is_same(&step)) {
        level.insert(at, Node::new(step));
    }
    &mut level[at]
}

fn collect(level: &[Node], order: &mut Vec<usize>) {
    for branch in level.iter().flat_map(|node| [&node.if_true, &node.if_false]) {
        order.extend(branch.ends);
        collect(&branch.next, order);
    }
}
