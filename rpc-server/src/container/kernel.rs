// SPDX-License-Identifier: Apache-2.0
//! What is set in the container's namespaces and in no file system: names, kernel parameters, the
//! loopback interface.

use std::os::fd::AsFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use outrigger_protocol::path::{RelativePath, UtsName};
use outrigger_protocol::process::OomScoreAdj;
use outrigger_protocol::request::{NamespaceType, Sysctl};

use crate::error::{Context, OpError, Result};
use crate::procfs::Procfs;
use crate::sys::{net, process};

/// sethostname(2)
pub(super) fn set_hostname(name: &UtsName) -> Result<()> {
    nix::unistd::sethostname(name.as_path()).during(|| format!("sethostname({name})"))
}

/// setdomainname(2)
pub(super) fn set_domainname(name: &UtsName) -> Result<()> {
    process::setdomainname(name.as_bytes()).during(|| format!("setdomainname({name})"))
}

/// The parameters of kernel/ that belong to the IPC namespace, `ipc_namespaces(7)`.
const IPC: [&[u8]; 8] =
    [b"msgmax", b"msgmnb", b"msgmni", b"sem", b"shmall", b"shmmax", b"shmmni", b"shm_rmid_forced"];

/// The namespace that a kernel parameter belongs to; all others are the host's.
pub(super) fn namespace_of(file: &RelativePath) -> Result<NamespaceType> {
    let parts: Vec<&[u8]> = file.as_bytes().split(|b| *b == b'/').collect();
    match parts.as_slice() {
        [b"net", _, ..] => Ok(NamespaceType::Network),
        [b"fs", b"mqueue", _] => Ok(NamespaceType::Ipc),
        [b"kernel", name] if IPC.contains(name) => Ok(NamespaceType::Ipc),
        [b"kernel", b"hostname" | b"domainname"] => Ok(NamespaceType::Uts),
        _ => {
            Err(OpError::refused(format!("sysctl {file} belongs to no namespace, but to the host")))
        }
    }
}

/// Writes a kernel parameter of the present namespaces.
pub(super) fn write_sysctl(proc: &Procfs, sysctl: &Sysctl) -> Result<()> {
    let file = std::str::from_utf8(sysctl.file.as_bytes())
        .map_err(|_| OpError::refused(format!("sysctl {} does not exist", sysctl.file)))?;
    proc.write(&format!("sys/{file}"), sysctl.value.as_bytes())
}

/// How soon this process, and what it becomes, is killed when memory runs out.
pub(super) fn set_oom_score_adj(proc: &Procfs, value: OomScoreAdj) -> Result<()> {
    let file = format!("{}/oom_score_adj", std::process::id());
    proc.write(&file, value.get().to_string().as_bytes())
}

/// Sets the loopback interface up.
pub(super) fn loopback_up() -> Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .during(|| "socket(AF_INET)")?;
    net::loopback_up(any.as_fd()).during(|| "set interface lo up")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(file: &str) -> Option<NamespaceType> {
        let file = RelativePath::new(file).unwrap_or_else(|_| unreachable!());
        namespace_of(&file).ok()
    }

    #[test]
    fn only_parameters_of_a_namespace_are_written() {
        assert_eq!(namespace("net/ipv4/ip_forward"), Some(NamespaceType::Network));
        assert_eq!(namespace("kernel/shmmax"), Some(NamespaceType::Ipc));
        assert_eq!(namespace("fs/mqueue/msg_max"), Some(NamespaceType::Ipc));
        assert_eq!(namespace("kernel/domainname"), Some(NamespaceType::Uts));
        for host in
            ["kernel/core_pattern", "vm/overcommit_memory", "net", "fs/mqueue", "kernel/sem/x"]
        {
            assert_eq!(namespace(host), None, "{host}");
        }
    }
}
