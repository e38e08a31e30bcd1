// SPDX-License-Identifier: Apache-2.0
//! `linux.sysctl`: the kernel parameters that belong to a namespace of the container.

use std::collections::BTreeSet;

use outrigger_protocol::ContainerRequest;
use outrigger_protocol::path::{RelativePath, SysctlValue};
use outrigger_protocol::request::{NamespaceType, Sysctl};

use super::Inputs;
use super::problems::Problems;

/// The parameters of kernel/ that belong to the IPC namespace, `ipc_namespaces(7)`.
const IPC: [&str; 8] =
    ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// Plans all of them, by the names of their files.
pub(super) fn plan(inputs: &Inputs<'_>, out: &mut Vec<ContainerRequest>, problems: &mut Problems) {
    let Some(all) = inputs.linux().and_then(|l| l.sysctl().as_ref()) else { return };
    // The key decides between two spellings of one file, so that the same config has one plan.
    let sorted: BTreeSet<_> = all.iter().map(|(key, value)| (file(key), key, value)).collect();
    let mut previous = None;
    for (file, key, value) in sorted {
        let field = format_args!("linux.sysctl[{key:?}]");
        if previous.as_ref() == Some(&file) {
            problems.add(field, "is given twice, with `.` and with `/`; remove one");
        }
        previous = Some(file.clone());
        if let Err(why) = check(inputs, &file) {
            problems.add(field, why);
            continue;
        }
        let file = problems.check(field, RelativePath::new(file));
        let value = problems.check(field, SysctlValue::new(value.as_str()));
        if let (Some(file), Some(value)) = (file, value) {
            out.push(ContainerRequest::Sysctl(Sysctl { file, value }));
        }
    }
}

/// Whether the container may have it.
fn check(inputs: &Inputs<'_>, file: &str) -> Result<(), String> {
    let Some(namespace) = namespace(file) else {
        return Err("is a parameter of the host, not of a namespace; remove it".into());
    };
    if !inputs.has(namespace) {
        let name = namespace.name();
        return Err(format!("would be the host's; add a namespace of type {name}"));
    }
    let same = match file {
        "kernel/hostname" => ("hostname", inputs.spec.hostname()),
        "kernel/domainname" => ("domainname", inputs.spec.domainname()),
        _ => return Ok(()),
    };
    match same {
        (field, Some(name)) if !name.is_empty() => {
            Err(format!("is what {field} sets too; remove one"))
        }
        _ => Ok(()),
    }
}

/// The file below /proc/sys. As sysctl(8) has it: if the first separator is a `/`, dots are part of
/// names; else dots separate, and a `/` stands for a dot in a name.
fn file(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key[at..].starts_with('.') => {
            let swap = |c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            };
            key.chars().map(swap).collect()
        }
        _ => key.to_owned(),
    }
}

fn namespace(file: &str) -> Option<NamespaceType> {
    let (first, rest) = file.split_once('/')?;
    match (first, rest) {
        ("net", _) => Some(NamespaceType::Network),
        ("fs", rest) if rest.starts_with("mqueue/") => Some(NamespaceType::Ipc),
        ("kernel", name) if IPC.contains(&name) => Some(NamespaceType::Ipc),
        ("kernel", "hostname" | "domainname") => Some(NamespaceType::Uts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_sysctl_reads_them() {
        for (key, expected) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
            ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
            ("plain", "plain"),
        ] {
            assert_eq!(file(key), expected);
        }
    }

    #[test]
    fn only_parameters_of_namespaces_are_known() {
        assert_eq!(namespace("net/core/somaxconn"), Some(NamespaceType::Network));
        assert_eq!(namespace("fs/mqueue/msg_max"), Some(NamespaceType::Ipc));
        assert_eq!(namespace("kernel/shmmax"), Some(NamespaceType::Ipc));
        assert_eq!(namespace("kernel/hostname"), Some(NamespaceType::Uts));
        for host in ["kernel/core_pattern", "vm/swappiness", "fs/file-max", "net", "kernel/sem/x"] {
            assert_eq!(namespace(host), None, "{host}");
        }
    }
}
