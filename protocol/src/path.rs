// SPDX-License-Identifier: Apache-2.0
//! Strings that are checked when they are made, on either end: paths, names, link targets.
//!
//! They hold bytes, as the kernel does. In human-readable output (a plan printed as JSON) bytes that
//! are not UTF-8 are shown as replacement characters.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most bytes of a path, without the closing NUL (`PATH_MAX` - 1).
pub const MAX_PATH: usize = 4095;
/// Most bytes of one component of a path (`NAME_MAX`).
pub const MAX_NAME: usize = 255;

/// Why a string is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// It is empty.
    Empty,
    /// It has a NUL byte.
    Nul,
    /// It is longer than allowed.
    TooLong,
    /// A path that must start with `/` does not.
    Relative,
    /// A path that must not start with `/` does.
    Absolute,
    /// A component is `.` or `..`.
    Dots,
    /// A component is empty (`//`, or a `/` at the end).
    EmptyComponent,
    /// A name has a `/`.
    Slash,
    /// A byte that the name's alphabet does not have.
    Character,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::Nul => "has a NUL byte",
            Self::TooLong => "is too long",
            Self::Relative => "is not an absolute path",
            Self::Absolute => "is not a relative path",
            Self::Dots => "has a component `.` or `..`",
            Self::EmptyComponent => "has an empty component",
            Self::Slash => "has a `/`",
            Self::Character => "has a character that is not allowed there",
        })
    }
}

impl std::error::Error for Invalid {}

fn bounded(bytes: &[u8], max: usize) -> Result<(), Invalid> {
    if bytes.is_empty() {
        Err(Invalid::Empty)
    } else if bytes.len() > max {
        Err(Invalid::TooLong)
    } else if bytes.contains(&0) {
        Err(Invalid::Nul)
    } else {
        Ok(())
    }
}

