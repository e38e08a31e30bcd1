// SPDX-License-Identifier: Apache-2.0
//! What is written to a container's cgroups: limits, the freezer, signals to all members.

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::path::{ControlFile, ControlValue, FieldName};

/// Most settings of one request.
pub const MAX_SETTINGS: usize = 128;

/// A value for one control file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Which of the request's cgroups, by position.
    pub group: u16,
    /// The member of the config that asks for it, to be named when it cannot be had.
    pub field: FieldName,
    /// The file.
    pub file: ControlFile,
    /// What is written to it, with one write(2).
    pub value: ControlValue,
    /// What if there is no such file.
    pub missing: Missing,
}

/// What to do where the kernel has no such file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Fail.
    Refuse,
    /// Nothing: what is asked for holds without it.
    Skip,
    /// Write this in its place.
    Instead(ControlFile, ControlValue),
}

/// Settings, at most [`MAX_SETTINGS`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Setting>", into = "Vec<Setting>")]
pub struct Settings(Vec<Setting>);

impl Settings {
    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Setting> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Setting>> for Settings {
    type Error = String;

    fn try_from(settings: Vec<Setting>) -> Result<Self, String> {
        if settings.len() > MAX_SETTINGS {
            return Err(format!("{} settings, more than {MAX_SETTINGS}", settings.len()));
        }
        Ok(Self(settings))
    }
}

impl From<Settings> for Vec<Setting> {
    fn from(settings: Settings) -> Self {
        settings.0
    }
}

/// Writes control files of existing cgroups. In the unified hierarchy the controllers are handed down to
/// the cgroup first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateCgroup {
    /// The cgroups.
    pub groups: Cgroups,
    /// What is written. A value that contradicts one that comes later is written after that.
    pub settings: Settings,
}

/// Freezes or thaws the members of the container's cgroups. The reply comes when they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// The cgroups.
    pub groups: Cgroups,
    /// Whether they are to stand still.
    pub frozen: bool,
}

/// Sends a signal to every member of the container's cgroups and of those below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCgroup {
    /// The cgroups.
    pub groups: Cgroups,
    /// The signal's number, 1 to 64.
    pub signal: i32,
}

/// Most processes of one [`SignalEach`].
pub const MAX_PROCESSES: usize = 4096;

/// Processes by pid and start time, at most [`MAX_PROCESSES`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<(i32, u64)>", into = "Vec<(i32, u64)>")]
pub struct Processes(Vec<(i32, u64)>);

impl Processes {
    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, (i32, u64)> {
        self.0.iter()
    }
}

impl TryFrom<Vec<(i32, u64)>> for Processes {
    type Error = String;

    fn try_from(list: Vec<(i32, u64)>) -> Result<Self, String> {
        if list.len() > MAX_PROCESSES {
            return Err(format!("{} processes, more than {MAX_PROCESSES}", list.len()));
        }
        Ok(Self(list))
    }
}

impl From<Processes> for Vec<(i32, u64)> {
    fn from(processes: Processes) -> Self {
        processes.0
    }
}

/// Sends a signal to each of some processes, as [`crate::request::Signal`] does. One that is gone by then
/// is no failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalEach {
    /// The processes.
    pub processes: Processes,
    /// The signal's number, 1 to 64.
    pub signal: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_settings_is_bounded() {
        let setting = Setting {
            group: 0,
            field: FieldName::new("pids.limit").unwrap(),
            file: ControlFile::new("pids.max").unwrap(),
            value: ControlValue::new("1").unwrap(),
            missing: Missing::Refuse,
        };
        assert!(Settings::try_from(vec![setting.clone(); MAX_SETTINGS]).is_ok());
        assert!(Settings::try_from(vec![setting; MAX_SETTINGS + 1]).is_err());
    }
}
