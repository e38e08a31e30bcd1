// SPDX-License-Identifier: Apache-2.0
//! A root that is a read-only view of the host's own system: a container without an image.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::config::Mount;

/// Directories of programs; on most systems links into /usr.
const TOP: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What programs need to find libraries, names, certificates and the time. Private keys, which lie next
/// to the certificates, are none of it.
const ETC: [&str; 23] = [
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "crypto-policies",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "passwd",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
];
/// Places to write, with their permissions: new at each start, gone at the end.
const WRITABLE: [(&str, &str); 5] = [
    ("tmp", "mode=1777"),
    ("run", "mode=755"),
    ("var", "mode=755"),
    ("root", "mode=700"),
    ("home", "mode=755"),
];

/// What of the host is seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    host: PathBuf,
    /// Directories and files, relative to the root, with whether each is a directory.
    bound: Vec<(String, bool)>,
    /// Links as the host has them, with their targets.
    links: Vec<(String, PathBuf)>,
}

impl View {
    /// The view of a host whose root is `host`.
    pub(super) fn of(host: &Path) -> Result<Self> {
        let mut view = Self { host: host.to_owned(), bound: Vec::new(), links: Vec::new() };
        view.bind("usr".to_owned());
        for name in TOP {
            match fs::read_link(host.join(name)) {
                Ok(target) => view.links.push((name.to_owned(), target)),
                Err(_) => view.bind(name.to_owned()),
            }
        }
        for name in ETC {
            view.bind(format!("etc/{name}"));
        }
        if !view.bound.iter().any(|(path, is_dir)| path == "usr" && *is_dir) {
            bail!(
                "{}: is no directory, so there is no system to be seen",
                host.join("usr").display()
            );
        }
        Ok(view)
    }

    /// Adds what exists behind the name, links followed.
    fn bind(&mut self, path: String) {
        match fs::metadata(self.host.join(&path)) {
            Ok(m) if m.is_dir() || m.is_file() => self.bound.push((path, m.is_dir())),
            _ => {}
        }
    }

    /// Its mounts, outer ones first.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let options = ["rbind", "rro", "nosuid", "nodev"];
        let bound = self.bound.iter().map(|(path, _)| {
            let source = self.host.join(path).to_string_lossy().into_owned();
            Mount::new(format!("/{path}"), "bind", source, &options)
        });
        let writable = WRITABLE.iter().map(|(path, mode)| {
            Mount::new(format!("/{path}"), "tmpfs", "tmpfs", &["nosuid", "nodev", mode])
        });
        bound.chain(writable).collect()
    }

    /// Makes the root with everything that is mounted on, and the links. What is there of an earlier
    /// time is kept if it is the same.
    pub(super) fn furnish(&self, rootfs: &Path, mounts: &[Mount]) -> Result<()> {
        directory(rootfs)?;
        for (name, target) in &self.links {
            link(&rootfs.join(name), target)?;
        }
        for (path, is_dir) in &self.bound {
            for (slash, _) in path.match_indices('/') {
                directory(&rootfs.join(&path[..slash]))?;
            }
            let path = rootfs.join(path);
            if *is_dir { directory(&path)? } else { file(&path)? }
        }
        for name in mounts.iter().filter_map(|m| m.destination.strip_prefix('/')) {
            // What is deeper was made above, or lies in one of these mounts and not here.
            if !name.contains('/') {
                directory(&rootfs.join(name))?;
            }
        }
        Ok(())
    }
}

fn directory(path: &Path) -> Result<()> {
    make(path, 0o755, |p| fs::create_dir(p), |p| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir()))
}

fn file(path: &Path) -> Result<()> {
    let create = |p: &Path| OpenOptions::new().write(true).create_new(true).open(p).map(drop);
    make(path, 0o644, create, |p| fs::symlink_metadata(p).is_ok_and(|m| m.is_file()))
}

/// Makes something with this mode, whatever the umask, unless it is there already.
fn make(
    path: &Path,
    mode: u32,
    create: impl FnOnce(&Path) -> io::Result<()>,
    is_there: impl FnOnce(&Path) -> bool,
) -> Result<()> {
    match create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if is_there(path) {
                Ok(())
            } else {
                occupied(path)
            }
        }
        created => created
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
            .with_context(|| path.display().to_string()),
    }
}

