// SPDX-License-Identifier: Apache-2.0
use anyhow::Result;

use super::print;
use crate::plan;

/// `features`: prints what is done of the specification, as JSON.
pub(super) fn features() -> Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(&plan::features())?))
}
