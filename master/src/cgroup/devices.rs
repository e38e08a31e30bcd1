// SPDX-License-Identifier: Apache-2.0
//! Device rules: the config's, the defaults, and their form as a program.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use outrigger_protocol::cgroup::{
    CgroupVersion, DeviceClass, DeviceRule, Devices, MAX_DEVICE_RULES, MAX_INSTRUCTIONS,
};

use super::bpf::{self, Register};
use super::exceptions;
use crate::plan::Problems;

/// `BPF_DEVCG_ACC_*`, linux/bpf.h
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
/// `BPF_DEVCG_DEV_*`
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

const EVERYTHING: DeviceRule = DeviceRule {
    allow: false,
    class: DeviceClass::All,
    major: None,
    minor: None,
    read: true,
    write: true,
    mknod: true,
};

/// Devices that every container may use: character devices by major and minor number.
const DEFAULTS: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    // /dev/console and /dev/ptmx
    (5, Some(1)),
    (5, Some(2)),
    // pseudo-terminals
    (136, None),
];

/// The rules in the form that the hierarchy's version takes.
pub(super) fn restrict(
    version: CgroupVersion,
    listed: &[LinuxDeviceCgroup],
    problems: &mut Problems,
) -> Option<Devices> {
    let rules = rules(listed, problems);
    let restriction = match version {
        CgroupVersion::V1 => version_1(&rules),
        CgroupVersion::V2 => version_2(&rules),
    };
    problems.check(format_args!("linux.resources.devices"), restriction)
}

fn version_1(rules: &[DeviceRule]) -> Result<Devices, String> {
    let rules = exceptions::from_rules(rules).map_err(|hole| hole.to_string())?;
    at_most(MAX_DEVICE_RULES, rules.len(), "rules").map(|()| Devices::Rules(rules))
}

fn version_2(rules: &[DeviceRule]) -> Result<Devices, String> {
    let program = program(rules);
    at_most(MAX_INSTRUCTIONS, program.len(), "instructions").map(|()| Devices::Program(program))
}

fn at_most(most: usize, given: usize, what: &str) -> Result<(), String> {
    if given > most {
        return Err(format!("makes {given} {what}, but {most} are the most; give fewer rules"));
    }
    Ok(())
}

/// The rules in force, a later one wins: nothing, then what the config says, then the defaults. Making
/// a node is allowed always, as with runc: it is opening one that matters.
fn rules(listed: &[LinuxDeviceCgroup], problems: &mut Problems) -> Vec<DeviceRule> {
    let mut rules = Vec::with_capacity(listed.len() + DEFAULTS.len() + 3);
    rules.push(EVERYTHING);
    for (i, entry) in listed.iter().enumerate() {
        let rule = from_config(entry);
        rules.extend(problems.check(format_args!("linux.resources.devices[{i}]"), rule));
    }
    let allowed = DeviceRule { allow: true, ..EVERYTHING };
    for class in [DeviceClass::Character, DeviceClass::Block] {
        rules.push(DeviceRule { class, read: false, write: false, ..allowed });
    }
    for (major, minor) in DEFAULTS {
        let class = DeviceClass::Character;
        rules.push(DeviceRule { class, major: Some(major), minor, ..allowed });
    }
    rules
}

fn from_config(entry: &LinuxDeviceCgroup) -> Result<DeviceRule, String> {
    let class = match entry.typ() {
        None | Some(LinuxDeviceType::A) => DeviceClass::All,
        Some(LinuxDeviceType::B) => DeviceClass::Block,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceClass::Character,
        Some(LinuxDeviceType::P) => return Err("is for a named pipe, which is no device".into()),
    };
    let number = |field: &str, n: Option<i64>| match n {
        // Engines write -1 for all.
        None | Some(-1) => Ok(None),
        Some(n) => {
            u32::try_from(n).map(Some).map_err(|_| format!("has {field} {n}, which is no device's"))
        }
    };
    let access = match entry.access().as_deref().filter(|a| !a.is_empty()) {
        Some(access) => access,
        None if entry.allow() => return Err("does not say what it allows; add an access".into()),
        None => "rwm",
    };
    if let Some(other) = access.chars().find(|c| !"rwm".contains(*c)) {
        return Err(format!("has access {other:?}; take some of r, w and m"));
    }
    let (major, minor) = (number("major", entry.major())?, number("minor", entry.minor())?);
    if class == DeviceClass::All && (major.is_some() || minor.is_some()) {
        return Err("has numbers but no type; give type c or b".into());
    }
    Ok(DeviceRule {
        allow: entry.allow(),
        class,
        major,
        minor,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    })
}

