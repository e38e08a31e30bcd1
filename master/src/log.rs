// SPDX-License-Identifier: Apache-2.0
//! The log, with runc's keys `level`, `msg` and `time`, which engines read the cause of a failure from.
//!
//! The environment has no say in it: `RUST_LOG` is not read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use ::log::{Level, LevelFilter, Record};
use anyhow::{Context, Result};
use env_logger::{Builder, Target};
use libc::O_NONBLOCK;

use crate::cli::{Global, LogFormat};

/// Most bytes of a message. Text of a config can find its way into one.
const MAX_MESSAGE: usize = 16 * 1024;

/// Sets the log up as the global options say.
pub(crate) fn init(global: &Global) -> Result<()> {
    let mut builder = Builder::new();
    builder.filter_level(if global.debug { LevelFilter::Debug } else { LevelFilter::Info });
    let format = global.log_format;
    builder.format(move |out, record| writeln!(out, "{}", line(format, record, SystemTime::now())));
    if let Some(path) = &global.log {
        let file = open(path).with_context(|| format!("log file {}", path.display()))?;
        builder.target(Target::Pipe(Box::new(file)));
    }
    builder.try_init().context("set up the log")
}

/// Opens the log for appending. A reader of a pipe who does not read must not stop us.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(O_NONBLOCK).open(path)
}

/// Tells why the program fails: on stderr, and in the log file if there is one.
pub(crate) fn report(error: &anyhow::Error, global: &Global) {
    let message = format!("{error:#}");
    if global.log.is_some() {
        ::log::error!("{message}");
    }
    // With stderr gone nobody is left to be told.
    let _ = writeln!(io::stderr(), "outrigger: {}", one_line(&message));
}

/// The text on one line that shows every control character and is not endless.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_MESSAGE));
    for c in text.chars() {
        if line.len() > MAX_MESSAGE {
            line.push('…');
            break;
        }
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

fn line(format: LogFormat, record: &Record<'_>, now: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(now);
    let level = level_name(record.level());
    let message = record.args().to_string();
    match format {
        LogFormat::Text => {
            let quoted = one_line(&message.replace('\\', "\\\\").replace('"', "\\\""));
            format!("time=\"{time}\" level={level} msg=\"{quoted}\"")
        }
        LogFormat::Json => {
            let message = serde_json::Value::String(one_line(&message));
            format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}")
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn at_epoch(format: LogFormat, level: Level, message: &str) -> String {
        line(
            format,
            &Record::builder().level(level).args(format_args!("{message}")).build(),
            UNIX_EPOCH,
        )
    }

    #[test]
    fn json_line_has_the_keys_that_engines_read() {
        let line = at_epoch(LogFormat::Json, Level::Error, "a \"b\"\n\\ \u{1b}[31m é");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "level": "error",
            "msg": "a \"b\"\\n\\ \\u{1b}[31m é",
            "time": "1970-01-01T00:00:00Z",
        });
        assert_eq!(value, expected);
        assert!(!line.contains('\n'));
    }

    #[test]
    fn text_line_is_quoted() {
        assert_eq!(
            at_epoch(LogFormat::Text, Level::Warn, "a \"b\"\n\\"),
            r#"time="1970-01-01T00:00:00Z" level=warning msg="a \"b\"\n\\""#
        );
    }

    #[test]
    fn line_shows_control_characters_and_ends() {
        assert_eq!(one_line("a\u{1b}[2J\r\u{9b}\0é"), "a\\u{1b}[2J\\r\\u{9b}\\u{0}é");
        assert!(one_line(&"x".repeat(1 << 20)).len() < MAX_MESSAGE + 8);
    }

    #[test]
    fn log_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for word in ["one", "two"] {
            writeln!(open(&path).unwrap(), "{word}").unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn pipe_without_a_reader_is_an_error_and_no_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open(&path).unwrap_err().raw_os_error(), Some(libc::ENXIO));
    }
}
