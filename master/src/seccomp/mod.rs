// SPDX-License-Identifier: Apache-2.0
//! Compiles the config's `linux.seccomp` to the classic BPF program that the kernel runs at every
//! system call of the container.
//!
//! A program decides as one of libseccomp's would that runc had fed with the profile:
//!
//! - The first word that counts is the architecture. The machine's own is always there. A call of
//!   an architecture that the profile does not list, x32 on x86-64 among them, kills the thread.
//! - Names that no architecture knows are ignored, and so are architectures that this machine
//!   cannot run.
//! - A rule whose action is the default one is ignored. Of the others for one call, the first that
//!   has no conditions wins over all that have some; see [`order`] for those.
//! - Where the default action refuses calls, a call with a higher number than any that the profile
//!   names gets ENOSYS instead: programs take that as "not in this kernel" and fall back, where
//!   they would fail at EPERM. This is so on every architecture that the profile lists; see
//!   [`compile`](compile::write).

mod arch;
mod bpf;
mod compile;
mod condition;
mod order;
mod profile;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;

use oci_spec::runtime::LinuxSeccomp;

pub(crate) use arch::Arch;

/// A filter, ready for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// `struct sock_filter`, eight bytes each, the lowest byte first.
    pub(crate) filter: Vec<u64>,
    /// SECCOMP_FILTER_FLAG_*, but for NEW_LISTENER.
    pub(crate) flags: u32,
    /// Whether to ask for a listener (SECCOMP_FILTER_FLAG_NEW_LISTENER), which the agent at
    /// `linux.seccomp.listenerPath` gets.
    pub(crate) listener: bool,
}

/// Something in the profile that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) field: String,
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// The longest program that the kernel takes, BPF_MAXINSNS.
const MAX_LENGTH: usize = 4096;

/// Compiles a profile for a machine of kind `native`.
///
/// # Errors
/// Everything that is wrong with the profile.
pub(crate) fn compile(profile: &LinuxSeccomp, native: Arch) -> Result<Program, Vec<Problem>> {
    let profile = profile::read(profile, native)?;
    let filter = compile::write(&profile)?;
    if filter.len() > MAX_LENGTH {
        return Err(vec![Problem {
            field: "linux.seccomp.syscalls".to_owned(),
            text: format!(
                "makes a program of {} instructions, and the kernel takes {MAX_LENGTH}; use fewer \
                 rules with args",
                filter.len()
            ),
        }]);
    }
    Ok(Program { filter, flags: profile.flags, listener: profile.listener })
}
