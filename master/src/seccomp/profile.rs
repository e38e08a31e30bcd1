// SPDX-License-Identifier: Apache-2.0
//! Reads a profile of the config: names become calls, and whatever could not work is said.

use std::fmt;
use std::ops::Range;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompFilterFlag as FilterFlag, LinuxSyscall,
};

use super::Problem;
use super::arch::{Arch, Call};
use super::condition::Condition;

const FLAG_TSYNC: u32 = 1;
const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;
const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The highest error that a system call can return, MAX_ERRNO of the kernel: it would cut off more.
const MAX_ERRNO: u32 = 4095;

/// What the kernel hands to a tracer has 16 bits.
const MAX_TRACE: u32 = 0xffff;

const EPERM: u32 = 1;

/// What a profile says, in the kernel's terms.
#[derive(Debug)]
pub(super) struct Profile {
    /// SECCOMP_RET_* with its data.
    pub(super) default: u32,
    /// The machine's own first.
    pub(super) architectures: Vec<Architecture>,
    /// The calls that the rules speak of.
    pub(super) calls: Vec<Call>,
    pub(super) rules: Vec<Rule>,
    pub(super) flags: u32,
    pub(super) listener: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    pub(super) arch: Arch,
    /// Whether the profile names it: the machine's own is there also when it does not.
    pub(super) listed: bool,
}

/// An action for some calls where all the conditions hold.
#[derive(Debug)]
pub(super) struct Rule {
    /// Which of `Profile::calls`.
    pub(super) calls: Range<usize>,
    pub(super) action: u32,
    /// By argument, each at most once.
    pub(super) conditions: Vec<Condition>,
    /// Where it stands in `linux.seccomp.syscalls`.
    pub(super) position: usize,
}

pub(super) fn read(spec: &LinuxSeccomp, native: Arch) -> Result<Profile, Vec<Problem>> {
    let mut reader = Reader::default();
    let default = reader.default_action(spec);
    for (position, syscall) in spec.syscalls().iter().flatten().enumerate() {
        reader.syscall(position, syscall);
    }
    let notifies = spec
        .syscalls()
        .iter()
        .flatten()
        .position(|syscall| syscall.action() == Action::ScmpActNotify);
    let flags = reader.flags(spec, notifies.is_some());
    reader.listener(spec, notifies);

    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    Ok(Profile {
        default,
        architectures: architectures(spec, native),
        calls: reader.calls,
        rules: reader.rules,
        flags,
        listener: notifies.is_some(),
    })
}

fn architectures(spec: &LinuxSeccomp, native: Arch) -> Vec<Architecture> {
    let mut all = vec![Architecture { arch: native, listed: false }];
    for name in spec.architectures().iter().flatten() {
        match Arch::from_spec(*name, native) {
            Some(arch) => match all.iter_mut().find(|known| known.arch == arch) {
                Some(known) => known.listed = true,
                None => all.push(Architecture { arch, listed: true }),
            },
            None => log::debug!("linux.seccomp.architectures: {name} cannot run here: ignored"),
        }
    }
    all
}

#[derive(Default)]
struct Reader {
    calls: Vec<Call>,
    rules: Vec<Rule>,
    problems: Vec<Problem>,
}

impl Reader {
    fn problem(&mut self, field: impl fmt::Display, text: impl Into<String>) {
        self.problems.push(Problem { field: format!("linux.seccomp.{field}"), text: text.into() });
    }

    fn default_action(&mut self, spec: &LinuxSeccomp) -> u32 {
        let action = spec.default_action();
        if action == Action::ScmpActNotify {
            self.problem(
                "defaultAction",
                "is SCMP_ACT_NOTIFY, but the container's start needs calls that go through before \
                 an agent listens; notify of single calls in syscalls",
            );
        }
        self.action(action, spec.default_errno_ret(), format_args!("defaultErrnoRet"))
    }

    /// SECCOMP_RET_* with its data.
    fn action(&mut self, action: Action, errno: Option<u32>, field: fmt::Arguments<'_>) -> u32 {
        let limit = match action {
            Action::ScmpActErrno => Some(MAX_ERRNO),
            Action::ScmpActTrace => Some(MAX_TRACE),
            _ => None,
        };
        match (limit, errno) {
            (None, Some(_)) => self.problem(
                field,
                format!("is set, but {action} returns no error; remove one of the two"),
            ),
            (Some(limit), Some(errno)) if errno > limit => {
                self.problem(field, format!("is {errno}, and {action} takes at most {limit}"));
            }
            _ => {}
        }
        // The crate knows the kernel's numbers; the error is in the lower half.
        match limit {
            Some(_) => action.as_u32(Some(errno.unwrap_or(EPERM))),
            None => action.as_u32(None),
        }
    }

