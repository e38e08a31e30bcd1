// SPDX-License-Identifier: Apache-2.0
//! From the rules of a profile to a program.
//!
//! For each architecture the space of call numbers is cut into ranges that have one outcome, most
//! of them a plain action, and the program searches in them as in a sorted list. A profile that
//! allows some hundred calls makes about a hundred ranges, so a call costs some seven comparisons.

use super::Problem;
use super::arch::{ARM_PRIVATE, Arch, X32_BIT};
use super::bpf::{self, Assembler, Target, Test};
use super::condition::Condition;
use super::order::{Chain, Conflict, arrange};
use super::profile::{Architecture, Profile, Rule};

const RETURN_ACTION: u32 = 0xffff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;

/// Writes the program of a profile.
pub(super) fn write(profile: &Profile) -> Result<Vec<u64>, Vec<Problem>> {
    let mut writer = Writer { profile, code: Assembler::default(), problems: Vec::new() };
    let blocks: Vec<(u32, Target)> = profile
        .architectures
        .iter()
        .filter(|one| one.arch != Arch::X32)
        .map(|one| (one.arch.audit(), writer.architecture(*one)))
        .collect();

    let mut next = Target::Return(KILL_THREAD);
    for (audit, block) in blocks.into_iter().rev() {
        next = writer.code.branch(Test::Equal, audit, block, next);
    }
    writer.code.load(bpf::ARCH);
    if writer.problems.is_empty() { Ok(writer.code.finish()) } else { Err(writer.problems) }
}

/// A rule for a call with this number.
#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u32,
    /// Which of the profile's rules.
    rule: usize,
    /// What the first argument has to be where the call is multiplexed.
    selector: Option<u32>,
}

struct Writer<'a> {
    profile: &'a Profile,
    code: Assembler,
    problems: Vec<Problem>,
}

