// SPDX-License-Identifier: Apache-2.0
//! Which request is permitted when: one table a side.
//!
//! Phases only move forward. What is not in the table, comes in another phase than the table says,
//! or comes more often, ends the conversation.

use std::fmt;

use crate::request::{ContainerKind as C, HostKind as H};

/// Where a conversation with the host side stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPhase {
    /// Nothing was said yet.
    Hello,
    /// No container side was started.
    Prepare,
    /// The container side lives; it dies with the conversation.
    Spawned,
    /// The container is left to itself.
    Committed,
}

/// Where a conversation with the container side stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerPhase {
    /// Nothing was said yet.
    Hello,
    /// The namespaces are there, the root is not known.
    Rootfs,
    /// The root is being furnished.
    Mounts,
    /// The root is the root directory; the host's files are out of reach.
    Pivoted,
    /// The process is described.
    Process,
    /// Privileges are gone, all but the program is in place.
    Ready,
    /// The program was started, or is left to be started by others.
    Started,
}

/// A row of a table: a request, when it is permitted, how often, what phase it leads to.
#[derive(Debug)]
pub struct Rule<K: 'static, P: 'static> {
    /// The request.
    pub kind: K,
    /// The phases that it is permitted in.
    pub phases: &'static [P],
    /// How often in one conversation.
    pub most: u32,
    /// The phase after it was carried out, if another.
    pub next: Option<P>,
}

const fn rule<K, P>(kind: K, phases: &'static [P], most: u32, next: Option<P>) -> Rule<K, P> {
    Rule { kind, phases, most, next }
}

/// Most mounts of a container: the kernel's own default limit of a mount namespace
/// (`fs.mount-max`).
pub const MAX_MOUNTS: u32 = 100_000;
/// Most nodes, paths and parameters of each kind.
pub const MAX_ITEMS: u32 = 10_000;
/// Most pieces of arguments and environment.
pub const MAX_PIECES: u32 = 1024;

/// The host side's table.
pub const HOST: &[Rule<H, HostPhase>] = {
    use HostPhase::{Committed, Hello, Prepare, Spawned};
    &[
        rule(H::Hello, &[Hello], 1, Some(Prepare)),
        rule(H::CreateCgroup, &[Prepare], 1, None),
        rule(H::Spawn, &[Prepare], 1, Some(Spawned)),
        rule(H::Join, &[Prepare], 1, Some(Spawned)),
        rule(H::Commit, &[Spawned], 1, Some(Committed)),
        rule(H::Signal, &[Prepare, Spawned], u32::MAX, None),
        rule(H::RemoveCgroup, &[Prepare, Spawned], MAX_ITEMS, None),
        rule(H::UpdateCgroup, &[Prepare], MAX_ITEMS, None),
        rule(H::Freeze, &[Prepare], MAX_ITEMS, None),
        rule(H::SignalCgroup, &[Prepare], MAX_ITEMS, None),
        rule(H::SignalEach, &[Prepare], MAX_ITEMS, None),
    ]
};

/// The container side's table.
pub const CONTAINER: &[Rule<C, ContainerPhase>] = {
    use ContainerPhase::{Hello, Mounts, Pivoted, Process, Ready, Rootfs, Started};
    &[
        rule(C::Hello, &[Hello], 1, Some(Rootfs)),
        rule(C::Rootfs, &[Rootfs], 1, Some(Mounts)),
        rule(C::Mount, &[Mounts], MAX_MOUNTS, None),
        rule(C::Mkdir, &[Mounts], MAX_ITEMS, None),
        rule(C::Touch, &[Mounts], MAX_ITEMS, None),
        rule(C::Symlink, &[Mounts], MAX_ITEMS, None),
        rule(C::Mknod, &[Mounts], MAX_ITEMS, None),
        rule(C::Console, &[Mounts], 1, None),
        rule(C::MaskPath, &[Mounts], MAX_ITEMS, None),
        rule(C::ReadonlyPath, &[Mounts], MAX_ITEMS, None),
        rule(C::SetHostname, &[Rootfs, Mounts], 1, None),
        rule(C::SetDomainname, &[Rootfs, Mounts], 1, None),
        rule(C::Sysctl, &[Rootfs, Mounts], MAX_ITEMS, None),
        rule(C::LoopbackUp, &[Rootfs, Mounts], 1, None),
        rule(C::Chroot, &[Mounts], 1, Some(Pivoted)),
        rule(C::ReadonlyRoot, &[Pivoted], 1, None),
        rule(C::Strings, &[Pivoted], MAX_PIECES, None),
        rule(C::Seccomp, &[Pivoted], 1, None),
        rule(C::Process, &[Pivoted], 1, Some(Process)),
        rule(C::Ready, &[Process], 1, Some(Ready)),
        rule(C::Wait, &[Ready], 1, Some(Started)),
        rule(C::Start, &[Ready], 1, Some(Started)),
    ]
};

