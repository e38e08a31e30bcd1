// SPDX-License-Identifier: Apache-2.0
//! From a directory and the `config.json` in it to a [`Spec`] that is well-formed. Whether it can be
//! carried out is the plan's business.

mod fixups;
mod load;
pub(crate) mod version;

use std::path::PathBuf;

use oci_spec::runtime::Spec;

pub(crate) use load::{CONFIG, load, load_process};

/// A bundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Its directory, absolute and without symbolic links.
    pub(crate) path: PathBuf,
    /// Its config.
    pub(crate) spec: Spec,
}
