// SPDX-License-Identifier: Apache-2.0
use anyhow::Result;

use super::print;
use super::report::Report;
use crate::cli::{Global, IdArgs};
use crate::container::id::ContainerId;
use crate::container::store::Store;

/// `state`: prints a container's state as JSON, and nothing else: some callers read stderr with it.
pub(super) fn state(global: &Global, args: &IdArgs) -> Result<()> {
    let id = ContainerId::parse(&args.id)?;
    let container = Store::open(global.root.as_deref())?.get(&id)?;
    let state = container.read_state()?;
    let report = Report::new(&container, state);
    print(&format!("{}\n", serde_json::to_string_pretty(&report)?))
}