/// The rules as a program for `BPF_PROG_TYPE_CGROUP_DEVICE`: its context is the access with the type of
/// the device, the major and the minor number; its result is whether the access is granted.
///
/// From the last rule to the first, since the last that fits an access decides: each rule that allows
/// takes what it allows out of the access that is left, and grants when nothing is left; each that
/// denies ends it when it denies any of what is left. What no rule allows is denied.
fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let (typ, access, major, minor) = (Register::R2, Register::R3, Register::R4, Register::R5);
    let mut code = vec![
        bpf::load(typ, Register::R1, 0),
        bpf::copy(access, typ),
        bpf::and(typ, 0xffff),
        bpf::shift_right(access, 16),
        bpf::load(major, Register::R1, 4),
        bpf::load(minor, Register::R1, 8),
    ];
    for rule in rules.iter().rev() {
        let verdict = verdict(rule, access);
        let mut tests = Vec::new();
        match rule.class {
            DeviceClass::All => {}
            DeviceClass::Block => tests.push((typ, BLOCK)),
            DeviceClass::Character => tests.push((typ, CHARACTER)),
        }
        tests.extend(rule.major.map(|n| (major, n.cast_signed())));
        tests.extend(rule.minor.map(|n| (minor, n.cast_signed())));
        for (i, (register, value)) in tests.iter().enumerate() {
            let skipped = tests.len() - i - 1 + verdict.len();
            let skipped = i16::try_from(skipped).unwrap_or(i16::MAX);
            code.push(bpf::skip_unless_equal(*register, *value, skipped));
        }
        code.extend(verdict);
    }
    code.extend([bpf::set(Register::R0, 0), bpf::exit()]);
    code
}

