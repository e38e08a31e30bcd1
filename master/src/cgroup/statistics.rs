// SPDX-License-Identifier: Apache-2.0
//! What a container uses, with runc's keys. What the kernel does not count is 0 or left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use outrigger_protocol::cgroup::{CgroupVersion, Cgroups};
use serde::Serialize;

/// The `data` of an event.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Statistics {
    cpu: Cpu,
    memory: Memory,
    pids: Pids,
    blkio: BlockIo,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hugetlb: BTreeMap<String, Usage>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
}

/// Nanoseconds.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct CpuUsage {
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    periods: u64,
    #[serde(rename = "throttledPeriods", skip_serializing_if = "is_zero")]
    throttled_periods: u64,
    #[serde(rename = "throttledTime", skip_serializing_if = "is_zero")]
    throttled_time: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    cache: u64,
    usage: Usage,
    swap: Usage,
    kernel: Usage,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Usage,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: BTreeMap<String, u64>,
}

/// Bytes, and how often the limit was met.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Usage {
    limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    /// 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct BlockIo {
    #[serde(rename = "ioServiceBytesRecursive", skip_serializing_if = "Vec::is_empty")]
    bytes: Vec<BlockIoEntry>,
    #[serde(rename = "ioServicedRecursive", skip_serializing_if = "Vec::is_empty")]
    operations: Vec<BlockIoEntry>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct BlockIoEntry {
    #[serde(skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    minor: u64,
    op: String,
    value: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Reads what the container in these cgroups uses.
pub(crate) fn read(groups: &Cgroups) -> Statistics {
    let files = Files::of(groups);
    Statistics {
        cpu: cpu(&files),
        memory: memory(&files),
        pids: Pids {
            current: files.number("pids.current"),
            limit: Some(files.number("pids.max")).filter(|n| *n != u64::MAX).unwrap_or_default(),
        },
        blkio: block_io(&files),
        hugetlb: huge_pages(&files),
    }
}

/// How often a process of the container was killed for want of memory.
pub(crate) fn out_of_memory(groups: &Cgroups) -> u64 {
    let files = Files::of(groups);
    // Version 1 has it beside other things.
    let both = ["memory.events", "memory.oom_control"].map(|file| files.table(file));
    both.iter().find_map(|table| table.get("oom_kill")).copied().unwrap_or_default()
}

/// The files of a container's cgroups; no two hierarchies have one of the same name that is read here,
/// but for cpu.stat.
struct Files {
    v1: Vec<PathBuf>,
    v2: Vec<PathBuf>,
}

impl Files {
    fn of(groups: &Cgroups) -> Self {
        let dirs = |version: CgroupVersion| {
            let of_version = groups.iter().filter(|g| g.version == version);
            of_version.map(|g| g.mount.as_path().join(g.path.as_path())).collect()
        };
        Self { v1: dirs(CgroupVersion::V1), v2: dirs(CgroupVersion::V2) }
    }

    /// The text of a file. In version 1 there is the controller, in version 2 of a host with both
    /// maybe a file of the same name that says less.
    fn text(&self, file: &str) -> Option<String> {
        self.v1.iter().chain(&self.v2).find_map(|dir| fs::read_to_string(dir.join(file)).ok())
    }

    /// A number; `max` is the largest.
    fn number(&self, file: &str) -> u64 {
        self.text(file).map_or(0, |text| number(text.trim_end()))
    }

    /// Names and numbers, a pair a line.
    fn table(&self, file: &str) -> BTreeMap<String, u64> {
        table(&self.text(file).unwrap_or_default())
    }

    fn usage(&self, [limit, usage, max, failures]: [&str; 4]) -> Usage {
        Usage {
            limit: self.number(limit),
            usage: self.number(usage),
            max: self.number(max),
            failcnt: self.number(failures),
        }
    }

    fn has(&self, file: &str) -> bool {
        self.v1.iter().chain(&self.v2).any(|dir| dir.join(file).exists())
    }
}

fn number(word: &str) -> u64 {
    if word == "max" { u64::MAX } else { word.parse().unwrap_or_default() }
}

fn table(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), number(value))).collect()
}

