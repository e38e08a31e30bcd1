// SPDX-License-Identifier: Apache-2.0
//! Which cgroups a container gets, and which devices its processes may use.

mod bpf;
mod devices;
mod exceptions;
pub(crate) mod freezer;
pub(crate) mod layout;
pub(crate) mod resources;
pub(crate) mod statistics;

use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Linux;
use outrigger_protocol::cgroup::{Cgroup, CgroupVersion, Cgroups, CreateCgroup, Devices};
use outrigger_protocol::limits::Setting;
use outrigger_protocol::path::{HostPath, RelativePath};

use crate::host::Host;
use crate::plan::Problems;
pub(crate) use exceptions::Shown as ShownRule;
use layout::Hierarchy;
use resources::Controllers;

/// The cgroup that holds those of containers whose config names none; removed when it is empty.
const PARENT: &str = "outrigger";

/// Where the config wants the container's cgroup in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// It does not say.
    Default,
    /// From the root of the hierarchy, without the leading slash.
    Absolute(PathBuf),
    /// From the caller's own cgroup.
    Relative(PathBuf),
}

impl Place {
    /// Reads `linux.cgroupsPath`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn from_spec(linux: Option<&Linux>) -> Result<Self, String> {
        let path = match linux.and_then(|l| l.cgroups_path().as_ref()) {
            Some(path) if !path.as_os_str().is_empty() => path,
            _ => return Ok(Self::Default),
        };
        if path.components().any(|c| c == Component::ParentDir) {
            return Err("has a component `..`; give the path itself".into());
        }
        if !path.has_root() && path.to_string_lossy().matches(':').count() == 2 {
            return Err(
                "has the form of systemd (slice:prefix:name), which is not supported yet; \
                        give a path"
                    .into(),
            );
        }
        let components: PathBuf =
            path.components().filter(|c| matches!(c, Component::Normal(_))).collect();
        if components.as_os_str().is_empty() {
            return Err("is the root of all cgroups; name one below it".into());
        }
        Ok(if path.has_root() { Self::Absolute(components) } else { Self::Relative(components) })
    }

    /// The container's cgroup below the hierarchy's mount point. Without privilege only a place below
    /// the own cgroup can be had.
    pub(crate) fn path(
        &self,
        hierarchy: &Hierarchy,
        id: &str,
        privileged: bool,
    ) -> Option<PathBuf> {
        let own = hierarchy.own.strip_prefix("/").unwrap_or(&hierarchy.own);
        match self {
            Self::Default if privileged => Some(Path::new(PARENT).join(id)),
            Self::Default => Some(own.join(PARENT).join(id)),
            Self::Relative(path) => Some(own.join(path)),
            Self::Absolute(path) if privileged || path.starts_with(own) => Some(path.clone()),
            Self::Absolute(_) => None,
        }
    }
}

/// Plans the container's cgroups. Where none can be made that is fine, unless the config asks for limits:
/// [`limits`] refuses those.
pub(crate) fn plan(
    linux: Option<&Linux>,
    host: &Host,
    id: &str,
    problems: &mut Problems,
) -> Option<CreateCgroup> {
    let place = Place::from_spec(linux);
    let place = problems.check(format_args!("linux.cgroupsPath"), place)?;
    let privileged = host.is_privileged();
    let mut groups = Vec::new();
    for hierarchy in host.cgroups.iter().filter(|h| h.writable) {
        let Some(path) = place.path(hierarchy, id, privileged) else { continue };
        let kept = match place {
            Place::Default if privileged => 0,
            Place::Default => {
                let own = hierarchy.own.components().filter(|c| matches!(c, Component::Normal(_)));
                u16::try_from(own.count()).unwrap_or(u16::MAX)
            }
            _ => hierarchy.existing,
        };
        let path = RelativePath::new(path.into_os_string().into_vec());
        let mount = HostPath::new(hierarchy.mount.clone().into_os_string().into_vec());
        let path = problems.check(format_args!("linux.cgroupsPath"), path);
        let mount = problems.check(format_args!("{}", hierarchy.mount.display()), mount);
        groups.push(Cgroup { version: hierarchy.version, mount: mount?, path: path?, kept });
    }
    if groups.is_empty() {
        return None;
    }
    let devices = if privileged { devices(linux, host, problems) } else { None };
    let groups = Cgroups::try_from(groups);
    let groups = problems.check(format_args!("linux.cgroupsPath"), groups)?;
    Some(CreateCgroup { groups, devices })
}

