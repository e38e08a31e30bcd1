// SPDX-License-Identifier: Apache-2.0
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::print;
use crate::cli::{Format, Global, PsArgs};
use crate::container::id::ContainerId;
use crate::container::members;
use crate::container::store::Store;
use crate::sys::privilege;

/// `ps`: lists the processes of a container, by their pids on the host.
pub(super) fn ps(global: &Global, args: &PsArgs) -> Result<()> {
    privilege::drop_capabilities()?;
    let id = ContainerId::parse(&args.id)?;
    let container = Store::open(global.root.as_deref())?.get(&id)?;
    let state = container.read_state()?;
    let pids = members::of(&state)?;
    match args.format {
        Format::Json => print(&format!("{}\n", serde_json::to_string(&pids)?)),
        Format::Table => print(&of_members(&all_processes(&args.options)?, &pids)?),
    }
}

/// What ps(1) prints of all processes.
fn all_processes(options: &[String]) -> Result<String> {
    let mut command = Command::new("ps");
    if options.is_empty() {
        command.arg("-ef");
    }
    let output = command.args(options).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("run ps(1); --format json does without it")?;
    ensure!(output.status.success(), "ps(1): {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The heading, and the lines of these processes.
fn of_members(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(column) = heading.split_ascii_whitespace().position(|word| word == "PID") else {
        bail!("ps(1) prints no column PID: give options with which it does");
    };
    let pid = |line: &str| line.split_ascii_whitespace().nth(column)?.parse::<i32>().ok();
    let of_members = lines.filter(|line| pid(line).is_some_and(|pid| pids.contains(&pid)));
    let mut out = format!("{heading}\n");
    for line in of_members {
        out.push_str(line);
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::of_members;

    #[test]
    fn lines_are_chosen_by_the_column_of_the_pid() {
        let table =
            "UID   PID  PPID CMD\nroot    1     0 init 7\nme      7     1 sh\nme     17     7 x\n";
        assert_eq!(of_members(table, &[7]).unwrap(), "UID   PID  PPID CMD\nme      7     1 sh\n");
        assert_eq!(of_members(table, &[]).unwrap(), "UID   PID  PPID CMD\n");
        assert!(of_members("USER COMMAND\nme 7\n", &[7]).is_err());
    }
}
