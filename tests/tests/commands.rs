// SPDX-License-Identifier: Apache-2.0
//! Small commands, and options that several have.

use std::fs;

use outrigger_tests::{Bundle, Container, Runtime, needs_root, ours_only};
use serde_json::Value;

#[test]
fn features_say_what_engines_look_for() {
    let outcome = Runtime::under_test().call(&["features"]).finish().succeeded();
    let features: Value = serde_json::from_str(&outcome.stdout()).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1."));
    let has = |pointer: &str, word: &str| {
        features.pointer(pointer).and_then(Value::as_array).unwrap().iter().any(|w| w == word)
    };
    assert!(has("/mountOptions", "rro") && has("/mountOptions", "bind"));
    assert!(has("/linux/namespaces", "user") && has("/linux/namespaces", "mount"));
    assert!(has("/linux/seccomp/actions", "SCMP_ACT_ERRNO"));
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
}

#[test]
fn another_file_is_read_in_place_of_the_bundles_config() {
    needs_root!();
    ours_only!("has no --config");
    let container = Container::of(Bundle::shell("echo from elsewhere"));
    let elsewhere = tempfile::tempdir().unwrap();
    let config = elsewhere.path().join("c.json");
    fs::rename(container.bundle().config_file(), &config).unwrap();
    let call = container.foreground().arg("--config").arg(&config);
    assert_eq!(call.finish().succeeded().stdout(), "from elsewhere\n");
    fs::write(&config, "{").unwrap();
    let call = container.foreground().arg("--config").arg(&config);
    call.finish().failed_with("c.json: is not JSON");
    container.assert_nothing_left();
}