impl Writer<'_> {
    /// Writes the search for one kernel architecture, which is two of the profile's for x86-64 with
    /// x32.
    fn architecture(&mut self, one: Architecture) -> Target {
        let mut ranges = Ranges::default();
        let entries = self.entries(one.arch);
        let private = entries.partition_point(|entry| entry.number < ARM_PRIVATE);
        let (entries, private) = entries.split_at(private);
        self.numbers(&mut ranges, one, 0, entries, one.listed);
        match one.arch {
            Arch::X86_64 => self.x32(&mut ranges),
            Arch::Arm => self.numbers(&mut ranges, one, ARM_PRIVATE, private, false),
            Arch::X86 | Arch::X32 | Arch::Aarch64 => {}
        }
        match self.search(&ranges.0) {
            Target::At(_) => self.code.load(bpf::NUMBER),
            action @ Target::Return(_) => action,
        }
    }

    /// The calls of x32, if the profile lists it. If not they are killed, but for the number -1,
    /// which is what a tracer leaves of a call that it wants skipped.
    fn x32(&mut self, ranges: &mut Ranges) {
        let listed = self.profile.architectures.iter().find(|one| one.arch == Arch::X32).copied();
        match listed {
            Some(x32) => {
                let entries = self.entries(Arch::X32);
                self.numbers(ranges, x32, X32_BIT, &entries, true);
            }
            None => {
                ranges.begin(X32_BIT, Target::Return(KILL_THREAD));
                ranges.begin(u32::MAX, Target::Return(self.profile.default));
            }
        }
    }

    /// All rules for calls of an architecture, by number and then as the profile has them.
    fn entries(&self, arch: Arch) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.profile.calls.len());
        for (rule, Rule { calls, .. }) in self.profile.rules.iter().enumerate() {
            for call in &self.profile.calls[calls.clone()] {
                if let Some(number) = call.number(arch) {
                    entries.push(Entry { number, rule, selector: None });
                }
                if let Some(way) = call.multiplexed(arch) {
                    let selector = Some(way.selector);
                    entries.push(Entry { number: way.call, rule, selector });
                }
            }
        }
        entries.sort_unstable_by_key(|entry| (entry.number, entry.rule, entry.selector));
        entries
    }

    /// The ranges from `first` on. With `tail`, the numbers after the last one of `entries` are of
    /// calls that are newer than the profile.
    ///
    /// That last one counts also if its rule says no more than the default action. Without any
    /// there is no telling how old the profile is, and all numbers have the default action.
    fn numbers(
        &mut self,
        ranges: &mut Ranges,
        one: Architecture,
        first: u32,
        entries: &[Entry],
        tail: bool,
    ) {
        let default = Target::Return(self.profile.default);
        ranges.begin(first, default);
        for group in entries.chunk_by(|a, b| a.number == b.number) {
            let number = group[0].number;
            if let Some(outcome) = self.outcome(one.arch, group) {
                ranges.begin(number, outcome);
                ranges.begin(number + 1, default);
            }
        }
        if let Some(last) = entries.last().filter(|_| tail && refuses(self.profile.default)) {
            ranges.begin(last.number + 1, Target::Return(ERRNO | ENOSYS));
        }
    }

    /// What becomes of a call; nothing if that is the default action.
    fn outcome(&mut self, arch: Arch, group: &[Entry]) -> Option<Target> {
        let narrow = arch.is_32_bit();
        let mut chains = Vec::new();
        for entry in group {
            let rule = &self.profile.rules[entry.rule];
            if rule.action == self.profile.default {
                continue;
            }
            let conditions = conditions(rule, entry.selector, narrow);
            if conditions.is_empty() {
                return Some(Target::Return(rule.action));
            }
            chains.push(Chain { conditions, action: rule.action, position: rule.position });
        }
        if chains.is_empty() {
            return None;
        }
        match arrange(chains, narrow) {
            Ok(chains) => Some(self.chains(&chains, narrow)),
            Err(conflict) => {
                self.conflict(conflict);
                None
            }
        }
    }

    /// Tries one rule after the other.
    fn chains(&mut self, chains: &[Chain], narrow: bool) -> Target {
        let mut next = Target::Return(self.profile.default);
        for chain in chains.iter().rev() {
            let miss = next;
            next = Target::Return(chain.action);
            for condition in chain.conditions.iter().rev() {
                next = condition.write(&mut self.code, narrow, next, miss);
            }
        }
        next
    }

    /// Finds the range of the loaded number.
    fn search(&mut self, ranges: &[(u32, Target)]) -> Target {
        match ranges {
            [] => Target::Return(self.profile.default),
            [(_, outcome)] => *outcome,
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let middle = upper[0].0;
                let upper = self.search(upper);
                let lower = self.search(lower);
                self.code.branch(Test::GreaterOrEqual, middle, upper, lower)
            }
        }
    }

    fn conflict(&mut self, conflict: Conflict) {
        let field = format!("linux.seccomp.syscalls[{}]", conflict.later);
        let text = format!(
            "has another action than syscalls[{}] for a call with the same arguments; make their \
             args differ or remove one",
            conflict.earlier
        );
        // Every architecture would say the same.
        let problem = Problem { field, text };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// What has to hold for a rule, without what always does.
///
/// socketcall(2) and ipc(2) take the call's number as the first argument, and then a pointer, so
/// the condition on that argument is lost. The others are kept though they hardly say anything
/// there: libseccomp keeps them, and to drop them would widen what a profile allows.
fn conditions(rule: &Rule, selector: Option<u32>, narrow: bool) -> Vec<Condition> {
    let selected = selector.map(|value| Condition::equal(0, value));
    let own = rule
        .conditions
        .iter()
        .filter(|condition| selector.is_none() || condition.index != 0)
        .filter(|condition| !condition.is_always_true(narrow));
    selected.into_iter().chain(own.copied()).collect()
}

/// Whether an action lets no call through. A tracer is taken to know what it does.
fn refuses(action: u32) -> bool {
    matches!(action & RETURN_ACTION, KILL_THREAD | KILL_PROCESS | TRAP | ERRNO)
}

/// The outcome from each number on, by number.
#[derive(Debug, Default)]
struct Ranges(Vec<(u32, Target)>);

impl Ranges {
    /// Numbers have to come in order; what was said of the same number before is replaced.
    fn begin(&mut self, first: u32, outcome: Target) {
        if self.0.last().is_some_and(|(start, _)| *start == first) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|(_, before)| *before != outcome) {
            self.0.push((first, outcome));
        }
    }
}
