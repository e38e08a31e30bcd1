// SPDX-License-Identifier: Apache-2.0
//! `spec`: a config.json to start from.

mod config;
mod host_root;
mod rootless;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use nix::unistd::{geteuid, getgid, getuid};

use self::config::Config;
use crate::bundle::CONFIG;
use crate::cli::SpecArgs;

/// `spec`: writes the config, and with `--host-root` the root that it speaks of.
pub(super) fn spec(args: &SpecArgs) -> Result<()> {
    let path = args.bundle.join(CONFIG);
    if fs::symlink_metadata(&path).is_ok() {
        return Err(exists(&path));
    }
    let mut config = Config::new();
    if args.rootless || !geteuid().is_root() {
        rootless::adapt(&mut config, &rootless::Caller::find(getuid().as_raw(), getgid().as_raw()));
    }
    if args.host_root {
        let view = host_root::View::of(Path::new("/"))?;
        config.mounts.extend(view.mounts());
        let rootfs = args.bundle.join(config.root.path);
        // The config's own mount points too: the helper may have no right to make them.
        view.furnish(&rootfs, &config.mounts)
            .with_context(|| format!("make {}", rootfs.display()))?;
    }
    let text = serde_json::to_string_pretty(&config)? + "\n";
    write_new(&path, &text)
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
        opened => opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("write {}", path.display())),
    }
}

fn exists(path: &Path) -> anyhow::Error {
    anyhow!(
        "{} exists already: remove it first, or name another folder with --bundle",
        path.display()
    )
}
