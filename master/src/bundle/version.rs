// SPDX-License-Identifier: Apache-2.0
//! `ociVersion`

use anyhow::{Result, bail};

/// The version of the runtime specification that is implemented.
pub(crate) const SPEC: &str = "1.3.0";

/// Refuses what is not a version of the specification from 1.0.0 on and before 2.0.0.
pub(crate) fn check(version: &str) -> Result<()> {
    if version.is_empty() {
        bail!("ociVersion: is missing");
    }
    match parse(version) {
        Some(Version { major: 1, is_first_draft: false }) => Ok(()),
        Some(_) => bail!(
            "ociVersion: {version:?} is not supported: this runtime implements {SPEC} and takes \
             1.0.0 and later versions below 2.0.0"
        ),
        None => bail!("ociVersion: {version:?} is not a version number such as {SPEC}"),
    }
}

/// The part of a version that matters here.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    major: u64,
    /// Whether it comes before the major version's first release, as 1.0.0-rc1 does.
    is_first_draft: bool,
}

/// Reads a semantic version (semver.org, 2.0.0).
fn parse(version: &str) -> Option<Version> {
    let (version, build) = split(version, '+');
    let (core, draft) = split(version, '-');
    if !build.is_none_or(|b| b.split('.').all(is_word)) {
        return None;
    }
    if !draft.is_none_or(|d| d.split('.').all(|w| is_word(w) && !has_leading_zero(w))) {
        return None;
    }
    let mut numbers = core.split('.').map(number);
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() {
        return None;
    }
    Some(Version { major, is_first_draft: draft.is_some() && minor == 0 && patch == 0 })
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit()) && !has_leading_zero(text);
    is_number.then(|| text.parse().ok())?
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether it is a number with a zero too many.
fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_first_major_are_taken() {
        for good in [
            "1.0.0",
            "1.0.1",
            "1.0.2-dev",
            "1.1.0",
            "1.2.0+dev",
            "1.3.0",
            "1.3.1-rc.1+a.b-c",
            "1.99.99",
            "1.0.1-0a",
            "1.0.0+01",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn other_versions_are_not_supported() {
        for bad in ["0.9.9", "1.0.0-rc5", "2.0.0", "2.0.0-alpha", "9.9.0", "0.0.0"] {
            let error = check(bad).unwrap_err().to_string();
            assert!(error.contains("is not supported") && error.contains("1.3.0"), "{error}");
        }
    }

    #[test]
    fn what_is_no_version_is_said_so() {
        for bad in [
            "rubbish",
            "1",
            "1.0",
            "1.0.0.0",
            "v1.0.0",
            "01.0.0",
            "1.0.00",
            "1.0.0-",
            "1.0.0+",
            "1.0.0-01",
            "1.0.0-a..b",
            "1.0.0-ä",
            " 1.0.0",
            "1.0.0\n",
            "1.-1.0",
            "1.0.99999999999999999999",
        ] {
            let error = check(bad).unwrap_err().to_string();
            assert!(error.contains("is not a version number"), "{bad}: {error}");
        }
        assert!(check("").unwrap_err().to_string().contains("is missing"));
    }
}
