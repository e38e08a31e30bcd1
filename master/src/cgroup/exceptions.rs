// SPDX-License-Identifier: Apache-2.0
//! Device rules in the form of the version 1 controller: a verdict for all devices and exceptions from
//! it.
//!
//! That controller does not go through rules in order. Written to it, a rule that takes back a part of
//! an earlier one does nothing at all, and an access is granted only where one exception has the whole
//! of it. So the exceptions that the rules amount to are worked out here.

use std::collections::BTreeMap;
use std::fmt;

use outrigger_protocol::cgroup::{DeviceClass, DeviceRule};

/// What an exception is about. Ordered, wildcards first, so that the same rules give the same list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Devices {
    is_block: bool,
    major: Option<u32>,
    minor: Option<u32>,
}

impl Devices {
    /// Whether all of `other` is in it.
    fn cover(self, other: Self) -> bool {
        self.is_block == other.is_block
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    /// Whether they have a device in common.
    fn overlap(self, other: Self) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.is_block == other.is_block
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
    }
}

/// Bits for reading, writing and making nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access(u8);

impl Access {
    const ALL: Self = Self(7);

    fn of(rule: &DeviceRule) -> Self {
        Self(u8::from(rule.read) | u8::from(rule.write) << 1 | u8::from(rule.mknod) << 2)
    }
}

/// A part of an exception that a later rule takes back, which the controller cannot express.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hole {
    rule: DeviceRule,
    exception: DeviceRule,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |rule: &DeviceRule| if rule.allow { "allow" } else { "deny" };
        write!(
            f,
            "{} {} cannot take back a part of {} {} with version 1 of cgroups; list the devices \
             singly",
            verb(&self.rule),
            Shown(&self.rule),
            verb(&self.exception),
            Shown(&self.exception)
        )
    }
}

/// A rule as the controller's own files show it: `c 1:3 rwm`.
pub(crate) struct Shown<'a>(pub(crate) &'a DeviceRule);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.0;
        f.write_str(match rule.class {
            DeviceClass::All => "a ",
            DeviceClass::Block => "b ",
            DeviceClass::Character => "c ",
        })?;
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{}:{} ", number(rule.major), number(rule.minor))?;
        for (set, letter) in [(rule.read, "r"), (rule.write, "w"), (rule.mknod, "m")] {
            f.write_str(if set { letter } else { "" })?;
        }
        Ok(())
    }
}

/// The rules to write, the first of them for all devices.
///
/// # Errors
/// A rule that takes back a part of a wider one.
pub(super) fn from_rules(rules: &[DeviceRule]) -> Result<Vec<DeviceRule>, Hole> {
    let mut list = Exceptions { default: false, access: BTreeMap::new() };
    for rule in rules {
        list.apply(rule)?;
    }
    Ok(list.rules())
}

struct Exceptions {
    /// Whether devices without an exception may be used.
    default: bool,
    access: BTreeMap<Devices, Access>,
}

impl Exceptions {
    fn apply(&mut self, rule: &DeviceRule) -> Result<(), Hole> {
        let access = Access::of(rule);
        let is_wide = rule.major.is_none() && rule.minor.is_none();
        // Without a type there is only one rule that the controller reads as it is written.
        if rule.class == DeviceClass::All && is_wide && access == Access::ALL {
            self.default = rule.allow;
            self.access.clear();
            return Ok(());
        }
        for is_block in [false, true] {
            let is_meant = match rule.class {
                DeviceClass::All => true,
                DeviceClass::Block => is_block,
                DeviceClass::Character => !is_block,
            };
            if !is_meant {
                continue;
            }
            let devices = Devices { is_block, major: rule.major, minor: rule.minor };
            if rule.allow == self.default {
                self.take_back(devices, access, rule)?;
            } else {
                self.access.entry(devices).or_insert(Access(0)).0 |= access.0;
            }
        }
        Ok(())
    }

    fn take_back(
        &mut self,
        devices: Devices,
        access: Access,
        rule: &DeviceRule,
    ) -> Result<(), Hole> {
        for (exception, excepted) in &mut self.access {
            if devices.cover(*exception) {
                excepted.0 &= !access.0;
            } else if devices.overlap(*exception) && excepted.0 & access.0 != 0 {
                let exception = as_rule(!self.default, *exception, *excepted);
                return Err(Hole { rule: *rule, exception });
            }
        }
        self.access.retain(|_, excepted| excepted.0 != 0);
        Ok(())
    }

