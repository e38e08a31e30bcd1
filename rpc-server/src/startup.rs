// SPDX-License-Identifier: Apache-2.0
//! What happens before anything is read from the peer.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::SigSet;
use nix::sys::socket::{AddressFamily, SockType, getsockname, getsockopt, sockopt};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{getegid, geteuid, getgid, getuid, setresgid, setresuid};

use crate::error::{Context, OpError, Result};
use crate::sys::{descriptor, process};

/// Where the master leaves the helper's end of the socket.
const SOCKET: RawFd = 3;

/// Puts this process into a known state and takes the socket.
pub(crate) fn prepare() -> Result<OwnedFd> {
    give_up_setuid_power()?;
    let started_wrong =
        |_| OpError::refused("not to be called by hand: it is started by outrigger");
    let socket = descriptor::inherited(SOCKET).map_err(started_wrong)?;
    let kind = getsockopt(&socket, sockopt::SockType).map_err(started_wrong)?;
    let family =
        getsockname::<nix::sys::socket::UnixAddr>(std::os::fd::AsRawFd::as_raw_fd(&socket))
            .map(|_| AddressFamily::Unix)
            .map_err(started_wrong)?;
    if (family, kind) != (AddressFamily::Unix, SockType::Stream) {
        return Err(started_wrong(nix::errno::Errno::ENOTSOCK));
    }
    // Callers leak descriptors; none of them is the container's business, nor ours.
    descriptor::close_all_but(&[socket.as_fd()]).during(|| "close_range")?;
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).during(|| "fcntl(F_SETFD)")?;
    // It may have been executed as /proc/self/fd/N.
    process::set_name(c"outrigger-host").during(|| "prctl(PR_SET_NAME)")?;
    // A terminal's ^C and a batch system's TERM go to all processes of a job. What they mean here the master
    // says; the process of the container has its signals back before its program starts.
    SigSet::all().thread_block().during(|| "sigprocmask")?;
    // Modes are given in full by the requests.
    umask(Mode::empty());
    Ok(socket)
}

/// A helper that was installed setuid runs as its caller: there is no policy that would allow more.
fn give_up_setuid_power() -> Result<()> {
    let (uid, gid) = (getuid(), getgid());
    if geteuid() == uid && getegid() == gid {
        return Ok(());
    }
    setresgid(gid, gid, gid).during(|| format!("setresgid({gid})"))?;
    setresuid(uid, uid, uid).during(|| format!("setresuid({uid})"))?;
    if geteuid() != uid
        || getegid() != gid
        || (!uid.is_root() && setresuid(uid, 0.into(), uid).is_ok())
    {
        return Err(OpError::refused("could not give up the power of the setuid bit"));
    }
    // The kernel has hidden this process from its own user because of the bit. Nothing in it is secret
    // now, and the id maps of its child are written through files that belong to whoever may see it.
    process::set_dumpable(true).during(|| "prctl(PR_SET_DUMPABLE)")
}
