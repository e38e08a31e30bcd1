// SPDX-License-Identifier: Apache-2.0
//! Programs are run and compared with what the profile says, and with what the C library makes of
//! it.

mod interpreter;
mod model;
mod oracle;
mod refusals;
mod rules;
mod samples;

use serde_json::Value;

use super::{Arch, compile};
use interpreter::{check, run};
use model::Model;
use samples::{ALL, DIRECT, Kind, PODMAN, Random, calls, profile, random_profile, wide_profile};

const OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_GT",
    "SCMP_CMP_GE",
    "SCMP_CMP_MASKED_EQ",
];

/// Default actions after which newer calls are not set apart: the library knows nothing of that.
const LIBRARY_DEFAULTS: &[(&str, Option<u32>)] =
    &[("SCMP_ACT_ERRNO", Some(38)), ("SCMP_ACT_LOG", None), ("SCMP_ACT_TRACE", Some(7))];

#[test]
fn programs_decide_as_their_profiles_say() {
    let kind = Kind {
        default_actions: &[
            ("SCMP_ACT_ERRNO", None),
            ("SCMP_ACT_ERRNO", Some(38)),
            ("SCMP_ACT_KILL_PROCESS", None),
            ("SCMP_ACT_LOG", None),
        ],
        actions: &["SCMP_ACT_ALLOW"],
        operators: OPERATORS,
        max_args: 3,
        names: ALL,
        repeats: true,
    };
    let mut random = Random(0x5eed);
    let mut profiles: Vec<Value> = (0..200).map(|_| random_profile(&mut random, &kind)).collect();
    profiles.extend([serde_json::from_str(PODMAN).unwrap(), wide_profile()]);
    for json in profiles {
        let spec = profile(json.clone());
        let program = compile(&spec, Arch::X86_64).unwrap();
        check(&program.filter);
        let model = Model::new(&spec);
        for data in calls(&spec, &mut random) {
            let (action, _) = run(&program.filter, &data);
            assert_eq!(action, model.decide(&data), "{data:x?}\n{json}");
        }
    }
}

/// The library may refuse more: it also sees contradictions in rules that a later one makes void.
fn compare_with_the_library(name: &str, kind: &Kind) {
    const COUNT: usize = 150;
    let mut random = Random(0xfeed);
    let mut profiles: Vec<Value> = (0..COUNT).map(|_| random_profile(&mut random, kind)).collect();
    profiles.push(serde_json::from_str(PODMAN).unwrap());
    let answers = match oracle::compile(&profiles) {
        Ok(answers) => answers,
        Err(reason) => {
            println!("SKIP {name}: {reason}");
            return;
        }
    };
    let mut compared = 0;
    for (json, answer) in profiles.into_iter().zip(answers) {
        let Some(theirs) = answer else { continue };
        let spec = profile(json.clone());
        let ours = compile(&spec, Arch::X86_64).unwrap_or_else(|e| panic!("{e:?}\n{json}")).filter;
        check(&ours);
        for data in calls(&spec, &mut random) {
            assert_eq!(run(&ours, &data).0, run(&theirs, &data).0, "{data:x?}\n{json}");
        }
        compared += 1;
    }
    assert!(compared > COUNT / 2, "{compared} of {COUNT} profiles were compared");
}

#[test]
fn conditions_decide_as_with_the_c_library() {
    let kind = Kind {
        default_actions: LIBRARY_DEFAULTS,
        actions: &["SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"],
        operators: OPERATORS,
        max_args: 3,
        names: DIRECT,
        repeats: false,
    };
    compare_with_the_library("conditions_decide_as_with_the_c_library", &kind);
}

/// One condition each: where a rule with several fails, version 2.5 of the library tries the next
/// one on an argument that it has not loaded. It also gets several rules with "less" or "not" of
/// values beyond 32 bits wrong.
#[test]
fn overlapping_rules_decide_as_with_the_c_library() {
    let kind = Kind {
        default_actions: LIBRARY_DEFAULTS,
        actions: &["SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_TRAP"],
        operators: &["SCMP_CMP_EQ", "SCMP_CMP_GT", "SCMP_CMP_GE", "SCMP_CMP_MASKED_EQ"],
        max_args: 1,
        names: ALL,
        repeats: true,
    };
    compare_with_the_library("overlapping_rules_decide_as_with_the_c_library", &kind);
}
