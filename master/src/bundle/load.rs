// SPDX-License-Identifier: Apache-2.0
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Process, Spec};
use serde_json::Value;

use super::{Bundle, fixups, version};
use crate::file::{self, Link};

/// Name of the config in a bundle.
pub(crate) const CONFIG: &str = "config.json";
/// Most bytes of a config. Engines' configs have some 20 KiB.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Loads a bundle's config, or another file in its place.
pub(crate) fn load(dir: &Path, config: Option<&Path>) -> Result<Bundle> {
    let context = || format!("bundle {}", dir.display());
    let path = dir.canonicalize().with_context(context)?;
    if path.to_str().is_none() {
        // The state that callers read is JSON and could not name it.
        bail!("bundle {}: the path is not UTF-8", path.display());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = open(&path, flags, Mode::empty()).with_context(context)?;
    let spec = match config {
        None => file::read(&opened, CONFIG, Link::Follow, LIMIT)
            .and_then(|text| parse(&text))
            .map_err(|e| anyhow!("{CONFIG}: {e:#} (bundle {})", path.display()))?,
        Some(file) => read_outside(file)
            .and_then(|text| parse(&text))
            .map_err(|e| anyhow!("--config {}: {e:#}", file.display()))?,
    };
    Ok(Bundle { path, spec })
}

/// Loads a file that holds a `process` alone, as `exec --process` takes it.
pub(crate) fn load_process(path: &Path) -> Result<Process> {
    let load = || {
        let process = parse_json(&read_outside(path)?)?;
        let mut config = serde_json::json!({ "process": process });
        for warning in fixups::apply(&mut config) {
            log::warn!("{}: {warning}", path.display());
        }
        Ok(serde_path_to_error::deserialize(config["process"].take())?)
    };
    load().map_err(|e: anyhow::Error| anyhow!("--process {}: {e:#}", path.display()))
}

/// Reads a file that the command line names.
fn read_outside(path: &Path) -> Result<Vec<u8>> {
    let name = path.to_str().context("the path is not UTF-8")?;
    file::read(AT_FDCWD, name, Link::Follow, LIMIT)
}

fn parse(text: &[u8]) -> Result<Spec> {
    let mut config = parse_json(text)?;
    for warning in fixups::apply(&mut config) {
        log::warn!("{CONFIG}: {warning}");
    }
    let spec: Spec = serde_path_to_error::deserialize(config).map_err(|e| located(text, e))?;
    version::check(spec.version())?;
    check_root(&spec)?;
    Ok(spec)
}

fn parse_json(text: &[u8]) -> Result<Value> {
    if text.is_empty() {
        bail!("is empty");
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        bail!("begins with a byte order mark: save it as UTF-8 without one");
    }
    let value: Value = serde_json::from_slice(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        if error.to_string().starts_with("recursion limit exceeded") {
            anyhow!("is nested more than 127 levels deep at {place}")
        } else {
            anyhow!(error).context("is not JSON")
        }
    })?;
    if !value.is_object() {
        bail!("is not a JSON object");
    }
    Ok(value)
}

type Misfit = serde_path_to_error::Error<serde_json::Error>;

/// Adds the place in the text to an error in the parsed config, if it has the same cause.
fn located(text: &[u8], error: Misfit) -> Misfit {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    match serde_path_to_error::deserialize::<_, Spec>(&mut deserializer) {
        Err(with_place) if with_place.path().to_string() == error.path().to_string() => with_place,
        _ => error,
    }
}

