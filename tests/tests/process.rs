// SPDX-License-Identifier: Apache-2.0
//! The process is what `process` of the config says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use outrigger_tests::expect::has_capability;
use outrigger_tests::{
    Bundle, Container, deviation, needs_capability, needs_root, output, run, skip,
};
use serde_json::{Value, json};

/// The value of a field of `/proc/self/status` in a container.
fn status(bundle: Bundle, fields: &[&str]) -> Vec<String> {
    let text = output(bundle.args(&["cat", "/proc/self/status"]));
    let field = |name: &&str| {
        let line = text.lines().find_map(|l| l.strip_prefix(*name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
    };
    fields.iter().map(field).collect()
}

#[test]
fn arguments_arrive_as_they_are() {
    needs_root!();
    let odd = ["a b", "", "\n", "\u{1}\u{7f}\u{e9}", "'\"\\$x`", "-", "--", "*"];
    let words = [&["printf", "[%s]"], &odd[..]].concat();
    let expected: String = odd.iter().map(|word| format!("[{word}]")).collect();
    assert_eq!(output(Bundle::new().args(&words)), expected);
}

#[test]
fn arguments_may_be_many_and_long() {
    needs_root!();
    let long = "x".repeat(100_000);
    let mut words = vec!["sh", "-c", "echo $# ${#1} ${#10}", "sh"];
    words.extend([long.as_str(); 10]);
    let many = "y".repeat(20);
    words.extend(vec![many.as_str(); 10_000]);
    assert_eq!(output(Bundle::new().args(&words)), "10010 100000 100000\n");
}

#[test]
fn arguments_that_the_kernel_refuses_are_an_error() {
    needs_root!();
    let too_long = "x".repeat(200_000);
    let line = run(Bundle::new().args(&["echo", &too_long])).failed();
    assert!(line.to_lowercase().contains("argument list too long"), "{line}");
}

#[test]
fn the_environment_is_the_configs_and_not_the_callers() {
    needs_root!();
    let bundle = Bundle::new().args(&["cat", "/proc/self/environ"]).with(|config| {
        config["process"]["env"] = json!(["PATH=/bin", "HOME=/x", "A= b=c ", "N=one\ntwo", "E="]);
    });
    let container = Container::of(bundle);
    let outcome = container.foreground().variable("LEAKED", "1").finish().succeeded();
    let stdout = outcome.stdout();
    let mut found: Vec<&str> = stdout.split_terminator('\0').collect();
    found.sort_unstable();
    assert_eq!(found, ["A= b=c ", "E=", "HOME=/x", "N=one\ntwo", "PATH=/bin"]);
}

#[test]
fn the_last_of_two_variables_with_one_name_wins() {
    needs_root!();
    let bundle = Bundle::new().args(&["env"]).with(|config| {
        config["process"]["env"] = json!(["PATH=/bin", "A=first", "B=x", "A=second"]);
    });
    let environment = output(bundle);
    let found: Vec<&str> = environment.lines().filter(|l| l.starts_with("A=")).collect();
    assert_eq!(found, ["A=second"]);
}

#[test]
fn home_is_that_of_the_containers_user_unless_set() {
    needs_root!();
    assert_eq!(output(Bundle::shell("echo $HOME")), "/root\n");
}

#[test]
fn the_environment_may_be_large() {
    needs_root!();
    let bundle = Bundle::shell("echo ${#V0} ${#V19}").with(|config| {
        let env = config["process"]["env"].as_array_mut().unwrap();
        env.extend((0..20).map(|n| json!(format!("V{n}={}", "v".repeat(60_000)))));
    });
    assert_eq!(output(bundle), "60000 60000\n");
}

#[test]
fn the_program_is_looked_up_in_the_containers_path() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().args(&["prog"]).with(|config| {
        config["process"]["env"] = json!(["PATH=/nowhere:/opt/a:/opt/b"]);
    });
    for (dir, mode) in [("a", 0o644), ("b", 0o755)] {
        let file = bundle.rootfs().join("opt").join(dir).join("prog");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("#!/bin/sh\necho {dir}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(output(bundle), "b\n");
}

#[test]
fn a_program_that_is_not_in_the_path_is_not_found() {
    needs_root!();
    let line = run(Bundle::new().args(&["no-such-program"])).failed();
    assert!(line.contains("executable file not found in $PATH"), "{line}");
    assert!(line.contains("no-such-program"), "{line}");
}

#[test]
fn a_program_that_does_not_exist_is_an_error() {
    needs_root!();
    let line = run(Bundle::new().args(&["/no/such/program"])).failed();
    assert!(line.contains("no such file or directory"), "{line}");
    assert!(line.contains("/no/such/program"), "{line}");
}

#[test]
fn a_program_that_is_not_executable_is_an_error() {
    needs_root!();
    run(Bundle::new().args(&["/etc/passwd"])).failed_with("permission denied");
}

#[test]
fn a_program_that_is_a_directory_is_an_error() {
    needs_root!();
    let line = run(Bundle::new().args(&["/etc"])).failed();
    assert!(line.contains("permission denied") || line.contains("is a directory"), "{line}");
}

#[test]
fn a_program_of_unknown_format_is_an_error() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().args(&["/noise"]);
    fs::write(bundle.rootfs().join("noise"), [1, 2, 3]).unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bundle.rootfs().join("noise"), executable).unwrap();
    run(bundle).failed_with("exec format error");
}

#[test]
fn a_program_that_is_missing_is_told_before_start() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["no-such-program"]));
    container.create().failed_with("executable file not found in $PATH");
    container.assert_nothing_left();
}

