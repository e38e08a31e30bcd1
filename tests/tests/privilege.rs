// SPDX-License-Identifier: Apache-2.0
//! Who reads the config, and with what power.

use std::fs;
use std::os::unix::fs::FileExt;

use outrigger_tests::descent::children_of;
use outrigger_tests::host::{status_field, wait_until};
use outrigger_tests::trace::{Call, strace, trace};
use outrigger_tests::{Bundle, Container, needs_program, needs_root, ours_only};

/// All that changes what a path means, makes a device, or changes a namespace.
const MOUNT_LIKE: &str = "mount,umount2,move_mount,open_tree,fsopen,fsconfig,fsmount,fspick,\
    mount_setattr,pivot_root,chroot,mknod,mknodat,unshare,setns,sethostname,setdomainname";
/// All that a path is opened with.
const OPENING: &str = "open,openat,openat2,creat,readlink,readlinkat";

/// The calls of a foreground run of a container.
fn calls(filter: &str) -> Vec<Call> {
    let container = Container::of(Bundle::shell("true"));
    let (outcome, calls) = trace(container.foreground(), filter);
    let _ = outcome.succeeded();
    container.assert_nothing_left();
    calls
}

fn reads_config(call: &Call) -> bool {
    call.arguments.contains("config.json")
}

fn drops_all(call: &Call) -> bool {
    call.name == "capset"
        && call.arguments.contains("effective=0,")
        && call.arguments.contains("permitted=0,")
}

#[test]
fn the_config_is_opened_by_the_master_alone() {
    needs_root!();
    needs_program!("strace");
    ours_only!("has no master");
    let calls = calls(&format!("{OPENING},execve"));
    let master = calls[0].pid;
    let readers: Vec<i32> = calls.iter().filter(|c| reads_config(c)).map(|c| c.pid).collect();
    assert!(!readers.is_empty() && readers.iter().all(|pid| *pid == master), "{readers:?}");
    // The helper was seen at all.
    assert!(calls.iter().any(|c| c.pid != master && c.name == "execve"), "{calls:#?}");
}

#[test]
fn the_config_is_opened_after_all_capabilities_are_gone() {
    needs_root!();
    needs_program!("strace");
    ours_only!("has no master");
    let calls = calls(&format!("{OPENING},capset,execve"));
    let master = calls[0].pid;
    let mut own = calls.iter().filter(|c| c.pid == master);
    let before: Vec<&Call> = own.by_ref().take_while(|c| !drops_all(c)).collect();
    assert!(!before.iter().any(|c| reads_config(c)), "it is opened before: {before:#?}");
    let after: Vec<&Call> = own.collect();
    assert!(after.iter().any(|c| reads_config(c)), "{after:#?}");
    // Root would get them back with a new program.
    assert!(!after.iter().any(|c| c.name == "execve"), "{after:#?}");
}

#[test]
fn the_master_makes_no_call_that_is_like_a_mount() {
    needs_root!();
    needs_program!("strace");
    ours_only!("has no master");
    let calls = calls(&format!("{MOUNT_LIKE},execve"));
    let master = calls[0].pid;
    let own: Vec<&Call> = calls.iter().filter(|c| c.pid == master).collect();
    let found: Vec<&&Call> = own.iter().filter(|c| c.name != "execve").collect();
    assert!(found.is_empty(), "{found:#?}");
    // The helper makes them.
    assert!(calls.iter().any(|c| c.pid != master && c.name == "pivot_root"), "{calls:#?}");
}

#[test]
fn the_helper_reads_neither_its_arguments_nor_its_environment() {
    needs_root!();
    needs_program!("strace");
    ours_only!("has no helper");
    let calls = calls("execve");
    let master = calls[0].pid;
    let helper = calls.iter().find(|c| c.pid != master).unwrap();
    // One argument, its name, and no variable at all.
    let (path, rest) = helper.arguments.split_once(", ").unwrap();
    assert!(rest.matches('"').count() == 2, "{path}: {rest}");
    assert!(rest.contains("/* 0 vars */"), "{path}: {rest}");
}

#[test]
fn the_master_has_no_capability_when_it_opens_the_config() {
    needs_root!();
    needs_program!("strace");
    ours_only!("has no master");
    let container = Container::of(Bundle::shell("true"));
    // Every opening waits for a while, so that it can be looked at.
    let filter = "inject=openat:delay_enter=30000";
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut call = strace(container.foreground(), filter, log.path()).start();
    let mut sets = None;
    wait_until("the config is opened", || {
        sets = children_of(call.pid()).into_iter().find_map(capabilities_at_config);
        sets.is_some() || !call.is_alive()
    });
    let _ = call.finish().succeeded();
    let none = "0000000000000000".to_owned();
    assert_eq!(sets, Some([none.clone(), none.clone(), none]), "or it was not seen");
}

/// The capabilities of a process that is about to open a config.
fn capabilities_at_config(pid: i32) -> Option<[String; 3]> {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let mut words = call.split_whitespace();
    if words.next()?.parse() != Ok(nix::libc::SYS_openat) {
        return None;
    }
    let address = u64::from_str_radix(words.nth(1)?.strip_prefix("0x")?, 16).ok()?;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut path = [0; 64];
    let length = memory.read_at(&mut path, address).ok()?;
    if !String::from_utf8_lossy(&path[..length]).contains("config.json") {
        return None;
    }
    let set = |name| status_field(pid, name);
    Some([set("CapEff")?, set("CapPrm")?, set("CapInh")?])
}