fn check_root(spec: &Spec) -> Result<()> {
    match spec.root() {
        None => bail!("root: is missing"),
        Some(root) if root.path().as_os_str().is_empty() => bail!("root.path: is missing or empty"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant};

    const MINIMAL: &str = r#"{"ociVersion":"1.0.0","root":{"path":"rootfs"}}"#;

    /// The error of a bundle whose config.json holds the text; without the part about the bundle.
    fn error_of(text: impl AsRef<[u8]>) -> String {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONFIG), text).unwrap();
        error_in(dir.path())
    }

    fn error_in(dir: &Path) -> String {
        let error = format!("{:#}", load(dir, None).unwrap_err());
        let bundle = format!(" (bundle {})", dir.canonicalize().unwrap().display());
        error.strip_suffix(&bundle).expect(&error).to_owned()
    }

    #[test]
    fn bundle_path_is_canonical() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("other"), MINIMAL).unwrap();
        symlink("other", real.join(CONFIG)).unwrap();
        symlink(&real, dir.path().join("link")).unwrap();
        let bundle = load(&dir.path().join("link/../link"), None).unwrap();
        assert_eq!(bundle.path, real);
        assert_eq!(bundle.spec.version(), "1.0.0");
    }

    #[test]
    fn missing_bundle_is_named() {
        let error = format!("{:#}", load(Path::new("/nonexistent/b"), None).unwrap_err());
        assert!(error.starts_with("bundle /nonexistent/b: No such file or directory"), "{error}");
    }

    #[test]
    fn bundle_must_be_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert!(format!("{:#}", load(&fifo, None).unwrap_err()).contains("Not a directory"));
    }

    #[test]
    fn config_must_be_a_regular_file_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join(CONFIG);
        assert_eq!(error_in(dir.path()), "config.json: ENOENT: No such file or directory");
        fs::create_dir(&config).unwrap();
        assert_eq!(error_in(dir.path()), "config.json: is not a regular file");
        fs::remove_dir(&config).unwrap();
        let begin = Instant::now();
        nix::unistd::mkfifo(&config, Mode::S_IRWXU).unwrap();
        assert_eq!(error_in(dir.path()), "config.json: is not a regular file");
        assert!(begin.elapsed() < Duration::from_secs(5));
        fs::remove_file(&config).unwrap();
        symlink("/dev/zero", &config).unwrap();
        assert_eq!(error_in(dir.path()), "config.json: is not a regular file");
    }

    #[test]
    fn endless_config_is_refused_unread() {
        let dir = tempfile::tempdir().unwrap();
        let config = fs::File::create(dir.path().join(CONFIG)).unwrap();
        config.set_len(17 << 20).unwrap();
        assert_eq!(error_in(dir.path()), "config.json: is longer than 16777216 bytes");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"ociVersion":"1.0.0","root":{{"path":"r"}},"x":{open}{close}}}"#)
        };
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONFIG), nested(126)).unwrap();
        load(dir.path(), None).unwrap();
        for text in [nested(127), nested(100_000), "[".repeat(100_000)] {
            let error = error_of(&text);
            assert!(
                error.starts_with("config.json: is nested more than 127 levels deep"),
                "{error}"
            );
        }
    }

    #[test]
    fn text_that_is_no_config_is_refused() {
        for (text, says) in [
            (&b""[..], "config.json: is empty"),
            (b"\xef\xbb\xbf{}", "config.json: begins with a byte order mark"),
            (b"   ", "config.json: is not JSON: EOF while parsing"),
            (b"\0\0\0\0", "config.json: is not JSON: expected value at line 1 column 1"),
            (b"\xff\xfe{\0}\0", "config.json: is not JSON"),
            (
                b"{\"ociVersion\": NaN}",
                "config.json: is not JSON: expected value at line 1 column 16",
            ),
            (b"{\"ociVersion\": \"1.0", "config.json: is not JSON: EOF while parsing a string"),
            (b"{\"x\": \"\xff\"}", "config.json: is not JSON: invalid unicode"),
            (b"{} {}", "config.json: is not JSON: trailing characters"),
            (b"{\"x\": 1e999}", "config.json: is not JSON: number out of range"),
            (b"[]", "config.json: is not a JSON object"),
            (b"null", "config.json: is not a JSON object"),
            (b"{}", "config.json: ociVersion: is missing"),
            (br#"{"ociVersion":"9.9.0"}"#, "config.json: ociVersion: \"9.9.0\" is not supported"),
            (br#"{"ociVersion":"1.0.0"}"#, "config.json: root: is missing"),
            (br#"{"ociVersion":"1.0.0","root":{}}"#, "config.json: root.path: is missing or empty"),
            (br#"{"ociVersion":"1.0.0","root":{"path":""}}"#, "config.json: root.path: is missing"),
        ] {
            let error = error_of(text);
            assert!(error.starts_with(says), "{:?}: {error}", text.escape_ascii().to_string());
        }
    }

    #[test]
    fn wrong_field_is_named_with_its_place() {
        for (rest, says) in [
            (
                r#""root":1"#,
                "root: invalid type: integer `1`, expected struct Root at line 1 column 30",
            ),
            (r#""hostname":[]"#, "hostname: invalid type: sequence, expected a string at line 1"),
            (
                r#""process":{"cwd":"/","user":{"uid":"root"}}"#,
                "process.user.uid: invalid type: string \"root\", expected u32 at line 1 column 63",
            ),
            (
                r#""process":{"cwd":"/","user":{"uid":-1}}"#,
                "process.user.uid: invalid value: integer `-1`, expected u32",
            ),
            (r#""process":{"user":{}}"#, "process: missing field `cwd`"),
            (r#""process":{"cwd":"/","user":{},"args":["a",2]}"#, "process.args[1]: invalid type"),
            (r#""linux":{"seccomp":{}}"#, "linux.seccomp: missing field `defaultAction`"),
            (
                r#""linux":{"namespaces":[{"type":"pid"},{"type":"x"}]}"#,
                "linux.namespaces[1].type: unknown variant `x`",
            ),
            // Where a fix-up was needed before the error, the place is not known but the field is.
            (
                r#""process":{"cwd":1,"capabilities":{"bounding":["CAP_FUTURE"]}}"#,
                "process.cwd: invalid type: integer `1`, expected path string",
            ),
        ] {
            let error = error_of(format!(r#"{{"ociVersion":"1.0.0",{rest}}}"#));
            assert!(error.starts_with(&format!("config.json: {says}")), "{rest}: {error}");
        }
    }

    #[test]
    fn fixups_are_applied() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"ociVersion":"1.0.0","root":{"path":"r"},
            "process":{"cwd":"/","capabilities":{"bounding":["CAP_KILL","CAP_FUTURE"]}},
            "linux":{"resources":{"pids":{}}}}"#;
        fs::write(dir.path().join(CONFIG), text).unwrap();
        let spec = load(dir.path(), None).unwrap().spec;
        let process = spec.process().as_ref().unwrap();
        assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
        let bounding = process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap();
        assert_eq!(bounding.len(), 1);
        assert!(spec.linux().as_ref().unwrap().resources().as_ref().unwrap().pids().is_none());
    }

    #[test]
    fn last_of_two_equal_keys_counts() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"ociVersion":"9","ociVersion":"1.0.0","root":{"path":"r"}}"#;
        fs::write(dir.path().join(CONFIG), text).unwrap();
        assert_eq!(load(dir.path(), None).unwrap().spec.version(), "1.0.0");
    }
}
