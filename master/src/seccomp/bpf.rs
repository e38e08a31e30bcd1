// SPDX-License-Identifier: Apache-2.0
//! Writes classic BPF from its end to its beginning.
//!
//! All jumps go forward, so whatever an instruction can jump to is written before it, and every
//! distance is known at once. A conditional jump reaches 255 instructions: past that it goes by
//! way of an unconditional jump, or of a copy of the return that it leads to.

/// The offsets of `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// How far a conditional jump reaches.
const REACH: usize = u8::MAX as usize;

/// The offset of one word of an argument, on a machine whose lower word comes first.
pub(super) const fn argument(index: u8, word: Word) -> u32 {
    ARGUMENTS + 8 * index as u32 + if matches!(word, Word::High) { 4 } else { 0 }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Low,
    High,
}

/// A comparison of what was loaded with a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// Where a program goes on: it ends with an action for the kernel, or at an instruction that is
/// written already, counted from the program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Return(u32),
    At(usize),
}

#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction comes first.
    reversed: Vec<u64>,
    /// Where each action's nearest return is.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    fn len(&self) -> usize {
        self.reversed.len()
    }

    /// The program, in order.
    pub(super) fn finish(mut self) -> Vec<u64> {
        self.reversed.reverse();
        self.reversed
    }

    /// Loads the word at an offset of `struct seccomp_data` and goes on with what was written last.
    pub(super) fn load(&mut self, offset: u32) -> Target {
        Target::At(self.push(LOAD, 0, 0, offset))
    }

    /// Masks what was loaded and goes on with what was written last.
    pub(super) fn and(&mut self, mask: u32) -> Target {
        Target::At(self.push(AND, 0, 0, mask))
    }

    /// Compares what was loaded with `constant`.
    pub(super) fn branch(
        &mut self,
        test: Test,
        constant: u32,
        if_true: Target,
        if_false: Target,
    ) -> Target {
        // What may be put in for the true side moves the false side one further away.
        let if_false = self.near(if_false, REACH - 1);
        let if_true = self.near(if_true, REACH);
        let [jt, jf] = [if_true, if_false]
            .map(|at| u8::try_from(self.distance(at)).expect("near() keeps targets in reach"));
        Target::At(self.push(test as u16, jt, jf, constant))
    }

    /// An instruction from which the program goes on at `target` and that the next one reaches.
    fn near(&mut self, target: Target, reach: usize) -> usize {
        let known = match target {
            Target::At(at) => Some(at),
            Target::Return(action) => {
                self.returns.iter().find(|(known, _)| *known == action).map(|(_, at)| *at)
            }
        };
        match (known, target) {
            (Some(at), _) if self.distance(at) <= reach => at,
            (_, Target::At(at)) => {
                let distance = u32::try_from(self.distance(at)).unwrap_or(u32::MAX);
                self.push(JUMP, 0, 0, distance)
            }
            (_, Target::Return(action)) => self.ret(action),
        }
    }

    /// How many instructions the next one would jump over.
    fn distance(&self, at: usize) -> usize {
        self.len() - 1 - at
    }

    fn ret(&mut self, action: u32) -> usize {
        let at = self.push(RETURN, 0, 0, action);
        match self.returns.iter_mut().find(|(known, _)| *known == action) {
            Some((_, nearest)) => *nearest = at,
            None => self.returns.push((action, at)),
        }
        at
    }

    /// Packs `struct sock_filter` as it lies in memory where the lowest byte comes first.
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        let word = u64::from(code) | u64::from(jt) << 16 | u64::from(jf) << 24 | u64::from(k) << 32;
        self.reversed.push(word);
        self.len() - 1
    }
}
