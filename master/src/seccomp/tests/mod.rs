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
use oracle::Answer;
use samples::{Kind, PODMAN, Random, calls, profile, random_profile};

/// Rules with one action: neither order nor conflicts.
const PLAIN: Kind = Kind {
    default_actions: &[
        ("SCMP_ACT_ERRNO", None),
        ("SCMP_ACT_ERRNO", Some(38)),
        ("SCMP_ACT_KILL_PROCESS", None),
        ("SCMP_ACT_LOG", None),
    ],
    actions: &["SCMP_ACT_ALLOW"],
    operators: &[
        "SCMP_CMP_EQ",
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_GT",
        "SCMP_CMP_GE",
        "SCMP_CMP_MASKED_EQ",
    ],
    max_args: 3,
};

#[test]
fn programs_decide_as_their_profiles_say() {
    let mut random = Random(0x5eed);
    let mut profiles: Vec<Value> = (0..300).map(|_| random_profile(&mut random, &PLAIN)).collect();
    profiles.push(serde_json::from_str(PODMAN).unwrap());
    for json in profiles {
        let spec = profile(json.clone());
        let program = compile(&spec, Arch::X86_64).unwrap();
        check(&program.filter);
        for data in calls(&spec, &mut random) {
            let (action, _) = run(&program.filter, &data);
            assert_eq!(action, model::decide(&spec, &data), "{data:x?}\n{json}");
        }
    }
}

/// What the library can be asked about: default actions after which newer calls are not set apart.
fn compare_with_the_library(name: &str, kind: &Kind, count: usize) {
    let mut random = Random(0xfeed);
    let mut profiles: Vec<Value> = (0..count).map(|_| random_profile(&mut random, kind)).collect();
    profiles.push(serde_json::from_str(PODMAN).unwrap());
    let answers = match oracle::compile(&profiles) {
        Ok(answers) => answers,
        Err(reason) => {
            println!("SKIP {name}: {reason}");
            return;
        }
    };
    let mut stat = std::collections::BTreeMap::new();
    for (json, answer) in profiles.into_iter().zip(answers) {
        let spec = profile(json.clone());
        let program = compile(&spec, Arch::X86_64);
        let what = match (&answer, &program) {
            (Answer::Program(theirs), Ok(ours)) => {
                let ours = &ours.filter;
                check(ours);
                let bad = calls(&spec, &mut random)
                    .into_iter()
                    .find(|data| run(ours, data).0 != run(theirs, data).0);
                if let Some(data) = bad {
                    println!(
                        "DIFF {data:x?} ours {:x} theirs {:x}\n{json}",
                        run(ours, &data).0,
                        run(theirs, &data).0
                    );
                    "differ"
                } else {
                    "same"
                }
            }
            (Answer::Refused(_), Err(_)) => "both refuse",
            (Answer::Refused(e), Ok(_)) => {
                println!("THEY {e}\n{json}");
                "they refuse"
            }
            (Answer::Program(_), Err(e)) => {
                println!("WE {e:?}\n{json}");
                "we refuse"
            }
            (Answer::Broken, _) => "broken",
        };
        *stat.entry(what).or_insert(0) += 1;
    }
    println!("{name}: {stat:?}");
}

#[test]
fn plain_profiles_decide_as_with_the_c_library() {
    let kind = Kind {
        default_actions: &[
            ("SCMP_ACT_ERRNO", Some(38)),
            ("SCMP_ACT_LOG", None),
            ("SCMP_ACT_TRACE", Some(7)),
        ],
        ..PLAIN
    };
    compare_with_the_library("plain_profiles_decide_as_with_the_c_library", &kind, 300);
}

#[test]
fn overlapping_rules_decide_as_with_the_c_library() {
    let kind = Kind {
        default_actions: &[("SCMP_ACT_ALLOW", None), ("SCMP_ACT_ERRNO", Some(38))],
        actions: &["SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL"],
        operators: &["SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_MASKED_EQ"],
        max_args: 2,
    };
    compare_with_the_library("overlapping_rules_decide_as_with_the_c_library", &kind, 300);
}
