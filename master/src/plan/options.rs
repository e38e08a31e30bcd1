// SPDX-License-Identifier: Apache-2.0
//! The words of `mounts[].options`, as mount(8) and the other runtimes have them.

use outrigger_protocol::mount::{Atime, AttrChange, MountAttr, Propagation, PropagationKind};

/// What the options of one mount say.
#[derive(Debug, Default)]
pub(super) struct Words<'a> {
    /// A bind mount; `Some(true)` with the mounts below its source.
    pub(super) bind: Option<bool>,
    /// Attributes of the mount.
    pub(super) attrs: AttrChange,
    /// Attributes of the mount and of all mounts below it.
    pub(super) recursive_attrs: AttrChange,
    /// Its propagation type.
    pub(super) propagation: Option<Propagation>,
    /// The words that are left, for the file system.
    pub(super) file_system: Vec<&'a str>,
    /// What is wrong with the others.
    pub(super) wrong: Vec<String>,
}

/// Sorts the words. A later one wins over an earlier one, as for mount(8).
pub(super) fn parse(options: &[String]) -> Words<'_> {
    let mut words = Words::default();
    let (mut own, mut tree) = (Attributes::default(), Attributes::default());
    for word in options.iter().flat_map(|option| split(option)) {
        if own.take(word) || word.strip_prefix('r').is_some_and(|rest| tree.take(rest)) {
            continue;
        }
        match word {
            "bind" => words.bind = Some(false),
            "rbind" => words.bind = Some(true),
            // These say what is so anyway. `mand` went out of Linux with 5.15.
            "" | "defaults" | "silent" | "loud" | "mand" | "nomand" | "noiversion" => {}
            "async" => words.file_system.retain(|w| *w != "sync"),
            "nolazytime" => words.file_system.retain(|w| *w != "lazytime"),
            _ => match propagation(word) {
                Some(kind) => words.propagate(word, kind),
                None if is_unsupported(word) => {
                    words.wrong.push(format!("{word:?} is not supported yet; remove it"));
                }
                None => words.file_system.push(word),
            },
        }
    }
    words.attrs = own.change();
    words.recursive_attrs = tree.change();
    words
}

impl Words<'_> {
    fn propagate(&mut self, word: &str, propagation: Propagation) {
        if self.propagation.is_some_and(|earlier| earlier != propagation) {
            self.wrong.push(format!("{word:?} is a second propagation type; give only one"));
        }
        self.propagation = Some(propagation);
    }
}

/// One string may hold several words. A quoted SELinux label has commas of its own.
fn split(option: &str) -> impl Iterator<Item = &str> {
    let separator = if is_unsupported(option) { '\0' } else { ',' };
    option.split(separator)
}

fn is_unsupported(word: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    matches!(
        name,
        "remount"
            | "idmap"
            | "ridmap"
            | "tmpcopyup"
            | "iversion"
            | "copy-symlink"
            | "src-nofollow"
            | "dest-nofollow"
            | "context"
            | "fscontext"
            | "defcontext"
            | "rootcontext"
    )
}

fn propagation(word: &str) -> Option<Propagation> {
    let kind = |word| {
        Some(match word {
            "private" => PropagationKind::Private,
            "slave" => PropagationKind::Slave,
            "shared" => PropagationKind::Shared,
            "unbindable" => PropagationKind::Unbindable,
            _ => return None,
        })
    };
    if let Some(kind) = kind(word) {
        return Some(Propagation { kind, recursive: false });
    }
    word.strip_prefix('r').and_then(kind).map(|kind| Propagation { kind, recursive: true })
}

/// Attributes while the words are read.
#[derive(Default)]
struct Attributes {
    set: MountAttr,
    clear: MountAttr,
    noatime: bool,
    relatime: bool,
    strictatime: bool,
}

impl Attributes {
    /// Whether `word` is one of an attribute.
    fn take(&mut self, word: &str) -> bool {
        match word {
            "ro" => self.set(MountAttr::RDONLY),
            "rw" => self.clear(MountAttr::RDONLY),
            "nosuid" => self.set(MountAttr::NOSUID),
            "suid" => self.clear(MountAttr::NOSUID),
            "nodev" => self.set(MountAttr::NODEV),
            "dev" => self.clear(MountAttr::NODEV),
            "noexec" => self.set(MountAttr::NOEXEC),
            "exec" => self.clear(MountAttr::NOEXEC),
            "nodiratime" => self.set(MountAttr::NODIRATIME),
            "diratime" => self.clear(MountAttr::NODIRATIME),
            "nosymfollow" => self.set(MountAttr::NOSYMFOLLOW),
            "symfollow" => self.clear(MountAttr::NOSYMFOLLOW),
            "noatime" => self.noatime = true,
            // Without another rule the kernel takes relatime.
            "atime" => (self.noatime, self.relatime) = (false, true),
            "relatime" => self.relatime = true,
            "norelatime" => self.relatime = false,
            "strictatime" => self.strictatime = true,
            "nostrictatime" => self.strictatime = false,
            _ => return false,
        }
        true
    }

    fn set(&mut self, attr: MountAttr) {
        self.set = self.set.union(attr);
        self.clear = self.clear.difference(attr);
    }

    fn clear(&mut self, attr: MountAttr) {
        self.clear = self.clear.union(attr);
        self.set = self.set.difference(attr);
    }

