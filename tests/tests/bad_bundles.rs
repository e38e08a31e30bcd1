// SPDX-License-Identifier: Apache-2.0
//! Bundles that are none, and files in them that are no config.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use outrigger_tests::{Bundle, Container, deviation, needs_root, ours_only};

/// Tries to create and run a container from a bundle whose config is this text.
#[track_caller]
fn refused(text: impl AsRef<[u8]>) -> String {
    let container = Container::of(Bundle::new());
    fs::write(container.bundle().config_file(), text).unwrap();
    attempt(&container)
}

#[track_caller]
fn attempt(container: &Container) -> String {
    let line = container.create().failed();
    container.assert_nothing_left();
    container.run().failed();
    container.assert_nothing_left();
    line
}

/// The text of a good config.
fn good() -> String {
    let bundle = Bundle::new().args(&["true"]);
    fs::read_to_string(bundle.config_file()).unwrap()
}

#[test]
fn a_bundle_that_does_not_exist_is_refused() {
    needs_root!();
    let container = Container::of(Bundle::new());
    let creation = container.runtime().call(&["create", "--bundle", "/no/such/bundle"]);
    creation.arg(container.id()).finish().failed_with("/no/such/bundle");
    container.assert_nothing_left();
}

#[test]
fn a_bundle_that_is_a_file_is_refused() {
    needs_root!();
    let container = Container::of(Bundle::new());
    let creation = container.runtime().call(&["create"]).bundle(&container.bundle().config_file());
    creation.arg(container.id()).finish().failed();
    container.assert_nothing_left();
}

#[test]
fn a_bundle_without_a_config_is_refused() {
    needs_root!();
    let container = Container::of(Bundle::new());
    fs::remove_file(container.bundle().config_file()).unwrap();
    let line = attempt(&container);
    assert!(line.contains("config.json"), "{line}");
}

#[test]
fn a_config_that_is_no_file_is_refused() {
    needs_root!();
    ours_only!("may wait for a writer for ever");
    let container = Container::of(Bundle::new());
    let file = container.bundle().config_file();
    let begin = Instant::now();
    for make in [
        (|file| fs::create_dir(file).unwrap()) as fn(&std::path::Path),
        |file| mkfifo(file, Mode::S_IRWXU).unwrap(),
        |file| symlink("/dev/zero", file).unwrap(),
        |file| symlink(file, file).unwrap(),
        |file| symlink("/no/such/config", file).unwrap(),
    ] {
        let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
        make(&file);
        assert!(attempt(&container).contains("config.json"));
    }
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_config_that_is_no_json_is_refused() {
    needs_root!();
    for text in ["", " ", "{", "nonsense", "{\"ociVersion\": \"1.0.0\",}", "\0", "{}{}", "NaN"] {
        refused(text);
    }
    refused([0xff, 0xfe, 0x7b, 0x7d]);
}

#[test]
fn a_config_that_is_no_object_is_refused() {
    needs_root!();
    for text in ["[]", "1", "\"text\"", "[{}]"] {
        refused(text);
    }
}

#[test]
fn an_empty_config_is_refused() {
    needs_root!();
    refused("{}");
}

#[test]
fn a_config_that_begins_with_a_byte_order_mark_is_refused() {
    needs_root!();
    refused(format!("\u{feff}{}", good()));
}

#[test]
fn a_config_that_is_cut_short_is_refused() {
    needs_root!();
    let text = good();
    let end = text.trim_end().len();
    for length in (0..end).step_by(end / 25) {
        refused(&text[..length]);
    }
}

#[test]
fn x05_a_config_of_100_mib_is_refused() {
    needs_root!();
    ours_only!("reads what there is");
    let container = Container::of(Bundle::new());
    let mut file = File::options().append(true).open(container.bundle().config_file()).unwrap();
    let spaces = vec![b' '; 1 << 20];
    for _ in 0..100 {
        file.write_all(&spaces).unwrap();
    }
    let begin = Instant::now();
    let line = attempt(&container);
    assert!(line.contains("config.json") && line.contains("longer than"), "{line}");
    assert!(begin.elapsed() < Duration::from_secs(5), "it has read it all");
}

#[test]
fn x05_a_config_of_100_000_levels_is_refused() {
    needs_root!();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for value in [deep(100_000), objects] {
        refused(&value);
        refused(format!("{{\"ociVersion\":\"1.0.0\",\"x\":{value}}}"));
        refused("[".repeat(100_000));
    }
}

#[test]
fn x05_numbers_beyond_all_bounds_are_refused() {
    needs_root!();
    let text = good();
    for number in ["-1", "4294967296", "18446744073709551616", "1e400", "1.5", "0x1", "01"] {
        let changed = text.replacen("\"uid\": 0", &format!("\"uid\": {number}"), 1);
        assert_ne!(changed, text);
        refused(changed);
    }
}

#[test]
fn x05_a_million_variables_are_refused() {
    needs_root!();
    deviation!("runc", "does not come to an end with it");
    let variables = (0..1_000_000).map(|n| format!("\"V{n}=\"")).collect::<Vec<_>>().join(",");
    let text = good().replacen("\"env\": [", &format!("\"env\": [{variables},"), 1);
    refused(text);
}