#[test]
fn user_and_groups_are_the_configs() {
    needs_root!();
    let bundle = Bundle::shell("id -u; id -g; id -G").with(|config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 70000]});
    });
    assert_eq!(output(bundle), "1000\n1001\n1001 5 70000\n");
}

#[test]
fn groups_of_the_caller_are_not_kept() {
    needs_root!();
    assert_eq!(status(Bundle::new(), &["Uid", "Gid", "Groups"]), ["0\t0\t0\t0", "0\t0\t0\t0", ""]);
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

#[test]
fn capabilities_are_the_configs() {
    needs_root!();
    let none = "0000000000000000";
    // CAP_KILL, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE.
    let usual = "0000000020000420";
    let bundle = Bundle::new().with(|config| {
        config["process"]["capabilities"]["ambient"] = json!([]);
    });
    assert_eq!(status(bundle, &SETS), [none, usual, usual, usual, none]);
}

#[test]
fn capabilities_may_be_none_at_all() {
    needs_root!();
    let bundle = Bundle::new().with(|config| config["process"]["capabilities"] = json!({}));
    assert_eq!(status(bundle, &SETS), ["0000000000000000"; 5]);
}

#[test]
fn an_ordinary_user_has_no_capabilities_but_ambient_ones() {
    needs_root!();
    let with_ambient = |ambient| {
        Bundle::new().with(|config| {
            config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            let capabilities = &mut config["process"]["capabilities"];
            for set in ["bounding", "permitted", "effective", "inheritable"] {
                capabilities[set] = json!(["CAP_KILL", "CAP_CHOWN"]);
            }
            capabilities["ambient"] = ambient;
        })
    };
    let (none, both, kill) = ("0000000000000000", "0000000000000021", "0000000000000020");
    assert_eq!(status(with_ambient(json!([])), &SETS), [both, none, none, both, none]);
    let ambient = status(with_ambient(json!(["CAP_KILL"])), &SETS);
    assert_eq!(ambient, [both, kill, kill, both, kill]);
}

#[test]
fn a_process_that_changes_its_user_loses_its_capabilities() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().privileged();
    let bundle = bundle.args(&["su", "-s", "/bin/sh", "u", "-c", "grep CapEff /proc/self/status"]);
    let accounts = "root:x:0:0::/:/bin/sh\nu:x:1000:1000::/:/bin/sh\n";
    fs::write(bundle.rootfs().join("etc/passwd"), accounts).unwrap();
    assert_eq!(output(bundle), "CapEff:\t0000000000000000\n");
}

#[test]
fn no_new_privileges_is_the_configs() {
    needs_root!();
    for (set, expected) in [(true, "1"), (false, "0")] {
        let bundle = Bundle::new().with(|c| c["process"]["noNewPrivileges"] = json!(set));
        assert_eq!(status(bundle, &["NoNewPrivs"]), [expected]);
    }
}