fn link(path: &Path, target: &Path) -> Result<()> {
    match symlink(target, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_link(path).is_ok_and(|t| t == target) { Ok(()) } else { occupied(path) }
        }
        made => made.with_context(|| path.display().to_string()),
    }
}

fn occupied(path: &Path) -> Result<()> {
    bail!("{} is in the way: remove it, or name another folder with --bundle", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with a merged /usr but a /lib32 of its own.
    fn host() -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        let at = |path: &str| host.path().join(path);
        for dir in ["usr/bin", "lib32", "etc/ssl/certs", "etc/ssl/private"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        for name in ["etc/passwd", "etc/shadow", "usr/zone"] {
            fs::write(at(name), "").unwrap();
        }
        symlink("usr/bin", at("bin")).unwrap();
        symlink(at("usr/zone"), at("etc/localtime")).unwrap();
        symlink("/nonexistent/resolv.conf", at("etc/resolv.conf")).unwrap();
        nix::unistd::mkfifo(&at("etc/hosts"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        host
    }

    #[test]
    fn view_has_what_exists_and_no_more() {
        let host = host();
        let view = View::of(host.path()).unwrap();
        let bound: Vec<_> = view.bound.iter().map(|(path, dir)| (path.as_str(), *dir)).collect();
        let expected = [
            ("usr", true),
            ("lib32", true),
            ("etc/localtime", false),
            ("etc/passwd", false),
            ("etc/ssl/certs", true),
        ];
        assert_eq!(bound, expected);
        assert_eq!(view.links, [("bin".to_owned(), PathBuf::from("usr/bin"))]);
        let mounts = view.mounts();
        assert_eq!(mounts.len(), expected.len() + WRITABLE.len());
        let is_readonly = |m: &Mount| m.r#type == "tmpfs" || m.options.contains(&"rro");
        assert!(mounts.iter().all(is_readonly));
    }

    #[test]
    fn root_is_furnished_twice_alike() {
        let host = host();
        let view = View::of(host.path()).unwrap();
        let bundle = tempfile::tempdir().unwrap();
        let rootfs = bundle.path().join("rootfs");
        let new = |at: &'static str| Mount::new(at, "tmpfs", "tmpfs", &[]);
        let mut mounts = vec![new("/proc"), new("/dev"), new("/dev/pts"), new("/sys")];
        mounts.extend(view.mounts());
        for _ in 0..2 {
            view.furnish(&rootfs, &mounts).unwrap();
            let names = |dir: &Path| {
                let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
                let mut names: Vec<_> = entries.map(|n| n.into_string().unwrap()).collect();
                names.sort();
                names
            };
            let top = [
                "bin", "dev", "etc", "home", "lib32", "proc", "root", "run", "sys", "tmp", "usr",
                "var",
            ];
            assert_eq!(names(&rootfs), top);
            assert_eq!(names(&rootfs.join("etc")), ["localtime", "passwd", "ssl"]);
            assert_eq!(names(&rootfs.join("etc/ssl")), ["certs"]);
            assert!(names(&rootfs.join("dev")).is_empty());
            let localtime = fs::symlink_metadata(rootfs.join("etc/localtime")).unwrap();
            assert!(localtime.is_file() && localtime.permissions().mode() & 0o777 == 0o644);
        }
    }

    #[test]
    fn what_is_in_the_way_is_named_and_kept() {
        let host = host();
        let view = View::of(host.path()).unwrap();
        for (name, victim) in [("etc", "/tmp"), ("bin", "elsewhere"), ("usr", "/usr")] {
            let rootfs = tempfile::tempdir().unwrap();
            symlink(victim, rootfs.path().join(name)).unwrap();
            let error = view.furnish(rootfs.path(), &view.mounts()).unwrap_err().to_string();
            assert!(error.contains(&format!("/{name} is in the way")), "{error}");
            assert_eq!(fs::read_link(rootfs.path().join(name)).unwrap(), Path::new(victim));
        }
    }

    #[test]
    fn host_without_usr_has_no_view() {
        let host = tempfile::tempdir().unwrap();
        assert!(View::of(host.path()).unwrap_err().to_string().contains("/usr: is no directory"));
    }
}
