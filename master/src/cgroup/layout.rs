// SPDX-License-Identifier: Apache-2.0
//! Where the host has its cgroup hierarchies and where in them this process is.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use nix::sys::statvfs::FsFlags;
use nix::unistd::{AccessFlags, access};
use outrigger_protocol::cgroup::CgroupVersion;

const USUAL_PLACE: &str = "/sys/fs/cgroup";

/// A hierarchy that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Its version.
    pub(crate) version: CgroupVersion,
    /// As /proc/self/cgroup names it: `cpu,cpuacct`, `name=systemd`; empty for version 2.
    pub(crate) name: String,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// This process' cgroup below that, as an absolute path.
    pub(crate) own: PathBuf,
    /// Whether cgroups can be made in it: for root that it is not read-only, for others that the
    /// own cgroup is delegated to them.
    pub(crate) writable: bool,
    /// How many leading components of the container's path exist, where that was looked up.
    pub(crate) existing: u16,
    /// The controllers that version 2 can hand down here, where that was looked up.
    pub(crate) available: Vec<String>,
}

impl Hierarchy {
    /// The directory's name where hierarchies lie beside each other.
    pub(crate) fn directory_name(&self) -> &str {
        self.name.strip_prefix("name=").unwrap_or(&self.name)
    }

    /// Whether it has a version 1 controller.
    pub(crate) fn controls(&self, controller: &str) -> bool {
        self.version == CgroupVersion::V1 && self.name.split(',').any(|c| c == controller)
    }

    /// Whether it has a controller of version 2 for the cgroups made here.
    pub(crate) fn hands_down(&self, controller: &str) -> bool {
        self.version == CgroupVersion::V2 && self.available.iter().any(|c| c == controller)
    }

    /// Looks up the controllers of version 2: for root those of the whole hierarchy, for others those
    /// that were delegated with the own cgroup.
    pub(crate) fn probe_controllers(&mut self, privileged: bool) {
        if self.version == CgroupVersion::V1 {
            return;
        }
        let own = self.own.strip_prefix("/").unwrap_or(&self.own);
        let place = if privileged { self.mount.clone() } else { self.mount.join(own) };
        let words = std::fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default();
        self.available = words.split_ascii_whitespace().map(str::to_owned).collect();
    }

    /// The leading components of `path` that are cgroups now.
    pub(crate) fn count_existing(&self, path: &Path) -> u16 {
        let mut place = self.mount.clone();
        let existing = path.components().take_while(|component| {
            place.push(component);
            place.is_dir()
        });
        u16::try_from(existing.count()).unwrap_or(u16::MAX)
    }
}

/// Reads the host's layout.
///
/// # Errors
/// /proc/self/cgroup or, where the layout is not the usual one, /proc/self/mountinfo cannot be read.
pub(crate) fn read(privileged: bool) -> io::Result<Vec<Hierarchy>> {
    let text = match std::fs::read("/proc/self/cgroup") {
        Ok(text) => text,
        // A kernel without cgroups.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let memberships: Vec<_> = memberships(&text).collect();
    let has_v1 = memberships.iter().any(|m| m.version() == CgroupVersion::V1);
    let mut found = Vec::with_capacity(memberships.len());
    let mut mount_table = None;
    for membership in &memberships {
        let usual = membership
            .usual_places(has_v1)
            .find_map(|mount| membership.at(mount, membership.own.to_owned(), privileged));
        if usual.is_some() {
            found.extend(usual);
            continue;
        }
        if mount_table.is_none() {
            mount_table = Some(std::fs::read("/proc/self/mountinfo")?);
        }
        let mounts = mounts(mount_table.as_deref().unwrap_or_default());
        found.extend(mounts.filter(|m| m.shows(membership)).find_map(|m| {
            let own = Path::new("/").join(membership.own.strip_prefix(&m.root).ok()?);
            membership.at(m.point, own, privileged)
        }));
    }
    Ok(found)
}

/// A line of /proc/self/cgroup.
#[derive(Debug, PartialEq, Eq)]
struct Membership<'a> {
    name: &'a str,
    own: &'a Path,
}

fn memberships(text: &[u8]) -> impl Iterator<Item = Membership<'_>> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.splitn(3, |b| *b == b':').skip(1);
        let name = std::str::from_utf8(fields.next()?).ok()?;
        let own = Path::new(OsStr::from_bytes(fields.next()?));
        // Outside the cgroup namespace's root there is nothing that could be named.
        let is_inside = own.has_root() && !own.components().any(|c| c == Component::ParentDir);
        is_inside.then_some(Membership { name, own })
    })
}