fn cpu(files: &Files) -> Cpu {
    let stat = files.table("cpu.stat");
    let get = |name: &str| stat.get(name).copied().unwrap_or_default();
    let throttled = get("throttled_time").max(get("throttled_usec").saturating_mul(1000));
    let throttling = Throttling {
        periods: get("nr_periods"),
        throttled_periods: get("nr_throttled"),
        throttled_time: throttled,
    };
    let per_processor = files.text("cpuacct.usage_percpu").unwrap_or_default();
    let usage = if files.has("cpuacct.usage") {
        CpuUsage {
            total: files.number("cpuacct.usage"),
            percpu: per_processor.split_ascii_whitespace().map(number).collect(),
            kernel: files.number("cpuacct.usage_sys"),
            user: files.number("cpuacct.usage_user"),
        }
    } else {
        let nanoseconds = |name| get(name).saturating_mul(1000);
        CpuUsage {
            total: nanoseconds("usage_usec"),
            percpu: Vec::new(),
            kernel: nanoseconds("system_usec"),
            user: nanoseconds("user_usec"),
        }
    };
    Cpu { usage, throttling }
}

fn memory(files: &Files) -> Memory {
    let raw = files.table("memory.stat");
    let get = |name: &str| raw.get(name).copied().unwrap_or_default();
    if files.has("memory.usage_in_bytes") {
        let of = |kind: &str| {
            let names = ["limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt"];
            let names = names.map(|name| format!("memory.{kind}{name}"));
            files.usage(names.each_ref().map(String::as_str))
        };
        return Memory {
            cache: get("cache"),
            usage: of(""),
            swap: of("memsw."),
            kernel: of("kmem."),
            kernel_tcp: of("kmem.tcp."),
            raw,
        };
    }
    let events = files.table("memory.events");
    let mut usage = files.usage(["memory.max", "memory.current", "memory.peak", ""]);
    usage.failcnt = events.get("max").copied().unwrap_or_default();
    let swap = files.usage(["memory.swap.max", "memory.swap.current", "memory.swap.peak", ""]);
    Memory { cache: get("file"), usage, swap, raw, ..Memory::default() }
}

