// SPDX-License-Identifier: Apache-2.0
//! The process that the arguments of `exec` describe.

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process};

use crate::bundle;
use crate::cli::ExecArgs;

/// The process of `--process`, or the container's own changed by the other options. What the former leaves
/// out is as the container's own process has it, where runc does so too.
pub(super) fn requested(args: &ExecArgs, own: &Process) -> Result<Process> {
    let mut process = match &args.process {
        Some(file) => from_file(&bundle::load_process(file)?, own),
        None => from_arguments(args, own)?,
    };
    if args.tty {
        process.set_terminal(Some(true));
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    Ok(process)
}

fn from_file(given: &Process, own: &Process) -> Process {
    let mut process = given.clone();
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(own.rlimits().clone());
    }
    process
}

fn from_arguments(args: &ExecArgs, own: &Process) -> Result<Process> {
    let mut process = own.clone();
    process.set_terminal(Some(false));
    process.set_console_size(None);
    process.set_args(Some(args.command.clone()));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    if !args.env.is_empty() {
        let own = process.env().clone().unwrap_or_default();
        process.set_env(Some(own.into_iter().chain(args.env.iter().cloned()).collect()));
    }
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    let mut user = process.user().clone();
    if let Some(word) = &args.user {
        let (uid, gid) = parse_user(word)?;
        user.set_uid(uid);
        if let Some(gid) = gid {
            user.set_gid(gid);
        }
    }
    if !args.additional_gids.is_empty() {
        let own = user.additional_gids().clone().unwrap_or_default();
        let all = own.into_iter().chain(args.additional_gids.iter().copied());
        user.set_additional_gids(Some(all.collect()));
    }
    process.set_user(user);
    if !args.cap.is_empty() {
        let sets = process.capabilities().clone().unwrap_or_else(none);
        process.set_capabilities(Some(with(sets, &args.cap)?));
    }
    Ok(process)
}

/// UID or UID:GID. Names would have to be looked up in files that the container controls.
fn parse_user(word: &str) -> Result<(u32, Option<u32>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits)
    };
    let (uid, gid) = match word.split_once(':') {
        Some((uid, gid)) => (number(uid), Some(number(gid))),
        None => (number(word), None),
    };
    match (uid, gid) {
        (Some(uid), None) => Ok((uid, None)),
        (Some(uid), Some(Some(gid))) => Ok((uid, Some(gid))),
        _ => bail!("--user {word:?}: give numbers, UID or UID:GID"),
    }
}

fn none() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    let empty = || Some(Capabilities::new());
    sets.set_bounding(empty()).set_effective(empty()).set_permitted(empty());
    sets.set_inheritable(empty()).set_ambient(empty());
    sets
}

/// Adds capabilities. As with runc not to the inheritable set, and so to the ambient one only where they
/// were inheritable already.
fn with(mut sets: LinuxCapabilities, names: &[String]) -> Result<LinuxCapabilities> {
    let mut added = Capabilities::new();
    for name in names {
        let full = name.to_ascii_uppercase();
        let full = if full.starts_with("CAP_") { full } else { format!("CAP_{full}") };
        let capability: Capability = serde_json::from_value(full.into())
            .ok()
            .with_context(|| format!("--cap {name:?}: is no capability"))?;
        added.insert(capability);
    }
    let merged =
        |set: &Option<Capabilities>| Some(set.iter().flatten().chain(&added).copied().collect());
    let (bounding, effective) = (merged(sets.bounding()), merged(sets.effective()));
    let (permitted, ambient) = (merged(sets.permitted()), merged(sets.ambient()));
    sets.set_bounding(bounding).set_effective(effective);
    sets.set_permitted(permitted).set_ambient(ambient);
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_numbers() {
        assert_eq!(parse_user("7").unwrap(), (7, None));
        assert_eq!(parse_user("7:8").unwrap(), (7, Some(8)));
        for word in ["", ":", "7:", ":8", "root", "+7", "-1", "7:8:9", " 7", "4294967296", "0x7"] {
            assert!(parse_user(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn capabilities_are_added_to_all_sets_but_the_inheritable() {
        let sets = with(none(), &["CAP_KILL".into(), "chown".into()]).unwrap();
        let both: Capabilities = [Capability::Kill, Capability::Chown].into();
        assert_eq!(sets.bounding().as_ref(), Some(&both));
        assert_eq!(sets.effective().as_ref(), Some(&both));
        assert_eq!(sets.permitted().as_ref(), Some(&both));
        assert_eq!(sets.inheritable().as_ref(), Some(&Capabilities::new()));
        assert!(with(none(), &["CAP_NONE".into()]).is_err());
    }
}