/// The table of a container side that has joined a container: the root and what is in it are there, and
/// nothing of them is its business.
pub const JOINED: &[Rule<C, ContainerPhase>] = {
    use ContainerPhase::{Hello, Pivoted, Process, Ready, Started};
    &[
        rule(C::Hello, &[Hello], 1, Some(Pivoted)),
        rule(C::Console, &[Pivoted], 1, None),
        rule(C::Strings, &[Pivoted], MAX_PIECES, None),
        rule(C::Seccomp, &[Pivoted], 1, None),
        rule(C::Process, &[Pivoted], 1, Some(Process)),
        rule(C::Ready, &[Process], 1, Some(Ready)),
        rule(C::Start, &[Ready], 1, Some(Started)),
    ]
};

/// A request that the table does not permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    kind: &'static str,
    phase: String,
    exhausted: bool,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, phase, exhausted } = self;
        if *exhausted {
            write!(f, "request {kind} came too often")
        } else {
            write!(f, "request {kind} is not permitted in phase {phase}")
        }
    }
}

impl std::error::Error for Violation {}

/// A side's vocabulary and its table.
pub trait Kind: Copy + PartialEq + fmt::Debug + 'static {
    /// The side's phases.
    type Phase: Copy + PartialEq + fmt::Debug + 'static;
    /// The phase in which a conversation begins.
    const FIRST: Self::Phase;
    /// The side's table, if no other is said to govern a conversation.
    const TABLE: &'static [Rule<Self, Self::Phase>];
    /// The name of the request.
    fn name(self) -> &'static str;
}

impl Kind for H {
    type Phase = HostPhase;
    const FIRST: HostPhase = HostPhase::Hello;
    const TABLE: &'static [Rule<H, HostPhase>] = HOST;
    fn name(self) -> &'static str {
        self.name()
    }
}

impl Kind for C {
    type Phase = ContainerPhase;
    const FIRST: ContainerPhase = ContainerPhase::Hello;
    const TABLE: &'static [Rule<C, ContainerPhase>] = CONTAINER;
    fn name(self) -> &'static str {
        self.name()
    }
}

/// Follows one conversation through its phases.
#[derive(Debug)]
pub struct Tracker<K: Kind> {
    table: &'static [Rule<K, K::Phase>],
    phase: K::Phase,
    counts: [u32; 32],
}

impl<K: Kind> Default for Tracker<K> {
    fn default() -> Self {
        Self::new(K::TABLE)
    }
}

impl<K: Kind> Tracker<K> {
    /// At the beginning of a conversation that this table governs.
    #[must_use]
    pub fn new(table: &'static [Rule<K, K::Phase>]) -> Self {
        Self { table, phase: K::FIRST, counts: [0; 32] }
    }

    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> K::Phase {
        self.phase
    }

    /// Counts a request that is about to be carried out.
    ///
    /// # Errors
    /// It is not permitted now.
    pub fn permit(&mut self, kind: K) -> Result<(), Violation> {
        let violation = |exhausted| Violation {
            kind: kind.name(),
            phase: format!("{:?}", self.phase),
            exhausted,
        };
        let Some((rule, count)) =
            self.table.iter().zip(&mut self.counts).find(|(r, _)| r.kind == kind)
        else {
            return Err(violation(false));
        };
        if !rule.phases.contains(&self.phase) {
            return Err(violation(false));
        }
        if *count >= rule.most {
            return Err(violation(true));
        }
        *count = count.saturating_add(1);
        Ok(())
    }