impl Membership<'_> {
    fn version(&self) -> CgroupVersion {
        if self.name.is_empty() { CgroupVersion::V2 } else { CgroupVersion::V1 }
    }

    /// Where hosts usually mount it. Some mount `cpuacct,cpu` on `cpu,cpuacct` and link each
    /// controller's name to that.
    fn usual_places(&self, has_v1: bool) -> impl Iterator<Item = PathBuf> {
        let (first, second) = match self.version() {
            CgroupVersion::V2 if has_v1 => ("unified", ""),
            CgroupVersion::V2 => ("", "unified"),
            CgroupVersion::V1 => {
                let name = self.name.strip_prefix("name=").unwrap_or(self.name);
                (name, name.split(',').next().unwrap_or_default())
            }
        };
        let places = [Some(first), Some(second).filter(|s| *s != first)];
        places.into_iter().flatten().map(|name| Path::new(USUAL_PLACE).join(name))
    }

    /// The hierarchy, if it is the one mounted there.
    fn at(&self, mount: PathBuf, own: PathBuf, privileged: bool) -> Option<Hierarchy> {
        let version = self.version();
        let here = mount.join(own.strip_prefix("/").unwrap_or(&own));
        let facts = statfs(&here).ok()?;
        let magic = match version {
            CgroupVersion::V1 => CGROUP_SUPER_MAGIC,
            CgroupVersion::V2 => CGROUP2_SUPER_MAGIC,
        };
        if facts.filesystem_type() != magic {
            return None;
        }
        let writable = if privileged {
            !facts.flags().contains(FsFlags::ST_RDONLY)
        } else {
            version == CgroupVersion::V2 && is_delegated(&here)
        };
        Some(Hierarchy {
            version,
            name: self.name.to_owned(),
            mount,
            own,
            writable,
            existing: 0,
            available: Vec::new(),
        })
    }
}

/// Delegation of version 1 hierarchies is not safe, so it is not looked for there.
fn is_delegated(cgroup: &Path) -> bool {
    let writable = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    writable(cgroup) && writable(&cgroup.join("cgroup.procs"))
}

/// A cgroup mount in /proc/self/mountinfo.
#[derive(Debug, PartialEq, Eq)]
struct CgroupMount<'a> {
    root: PathBuf,
    point: PathBuf,
    version: CgroupVersion,
    options: &'a str,
}

fn mounts(text: &[u8]) -> impl Iterator<Item = CgroupMount<'_>> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.split(|b| *b == b' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let version = match fields.next()? {
            b"cgroup" => CgroupVersion::V1,
            b"cgroup2" => CgroupVersion::V2,
            _ => return None,
        };
        let options = std::str::from_utf8(fields.nth(1)?).ok()?;
        Some(CgroupMount { root, point, version, options })
    })
}

impl CgroupMount<'_> {
    fn shows(&self, membership: &Membership<'_>) -> bool {
        let has = |name: &str| self.options.split(',').any(|option| option == name);
        self.version == membership.version()
            && (self.version == CgroupVersion::V2 || membership.name.split(',').all(has))
    }
}

/// The kernel writes blanks and backslashes of a path as octal numbers.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let number = tail.get(..3).filter(|_| byte == b'\\');
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        match number.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(String, String)> {
        memberships(text.as_bytes())
            .map(|m| (m.name.to_owned(), m.own.display().to_string()))
            .collect()
    }

    #[test]
    fn memberships_are_read() {
        let text = "4:memory:/a:b\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/y\n";
        let expected =
            [("memory", "/a:b"), ("cpu,cpuacct", "/"), ("name=systemd", "/x"), ("", "/y")];
        let expected = expected.map(|(n, o)| (n.to_owned(), o.to_owned()));
        assert_eq!(lines(text), expected);
        assert_eq!(lines("0::/../outside\n5:pids\n\n"), []);
    }

    #[test]
    fn usual_places_are_tried_in_order() {
        let places = |name, has_v1| {
            let membership = Membership { name, own: Path::new("/") };
            membership
                .usual_places(has_v1)
                .map(|p| p.strip_prefix(USUAL_PLACE).unwrap().display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(places("cpuacct,cpu", true), ["cpuacct,cpu", "cpuacct"]);
        assert_eq!(places("memory", true), ["memory"]);
        assert_eq!(places("name=systemd", true), ["systemd"]);
        assert_eq!(places("", true), ["unified", ""]);
        assert_eq!(places("", false), ["", "unified"]);
    }

    #[test]
    fn mount_table_gives_unusual_places() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                    33 31 0:30 /docker/7 /my\\040cg/cpu rw,relatime shared:9 - cgroup cgroup rw,cpuacct,cpu\n\
                    41 31 0:38 / /cg2 rw - cgroup2 none rw,nsdelegate\n";
        let found: Vec<_> = mounts(text.as_bytes()).collect();
        assert_eq!(found.len(), 2);
        let cpu = &found[0];
        assert_eq!((&*cpu.root, &*cpu.point), (Path::new("/docker/7"), Path::new("/my cg/cpu")));
        let membership = |name| Membership { name, own: Path::new("/docker/7") };
        assert!(cpu.shows(&membership("cpu,cpuacct")));
        assert!(!cpu.shows(&membership("memory")) && !cpu.shows(&membership("")));
        assert!(found[1].shows(&membership("")) && !found[1].shows(&membership("cpu")));
    }

    #[test]
    fn escapes_of_the_kernel_are_undone() {
        assert_eq!(unescape(b"/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(unescape(b"/a\\"), Path::new("/a\\"));
        assert_eq!(unescape(b"/a\\9"), Path::new("/a\\9"));
    }

    #[test]
    fn existing_components_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/file"), "").unwrap();
        let hierarchy = Hierarchy {
            version: CgroupVersion::V2,
            name: String::new(),
            mount: dir.path().to_owned(),
            own: PathBuf::from("/"),
            writable: true,
            existing: 0,
            available: Vec::new(),
        };
        for (path, expected) in [("a/b/c/d", 2), ("x/a", 0), ("a/file", 1), ("a/b", 2)] {
            assert_eq!(hierarchy.count_existing(Path::new(path)), expected, "{path}");
        }
    }
}
