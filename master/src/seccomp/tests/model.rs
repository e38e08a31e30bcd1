// SPDX-License-Identifier: Apache-2.0
//! Decides what becomes of a call by going through a profile, rule by rule: slow and obvious.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};

use super::super::arch::{Arch, Call};
use super::interpreter::Data;

const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 0x5_0026;

/// A profile whose rules for one call do not contradict each other, on x86-64.
pub(super) struct Model<'a> {
    profile: &'a LinuxSeccomp,
    rules: Vec<(&'a LinuxSyscall, Vec<Call>)>,
}

impl<'a> Model<'a> {
    pub(super) fn new(profile: &'a LinuxSeccomp) -> Self {
        let calls =
            |rule: &LinuxSyscall| rule.names().iter().filter_map(|name| Call::find(name)).collect();
        let rules = profile.syscalls().iter().flatten().map(|rule| (rule, calls(rule))).collect();
        Self { profile, rules }
    }

    /// The action for a call.
    pub(super) fn decide(&self, data: &Data) -> u32 {
        let default_action = self.profile.default_action();
        let default = default_action.as_u32(self.profile.default_errno_ret());
        let Some((arch, listed)) = abi(self.profile, data) else { return KILL_THREAD };
        if data.number == u32::MAX && arch == Arch::X86_64 {
            return default;
        }
        let passes = matches!(
            default_action,
            Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace
        );
        if listed && !passes && self.newest(arch).is_some_and(|newest| data.number > newest) {
            return ENOSYS;
        }
        self.rule(arch, data, default).unwrap_or(default)
    }

    fn newest(&self, arch: Arch) -> Option<u32> {
        let calls = self.rules.iter().flat_map(|(_, calls)| calls);
        calls
            .flat_map(|call| [call.number(arch), call.multiplexed(arch).map(|way| way.call)])
            .flatten()
            .max()
    }

    fn rule(&self, arch: Arch, data: &Data, default: u32) -> Option<u32> {
        let mut conditional = None;
        for (rule, calls) in &self.rules {
            let action = rule.action().as_u32(rule.errno_ret());
            let args = rule.args().as_deref().unwrap_or_default();
            for call in calls.iter().filter(|_| action != default) {
                let selector = match call.multiplexed(arch) {
                    Some(way) if way.call == data.number => Some(way.selector),
                    _ if call.number(arch) == Some(data.number) => None,
                    _ => continue,
                };
                if args.is_empty() && selector.is_none() {
                    return Some(action);
                }
                if applies(args, selector, arch, data) {
                    conditional.get_or_insert(action);
                }
            }
        }
        conditional
    }
}

/// The ABI of a call, and whether the profile lists it.
fn abi(profile: &LinuxSeccomp, data: &Data) -> Option<(Arch, bool)> {
    use oci_spec::runtime::Arch as SpecArch;
    let lists = |arch| profile.architectures().iter().flatten().any(|one| *one == arch);
    let native = lists(SpecArch::ScmpArchX86_64) || lists(SpecArch::ScmpArchNative);
    match data.audit {
        0xc000_003e if data.number < 0x4000_0000 => Some((Arch::X86_64, native)),
        0xc000_003e if lists(SpecArch::ScmpArchX32) => Some((Arch::X32, true)),
        0xc000_003e if data.number == u32::MAX => Some((Arch::X86_64, native)),
        0x4000_0003 if lists(SpecArch::ScmpArchX86) => Some((Arch::X86, true)),
        _ => None,
    }
}

fn applies(args: &[LinuxSeccompArg], selector: Option<u32>, arch: Arch, data: &Data) -> bool {
    let width = if arch == Arch::X86_64 { u64::MAX } else { 0xffff_ffff };
    let holds = |arg: &LinuxSeccompArg| {
        if selector.is_some() && arg.index() == 0 {
            return true;
        }
        let (is, value) = (data.args[arg.index()] & width, arg.value() & width);
        match arg.op() {
            Operator::ScmpCmpNe => is != value,
            Operator::ScmpCmpLt => is < value,
            Operator::ScmpCmpLe => is <= value,
            Operator::ScmpCmpEq => is == value,
            Operator::ScmpCmpGe => is >= value,
            Operator::ScmpCmpGt => is > value,
            Operator::ScmpCmpMaskedEq => is & value == arg.value_two().unwrap_or(0) & value,
        }
    };
    let twice = (0..6).any(|index| args.iter().filter(|arg| arg.index() == index).count() > 1);
    let selected = selector.is_none_or(|selector| data.args[0] & width == u64::from(selector));
    let matches = if twice { args.iter().any(holds) } else { args.iter().all(holds) };
    selected && matches
}