    /// Of several access-time rules mount(2) takes the first in this order.
    fn change(self) -> AttrChange {
        let atime = if self.strictatime {
            Some(Atime::Strictatime)
        } else if self.noatime {
            Some(Atime::Noatime)
        } else if self.relatime {
            Some(Atime::Relatime)
        } else {
            None
        };
        AttrChange { set: self.set, clear: self.clear, atime }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(words: &str, look: impl FnOnce(Words<'_>) -> T) -> T {
        let options: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        look(parse(&options))
    }

    #[test]
    fn attribute_words_set_and_clear() {
        let (ro, suid, dev) = (MountAttr::RDONLY, MountAttr::NOSUID, MountAttr::NODEV);
        let none = MountAttr::default();
        for (words, set, clear) in [
            ("ro", ro, none),
            ("rw", none, ro),
            ("ro rw", none, ro),
            ("rw ro", ro, none),
            ("nosuid nodev ro", ro.union(suid).union(dev), none),
            ("suid dev", none, suid.union(dev)),
            ("noexec nodev exec", dev, MountAttr::NOEXEC),
            ("nodiratime symfollow", MountAttr::NODIRATIME, MountAttr::NOSYMFOLLOW),
            ("nosymfollow diratime", MountAttr::NOSYMFOLLOW, MountAttr::NODIRATIME),
            ("async", none, none),
            ("defaults silent loud mand nomand noiversion", none, none),
        ] {
            let expected = AttrChange { set, clear, atime: None };
            with(words, |w| {
                assert_eq!(w.attrs, expected, "{words}");
                assert!(w.recursive_attrs.is_empty(), "{words}");
                assert!(w.wrong.is_empty() && w.file_system.is_empty(), "{words}");
            });
        }
    }

    #[test]
    fn access_time_rule_is_the_one_mount_would_take() {
        for (words, expected) in [
            ("noatime", Some(Atime::Noatime)),
            ("noatime atime", Some(Atime::Relatime)),
            ("relatime", Some(Atime::Relatime)),
            ("relatime norelatime", None),
            ("nostrictatime", None),
            ("strictatime", Some(Atime::Strictatime)),
            ("strictatime nostrictatime", None),
            ("strictatime noatime", Some(Atime::Strictatime)),
            ("relatime noatime", Some(Atime::Noatime)),
        ] {
            with(words, |w| assert_eq!(w.attrs.atime, expected, "{words}"));
            let tree = words.split(' ').map(|w| format!("r{w}")).collect::<Vec<_>>().join(" ");
            with(&tree, |w| assert_eq!(w.recursive_attrs.atime, expected, "{tree}"));
        }
    }

    #[test]
    fn recursive_words_are_for_the_tree() {
        let words = "rro rnosuid rdev rexec rnoexec rnodiratime rsymfollow ro";
        with(words, |w| {
            let set = MountAttr::RDONLY
                .union(MountAttr::NOSUID)
                .union(MountAttr::NOEXEC)
                .union(MountAttr::NODIRATIME);
            let clear = MountAttr::NODEV.union(MountAttr::NOSYMFOLLOW);
            assert_eq!(w.recursive_attrs, AttrChange { set, clear, atime: None });
            assert_eq!(w.attrs.set, MountAttr::RDONLY);
        });
        with("rrw rsuid rnodev rdiratime rnosymfollow", |w| {
            let set = MountAttr::NODEV.union(MountAttr::NOSYMFOLLOW);
            let clear = MountAttr::RDONLY.union(MountAttr::NOSUID).union(MountAttr::NODIRATIME);
            assert_eq!(w.recursive_attrs, AttrChange { set, clear, atime: None });
        });
    }

    #[test]
    fn propagation_is_one_type() {
        use PropagationKind::{Private, Shared, Slave, Unbindable};
        for (word, kind) in
            [("private", Private), ("slave", Slave), ("shared", Shared), ("unbindable", Unbindable)]
        {
            with(word, |w| {
                assert_eq!(w.propagation, Some(Propagation { kind, recursive: false }));
            });
            with(&format!("r{word} r{word}"), |w| {
                assert_eq!(w.propagation, Some(Propagation { kind, recursive: true }));
                assert!(w.wrong.is_empty());
            });
        }
        with("rprivate rshared", |w| {
            assert_eq!(w.wrong, ["\"rshared\" is a second propagation type; give only one"]);
        });
    }

    #[test]
    fn other_words_are_for_the_file_system() {
        with("mode=755 bind size=64k newinstance sync dirsync lazytime", |w| {
            assert_eq!(w.bind, Some(false));
            let expected = ["mode=755", "size=64k", "newinstance", "sync", "dirsync", "lazytime"];
            assert_eq!(w.file_system, expected);
        });
        with("rbind sync lazytime async nolazytime", |w| {
            assert_eq!(w.bind, Some(true));
            assert!(w.file_system.is_empty());
        });
        with("mode=755,nosuid,,size=1", |w| {
            assert_eq!(w.file_system, ["mode=755", "size=1"]);
            assert_eq!(w.attrs.set, MountAttr::NOSUID);
        });
    }

    #[test]
    fn words_for_later_are_refused() {
        for word in [
            "remount",
            "idmap",
            "idmap=uids=0-1-1",
            "ridmap",
            "tmpcopyup",
            "iversion",
            "copy-symlink",
            "src-nofollow",
            "dest-nofollow",
            "context=\"a:b:c:s0:c1,c2\"",
            "fscontext=x",
            "defcontext=x",
            "rootcontext=x",
        ] {
            with(word, |w| {
                assert_eq!(w.wrong, [format!("{word:?} is not supported yet; remove it")]);
                assert!(w.file_system.is_empty(), "{word}");
            });
        }
    }
}