/// Plans what is written to them.
pub(crate) fn limits(
    linux: Option<&Linux>,
    host: &Host,
    cgroup: Option<&CreateCgroup>,
    problems: &mut Problems,
) -> Vec<Setting> {
    let Some(resources) = linux.and_then(|l| l.resources().as_ref()) else { return Vec::new() };
    let none = Cgroups::default();
    let groups = cgroup.map_or(&none, |c| &c.groups);
    resources::plan(resources, &Controllers::of(groups, &host.cgroups), problems)
}

/// How the devices are restricted: by the version 1 controller if there is one, else by a program.
fn devices(linux: Option<&Linux>, host: &Host, problems: &mut Problems) -> Option<Devices> {
    let listed = linux
        .and_then(|l| l.resources().as_ref())
        .and_then(|r| r.devices().as_deref())
        .unwrap_or_default();
    let writable = || host.cgroups.iter().filter(|h| h.writable);
    let controller = writable()
        .find(|h| h.controls("devices"))
        .or_else(|| writable().find(|h| h.version == CgroupVersion::V2))?;
    devices::restrict(controller.version, listed, problems)
}

/// The directory of the container's cgroup in a hierarchy: the one that is made, else the caller's own.
pub(crate) fn directory(hierarchy: &Hierarchy, cgroup: Option<&CreateCgroup>) -> Vec<u8> {
    let made = cgroup.into_iter().flat_map(|c| c.groups.iter());
    let path = made
        .filter(|g| g.mount.as_path() == hierarchy.mount)
        .map(|g| g.path.as_path())
        .next()
        .unwrap_or_else(|| hierarchy.own.strip_prefix("/").unwrap_or(&hierarchy.own));
    hierarchy.mount.join(path).into_os_string().into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Result<Place, String> {
        let linux = serde_json::from_value(serde_json::json!({ "cgroupsPath": path })).unwrap();
        Place::from_spec(Some(&linux))
    }

    fn hierarchy(own: &str) -> Hierarchy {
        Hierarchy {
            version: CgroupVersion::V2,
            name: String::new(),
            mount: "/sys/fs/cgroup".into(),
            own: own.into(),
            writable: true,
            existing: 0,
            available: Vec::new(),
        }
    }

    #[test]
    fn path_of_the_config_is_followed_to_the_letter() {
        let root = hierarchy("/user/me");
        for (path, expected) in [
            ("/a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("a", "user/me/a"),
            ("", "outrigger/x"),
            ("/x:y", "x:y"),
        ] {
            let path = place(path).unwrap().path(&root, "x", true).unwrap();
            assert_eq!(path, Path::new(expected));
        }
    }

    #[test]
    fn without_privilege_only_what_is_below_the_own_cgroup_is_used() {
        let delegated = hierarchy("/user/me");
        let path = |p| place(p).unwrap().path(&delegated, "x", false);
        assert_eq!(path("/user/me/a"), Some("user/me/a".into()));
        assert_eq!(path("/user/other"), None);
        assert_eq!(path(""), Some("user/me/outrigger/x".into()));
        assert_eq!(path("a"), Some("user/me/a".into()));
    }

    #[test]
    fn path_that_leads_elsewhere_is_refused() {
        for path in ["/../a", "a/../b", "..", "/", "system.slice:runc:x"] {
            assert!(place(path).is_err(), "{path}");
        }
    }
}
