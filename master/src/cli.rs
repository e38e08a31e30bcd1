// SPDX-License-Identifier: Apache-2.0
//! The command line as types. Names and meanings are runc's, so that engines can call either.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Runs OCI containers: an unprivileged planner and a small privileged helper
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, disable_version_flag = true, disable_help_subcommand = true)]
#[command(arg_required_else_help = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that stand before the subcommand.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Directory that holds the state of containers
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// File to append the log to, instead of stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Format of the log
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Log in detail
    #[arg(long)]
    pub(crate) debug: bool,
    /// Let systemd manage the cgroups
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// Accepted and ignored: the mode is found out
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) rootless: Option<Rootless>,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rootless {
    True,
    False,
    Auto,
}

/// Format of what a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a container; its program waits for start
    Create(CreateArgs),
    /// Create a container and start its program
    Run(RunArgs),
    /// Start the program of a created container
    Start(IdArgs),
    /// Print the state of a container as JSON
    State(IdArgs),
    /// Run one more program in a container
    Exec(Box<ExecArgs>),
    /// Send a signal to a container's process
    Kill(KillArgs),
    /// Delete a container
    Delete(DeleteArgs),
    /// List containers
    List(ListArgs),
    /// Make a container's processes stand still
    Pause(IdArgs),
    /// Let a paused container's processes go on
    Resume(IdArgs),
    /// Write a config.json to start from
    Spec(SpecArgs),
    /// List the processes of a container
    Ps(PsArgs),
    /// Print what a container uses, and that it ran out of memory, as JSON
    Events(EventsArgs),
    /// Change the limits of a container
    Update(Box<UpdateArgs>),
    /// Show what would be asked of the helper to create a container, without creating it
    Plan(PlanArgs),
    /// Print what is supported of the runtime specification, as JSON
    Features,
}

#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// Name of the container
    pub(crate) id: String,
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub(crate) struct LaunchArgs {
    /// Name of the new container
    pub(crate) id: String,
    /// Directory that holds config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// File to read in place of the bundle's config.json
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Unix socket that the container's terminal is sent to
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,
    /// File to write the pid of the container's process to
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Use chroot(2) in place of pivot_root(2)
    #[arg(long)]
    pub(crate) no_pivot: bool,
    /// Accepted and ignored: no session keyring is made
    #[arg(long)]
    pub(crate) no_new_keyring: bool,
    /// Number of descriptors from 3 on to pass to the container's process
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Do not delete the container when its process has ended
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Name of the container
    pub(crate) id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required_unless_present = "process", value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// File with the process as JSON, in place of a command
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub(crate) process: Option<PathBuf>,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Unix socket that the terminal is sent to
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,
    /// File to write the process' pid to
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Variable of its environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Its user and group, as numbers
    #[arg(short, long, value_name = "UID[:GID]")]
    pub(crate) user: Option<String>,
    /// A further group, as a number
    #[arg(short = 'g', long, value_name = "GID")]
    pub(crate) additional_gids: Vec<u32>,
    /// A capability on top of the container's
    #[arg(short, long, value_name = "NAME")]
    pub(crate) cap: Vec<String>,
    /// Keep it from gaining privileges
    #[arg(long)]
    pub(crate) no_new_privs: bool,
    /// Number of descriptors from 3 on to pass to it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u32,
    /// Run it in a paused container too
    #[arg(long)]
    pub(crate) ignore_paused: bool,
    /// Its AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub(crate) apparmor: Option<String>,
    /// Its SELinux label
    #[arg(long, value_name = "LABEL")]
    pub(crate) process_label: Option<String>,
    /// Its cgroup below the container's
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Name of the container
    pub(crate) id: String,
    /// Name or number of the signal
    #[arg(default_value = "SIGTERM")]
    pub(crate) signal: String,
    /// Send it to all processes of the container
    #[arg(short, long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Name of the container
    pub(crate) id: String,
    /// Kill it if it runs; succeed if it does not exist
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Format of the list
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Print names only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SpecArgs {
    /// Directory to write config.json to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// With a user namespace, as an ordinary user needs it; the default for one
    #[arg(long)]
    pub(crate) rootless: bool,
    /// With a root that is a read-only view of this host's own system
    #[arg(long)]
    pub(crate) host_root: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Name of the container
    pub(crate) id: String,
    /// Format of the list: a table of ps(1), or a JSON array of pids
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Options for ps(1), which must print the column PID; -ef without any
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS_OPTION")]
    pub(crate) options: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Name of the container
    pub(crate) id: String,
    /// Print what it uses now and end
    #[arg(long)]
    pub(crate) stats: bool,
    /// Time between two lines, as 500ms or 5s
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub(crate) interval: String,
}

/// What is not given stays as it is.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct UpdateArgs {
    /// Name of the container
    pub(crate) id: String,
    /// JSON file with the members of linux.resources to change, - for stdin; other options do not
    /// count then, and device rules stay
    #[arg(short, long, value_name = "FILE", visible_alias = "from-file")]
    pub(crate) resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) blkio_weight: Option<u16>,
    /// Period of the processor quota, in microseconds
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_period: Option<u64>,
    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_quota: Option<i64>,
    /// Processor time above the quota that may be used when it was saved before
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_burst: Option<u64>,
    /// Weight of processor time
    #[arg(long, value_name = "SHARES", visible_alias = "cpu-shares")]
    pub(crate) cpu_share: Option<u64>,
    /// Period of real-time processes, in microseconds
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_rt_period: Option<u64>,
    /// Time of real-time processes in each period, in microseconds
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// 1 to run only when nothing else does
    #[arg(long, value_name = "0|1")]
    pub(crate) cpu_idle: Option<i64>,
    /// Processors to run on
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Limit of memory: bytes, or with a unit as in 64M
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Memory that is left when others need some
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_reservation: Option<String>,
    /// Limit of memory and swap together, -1 for none
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_swap: Option<String>,
    /// Most processes
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pids_limit: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Name of the container
    #[arg(default_value = "plan")]
    pub(crate) id: String,
    /// Directory that holds config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// File to read in place of the bundle's config.json
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Format of the plan
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}