fn components(path: &[u8]) -> Result<(), Invalid> {
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" => return Err(Invalid::EmptyComponent),
            b"." | b".." => return Err(Invalid::Dots),
            _ if part.len() > MAX_NAME => return Err(Invalid::TooLong),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a newtype over bytes whose every value has passed `$check`.
macro_rules! checked_bytes {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// Checks and takes the bytes.
            ///
            /// # Errors
            /// What is wrong with them.
            pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Invalid> {
                let bytes = bytes.into();
                let check: fn(&[u8]) -> Result<(), Invalid> = $check;
                check(&bytes)?;
                Ok(Self(bytes))
            }

            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The same, as a path.
            #[must_use]
            pub fn as_path(&self) -> &Path {
                Path::new(OsStr::from_bytes(&self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.escape_ascii(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_path())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.serialize_str(&String::from_utf8_lossy(&self.0))
                } else {
                    s.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let bytes = d.deserialize_byte_buf(Bytes)?;
                Self::new(bytes).map_err(|e| {
                    de::Error::custom(format_args!(concat!(stringify!($name), " {}"), e))
                })
            }
        }
    };
}

struct Bytes;

impl de::Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Vec<u8>, E> {
        Ok(v.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, v: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(v)
    }
}

checked_bytes!(
    /// An absolute path in the host's file system. The helper opens it with its caller's
    /// credentials, so it may hold `..` and cross symbolic links: it reaches nothing that the caller
    /// could not open.
    HostPath,
    |path| {
        bounded(path, MAX_PATH)?;
        if path.first() == Some(&b'/') { Ok(()) } else { Err(Invalid::Relative) }
    }
);

checked_bytes!(
    /// An absolute path in the container: `/`, or components without `.`, `..` and repeated
    /// slashes. The helper resolves it beneath the root that it holds open.
    ContainerPath,
    |path| {
        bounded(path, MAX_PATH)?;
        match path {
            b"/" => Ok(()),
            [b'/', rest @ ..] => components(rest),
            _ => Err(Invalid::Relative),
        }
    }
);

checked_bytes!(
    /// A relative path without `.` and `..`: a cgroup below a hierarchy's mount point, a sysctl's
    /// file below `/proc/sys`.
    RelativePath,
    |path| {
        bounded(path, MAX_PATH)?;
        if path.first() == Some(&b'/') { Err(Invalid::Absolute) } else { components(path) }
    }
);

checked_bytes!(
    /// What a symbolic link points at: any bytes that the kernel takes.
    LinkTarget,
    |target| bounded(target, MAX_PATH)
);

checked_bytes!(
    /// A host or domain name as sethostname(2) takes it: at most 64 bytes.
    UtsName,
    |name| bounded(name, 64)
);

checked_bytes!(
    /// The value written to a sysctl.
    SysctlValue,
    |value| bounded(value, 4096)
);

checked_bytes!(
    /// A word for fsconfig(2): a file system's source or an option's value, at most 4095 bytes.
    MountWord,
    |word| bounded(word, MAX_PATH)
);

checked_bytes!(
    /// The name of a mount option: lower-case letters, digits, `_`, `-` and `.`, at most 32 bytes.
    OptionName,
    |name| {
        bounded(name, 32)?;
        let ok = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(b);
        if name.iter().all(ok) { Ok(()) } else { Err(Invalid::Character) }
    }
);

/// The controllers whose files may be written.
const CONTROLLERS: [&[u8]; 11] = [
    b"memory.",
    b"cpu.",
    b"cpuset.",
    b"pids.",
    b"io.",
    b"blkio.",
    b"hugetlb.",
    b"net_cls.",
    b"net_prio.",
    b"rdma.",
    b"misc.",
];

checked_bytes!(
    /// The name of a control file: that of a controller, a dot, then letters, digits, `_`, `-` and
    /// `.`, at most 64 bytes. The cgroup's own files (`cgroup.procs`) and device rules are none.
    ControlFile,
    |name| {
        bounded(name, 64)?;
        let ok = |b: &u8| b.is_ascii_alphanumeric() || b"_-.".contains(b);
        let is_known = CONTROLLERS.iter().any(|c| name.strip_prefix(*c).is_some_and(|n| !n.is_empty()));
        if is_known && name.iter().all(ok) { Ok(()) } else { Err(Invalid::Character) }
    }
);

checked_bytes!(
    /// The value written to a control file: one line of printable ASCII, at most 1024 bytes.
    ControlValue,
    |value| {
        bounded(value, 1024)?;
        let ok = |b: &u8| b.is_ascii_graphic() || *b == b' ';
        if value.iter().all(ok) { Ok(()) } else { Err(Invalid::Character) }
    }
);

checked_bytes!(
    /// The path of a member of the config, shown when it cannot be honoured: printable ASCII, at most
    /// 160 bytes.
    FieldName,
    |name| {
        bounded(name, 160)?;
        if name.iter().all(u8::is_ascii_graphic) { Ok(()) } else { Err(Invalid::Character) }
    }
);

impl ControlFile {
    /// The controller that it belongs to.
    #[must_use]
    pub fn controller(&self) -> &str {
        let name = std::str::from_utf8(&self.0).unwrap_or_default();
        name.split_once('.').map_or(name, |(controller, _)| controller)
    }
}

impl ContainerPath {
    /// `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// The components, outermost first; none for `/`.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// The directory that holds it and its name there; `None` for `/`.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, &[u8])> {
        let at = self.0.iter().rposition(|b| *b == b'/')?;
        let (parent, name) = self.0.split_at_checked(at)?;
        let name = name.get(1..).filter(|n| !n.is_empty())?;
        Some((if parent.is_empty() { Self::root() } else { Self(parent.to_vec()) }, name))
    }

    /// Whether it is `dir` or lies below it, by components.
    #[must_use]
    pub fn is_within(&self, dir: &Self) -> bool {
        let mut mine = self.components();
        dir.components().all(|c| mine.next() == Some(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_path_must_be_clean() {
        for good in ["/", "/a", "/a/b c", "/a\nb", "/..a", "/a..", "/\u{e9}"] {
            assert!(ContainerPath::new(good).is_ok(), "{good:?}");
        }
        let long = format!("/{}", "n".repeat(256));
        let deep = "/d".repeat(2048);
        for bad in ["", "a", "/a/", "//", "/a//b", "/.", "/..", "/a/../b", "/a\0b", &long, &deep] {
            assert!(ContainerPath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn relative_path_must_be_clean() {
        assert!(RelativePath::new("a/b").is_ok());
        for bad in ["", "/a", "a/", "a/../b", "..", "."] {
            assert!(RelativePath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn containment_is_by_component() {
        let p = |s| ContainerPath::new(s).unwrap();
        assert!(p("/dev/pts").is_within(&p("/dev")));
        assert!(p("/dev").is_within(&p("/dev")));
        assert!(p("/dev").is_within(&p("/")));
        assert!(!p("/device").is_within(&p("/dev")));
        assert!(!p("/").is_within(&p("/dev")));
    }

    #[test]
    fn last_component_is_split_off() {
        let p = |s| ContainerPath::new(s).unwrap();
        assert_eq!(p("/a").split_last(), Some((p("/"), &b"a"[..])));
        assert_eq!(p("/a/b").split_last(), Some((p("/a"), &b"b"[..])));
        assert_eq!(p("/").split_last(), None);
    }

    #[test]
    fn decoded_value_is_checked_too() {
        let mut bytes = Vec::new();
        crate::codec::encode(&MountWord::new("../x").unwrap(), &mut bytes).unwrap();
        assert!(crate::codec::decode::<MountWord>(&bytes).is_ok());
        let error = crate::codec::decode::<ContainerPath>(&bytes).unwrap_err();
        assert!(error.to_string().contains("ContainerPath is not an absolute path"), "{error}");
    }

    #[test]
    fn control_file_is_one_of_a_known_controller() {
        for good in ["memory.max", "io.bfq.weight", "hugetlb.2MB.max", "net_cls.classid", "cpu.max"]
        {
            let file = ControlFile::new(good).unwrap();
            assert_eq!(Some(file.controller()), good.split('.').next());
        }
        for bad in [
            "",
            "memory",
            "memory.",
            "cgroup.procs",
            "cgroup.subtree_control",
            "devices.allow",
            "freezer.state",
            "tasks",
            "release_agent",
            "memory./x",
            "../memory.max",
            "x/memory.max",
            "memory.max\n",
            "Memory.max",
        ] {
            assert!(ControlFile::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn control_value_is_one_line() {
        assert!(ControlValue::new("8:0 rbps=1 wbps=max").is_ok());
        for bad in ["", "1\n2", "1\0", "\u{e9}"] {
            assert!(ControlValue::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn option_name_takes_no_separator() {
        assert!(OptionName::new("nr_inodes").is_ok());
        for bad in ["", "a=b", "a,b", "a b", "SIZE"] {
            assert!(OptionName::new(bad).is_err(), "{bad:?}");
        }
    }
}
