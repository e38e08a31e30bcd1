// SPDX-License-Identifier: Apache-2.0
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use oci_spec::runtime::LinuxResources;
use outrigger_protocol::cgroup::{CgroupVersion, Cgroups};
use serde_json::{Map, Value, json};

use crate::cgroup::resources::{self, Controllers};
use crate::cli::{Global, UpdateArgs};
use crate::container::id::ContainerId;
use crate::container::status::Status;
use crate::container::store::Store;
use crate::helper::Helper;
use crate::host::Host;
use crate::plan::Problems;

/// Most bytes of the file with the resources.
const MAX_FILE: u64 = 1024 * 1024;

/// `update`: changes limits of a container. The kernel keeps them; the state does not have them.
pub(super) fn update(global: &Global, args: &UpdateArgs) -> Result<()> {
    let id = ContainerId::parse(&args.id)?;
    let mut helper = Helper::start()?;
    let changes = match &args.resources {
        Some(file) => from_file(file)?,
        None => from_options(args)?,
    };
    let container = Store::open(global.root.as_deref())?.get(&id)?;
    let _lock = container.lock()?;
    let state = container.read_state()?;
    match container.status(&state) {
        Status::Created | Status::Running | Status::Paused => {}
        status => bail!("cannot update container \"{id}\": it is {status}: container not running"),
    }
    let resources = complete(changes, &state.cgroups)?;
    let mut host = Host::read().context("read the host's facts")?;
    host.probe_controllers();
    let mut problems = Problems::default();
    let controllers = Controllers::of(&state.cgroups, &host.cgroups);
    let limits = resources::plan(&resources, &controllers, &mut problems);
    ensure!(problems.is_empty(), problems);
    let outcome = helper.host.update_cgroups(&state.cgroups, &limits);
    drop(helper);
    outcome.with_context(|| format!("update container \"{id}\""))
}

/// The changes from a file, or from stdin.
fn from_file(file: &Path) -> Result<Value> {
    let (name, text) = if file.as_os_str() == "-" {
        ("stdin".to_owned(), read(io::stdin().lock()))
    } else {
        let text = fs::File::open(file).and_then(read);
        (file.display().to_string(), text)
    };
    let parsed = text.map_err(|e| anyhow!(e)).and_then(|text| Ok(serde_json::from_slice(&text)?));
    let value: Value = parsed.with_context(|| format!("--resources {name}"))?;
    ensure!(
        value.is_object(),
        "--resources {name}: is no JSON object with members of linux.resources"
    );
    Ok(value)
}

fn read(source: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("has more than {MAX_FILE} bytes")));
    }
    Ok(text)
}

fn from_options(args: &UpdateArgs) -> Result<Value> {
    let memory = object([
        ("limit", size("--memory", args.memory.as_deref())?),
        ("reservation", size("--memory-reservation", args.memory_reservation.as_deref())?),
        ("swap", size("--memory-swap", args.memory_swap.as_deref())?),
    ]);
    let cpu = object([
        ("shares", args.cpu_share.map(|n| json!(n))),
        ("quota", args.cpu_quota.map(|n| json!(n))),
        ("period", args.cpu_period.map(|n| json!(n))),
        ("burst", args.cpu_burst.map(|n| json!(n))),
        ("realtimeRuntime", args.cpu_rt_runtime.map(|n| json!(n))),
        ("realtimePeriod", args.cpu_rt_period.map(|n| json!(n))),
        ("idle", args.cpu_idle.map(|n| json!(n))),
        ("cpus", args.cpuset_cpus.as_ref().map(|s| json!(s))),
        ("mems", args.cpuset_mems.as_ref().map(|s| json!(s))),
    ]);
    let pids = object([("limit", args.pids_limit.map(|n| json!(n)))]);
    let block_io = object([("weight", args.blkio_weight.map(|n| json!(n)))]);
    Ok(json!({"memory": memory, "cpu": cpu, "pids": pids, "blockIO": block_io}))
}

fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let set = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(set.collect::<Map<_, _>>())
}

/// Bytes, with a unit of 1024 or without; -1 for no limit.
fn size(option: &str, word: Option<&str>) -> Result<Option<Value>> {
    let Some(word) = word else { return Ok(None) };
    if word == "-1" {
        return Ok(Some(json!(-1)));
    }
    let lower = word.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match lower.get(digits.len()..).unwrap_or_default() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(1),
        "m" | "mb" | "mib" => Some(2),
        "g" | "gb" | "gib" => Some(3),
        "t" | "tb" | "tib" => Some(4),
        _ => None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let bytes = power
        .filter(|_| is_number)
        .and_then(|power| digits.parse::<i64>().ok()?.checked_mul(1024_i64.pow(power)));
    match bytes {
        Some(bytes) => Ok(Some(json!(bytes))),
        None => bail!(
            "{option}: {word:?} is no size; give bytes, a number with a unit as in 64M, or -1"
        ),
    }
}

