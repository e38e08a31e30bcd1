// SPDX-License-Identifier: Apache-2.0
use anyhow::Result;

use super::print;
use crate::bundle;
use crate::cli::{Format, PlanArgs};
use crate::container::id::ContainerId;
use crate::launch;
use crate::plan::Options;
use crate::sys::privilege;

/// `plan`: what would be asked of the helper, without asking it.
pub(crate) fn plan(args: &PlanArgs) -> Result<()> {
    privilege::drop_capabilities()?;
    let id = ContainerId::parse(&args.id)?;
    let bundle = bundle::load(&args.bundle, args.config.as_deref())?;
    let options = Options { id: id.to_string(), dies_with_master: false, console_size: None };
    let plan = launch::plan(&bundle, &options)?;
    match args.format {
        Format::Table => print(&plan.to_table()),
        Format::Json => print(&format!("{}\n", plan.to_json()?)),
    }
}