fn block_io(files: &Files) -> BlockIo {
    if let Some(text) = files.text("io.stat") {
        return BlockIo {
            bytes: of_version_2(&text, &[("rbytes", "Read"), ("wbytes", "Write")]),
            operations: of_version_2(&text, &[("rios", "Read"), ("wios", "Write")]),
        };
    }
    let entries = |what: &str| {
        let names = ["bfq", "throttle"].map(|by| format!("blkio.{by}.{what}_recursive"));
        let lists = names.iter().filter_map(|name| files.text(name));
        lists.map(|text| of_version_1(&text)).find(|list| !list.is_empty()).unwrap_or_default()
    };
    BlockIo { bytes: entries("io_service_bytes"), operations: entries("io_serviced") }
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `8:0 Read 4096` a line, and a total.
fn of_version_1(text: &str) -> Vec<BlockIoEntry> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (major, minor) = device(words.next()?)?;
        let op = words.next()?.to_owned();
        Some(BlockIoEntry { major, minor, op, value: number(words.next()?) })
    };
    text.lines().filter_map(entry).collect()
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 ...` a line.
fn of_version_2(text: &str, keys: &[(&str, &str)]) -> Vec<BlockIoEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let op = keys.iter().find(|(k, _)| *k == key).map(|(_, op)| (*op).to_owned());
            entries.extend(op.map(|op| BlockIoEntry { major, minor, op, value: number(value) }));
        }
    }
    entries
}

fn huge_pages(files: &Files) -> BTreeMap<String, Usage> {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let kilobytes = sizes.filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()
    });
    let of = |size: String| {
        let file = |name: &str| format!("hugetlb.{size}.{name}");
        let v1 = files.has(&file("usage_in_bytes"));
        if !v1 && !files.has(&file("current")) {
            return None;
        }
        let names = if v1 {
            ["limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt"].map(file)
        } else {
            ["max", "current", "", ""].map(file)
        };
        let mut usage = files.usage(names.each_ref().map(String::as_str));
        if !v1 {
            let events = files.table(&file("events"));
            usage.failcnt = events.get("max").copied().unwrap_or_default();
        }
        Some((size, usage))
    };
    kilobytes.map(page_size).filter_map(of).collect()
}

/// As the kernel names it in its files.
fn page_size(kilobytes: u64) -> String {
    match kilobytes {
        n if n >= 1 << 20 => format!("{}GB", n >> 20),
        n if n >= 1 << 10 => format!("{}MB", n >> 10),
        n => format!("{n}KB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::cgroup::Cgroup;
    use outrigger_protocol::path::{HostPath, RelativePath};
    use serde_json::{Value, json};

    fn statistics(version: CgroupVersion, files: &[(&str, &str)]) -> Value {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        for (file, text) in files {
            fs::write(dir.path().join("c").join(file), text).unwrap();
        }
        let group = Cgroup {
            version,
            mount: HostPath::new(dir.path().as_os_str().as_encoded_bytes()).unwrap(),
            path: RelativePath::new("c").unwrap(),
            kept: 0,
        };
        let groups = Cgroups::try_from(vec![group]).unwrap();
        assert_eq!(out_of_memory(&groups), 2);
        serde_json::to_value(read(&groups)).unwrap()
    }

    #[test]
    fn version_1_is_read() {
        let found = statistics(
            CgroupVersion::V1,
            &[
                ("cpuacct.usage", "70\n"),
                ("cpuacct.usage_percpu", "30 40 \n"),
                ("cpuacct.usage_sys", "20\n"),
                ("cpuacct.usage_user", "50\n"),
                ("cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 2\n"),
                ("memory.usage_in_bytes", "4096\n"),
                ("memory.limit_in_bytes", "8192\n"),
                ("memory.max_usage_in_bytes", "5000\n"),
                ("memory.failcnt", "9\n"),
                ("memory.stat", "cache 11\nrss 12\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
                ("pids.current", "3\n"),
                ("pids.max", "9\n"),
                (
                    "blkio.throttle.io_service_bytes_recursive",
                    "8:1 Read 5\n8:1 Write 6\nTotal 11\n",
                ),
            ],
        );
        let usage = json!({"total": 70, "percpu": [30, 40], "kernel": 20, "user": 50});
        assert_eq!(found["cpu"]["usage"], usage);
        let throttling = json!({"periods": 4, "throttledPeriods": 3, "throttledTime": 2});
        assert_eq!(found["cpu"]["throttling"], throttling);
        let usage = json!({"limit": 8192, "usage": 4096, "max": 5000, "failcnt": 9});
        assert_eq!(found["memory"]["usage"], usage);
        assert_eq!(found["memory"]["raw"], json!({"cache": 11, "rss": 12}));
        assert_eq!(found["pids"], json!({"current": 3, "limit": 9}));
        let entries = json!([{"major": 8, "minor": 1, "op": "Read", "value": 5},
            {"major": 8, "minor": 1, "op": "Write", "value": 6}]);
        assert_eq!(found["blkio"], json!({"ioServiceBytesRecursive": entries}));
    }

    #[test]
    fn version_2_is_read() {
        let found = statistics(
            CgroupVersion::V2,
            &[
                ("cpu.stat", "usage_usec 7\nuser_usec 5\nsystem_usec 2\nthrottled_usec 1\n"),
                ("memory.current", "4096\n"),
                ("memory.max", "max\n"),
                ("memory.events", "max 6\noom 3\noom_kill 2\n"),
                ("memory.stat", "anon 1\nfile 2\n"),
                ("pids.current", "3\n"),
                ("pids.max", "max\n"),
                ("io.stat", "8:0 rbytes=5 wbytes=6 rios=1 wios=2 dbytes=0 dios=0\n"),
            ],
        );
        assert_eq!(found["cpu"]["usage"], json!({"total": 7000, "kernel": 2000, "user": 5000}));
        assert_eq!(found["cpu"]["throttling"], json!({"throttledTime": 1000}));
        let usage = json!({"limit": u64::MAX, "usage": 4096, "failcnt": 6});
        assert_eq!(found["memory"]["usage"], usage);
        assert_eq!(found["memory"]["cache"], 2);
        assert_eq!(found["pids"], json!({"current": 3}));
        let operations = &found["blkio"]["ioServicedRecursive"];
        assert_eq!(operations[1], json!({"major": 8, "op": "Write", "value": 2}));
    }

    #[test]
    fn sizes_of_pages_are_named_as_the_kernel_does() {
        assert_eq!([64, 2048, 1 << 20].map(page_size), ["64KB", "2MB", "1GB"]);
    }
}
