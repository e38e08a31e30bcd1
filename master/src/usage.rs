// SPDX-License-Identifier: Apache-2.0
//! From the arguments to [`Cli`], or to what is printed in place of running a command.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::cli::Cli;
use crate::{bundle, log};

/// A text that ends the program before a command ran.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Early {
    /// Help or version, asked for.
    Answer(String),
    /// What is wrong with the arguments.
    Mistake(String),
}

impl Early {
    /// Prints it. A reader who has gone away is none of our business.
    pub(crate) fn print(&self) -> ExitCode {
        match self {
            Self::Answer(text) => {
                let _ = io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Self::Mistake(text) => {
                let _ = io::stderr().write_all(text.as_bytes());
                ExitCode::FAILURE
            }
        }
    }
}

/// Parses the arguments, of which the first is the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Early> {
    let args = join_rootless(args);
    Cli::try_parse_from(&args).map_err(|error| match error.kind() {
        ErrorKind::DisplayVersion => Early::Answer(version()),
        ErrorKind::DisplayHelp => Early::Answer(error.render().to_string()),
        _ => Early::Mistake(format!("{}\n{}\n", mistake(&error), usage(&error, &args))),
    })
}

/// Makes `--rootless BOOL` `--rootless=BOOL`. Since the value may be left out, clap could not tell it
/// from a subcommand.
fn join_rootless(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for arg in args {
        let is_value = ["true", "false", "auto"].iter().any(|v| arg == *v);
        match joined.last_mut() {
            Some(last) if last == "--rootless" && is_value => {
                last.push("=");
                last.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

/// In the three lines that engines look for.
fn version() -> String {
    format!(
        "outrigger version {}\nspec: {}\ncommit: {}\n",
        env!("CARGO_PKG_VERSION"),
        bundle::version::SPEC,
        option_env!("OUTRIGGER_COMMIT").unwrap_or("unknown"),
    )
}

/// The first paragraph of clap's message as one line.
fn mistake(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().skip_while(|w| *w == "error:").collect();
    format!("outrigger: {}", log::one_line(&words.join(" ")))
}

fn usage(error: &clap::Error, args: &[OsString]) -> String {
    if let Some(usage) = error.get(ContextKind::Usage) {
        return usage.to_string();
    }
    let mut command = Cli::command();
    command.build();
    let asked = args.iter().find(|arg| command.find_subcommand(arg).is_some());
    match asked.and_then(|name| command.find_subcommand_mut(name)) {
        Some(subcommand) => subcommand.render_usage().to_string(),
        None => command.render_usage().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, Rootless};

    fn parse_line(line: &str) -> Result<Cli, Early> {
        parse(std::iter::once("outrigger").chain(line.split(' ')).map(OsString::from))
    }

    fn mistake_of(line: &str) -> String {
        match parse_line(line) {
            Err(Early::Mistake(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_after_the_id() {
        for line in
            ["run -d --keep -b /b --pid-file p i", "run i -d --keep --bundle=/b --pid-file p"]
        {
            let Command::Run(args) = parse_line(line).unwrap().command else { panic!("{line}") };
            assert!(args.detach && args.keep, "{line}");
            assert_eq!(args.launch.id, "i");
            assert_eq!(args.launch.bundle.to_str(), Some("/b"));
            assert_eq!(args.launch.pid_file.unwrap().to_str(), Some("p"));
        }
        for line in ["kill -a i KILL", "kill i --all KILL", "kill i KILL -a"] {
            let Command::Kill(args) = parse_line(line).unwrap().command else { panic!("{line}") };
            assert!(args.all && args.id == "i" && args.signal == "KILL", "{line}");
        }
        for line in ["delete --force i", "delete i -f"] {
            let Command::Delete(args) = parse_line(line).unwrap().command else { panic!("{line}") };
            assert!(args.force && args.id == "i", "{line}");
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let Command::Create(args) = parse_line("create i").unwrap().command else { panic!() };
        assert_eq!((args.launch.bundle.to_str(), args.launch.preserve_fds), (Some("."), 0));
        let Command::Kill(args) = parse_line("kill i").unwrap().command else { panic!() };
        assert_eq!(args.signal, "SIGTERM");
        let Command::Plan(args) = parse_line("plan").unwrap().command else { panic!() };
        assert_eq!(args.id, "plan");
    }

    #[test]
    fn rootless_takes_its_value_in_any_form() {
        for (line, value) in [
            ("--rootless state i", Rootless::True),
            ("--rootless true state i", Rootless::True),
            ("--rootless=false --root list state i", Rootless::False),
            ("--rootless auto state i", Rootless::Auto),
        ] {
            let cli = parse_line(line).unwrap();
            assert_eq!(cli.global.rootless, Some(value), "{line}");
            assert!(matches!(cli.command, Command::State(_)), "{line}");
        }
    }

    #[test]
    fn mistake_is_one_line_and_the_usage() {
        for (line, says, usage) in [
            ("nope", "unrecognized subcommand 'nope'", "outrigger [OPTIONS] <COMMAND>"),
            ("state", "required arguments were not provided: <ID>", "outrigger state <ID>"),
            ("state a b", "unexpected argument 'b'", "outrigger state <ID>"),
            ("state -x", "unexpected argument '-x'", "outrigger state <ID>"),
            ("create i --preserve-fds x", "invalid value 'x'", "outrigger create [OPTIONS] <ID>"),
            ("--log-format yaml list", "invalid value 'yaml'", "outrigger"),
            ("--root", "a value is required", "outrigger"),
            ("no\u{1b}[2J\n", "'no\\u{1b}[2J", "outrigger [OPTIONS] <COMMAND>"),
        ] {
            let text = mistake_of(line);
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() == 2 && text.ends_with('\n'), "{line}: {text}");
            assert!(lines[0].starts_with("outrigger: ") && lines[0].contains(says), "{text}");
            assert!(lines[1].starts_with(&format!("Usage: {usage}")), "{text}");
        }
    }

    #[test]
    fn bare_program_names_its_subcommands() {
        let Err(Early::Mistake(text)) = parse([OsString::from("outrigger")]) else { panic!() };
        assert!(text.contains("create, run, start"), "{text}");
    }

    #[test]
    fn version_is_what_engines_parse() {
        for flag in ["-v", "--version"] {
            let Err(Early::Answer(text)) = parse_line(flag) else { panic!("{flag}") };
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 3);
            assert!(lines[0].starts_with("outrigger version 0."), "{text}");
            assert_eq!(lines[1], "spec: 1.3.0");
            assert!(lines[2].starts_with("commit: "), "{text}");
        }
    }
}
