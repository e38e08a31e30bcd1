// SPDX-License-Identifier: Apache-2.0
use anyhow::Result;

use super::print;
use super::report::Report;
use crate::cli::{Format, Global, ListArgs};
use crate::container::store::Store;
use crate::log::one_line;

/// `list`: prints all containers. One whose state cannot be read is shown as such.
pub(super) fn list(global: &Global, args: &ListArgs) -> Result<()> {
    let containers = Store::open(global.root.as_deref())?.list()?;
    let reports: Vec<Report> = containers
        .into_iter()
        .map(|(id, found)| match found {
            Ok((container, state)) => Report::new(&container, state),
            Err(e) => {
                log::warn!("{e:#}");
                Report::unknown(id)
            }
        })
        .collect();
    if args.quiet {
        return print(&reports.iter().map(|r| format!("{}\n", r.id)).collect::<String>());
    }
    match args.format {
        Format::Json => print(&format!("{}\n", serde_json::to_string(&reports)?)),
        Format::Table => print(&table(&reports)),
    }
}

fn table(reports: &[Report]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(reports.iter().map(|r| {
        let pid = r.pid.to_string();
        [&r.id, &pid, r.status, &r.bundle, &r.created, &r.owner].map(one_line)
    }));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3).max(12);
        }
    }
    // The last column is not padded.
    widths[5] = 0;
    let line = |row: &[String; 6]| {
        row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect::<String>()
            + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::id::ContainerId;

    fn unknown(id: &str) -> Report {
        Report::unknown(ContainerId::parse(id).unwrap())
    }

    #[test]
    fn empty_table_is_its_heading() {
        let heading = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
        assert_eq!(table(&[]), heading);
    }

    #[test]
    fn columns_grow_and_control_characters_show() {
        let mut long = unknown("an-id-of-twenty-char");
        long.bundle = "/b\u{1b}[2J\n".into();
        let text = table(&[unknown("x"), long]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let pid = lines[0].find("PID").unwrap();
        assert_eq!(pid, 23);
        assert!(lines.iter().skip(1).all(|l| &l[pid..=pid] == "0"), "{text}");
        assert!(lines[2].contains("/b\\u{1b}[2J\\n   "), "{text}");
    }

    #[test]
    fn json_has_the_keys_of_runc() {
        let value = serde_json::to_value(unknown("x")).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["bundle", "created", "id", "ociVersion", "owner", "pid", "rootfs", "status"]
        );
    }
}
