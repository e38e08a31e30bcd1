// SPDX-License-Identifier: Apache-2.0
//! The architectures that profiles are compiled for, and the numbers of their system calls.

use oci_spec::runtime::Arch as SpecArch;

use super::tables::{CALLS, NONE};

/// The bit that marks a call of the x32 ABI, whose architecture is that of x86-64 otherwise.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// From here on are arm's private calls, which have nothing to do with the age of the others.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;

/// Arm's private calls: they are in no table of the kernel's.
const ARM_PRIVATE_CALLS: &[(&str, u32)] = &[
    ("breakpoint", ARM_PRIVATE + 1),
    ("cacheflush", ARM_PRIVATE + 2),
    ("get_tls", ARM_PRIVATE + 6),
    ("set_tls", ARM_PRIVATE + 5),
    ("usr26", ARM_PRIVATE + 3),
    ("usr32", ARM_PRIVATE + 4),
];

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// What x86 can also reach through socketcall(2) or ipc(2), and the number that these take first.
/// Sorted by name.
const MULTIPLEXED: &[(&str, u32, u32)] = &[
    ("accept", SOCKETCALL, 5),
    ("accept4", SOCKETCALL, 18),
    ("bind", SOCKETCALL, 2),
    ("connect", SOCKETCALL, 3),
    ("getpeername", SOCKETCALL, 7),
    ("getsockname", SOCKETCALL, 6),
    ("getsockopt", SOCKETCALL, 15),
    ("listen", SOCKETCALL, 4),
    ("msgctl", IPC, 14),
    ("msgget", IPC, 13),
    ("msgrcv", IPC, 12),
    ("msgsnd", IPC, 11),
    ("recv", SOCKETCALL, 10),
    ("recvfrom", SOCKETCALL, 12),
    ("recvmmsg", SOCKETCALL, 19),
    ("recvmsg", SOCKETCALL, 17),
    ("semctl", IPC, 3),
    ("semget", IPC, 2),
    ("semop", IPC, 1),
    ("semtimedop", IPC, 4),
    ("send", SOCKETCALL, 9),
    ("sendmmsg", SOCKETCALL, 20),
    ("sendmsg", SOCKETCALL, 16),
    ("sendto", SOCKETCALL, 11),
    ("setsockopt", SOCKETCALL, 14),
    ("shmat", IPC, 21),
    ("shmctl", IPC, 24),
    ("shmdt", IPC, 22),
    ("shmget", IPC, 23),
    ("shutdown", SOCKETCALL, 13),
    ("socket", SOCKETCALL, 1),
    ("socketpair", SOCKETCALL, 8),
];

/// An architecture with the ABI of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

/// Where a call that is not one of its own is found: behind `call`, with `selector` as the first
/// argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Multiplexed {
    pub(super) call: u32,
    pub(super) selector: u32,
}

impl Arch {
    /// The architecture this program is built for; nothing where there is no table for it.
    pub(crate) const fn native() -> Option<Self> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
            Some(Self::X86_64)
        } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// The architecture of a profile, where a machine of kind `native` can run it. Of any other the
    /// kernel never reports a call: a profile may name it, and nothing follows.
    pub(super) fn from_spec(arch: SpecArch, native: Self) -> Option<Self> {
        let arch = match arch {
            SpecArch::ScmpArchNative => native,
            SpecArch::ScmpArchX86_64 => Self::X86_64,
            SpecArch::ScmpArchX86 => Self::X86,
            SpecArch::ScmpArchX32 => Self::X32,
            SpecArch::ScmpArchAarch64 => Self::Aarch64,
            SpecArch::ScmpArchArm => Self::Arm,
            _ => return None,
        };
        (arch.is_arm() == native.is_arm()).then_some(arch)
    }

    const fn is_arm(self) -> bool {
        matches!(self, Self::Aarch64 | Self::Arm)
    }

    /// The kernel's name of it, AUDIT_ARCH_*, in `struct seccomp_data`.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether an argument is a word of 32 bits. The upper halves say nothing then and are not
    /// compared, x32's among them: libseccomp holds it so too.
    pub(super) const fn is_32_bit(self) -> bool {
        matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }

    const fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
        }
    }
}