    fn syscall(&mut self, position: usize, syscall: &LinuxSyscall) {
        let field = format_args!("syscalls[{position}].errnoRet");
        let action = self.action(syscall.action(), syscall.errno_ret(), field);
        let calls = self.names(position, syscall);
        let conditions = self.conditions(position, syscall.args().as_deref().unwrap_or_default());
        for conditions in alternatives(conditions) {
            self.rules.push(Rule { calls: calls.clone(), action, conditions, position });
        }
    }

    fn names(&mut self, position: usize, syscall: &LinuxSyscall) -> Range<usize> {
        let start = self.calls.len();
        if syscall.names().is_empty() {
            self.problem(format_args!("syscalls[{position}].names"), "is empty");
        }
        for (i, name) in syscall.names().iter().enumerate() {
            match Call::find(name) {
                Some(call) => self.calls.push(call),
                None if name.is_empty() => {
                    self.problem(format_args!("syscalls[{position}].names[{i}]"), "is empty");
                }
                None => {
                    log::debug!("linux.seccomp.syscalls[{position}]: unknown call {name}: ignored");
                }
            }
            // The starting container reports by writing, also that there is a listener at all.
            if name == "write" && syscall.action() == Action::ScmpActNotify {
                self.problem(
                    format_args!("syscalls[{position}].action"),
                    "is SCMP_ACT_NOTIFY for write, which the container's start needs before an \
                     agent listens; remove write from its names",
                );
            }
        }
        start..self.calls.len()
    }

    fn conditions(&mut self, position: usize, args: &[LinuxSeccompArg]) -> Vec<Condition> {
        let mut conditions = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            match Condition::from_spec(arg) {
                Some(condition) => conditions.push(condition),
                None => self.problem(
                    format_args!("syscalls[{position}].args[{i}].index"),
                    format!("is {}, and a call has the arguments 0 to 5", arg.index()),
                ),
            }
        }
        conditions
    }

    fn flags(&mut self, spec: &LinuxSeccomp, listener: bool) -> u32 {
        let mut flags = 0;
        for (i, flag) in spec.flags().iter().flatten().enumerate() {
            flags |= match flag {
                // The kernel takes TSYNC with a listener only if a failure has no thread's id.
                FilterFlag::SeccompFilterFlagTsync if listener => FLAG_TSYNC | FLAG_TSYNC_ESRCH,
                FilterFlag::SeccompFilterFlagTsync => FLAG_TSYNC,
                FilterFlag::SeccompFilterFlagLog => FLAG_LOG,
                FilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
                FilterFlag::SeccompFilterFlagWaitKillableRecv => FLAG_WAIT_KILLABLE_RECV,
            };
            if *flag == FilterFlag::SeccompFilterFlagWaitKillableRecv && !listener {
                self.problem(
                    format_args!("flags[{i}]"),
                    format!("is {flag}, but no rule has SCMP_ACT_NOTIFY; remove it"),
                );
            }
        }
        flags
    }

    fn listener(&mut self, spec: &LinuxSeccomp, notifies: Option<usize>) {
        let has_path =
            spec.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
        match notifies {
            Some(position) if !has_path => self.problem(
                "listenerPath",
                format!(
                    "is not set, but syscalls[{position}] has SCMP_ACT_NOTIFY; name the \
                         agent's socket"
                ),
            ),
            None if !has_path
                && spec.listener_metadata().as_ref().is_some_and(|data| !data.is_empty()) =>
            {
                self.problem("listenerMetadata", "is set without listenerPath; remove it");
            }
            _ => {}
        }
    }
}

/// All conditions of a rule have to hold. But where two of them look at the same argument, old
/// profiles mean that one of all is enough, and runc takes them so: each makes a rule of its own.
fn alternatives(mut conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let mut seen = [false; 6];
    let repeats =
        conditions.iter().any(|one| std::mem::replace(&mut seen[one.index as usize], true));
    if repeats {
        return conditions.into_iter().map(|one| vec![one]).collect();
    }
    conditions.sort_by_key(|one| one.index);
    vec![conditions]
}
