// SPDX-License-Identifier: Apache-2.0
//! What a rule can ask of an argument, and its instructions.

use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator as Operator};

use super::bpf::{Assembler, Target, Test, Word, argument};

/// A comparison of an argument. `mask` is all ones but for SCMP_CMP_MASKED_EQ, and `value` lies
/// within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) index: u8,
    pub(super) operator: Operator,
    pub(super) value: u64,
    pub(super) mask: u64,
}

impl Condition {
    /// Nothing if a call has no such argument.
    pub(super) fn from_spec(arg: &LinuxSeccompArg) -> Option<Self> {
        let index = u8::try_from(arg.index()).ok().filter(|index| *index < 6)?;
        let (value, mask) = match arg.op() {
            Operator::ScmpCmpMaskedEq => (arg.value_two().unwrap_or(0) & arg.value(), arg.value()),
            _ => (arg.value(), u64::MAX),
        };
        Some(Self { index, operator: arg.op(), value, mask })
    }

    pub(super) fn equal(index: u8, value: u32) -> Self {
        Self { index, operator: Operator::ScmpCmpEq, value: u64::from(value), mask: u64::MAX }
    }

    /// Whether it holds for every value: its mask takes nothing of what is compared.
    pub(super) fn is_always_true(&self, narrow: bool) -> bool {
        self.half(Word::Low).1 == 0 && (narrow || self.half(Word::High).1 == 0)
    }

    /// Value and mask of one word.
    #[expect(clippy::cast_possible_truncation, reason = "one half at a time")]
    pub(super) fn half(&self, word: Word) -> (u32, u32) {
        match word {
            Word::Low => (self.value as u32, self.mask as u32),
            Word::High => ((self.value >> 32) as u32, (self.mask >> 32) as u32),
        }
    }

    /// Whether the comparison that is made for it has to fail.
    pub(super) fn is_negated(&self) -> bool {
        matches!(self.operator, Operator::ScmpCmpNe | Operator::ScmpCmpLt | Operator::ScmpCmpLe)
    }

    /// The comparison that is made for it: the program knows no "less" and no "not".
    pub(super) fn test(&self) -> Test {
        match self.operator {
            Operator::ScmpCmpEq | Operator::ScmpCmpNe | Operator::ScmpCmpMaskedEq => Test::Equal,
            Operator::ScmpCmpGt | Operator::ScmpCmpLe => Test::Greater,
            Operator::ScmpCmpGe | Operator::ScmpCmpLt => Test::GreaterOrEqual,
        }
    }

    /// Writes the comparison. Of a `narrow` argument the lower word alone counts.
    pub(super) fn write(
        &self,
        code: &mut Assembler,
        narrow: bool,
        hit: Target,
        miss: Target,
    ) -> Target {
        let (hit, miss) = if self.is_negated() { (miss, hit) } else { (hit, miss) };
        let low = self.write_word(code, Word::Low, self.test(), hit, miss);
        if narrow {
            return low;
        }
        match self.test() {
            Test::Equal => self.write_word(code, Word::High, Test::Equal, low, miss),
            Test::Greater | Test::GreaterOrEqual => {
                let (high, _) = self.half(Word::High);
                let same = code.branch(Test::Equal, high, low, miss);
                self.write_word(code, Word::High, Test::Greater, hit, same)
            }
        }
    }

    fn write_word(
        &self,
        code: &mut Assembler,
        word: Word,
        test: Test,
        hit: Target,
        miss: Target,
    ) -> Target {
        let (value, mask) = self.half(word);
        if mask == 0 {
            return hit;
        }
        code.branch(test, value, hit, miss);
        if mask != u32::MAX {
            code.and(mask);
        }
        code.load(argument(self.index, word))
    }
}
