// SPDX-License-Identifier: Apache-2.0
//! A master that sends well-formed requests in any order: only what the phase table permits happens.

use std::path::Path;
use std::time::Duration;

use outrigger_protocol::frame::FrameKind;
use outrigger_protocol::phase::{CONTAINER, ContainerPhase, HOST, HostPhase};
use outrigger_protocol::{Channel, ContainerKind, HostKind, ProtocolError, Reply};
use outrigger_tests::peer::{Helper, Session, sockets};
use outrigger_tests::{TempRoot, helper_program, needs_root, samples};
use std::os::fd::AsFd;

const SOON: Duration = Duration::from_secs(2);

/// What became of a request.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Carried out, or refused for what it asks.
    Permitted,
    /// Refused for when it came.
    OutOfOrder,
}

fn fate(reply: Result<Reply, ProtocolError>) -> Fate {
    match reply {
        Ok(Reply::Failed(f)) if f.to_string().contains("not permitted in phase") => {
            Fate::OutOfOrder
        }
        Ok(Reply::Failed(f)) if f.to_string().contains("came too often") => Fate::OutOfOrder,
        // The program was started: the end of the conversation is the answer.
        Ok(_) | Err(ProtocolError::Closed) => Fate::Permitted,
        Err(e) => panic!("{e}"),
    }
}

/// The kinds that lead to a phase of the container side.
fn way_to(phase: ContainerPhase) -> Vec<ContainerKind> {
    let steps = [
        (ContainerPhase::Rootfs, vec![ContainerKind::Hello]),
        (ContainerPhase::Mounts, vec![ContainerKind::Rootfs]),
        (ContainerPhase::Pivoted, vec![ContainerKind::Chroot]),
        (ContainerPhase::Process, vec![ContainerKind::Strings, ContainerKind::Process]),
        (ContainerPhase::Ready, vec![ContainerKind::Ready]),
    ];
    steps.into_iter().take_while(|(p, _)| *p <= phase).flat_map(|(_, kinds)| kinds).collect()
}

fn reach(root: &Path, phase: ContainerPhase) -> Session {
    let mut session = Session::start(&helper_program(), root);
    for kind in way_to(phase) {
        match session.ask_sample(kind).unwrap() {
            Reply::Done | Reply::Hello(_) => {}
            reply => panic!("on the way to {phase:?}: {kind:?}: {reply:?}"),
        }
    }
    session
}

#[test]
fn o01_every_container_request_in_every_phase() {
    needs_root!();
    let root = TempRoot::new();
    root.add_program("program");
    let phases = [
        ContainerPhase::Hello,
        ContainerPhase::Rootfs,
        ContainerPhase::Mounts,
        ContainerPhase::Pivoted,
        ContainerPhase::Process,
        ContainerPhase::Ready,
    ];
    let mut cells = 0;
    for phase in phases {
        for rule in CONTAINER {
            let mut session = reach(root.path(), phase);
            let expected =
                if rule.phases.contains(&phase) { Fate::Permitted } else { Fate::OutOfOrder };
            let fate = fate(session.ask_sample(rule.kind));
            assert_eq!(fate, expected, "{:?} in {phase:?}", rule.kind);
            if fate == Fate::OutOfOrder {
                assert!(session.container_ends_within(SOON), "{:?} in {phase:?}", rule.kind);
            }
            cells += 1;
        }
    }
    assert_eq!(cells, phases.len() * ContainerKind::ALL.len());
}

#[test]
fn o01_every_host_request_in_every_phase() {
    needs_root!();
    let ways: [(HostPhase, &[HostKind]); 3] = [
        (HostPhase::Hello, &[]),
        (HostPhase::Prepare, &[HostKind::Hello]),
        (HostPhase::Spawned, &[HostKind::Hello, HostKind::Spawn]),
    ];
    for (phase, way) in ways {
        for rule in HOST {
            let (mut helper, socket) = Helper::start(&helper_program());
            let mut master = Channel::new(socket, FrameKind::Host, FrameKind::Reply);
            let (_ours, theirs) = sockets();
            let mut ask = |kind: HostKind| {
                let fds = [theirs.as_fd()];
                let fds = if kind == HostKind::Spawn { &fds[..] } else { &[] };
                master.send(0, &samples::host(kind), fds).unwrap();
                master.flush().unwrap();
                master.receive::<Reply>().map(|m| m.value)
            };
            for kind in way {
                assert!(!matches!(ask(*kind).unwrap(), Reply::Failed(_)), "{kind:?}");
            }
            let expected =
                if rule.phases.contains(&phase) { Fate::Permitted } else { Fate::OutOfOrder };
            assert_eq!(fate(ask(rule.kind)), expected, "{:?} in {phase:?}", rule.kind);
            drop(master);
            assert!(helper.exit_within(SOON).is_some(), "{:?} in {phase:?}", rule.kind);
        }
    }
}

#[test]
fn o02_what_is_asked_for_twice_is_refused() {
    needs_root!();
    let root = TempRoot::new();
    let once =
        [ContainerKind::SetHostname, ContainerKind::SetDomainname, ContainerKind::LoopbackUp];
    for kind in once {
        let mut session = reach(root.path(), ContainerPhase::Mounts);
        assert_eq!(session.ask_sample(kind).unwrap(), Reply::Done, "{kind:?}");
        assert_eq!(fate(session.ask_sample(kind)), Fate::OutOfOrder, "{kind:?}");
        assert!(session.container_ends_within(SOON), "{kind:?}");
    }
}

#[test]
fn o06_the_end_of_the_conversation_ends_the_container_side_in_every_phase() {
    needs_root!();
    let root = TempRoot::new();
    root.add_program("program");
    for phase in [
        ContainerPhase::Hello,
        ContainerPhase::Rootfs,
        ContainerPhase::Mounts,
        ContainerPhase::Pivoted,
        ContainerPhase::Process,
        ContainerPhase::Ready,
    ] {
        let mut session = reach(root.path(), phase);
        session.container = None;
        assert!(session.container_ends_within(SOON), "{phase:?}");
    }
}

#[test]
fn k02_the_end_of_the_host_sides_conversation_kills_the_container_side_in_every_phase() {
    needs_root!();
    let root = TempRoot::new();
    root.add_program("program");
    for phase in [ContainerPhase::Hello, ContainerPhase::Mounts, ContainerPhase::Ready] {
        let mut session = reach(root.path(), phase);
        session.host = None;
        assert!(session.container_ends_within(SOON), "{phase:?}");
        assert!(session.helper.exit_within(SOON).is_some(), "{phase:?}");
    }
}
