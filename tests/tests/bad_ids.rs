// SPDX-License-Identifier: Apache-2.0
//! Names that are none.

use std::fs;

use outrigger_tests::host::Host;
use outrigger_tests::{Bundle, Container, Runtime, deviation, needs_root, ours_only};

/// What cannot be a name and can be an argument.
fn bad_ids() -> Vec<String> {
    let mut ids: Vec<String> = [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "/a",
        "../x",
        "a/../b",
        "a b",
        "con\n",
        "\u{1b}[31m",
        "n\u{e4}me",
    ]
    .map(str::to_owned)
    .to_vec();
    ids.push("x".repeat(1025));
    ids.push("x".repeat(100_000));
    ids
}

#[test]
fn t01_ids_that_are_none_are_refused() {
    needs_root!();
    deviation!("crun", "takes some of them for names");
    let (runtime, bundle) = (Runtime::under_test(), Bundle::new().args(&["true"]));
    let before = Host::now();
    for id in bad_ids() {
        for command in ["create", "run"] {
            let call = runtime.call(&[command]).bundle(bundle.path()).arg(&id);
            let line = call.finish().failed();
            assert!(!line.trim_end().contains(char::is_control), "{line:?}");
        }
        assert_eq!(runtime.known(), Vec::<String>::new(), "{id:?}");
    }
    before.assert_untouched_by("outrigger-test-none");
}

#[test]
fn t01_an_id_that_looks_like_an_option_is_refused() {
    needs_root!();
    ours_only!("may take - for a name");
    let (runtime, bundle) = (Runtime::under_test(), Bundle::new().args(&["true"]));
    for id in ["-", "-x", "--bundle", "--root"] {
        for words in [&[id][..], &["--", id]] {
            let mut call = runtime.call(&["create"]).bundle(bundle.path());
            for word in words {
                call = call.arg(word);
            }
            let _ = call.finish().ended_with(1);
        }
        assert_eq!(runtime.known(), Vec::<String>::new(), "{id:?}");
    }
}

#[test]
fn t01_no_command_reaches_out_of_the_state_directory() {
    needs_root!();
    // One that follows such a name deletes what is there.
    ours_only!("is not trusted with it");
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = container.create().succeeded();
    let root = container.runtime().root();
    let decoy = root.with_file_name("decoy");
    fs::create_dir(&decoy).unwrap();
    fs::write(decoy.join("state.json"), "{}").unwrap();
    let beside = format!("../state/{}", container.id());
    for id in [".", "..", "../decoy", &beside] {
        for command in ["state", "start", "kill", "delete"] {
            let outcome = container.runtime().call(&[command, id]).finish();
            outcome.failed();
        }
        // By force an unknown container is no error; what is there must stay all the same.
        let _ = container.runtime().call(&["delete", "--force", id]).finish();
    }
    assert!(decoy.join("state.json").exists(), "the directory beside is gone");
    assert_eq!(container.status(), "created");
}

#[test]
fn a_command_without_an_id_is_refused() {
    for command in ["create", "run", "start", "state", "kill", "delete"] {
        let outcome = Runtime::under_test().call(&[command]).finish();
        assert!(outcome.code().is_some_and(|code| code != 0), "{command}");
        assert!(!outcome.stderr().is_empty(), "{command}");
    }
}
