// SPDX-License-Identifier: Apache-2.0
//! The C library's opinion, where that is installed: see oracle.py.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/tests/oracle.py");

/// The status of the script where there is no library.
const NOT_HERE: i32 = 77;

/// The library's program for each profile; nothing where it refuses the profile, or dies of it.
///
/// # Errors
/// Why the library cannot be asked.
pub(super) fn compile(profiles: &[Value]) -> Result<Vec<Option<Vec<u64>>>, String> {
    let mut child = Command::new("python3")
        .arg(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run python3: {e}"))?;
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = profiles.iter().map(|profile| format!("{profile}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // It may go without reading anything.
    let written = writer.join().unwrap();
    if output.status.code() == Some(NOT_HERE) {
        return Err(errors.trim().to_owned());
    }
    assert!(output.status.success(), "{errors}");
    written.unwrap();
    let answers: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(parse).collect();
    assert_eq!(answers.len(), profiles.len());
    Ok(answers)
}

fn parse(line: &str) -> Option<Vec<u64>> {
    if line.starts_with("error ") || line.starts_with("broken ") {
        return None;
    }
    Some(line.split(' ').map(|word| u64::from_str_radix(word, 16).unwrap()).collect())
}
