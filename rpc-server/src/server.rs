// SPDX-License-Identifier: Apache-2.0
//! The loop of both sides: take a request, ask the phase table, carry it out, answer.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use outrigger_protocol::phase::{Kind, Rule, Tracker};
use outrigger_protocol::{Channel, Failure, Message, ProtocolError, Reply};
use serde::de::DeserializeOwned;

use crate::error::{OpError, Result};

/// How long the peer may take to say hello, and to finish a frame that it has begun.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer to a request that was carried out.
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) fds: Vec<OwnedFd>,
    /// Whether the conversation ends with it.
    pub(crate) last: bool,
}

impl Answer {
    /// Done, go on.
    pub(crate) fn done() -> Self {
        Self::reply(Reply::Done)
    }

    /// A reply, go on.
    pub(crate) fn reply(reply: Reply) -> Self {
        Self { reply, fds: Vec::new(), last: false }
    }

    /// A reply with a descriptor, go on.
    pub(crate) fn with_fd(reply: Reply, fd: OwnedFd) -> Self {
        Self { reply, fds: vec![fd], last: false }
    }
}

/// One side's half of the conversation.
pub(crate) trait Side {
    /// Its vocabulary.
    type Request: DeserializeOwned;
    /// The kinds of it.
    type Kind: Kind;

    /// What kind a request is.
    fn kind(request: &Self::Request) -> Self::Kind;
    /// The table that governs this conversation.
    fn table(&self) -> &'static [Rule<Self::Kind, <Self::Kind as Kind>::Phase>] {
        Self::Kind::TABLE
    }
    /// Carries out a request that the table permits.
    fn perform(&mut self, request: Self::Request, fds: Vec<OwnedFd>) -> Result<Answer>;
}

/// Why a conversation ended before its time.
pub(crate) enum Ended {
    /// The peer hung up.
    Closed,
    /// Anything else; the peer was told where that was possible.
    Failed,
}

/// Serves one conversation to its end.
pub(crate) fn serve<S: Side>(channel: &mut Channel, side: &mut S) -> Result<(), Ended> {
    let mut tracker = Tracker::<S::Kind>::new(side.table());
    channel.set_time_limit(Some(PATIENCE)).map_err(|_| Ended::Failed)?;
    loop {
        let message = next::<S>(channel, tracker.phase() == S::Kind::FIRST)?;
        let kind = S::kind(&message.value);
        let outcome = tracker
            .permit(kind)
            .map_err(|v| OpError::refused(v.to_string()))
            .and_then(|()| side.perform(message.value, message.fds));
        match outcome {
            Ok(answer) => {
                tracker.carried_out(kind);
                let fds: Vec<_> = answer.fds.iter().map(AsFd::as_fd).collect();
                channel.send(message.sequence, &answer.reply, &fds).map_err(|_| Ended::Failed)?;
                if answer.last {
                    return channel.flush().map_err(|_| Ended::Failed);
                }
            }
            Err(e) => return Err(refuse(channel, message.sequence, e.into_failure(kind.name()))),
        }
    }
}

/// Waits for the next request. Replies go out when there is nothing left to do.
fn next<S: Side>(channel: &mut Channel, first: bool) -> Result<Message<S::Request>, Ended> {
    loop {
        if !channel.has_message() {
            channel.flush().map_err(|_| Ended::Closed)?;
        }
        match channel.receive() {
            Ok(message) => return Ok(message),
            Err(ProtocolError::Closed) => return Err(Ended::Closed),
            // Between two requests the master may take its time: a hook, a person at a debugger.
            Err(ProtocolError::TimedOut) if !first && !channel.has_partial_message() => {}
            Err(e) => {
                let failure = OpError::refused(e.to_string()).into_failure("");
                return Err(refuse(channel, 0, failure));
            }
        }
    }
}

/// Tells the peer, as far as it listens, and hangs up.
fn refuse(channel: &mut Channel, sequence: u32, failure: Failure) -> Ended {
    let told = channel.send(sequence, &Reply::Failed(failure), &[]).and_then(|()| channel.flush());
    // A peer that is not there any more needs no telling: the conversation is over either way.
    if told.is_err() { Ended::Closed } else { Ended::Failed }
}