/// What a rule does about an access to a device that it is about.
fn verdict(rule: &DeviceRule, access: Register) -> Vec<u64> {
    let bits = [(rule.mknod, MKNOD), (rule.read, READ), (rule.write, WRITE)];
    let mask = bits.iter().filter(|(set, _)| *set).fold(0, |mask, (_, bit)| mask | bit);
    let end = |granted| [bpf::set(Register::R0, granted), bpf::exit()];
    if rule.allow {
        let rest = (MKNOD | READ | WRITE) & !mask;
        let mut code = vec![bpf::and(access, rest), bpf::skip_unless_equal(access, 0, 2)];
        code.extend(end(1));
        code
    } else {
        let scratch = Register::R1;
        let mut code = vec![
            bpf::copy(scratch, access),
            bpf::and(scratch, mask),
            bpf::skip_if_equal(scratch, 0, 2),
        ];
        code.extend(end(0));
        code
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Rules of configs, which every form of them must keep the meaning of.
    pub(in crate::cgroup) const LISTS: [&str; 7] = [
        "[]",
        r#"[{"allow": false, "access": "rwm"}]"#,
        r#"[{"allow": true, "access": "rwm"}]"#,
        r#"[{"allow": true, "access": "r"}, {"allow": false, "type": "b", "access": "r"}]"#,
        r#"[{"allow": true, "type": "b", "major": 8, "access": "r"},
            {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "w"},
            {"allow": true, "type": "c", "major": 10, "minor": -1, "access": "rw"},
            {"allow": true, "type": "c", "minor": 7, "access": "m"}]"#,
        r#"[{"allow": true, "type": "b", "major": 8, "minor": 0, "access": "rw"},
            {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
            {"allow": false, "type": "b", "major": 8, "access": "w"},
            {"allow": false, "type": "c", "access": "rwm"}]"#,
        r#"[{"allow": true, "access": "rwm"},
            {"allow": false, "type": "b", "access": "rwm"},
            {"allow": false, "type": "c", "major": 10, "access": "w"},
            {"allow": true, "type": "b", "access": "r"}]"#,
    ];

    /// What the rules say, directly: for each kind of access the last rule that fits.
    pub(in crate::cgroup) fn granted(
        rules: &[DeviceRule],
        class: i32,
        access: i32,
        major: u32,
        minor: u32,
    ) -> bool {
        [MKNOD, READ, WRITE].iter().filter(|bit| access & **bit != 0).all(|bit| {
            let fits = |rule: &&DeviceRule| {
                let class_fits = match rule.class {
                    DeviceClass::All => true,
                    DeviceClass::Block => class == BLOCK,
                    DeviceClass::Character => class == CHARACTER,
                };
                let access_fits = match *bit {
                    MKNOD => rule.mknod,
                    READ => rule.read,
                    _ => rule.write,
                };
                class_fits
                    && access_fits
                    && rule.major.is_none_or(|n| n == major)
                    && rule.minor.is_none_or(|n| n == minor)
            };
            rules.iter().rev().find(fits).is_some_and(|rule| rule.allow)
        })
    }

    /// Interprets the instructions that a program can have.
    fn run(program: &[u64], class: i32, access: i32, major: u32, minor: u32) -> bool {
        let first = (access << 16 | class).cast_unsigned();
        let context = [first, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0_usize;
        loop {
            let bytes = program[at].to_le_bytes();
            let (to, from) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let offset = i16::from_le_bytes([bytes[2], bytes[3]]);
            let value = i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let extended = i64::from(value).cast_unsigned();
            at += 1;
            let jump = match bytes[0] {
                0x61 => {
                    registers[to] = context[usize::try_from(offset / 4).unwrap()].into();
                    false
                }
                0xbf => {
                    registers[to] = registers[from];
                    false
                }
                0xb7 => {
                    registers[to] = extended;
                    false
                }
                0x54 => {
                    registers[to] &= u64::from(value.cast_unsigned());
                    false
                }
                0x74 => {
                    registers[to] = (registers[to] & 0xffff_ffff) >> value;
                    false
                }
                0x55 => registers[to] != extended,
                0x15 => registers[to] == extended,
                0x95 => return registers[0] == 1,
                code => panic!("instruction {code:#x}"),
            };
            if jump {
                at += usize::try_from(offset).unwrap();
            }
        }
    }

    pub(in crate::cgroup) fn from_json(json: serde_json::Value) -> Vec<DeviceRule> {
        let listed: Vec<LinuxDeviceCgroup> = serde_json::from_value(json).unwrap();
        let mut problems = Problems::default();
        let rules = rules(&listed, &mut problems);
        assert!(problems.is_empty(), "{problems}");
        rules
    }

    #[test]
    fn program_says_what_the_rules_say() {
        let hole = r#"[{"allow": true, "type": "b", "access": "rwm"},
            {"allow": false, "type": "b", "major": 8, "minor": 1, "access": "rm"}]"#;
        for list in LISTS.into_iter().chain([hole]) {
            let rules = from_json(serde_json::from_str(list).unwrap());
            let program = program(&rules);
            for class in [BLOCK, CHARACTER] {
                for access in 1..=7 {
                    for major in [0, 1, 5, 8, 10, 136, u32::MAX] {
                        for minor in [0, 1, 2, 3, 7, 200, u32::MAX] {
                            assert_eq!(
                                run(&program, class, access, major, minor),
                                granted(&rules, class, access, major, minor),
                                "{list} class {class} access {access} {major}:{minor}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn defaults_are_always_there_and_nothing_else() {
        let rules = from_json(serde_json::json!([{"allow": false, "access": "rwm"}]));
        assert!(granted(&rules, CHARACTER, READ | WRITE, 1, 3));
        assert!(granted(&rules, CHARACTER, READ | WRITE, 136, 99));
        assert!(granted(&rules, BLOCK, MKNOD, 8, 0));
        assert!(!granted(&rules, BLOCK, READ, 8, 0));
        assert!(!granted(&rules, CHARACTER, READ, 1, 1));
    }

    #[test]
    fn odd_rules_are_refused_by_their_place() {
        for (rule, says) in [
            (serde_json::json!({"allow": true, "access": "rx"}), "access 'x'"),
            (serde_json::json!({"allow": false, "type": "c", "major": -2}), "major -2"),
            (serde_json::json!({"allow": false, "type": "c", "minor": 4_294_967_296_i64}), "minor"),
            (serde_json::json!({"allow": true, "major": 8, "access": "r"}), "no type"),
            (serde_json::json!({"allow": true, "type": "p", "access": "r"}), "named pipe"),
            (serde_json::json!({"allow": true, "type": "c"}), "what it allows"),
        ] {
            let listed: Vec<LinuxDeviceCgroup> =
                serde_json::from_value(serde_json::json!([rule])).unwrap();
            let mut problems = Problems::default();
            rules(&listed, &mut problems);
            let text = problems.to_string();
            assert!(
                text.starts_with("linux.resources.devices[0]") && text.contains(says),
                "{text}"
            );
        }
    }

    #[test]
    fn rules_beyond_what_a_request_holds_are_refused() {
        let listed: Vec<LinuxDeviceCgroup> = (0..1100)
            .map(|minor| serde_json::json!({"allow": true, "type": "b", "major": 8, "minor": minor, "access": "r"}))
            .map(|rule| serde_json::from_value(rule).unwrap())
            .collect();
        for (version, says) in [(CgroupVersion::V1, "rules"), (CgroupVersion::V2, "instructions")] {
            let mut problems = Problems::default();
            assert_eq!(restrict(version, &listed, &mut problems), None);
            let text = problems.to_string();
            assert!(
                text.starts_with("linux.resources.devices: makes ") && text.contains(says),
                "{text}"
            );
        }
    }
}
