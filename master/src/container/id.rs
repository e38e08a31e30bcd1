// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Most bytes of an id: it names a directory.
const MAX: usize = 255;

/// The name of a container, safe as the name of a directory and as an argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ContainerId(String);

impl ContainerId {
    /// Checks and takes an id.
    pub(crate) fn parse(id: &str) -> Result<Self> {
        let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
        if id.len() > MAX {
            bail!("container id of {} bytes is longer than {MAX}", id.len());
        }
        if id.is_empty()
            || id.starts_with('-')
            || [".", ".."].contains(&id)
            || !id.bytes().all(in_alphabet)
        {
            bail!(
                "container id {id:?} is not valid: it must consist of A-Z a-z 0-9 _ + - . only, not \
                 begin with '-' and not be '.' or '..'"
            );
        }
        Ok(Self(id.to_owned()))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = anyhow::Error;

    fn try_from(id: String) -> Result<Self> {
        Self::parse(&id)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_engines_are_taken() {
        let longest = "x".repeat(255);
        for good in ["a", "0", "a-b_c+d.e", "..a", "a..", "...", "_", "+", ".hidden", &longest] {
            assert_eq!(ContainerId::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn other_ids_are_refused_with_the_alphabet() {
        for bad in [
            "",
            ".",
            "..",
            "-",
            "-a",
            "--root",
            "a/b",
            "/",
            "../x",
            "a b",
            "con\n",
            "\u{1b}[2J",
            "ä",
            "a\0",
        ] {
            let error = ContainerId::parse(bad).unwrap_err().to_string();
            assert!(error.contains("A-Z a-z 0-9 _ + - ."), "{error}");
            assert!(error.contains(&format!("{bad:?}")), "{error}");
            assert!(!error.chars().any(char::is_control), "{error}");
        }
    }

    #[test]
    fn length_is_limited() {
        for length in [256, 1025, 1 << 20] {
            let error = ContainerId::parse(&"x".repeat(length)).unwrap_err().to_string();
            assert!(error.contains(&length.to_string()) && error.contains("255"), "{error}");
        }
    }

    #[test]
    fn decoded_id_is_checked_too() {
        assert!(serde_json::from_str::<ContainerId>("\"a\"").is_ok());
        assert!(serde_json::from_str::<ContainerId>("\"../a\"").is_err());
    }
}