/// The limits of a container whose caller has no more than 200 files.
fn limits(limits: &Value) -> impl Fn(&str) -> String + use<> {
    let bundle = Bundle::new().args(&["cat", "/proc/self/limits"]);
    let bundle = bundle.with(|config| config["process"]["rlimits"] = limits.clone());
    let container = Container::of(bundle);
    let call = container.foreground().by_shell("ulimit -n 200");
    let text = call.finish().succeeded().stdout();
    move |name| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn limits_are_the_configs() {
    needs_root!();
    let limit = limits(&json!([
        {"type": "RLIMIT_NOFILE", "soft": 70, "hard": 80},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NPROC", "soft": 123, "hard": 456},
    ]));
    assert_eq!(limit("Max open files"), "70 80");
    assert_eq!(limit("Max core file size"), "0 0");
    assert_eq!(limit("Max processes"), "123 456");
}

#[test]
fn limits_may_be_above_those_of_the_caller() {
    needs_root!();
    needs_capability!("CAP_SYS_RESOURCE");
    let limit = limits(&json!([{"type": "RLIMIT_NOFILE", "soft": 700, "hard": 800}]));
    assert_eq!(limit("Max open files"), "700 800");
}

#[test]
fn limits_that_cannot_be_had_are_an_error() {
    needs_root!();
    if has_capability("CAP_SYS_RESOURCE") {
        skip!("root may raise every limit here");
    }
    let bundle = Bundle::new().args(&["true"]);
    let container = Container::of(bundle);
    let call = container.foreground().by_shell("ulimit -n 200");
    let line = call.finish().failed();
    assert!(line.contains("rlimit") || line.contains("RLIMIT_NOFILE"), "{line}");
    container.assert_nothing_left();
}

#[test]
fn a_soft_limit_above_the_hard_one_is_refused() {
    needs_root!();
    let bundle = Bundle::new().args(&["true"]).with(|config| {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 900, "hard": 800}]);
    });
    run(bundle).failed();
}

#[test]
fn the_umask_is_the_configs_or_0022_whatever_the_callers() {
    needs_root!();
    for (mask, expected) in
        [(json!(0o027), "0027\n"), (json!(0), "0000\n"), (json!(null), "0022\n")]
    {
        let bundle = Bundle::shell("umask").with(|config| {
            if !mask.is_null() {
                config["process"]["user"]["umask"] = mask;
            }
        });
        let container = Container::of(bundle);
        let call = container.foreground().by_shell("umask 0077");
        assert_eq!(call.finish().succeeded().stdout(), expected);
        container.assert_nothing_left();
    }
}

#[test]
fn the_oom_score_adjustment_is_the_configs() {
    needs_root!();
    let bundle = Bundle::new().args(&["cat", "/proc/self/oom_score_adj"]);
    let bundle = bundle.with(|config| config["process"]["oomScoreAdj"] = json!(321));
    assert_eq!(output(bundle), "321\n");
}

#[test]
fn the_working_directory_is_the_configs() {
    needs_root!();
    let bundle = Bundle::new().args(&["pwd"]).with(|c| c["process"]["cwd"] = json!("/var"));
    assert_eq!(output(bundle), "/var\n");
}

#[test]
fn a_missing_working_directory_is_made() {
    needs_root!();
    let bundle = Bundle::shell_in_own_rootfs("pwd; stat -c '%u %a' .");
    let bundle = bundle.with(|config| config["process"]["cwd"] = json!("/not/there yet"));
    assert_eq!(output(bundle), "/not/there yet\n0 755\n");
}

#[test]
fn a_working_directory_that_is_a_file_is_an_error() {
    needs_root!();
    let bundle = Bundle::new().args(&["pwd"]).with(|c| c["process"]["cwd"] = json!("/etc/passwd"));
    run(bundle).failed();
}

#[test]
fn a_relative_working_directory_is_refused() {
    needs_root!();
    let bundle = Bundle::new().args(&["pwd"]).with(|c| c["process"]["cwd"] = json!("var"));
    run(bundle).failed_with("wd");
}

/// What `/proc/self/status` says of a process that was started, and of one that was created before.
fn status_after_run_and_create() -> [String; 2] {
    let container = Container::of(Bundle::new().args(&["cat", "/proc/self/status"]));
    let created = container.create().succeeded();
    let _ = container.start().succeeded();
    container.wait_for("stopped");
    [output(Bundle::new().args(&["cat", "/proc/self/status"])), created.stdout()]
}

#[test]
fn no_signal_is_blocked() {
    needs_root!();
    for status in status_after_run_and_create() {
        assert!(status.contains("SigBlk:\t0000000000000000\n"), "{status}");
    }
}

#[test]
fn no_signal_is_ignored_whatever_the_caller_ignores() {
    needs_root!();
    deviation!("runc", "leaves the first real-time signal ignored, and what its caller ignores");
    for status in status_after_run_and_create() {
        assert!(status.contains("SigIgn:\t0000000000000000\n"), "{status}");
    }
    let container = Container::of(Bundle::new().args(&["grep", "SigIgn", "/proc/self/status"]));
    let call = container.foreground().by_shell("trap '' INT QUIT HUP PIPE");
    assert_eq!(call.finish().succeeded().stdout(), "SigIgn:\t0000000000000000\n");
}

#[test]
fn the_container_is_the_first_process_of_its_pid_namespace_and_sees_no_other() {
    needs_root!();
    assert_eq!(output(Bundle::shell("set -- /proc/[0-9]*; echo $*")), "/proc/1\n");
}