/// The changes, with what a file of version 2 takes together with them and what was left out.
fn complete(mut changes: Value, groups: &Cgroups) -> Result<LinuxResources> {
    let unified = groups.iter().find(|g| g.version == CgroupVersion::V2);
    let current = |file: &str| {
        let dir = unified.map(|g| g.mount.as_path().join(g.path.as_path()))?;
        fs::read_to_string(dir.join(file)).ok()
    };
    let given = |changes: &Value, path: &str| {
        changes.pointer(path).and_then(Value::as_i64).filter(|n| *n != 0)
    };
    let (quota, period) = (given(&changes, "/cpu/quota"), given(&changes, "/cpu/period"));
    if quota.is_some() != period.is_some()
        && let Some((old_quota, old_period)) = current("cpu.max").as_deref().and_then(cpu_max)
    {
        changes["cpu"]["quota"] = json!(quota.unwrap_or(old_quota));
        changes["cpu"]["period"] = json!(period.unwrap_or(old_period));
    }
    let limit = given(&changes, "/memory/limit");
    if given(&changes, "/memory/swap").is_some_and(|s| s > 0)
        && limit.is_none()
        && let Some(old) = current("memory.max")
    {
        changes["memory"]["limit"] = json!(old.trim_end().parse::<i64>().unwrap_or(-1));
    }
    if changes.pointer("/memory/checkBeforeUpdate") == Some(&json!(true))
        && let Some(limit) = limit.filter(|l| *l > 0)
        && let Some(used) = current("memory.current").and_then(|u| u.trim_end().parse::<i64>().ok())
        && used > limit
    {
        bail!("linux.resources.memory.limit: is {limit}, but {used} bytes are in use already");
    }
    serde_json::from_value(changes).context("linux.resources")
}

/// Quota, -1 for none, and period in version 2's file.
fn cpu_max(text: &str) -> Option<(i64, i64)> {
    let mut words = text.split_ascii_whitespace();
    let quota = words.next()?.parse().unwrap_or(-1);
    Some((quota, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::cgroup::Cgroup;
    use outrigger_protocol::path::{HostPath, RelativePath};

    #[test]
    fn sizes_have_units_of_1024() {
        for (word, bytes) in [
            ("-1", -1),
            ("0", 0),
            ("4096", 4096),
            ("4096b", 4096),
            ("3k", 3072),
            ("64M", 67_108_864),
            ("1GiB", 1_073_741_824),
            ("1tb", 1_099_511_627_776_i64),
        ] {
            assert_eq!(size("--memory", Some(word)).unwrap(), Some(json!(bytes)), "{word}");
        }
        for word in ["", "M", "-2", "+1", "1.5G", "1X", "1 M", "9999999999T", "\u{663}"] {
            let error = size("--memory", Some(word)).unwrap_err().to_string();
            assert!(error.contains("--memory"), "{word}: {error}");
        }
        assert_eq!(size("--memory", None).unwrap(), None);
    }

    #[test]
    fn what_one_file_of_version_2_holds_is_changed_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        for (file, text) in
            [("cpu.max", "5000 20000\n"), ("memory.max", "1000\n"), ("memory.current", "700\n")]
        {
            fs::write(dir.path().join("c").join(file), text).unwrap();
        }
        let groups = Cgroups::try_from(vec![Cgroup {
            version: CgroupVersion::V2,
            mount: HostPath::new(dir.path().as_os_str().as_encoded_bytes()).unwrap(),
            path: RelativePath::new("c").unwrap(),
            kept: 0,
        }])
        .unwrap();
        let completed = |changes| complete(changes, &groups);
        let cpu = |changes| {
            let resources = completed(changes).unwrap();
            let cpu = resources.cpu().as_ref().unwrap();
            (cpu.quota(), cpu.period())
        };
        assert_eq!(cpu(json!({"cpu": {"quota": 9000}})), (Some(9000), Some(20_000)));
        assert_eq!(cpu(json!({"cpu": {"period": 9000}})), (Some(5000), Some(9000)));
        assert_eq!(cpu(json!({"cpu": {"quota": -1, "period": 7}})), (Some(-1), Some(7)));
        assert_eq!(cpu(json!({"cpu": {"shares": 7}})), (None, None));
        let swap = completed(json!({"memory": {"swap": 1500}})).unwrap();
        assert_eq!(swap.memory().unwrap().limit(), Some(1000));
        let check =
            |limit: i64| completed(json!({"memory": {"limit": limit, "checkBeforeUpdate": true}}));
        assert!(check(800).is_ok());
        assert!(check(600).unwrap_err().to_string().contains("700"));
    }
}