    /// Moves on after a request was carried out.
    pub fn carried_out(&mut self, kind: K) {
        if let Some(next) = self.table.iter().find(|r| r.kind == kind).and_then(|r| r.next) {
            self.phase = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests that lead from the beginning to each phase.
    fn reach<K: Kind>(table: &'static [Rule<K, K::Phase>], target: K::Phase) -> Tracker<K> {
        let mut tracker = Tracker::new(table);
        while tracker.phase() != target {
            let rule = table
                .iter()
                .find(|r| r.next.is_some() && r.phases.contains(&tracker.phase()))
                .expect("every phase but the last has a way out");
            tracker.permit(rule.kind).unwrap();
            tracker.carried_out(rule.kind);
        }
        tracker
    }

    fn visit_every_cell<K: Kind>(
        table: &'static [Rule<K, K::Phase>],
        kinds: &[K],
        phases: &[K::Phase],
    ) -> (usize, usize) {
        let (mut allowed, mut refused) = (0, 0);
        for &phase in phases {
            for &kind in kinds {
                let rule = table.iter().find(|r| r.kind == kind);
                let listed = rule.is_some_and(|r| r.phases.contains(&phase));
                let mut tracker = reach::<K>(table, phase);
                match tracker.permit(kind) {
                    Ok(()) => {
                        assert!(listed, "{kind:?} in {phase:?}");
                        allowed += 1;
                    }
                    Err(v) => {
                        assert!(!listed, "{kind:?} in {phase:?}: {v}");
                        refused += 1;
                    }
                }
            }
        }
        (allowed, refused)
    }

    #[test]
    fn every_cell_of_the_host_table() {
        use HostPhase::{Committed, Hello, Prepare, Spawned};
        let cells = visit_every_cell(HOST, H::ALL, &[Hello, Prepare, Spawned, Committed]);
        assert_eq!(cells, (13, 31));
    }

    #[test]
    fn every_cell_of_the_container_table() {
        use ContainerPhase::{Hello, Mounts, Pivoted, Process, Ready, Rootfs, Started};
        let phases = [Hello, Rootfs, Mounts, Pivoted, Process, Ready, Started];
        let cells = visit_every_cell(CONTAINER, C::ALL, &phases);
        assert_eq!(cells, (26, 128));
    }

    #[test]
    fn every_cell_of_the_table_of_a_joined_container() {
        use ContainerPhase::{Hello, Mounts, Pivoted, Process, Ready, Rootfs, Started};
        let cells = visit_every_cell(JOINED, C::ALL, &[Hello, Pivoted, Process, Ready, Started]);
        assert_eq!(cells, (7, 5 * C::ALL.len() - 7));
        // There is no way into the phases in which a root is made.
        let leads_to_root = |r: &Rule<C, _>| matches!(r.next, Some(Rootfs | Mounts));
        assert!(!JOINED.iter().any(leads_to_root));
        assert!(JOINED.iter().all(|r| !r.phases.contains(&Rootfs) && !r.phases.contains(&Mounts)));
    }

    #[test]
    fn every_kind_has_exactly_one_row() {
        assert_eq!(H::ALL.len(), HOST.len());
        assert_eq!(C::ALL.len(), CONTAINER.len());
        for kind in C::ALL {
            assert_eq!(CONTAINER.iter().filter(|r| r.kind == *kind).count(), 1, "{kind:?}");
        }
    }

    #[test]
    fn tables_fit_the_tracker() {
        assert!(HOST.len() <= 32 && CONTAINER.len() <= 32);
    }

    #[test]
    fn phases_only_move_forward() {
        assert!(HOST.iter().all(|r| r.next.is_none_or(|n| r.phases.iter().all(|p| *p < n))));
        assert!(CONTAINER.iter().all(|r| r.next.is_none_or(|n| r.phases.iter().all(|p| *p < n))));
    }

    #[test]
    fn once_means_once() {
        let mut tracker = reach::<C>(CONTAINER, ContainerPhase::Rootfs);
        tracker.permit(C::SetHostname).unwrap();
        let again = tracker.permit(C::SetHostname).unwrap_err();
        assert_eq!(again.to_string(), "request SetHostname came too often");
    }
}
