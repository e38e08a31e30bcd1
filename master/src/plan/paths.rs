// SPDX-License-Identifier: Apache-2.0
//! Paths of the config as the protocol takes them.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use outrigger_protocol::path::{ContainerPath, HostPath, Invalid};

/// A path below `/` with nothing to resolve in it: `..` goes up one component, at most to the root.
/// Relative paths are taken from `/`.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len().saturating_add(1));
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let parent = out.iter().rposition(|b| *b == b'/').unwrap_or(0);
                out.truncate(parent);
            }
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// A path in the container. The container's root is as far up as `..` leads.
pub(super) fn container(path: &Path) -> Result<ContainerPath, Invalid> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() { Err(Invalid::Empty) } else { ContainerPath::new(clean(bytes)) }
}

/// A path in the container that the config must give as an absolute one.
pub(super) fn absolute(path: &Path) -> Result<ContainerPath, Invalid> {
    if path.has_root() || path.as_os_str().is_empty() {
        container(path)
    } else {
        Err(Invalid::Relative)
    }
}

/// A path on the host, relative ones taken from the bundle. Symbolic links and `..` in it are left
/// to the kernel.
pub(super) fn host(bundle: &Path, path: &Path) -> Result<HostPath, Invalid> {
    if path.as_os_str().is_empty() {
        return Err(Invalid::Empty);
    }
    HostPath::new(bundle.join(path).into_os_string().into_vec())
}

/// As [`host`], with `.` and `..` taken out of it.
pub(super) fn clean_host(bundle: &Path, path: &Path) -> Result<HostPath, Invalid> {
    let joined = host(bundle, path)?;
    HostPath::new(clean(joined.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_path_is_cleaned_within_the_root() {
        for (given, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("a", "/a"),
            ("//a/./b/", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("a/../..", "/"),
            ("/..a/b..", "/..a/b.."),
        ] {
            let path = container(Path::new(given)).unwrap();
            assert_eq!(path.as_path(), Path::new(expected), "{given}");
        }
        assert_eq!(container(Path::new("")), Err(Invalid::Empty));
        assert_eq!(absolute(Path::new("")), Err(Invalid::Empty));
        assert_eq!(absolute(Path::new("a/b")), Err(Invalid::Relative));
        assert!(absolute(Path::new("/a/../b")).is_ok());
    }

    #[test]
    fn host_path_is_taken_from_the_bundle() {
        let bundle = Path::new("/bundle");
        let path = |p| host(bundle, Path::new(p)).unwrap().as_path().to_owned();
        assert_eq!(path("data"), Path::new("/bundle/data"));
        assert_eq!(path("/data"), Path::new("/data"));
        assert_eq!(path("../data"), Path::new("/bundle/../data"));
        assert_eq!(clean_host(bundle, Path::new("../r")).unwrap().as_path(), Path::new("/r"));
        assert_eq!(host(bundle, Path::new("")), Err(Invalid::Empty));
        assert_eq!(host(Path::new("relative"), Path::new("x")), Err(Invalid::Relative));
    }
}