    fn rules(&self) -> Vec<DeviceRule> {
        let all = DeviceRule {
            allow: self.default,
            class: DeviceClass::All,
            major: None,
            minor: None,
            read: true,
            write: true,
            mknod: true,
        };
        let exceptions = self.access.iter().map(|(devices, access)| {
            let wider = [(None, None), (None, devices.minor), (devices.major, None)];
            let inherited = wider.iter().fold(0, |bits, (major, minor)| {
                let wider = Devices { is_block: devices.is_block, major: *major, minor: *minor };
                bits | self.access.get(&wider).map_or(0, |access| access.0)
            });
            as_rule(!self.default, *devices, Access(access.0 | inherited))
        });
        std::iter::once(all).chain(exceptions).collect()
    }
}

fn as_rule(allow: bool, devices: Devices, access: Access) -> DeviceRule {
    let Devices { is_block, major, minor } = devices;
    let class = if is_block { DeviceClass::Block } else { DeviceClass::Character };
    let has = |bit: u8| access.0 & bit != 0;
    DeviceRule { allow, class, major, minor, read: has(1), write: has(2), mknod: has(4) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::devices::tests::{LISTS, from_json, granted};

    /// The controller of the kernel (security/device_cgroup.c): what it makes of rules written to it, and
    /// what it grants then.
    struct Controller {
        default: bool,
        exceptions: Vec<(Devices, u8)>,
    }

    impl Controller {
        fn new() -> Self {
            Self { default: true, exceptions: Vec::new() }
        }

        fn write(&mut self, rule: &DeviceRule) {
            if rule.class == DeviceClass::All {
                self.default = rule.allow;
                self.exceptions.clear();
                return;
            }
            let is_block = rule.class == DeviceClass::Block;
            let devices = Devices { is_block, major: rule.major, minor: rule.minor };
            let access = Access::of(rule).0;
            let place = self.exceptions.iter().position(|(d, _)| *d == devices);
            match (rule.allow == self.default, place) {
                (true, Some(i)) => self.exceptions[i].1 &= !access,
                (true, None) => {}
                (false, Some(i)) => self.exceptions[i].1 |= access,
                (false, None) => self.exceptions.push((devices, access)),
            }
        }

        fn grants(&self, devices: Devices, access: u8) -> bool {
            let mut fitting = self.exceptions.iter().filter(|(e, _)| e.cover(devices));
            if self.default {
                !fitting.any(|(_, excepted)| excepted & access != 0)
            } else {
                fitting.any(|(_, excepted)| excepted & access == access)
            }
        }
    }

    #[test]
    fn controller_grants_what_the_rules_say() {
        for list in LISTS {
            let rules = from_json(serde_json::from_str(list).unwrap());
            let written = from_rules(&rules).unwrap_or_else(|hole| panic!("{list}: {hole}"));
            let mut controller = Controller::new();
            written.iter().for_each(|rule| controller.write(rule));
            for is_block in [false, true] {
                for access in 1..=7_u8 {
                    for major in [0, 1, 5, 8, 10, 136, 4095] {
                        for minor in [0, 1, 2, 3, 7, 200] {
                            let devices =
                                Devices { is_block, major: Some(major), minor: Some(minor) };
                            let class = if is_block { 1 } else { 2 };
                            // BPF_DEVCG_ACC_*: making nodes is 1, reading 2, writing 4.
                            let bits = i32::from(access << 1 & 6 | access >> 2);
                            assert_eq!(
                                controller.grants(devices, access),
                                granted(&rules, class, bits, major, minor),
                                "{list} block {is_block} access {access} {major}:{minor}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn all_devices_need_one_rule() {
        let rules = from_json(serde_json::json!([{"allow": true, "access": "rwm"}]));
        let written = from_rules(&rules).unwrap();
        assert_eq!(written.len(), 1);
        assert!(written[0].allow);
    }

    #[test]
    fn part_of_a_wider_rule_cannot_be_taken_back() {
        for (list, says) in [
            (
                serde_json::json!([
                    {"allow": true, "type": "c", "major": 10, "access": "rwm"},
                    {"allow": false, "type": "c", "major": 10, "minor": 200, "access": "w"},
                ]),
                "deny c 10:200 w cannot take back a part of allow c 10:* rwm",
            ),
            (
                serde_json::json!([
                    {"allow": true, "type": "b", "minor": 1, "access": "r"},
                    {"allow": false, "type": "b", "major": 8, "access": "rw"},
                ]),
                "deny b 8:* rw cannot take back a part of allow b *:1 r",
            ),
            (
                serde_json::json!([
                    {"allow": true, "access": "rwm"},
                    {"allow": false, "type": "c", "major": 1, "access": "rwm"},
                ]),
                "allow c 1:3 rwm cannot take back a part of deny c 1:* rw",
            ),
        ] {
            let hole = from_rules(&from_json(list)).unwrap_err().to_string();
            assert!(hole.starts_with(says), "{hole}");
        }
    }
}