/// A system call that some architecture knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    numbers: [u16; 5],
    arm_private: Option<u32>,
    multiplexed: Option<Multiplexed>,
}

impl Call {
    /// Looks a name up; nothing if no architecture has it.
    pub(super) fn find(name: &str) -> Option<Self> {
        let multiplexed = multiplexed(name);
        if let Ok(at) = CALLS.binary_search_by_key(&name, |row| row.0) {
            return Some(Self { numbers: CALLS[at].1, arm_private: None, multiplexed });
        }
        let arm_private = ARM_PRIVATE_CALLS.iter().find(|row| row.0 == name).map(|row| row.1);
        let known = arm_private.is_some() || multiplexed.is_some();
        known.then_some(Self { numbers: [NONE; 5], arm_private, multiplexed })
    }

    /// Its own number on an architecture, as the kernel reports it.
    pub(super) fn number(&self, arch: Arch) -> Option<u32> {
        match self.numbers[arch.column()] {
            NONE => self.arm_private.filter(|_| arch == Arch::Arm),
            number if arch == Arch::X32 => Some(u32::from(number) | X32_BIT),
            number => Some(u32::from(number)),
        }
    }

    /// The other way to it.
    pub(super) fn multiplexed(&self, arch: Arch) -> Option<Multiplexed> {
        self.multiplexed.filter(|_| arch == Arch::X86)
    }
}

fn multiplexed(name: &str) -> Option<Multiplexed> {
    let at = MULTIPLEXED.binary_search_by_key(&name, |row| row.0).ok()?;
    let (_, call, selector) = MULTIPLEXED[at];
    Some(Multiplexed { call, selector })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_holds_the_headers_numbers() {
        assert!(CALLS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(MULTIPLEXED.is_sorted_by(|a, b| a.0 < b.0));
        let number = |name: &str, arch| Call::find(name).unwrap().number(arch);
        assert_eq!(number("openat2", Arch::X86_64), Some(437));
        assert_eq!(number("waitpid", Arch::X86_64), None);
        assert_eq!(number("waitpid", Arch::X86), Some(7));
        assert_eq!(number("execve", Arch::X32), Some(X32_BIT + 520));
        assert_eq!(number("execve", Arch::Aarch64), Some(221));
        assert_eq!(number("set_tls", Arch::Arm), Some(0xf0005));
        assert!(Call::find("no_such_call").is_none());
    }

    #[test]
    fn native_table_agrees_with_the_libc_crate() {
        let Some(native) = Arch::native() else { return };
        for (name, number) in [
            ("read", libc::SYS_read),
            ("clone3", libc::SYS_clone3),
            ("prctl", libc::SYS_prctl),
            ("seccomp", libc::SYS_seccomp),
            ("mount_setattr", libc::SYS_mount_setattr),
        ] {
            let found = Call::find(name).unwrap().number(native).unwrap();
            assert_eq!(libc::c_long::from(found), number, "{name}");
        }
    }

    #[test]
    fn sockets_and_ipc_are_multiplexed_on_x86_alone() {
        let call = Call::find("accept4").unwrap();
        assert_eq!(
            call.multiplexed(Arch::X86),
            Some(Multiplexed { call: SOCKETCALL, selector: 18 })
        );
        assert_eq!(call.multiplexed(Arch::X86_64), None);
        assert_eq!(call.number(Arch::X86), Some(364));
        let recv = Call::find("recv").unwrap();
        assert_eq!(recv.number(Arch::X86), None);
        assert_eq!(
            recv.multiplexed(Arch::X86),
            Some(Multiplexed { call: SOCKETCALL, selector: 10 })
        );
    }

    #[test]
    fn architectures_of_other_machines_are_none() {
        assert_eq!(Arch::from_spec(SpecArch::ScmpArchArm, Arch::X86_64), None);
        assert_eq!(Arch::from_spec(SpecArch::ScmpArchS390x, Arch::X86_64), None);
        assert_eq!(Arch::from_spec(SpecArch::ScmpArchX32, Arch::X86_64), Some(Arch::X32));
        assert_eq!(Arch::from_spec(SpecArch::ScmpArchNative, Arch::Aarch64), Some(Arch::Aarch64));
    }
}
