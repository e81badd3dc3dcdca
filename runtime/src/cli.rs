//! The command line: runc's commands and flags, spelled as clients spell them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::checkpoint::Flags;
use crate::duration::interval;
use crate::update::Update;

/// An OCI container runtime for Linux.
#[derive(Debug, Parser)]
#[command(
    name = "ketch",
    disable_version_flag = true,
    args_override_self = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags before the command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Directory in which containers are remembered [default: /run/ketch, or $XDG_RUNTIME_DIR/ketch without root]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Where log messages go: a file to append to, also as file:PATH, or journald:NAME, or syslog:NAME
    #[arg(long, value_name = "DESTINATION")]
    pub(crate) log: Option<Destination>,
    /// Form of log messages
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Log what is done, step by step; the same as --log-level debug
    #[arg(long)]
    pub(crate) debug: bool,
    /// Least important messages to log [default: error; warning for a text log and a terminal]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
    /// Write a timeline of every step, in both processes, as JSON that trace viewers show
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Let systemd make the cgroup; cgroupsPath is slice:prefix:name then
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// Who makes the cgroup; with "disabled" there is none, and no limit can be set
    #[arg(long, value_name = "MANAGER", default_value = "cgroupfs")]
    pub(crate) cgroup_manager: CgroupManager,
    /// Refuse what is tolerated for the sake of clients and the specification forbids
    #[arg(long)]
    pub(crate) strict: bool,
    /// Whether this is a runtime without root's rights: true, false or auto
    #[arg(long, value_name = "WHEN", default_value = "auto", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) rootless: Rootless,
    /// Where criu is, for runtimes that look for it; nothing here does
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) criu: Option<PathBuf>,
    /// Print the version
    #[arg(long, short = 'v', short_alias = 'V', action = ArgAction::SetTrue)]
    pub(crate) version: bool,
    /// A plain directory to take for resctrl (tests)
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) resctrl: Option<String>,
}

/// Where log messages are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A file that they are appended to.
    File(PathBuf),
    /// The journal, under this name.
    Journal(String),
    /// The system log, under this name.
    Syslog(String),
}

impl FromStr for Destination {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Destination, Infallible> {
        Ok(match text.split_once(':') {
            Some(("file", path)) => Destination::File(path.into()),
            Some(("journald", name)) => Destination::Journal(name.into()),
            Some(("syslog", name)) => Destination::Syslog(name.into()),
            _ => Destination::File(text.into()),
        })
    }
}

/// Who makes a container's cgroup, in crun's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CgroupManager {
    /// The runtime itself
    Cgroupfs,
    /// The same as --systemd-cgroup
    Systemd,
    /// Nobody
    Disabled,
}

/// How log messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// How important a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    #[value(alias = "warn")]
    Warning,
    Error,
}

/// Whether to work as a runtime without root's rights does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rootless {
    Auto,
    True,
    False,
}

/// What to do. The flags of a command are made up only if it is the one, which is most of what parsing costs.
#[derive(Debug, Subcommand)]
#[command(args_override_self = true, defer = true)]
pub(crate) enum Command {
    /// Create a container from a bundle; its program waits for start
    ///
    /// Everything is there, and only its program does not run.
    Create(Create),
    /// Run the program of a created container
    ///
    /// Returns when it is being executed, or says why it cannot be.
    Start(Id),
    /// Create a container, run its program, and wait for it
    ///
    /// Signals are passed on to the program, and so is the size of the terminal. Then the container is removed.
    Run(Run),
    /// Print the state of a container as JSON
    State(Id),
    /// Send a signal to a container's first process (TERM unless another is named)
    Kill(Kill),
    /// Remove a container
    ///
    /// One that runs is refused, unless --force says to kill it; with it, it is no error if there is none.
    Delete(Delete),
    /// List containers
    List(List),
    /// Run one more program in a container
    ///
    /// What is not said is as for the container's own program.
    Exec(Exec),
    /// List the processes of a container
    ///
    /// As ps(1) does with the options, or their pids as JSON.
    Ps(Ps),
    /// Tell of a container what it uses, every few seconds, and that its memory ran out, as JSON
    ///
    /// One object a line, until the container ends.
    Events(Events),
    /// Stop the processes of a container where they are
    Pause(Id),
    /// Let the processes of a paused container run
    Resume(Id),
    /// Change limits of a container; what is not named stays as it is
    ///
    /// All that are named are changed, or none if one cannot be.
    Update(Box<Update>),
    /// Not supported: write the processes of a container to files
    #[command(disable_help_flag = true)]
    Checkpoint(Box<Flags<false>>),
    /// Not supported: make a container of such files
    #[command(disable_help_flag = true)]
    Restore(Box<Flags<true>>),
    /// Write a config.json to start from
    Spec(SpecArgs),
    /// Print what this runtime supports as JSON
    Features,
    /// Print what would be done for a bundle as JSON, and do nothing
    Plan(PlanArgs),
}

// The doc comment of such a struct would be the command's help, instead of the variant's above.

// A container's id.
#[derive(Debug, Args)]
pub(crate) struct Id {
    /// The container's id
    pub(crate) id: String,
}

// How a container is made.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The bundle's directory
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// File to read instead of the bundle's config.json; counts from the working directory
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Unix socket that gets the master of the program's terminal
    #[arg(long, value_name = "SOCKET")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Unix socket that gets a pidfd of the first process
    #[arg(long, value_name = "SOCKET")]
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// File that gets the pid of the first process
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Do not use pivot_root(2), for a host whose root is an initramfs
    #[arg(long)]
    pub(crate) no_pivot: bool,
    /// Leave the container in the caller's session keyring
    #[arg(long)]
    pub(crate) no_new_keyring: bool,
    /// Pass N more file descriptors, from 3 on, to the program
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u32,
    /// Let what a container leaves behind go to this process's parent; create does so anyway
    #[arg(long)]
    pub(crate) no_subreaper: bool,
    /// Fail at this step, given by its number (tests)
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "STEP", hide = true)]
    pub(crate) fail_at: Option<u32>,
    /// The container's id
    pub(crate) id: String,
}

// How a container is run.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) create: Create,
    /// Do not wait for the program
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Do not remove the container when its program has ended
    #[arg(long)]
    pub(crate) keep: bool,
}

// Which signal goes where.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Send it to all processes of the container
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Send it to every container whose id matches: ID is an extended regular expression, see regex(7)
    #[arg(long, short)]
    pub(crate) regex: bool,
    /// The container's id
    pub(crate) id: String,
    /// Name or number: KILL, SIGKILL, 9, RTMIN+3
    #[arg(default_value = "TERM")]
    pub(crate) signal: String,
}

// How a container is removed.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Kill it if it runs; it is no error if there is none
    #[arg(long, short)]
    pub(crate) force: bool,
    /// Remove every container whose id matches: ID is an extended regular expression, see regex(7)
    #[arg(long, short)]
    pub(crate) regex: bool,
    /// The container's id
    pub(crate) id: String,
}

// How containers are listed.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Form of the list
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: Form,
    /// Print ids only
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Table,
    Json,
}

// How processes are listed.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Form of the list
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: Form,
    /// The container's id
    pub(crate) id: String,
    /// Options for ps(1) [default: -ef]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<String>,
}

// What is told of a container.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Time from one line of statistics to the next, such as 5s, 100ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = interval, allow_hyphen_values = true)]
    pub(crate) interval: Duration,
    /// Print statistics once, and nothing else
    #[arg(long)]
    pub(crate) stats: bool,
    /// The container's id
    pub(crate) id: String,
}

// What config.json is written.
#[derive(Debug, Args)]
pub(crate) struct SpecArgs {
    /// Directory to write it into
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// File to write, instead of config.json; counts from the bundle's directory
    #[arg(long, short, value_name = "FILE", default_value = "config.json")]
    pub(crate) file: PathBuf,
    /// For a user without root's rights
    #[arg(long)]
    pub(crate) rootless: bool,
}

// Which plan is printed, and how.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The bundle's directory
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// Print the steps with their numbers, one a line
    #[arg(long)]
    pub(crate) steps: bool,
    /// The id that the container would have
    #[arg(default_value = "container")]
    pub(crate) id: String,
}

// What runs in a container, and how.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// File with the program as the process object of config.json
    #[arg(long, short, value_name = "FILE")]
    pub(crate) process: Option<PathBuf>,
    /// Unix socket that gets the master of the program's terminal
    #[arg(long, value_name = "SOCKET")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Add a variable to the environment
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Give the program a terminal
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = clap::builder::BoolishValueParser::new(), default_value_t = false, default_missing_value = "true", hide_default_value = true)]
    pub(crate) tty: bool,
    /// Run as this user, and group
    #[arg(long, short, value_name = "UID[:GID]")]
    pub(crate) user: Option<String>,
    /// Add a supplementary group
    #[arg(long, short = 'g', value_name = "GID")]
    pub(crate) additional_gids: Vec<u32>,
    /// Do not wait for the program
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Unix socket that gets a pidfd of the program
    #[arg(long, value_name = "SOCKET")]
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// File that gets the program's pid
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// SELinux label of the program
    #[arg(long, value_name = "LABEL")]
    pub(crate) process_label: Option<String>,
    /// AppArmor profile of the program
    #[arg(long, value_name = "PROFILE")]
    pub(crate) apparmor: Option<String>,
    /// Set the no_new_privs bit
    #[arg(long)]
    pub(crate) no_new_privs: bool,
    /// Add a capability to the bounding, permitted and effective sets
    #[arg(long, short, value_name = "CAP")]
    pub(crate) cap: Vec<String>,
    /// Pass N more file descriptors, from 3 on, to the program
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u32,
    /// Run the program in this cgroup below the container's own; with controllers, in their version 1 hierarchies
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    pub(crate) cgroup: Vec<String>,
    /// Do not refuse a paused container
    #[arg(long)]
    pub(crate) ignore_paused: bool,
    /// The container's id
    pub(crate) id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k02_a_destination_is_a_file_unless_it_says_otherwise() {
        let read = |text: &str| Destination::from_str(text).unwrap_or_else(|never| match never {});
        assert_eq!(read("/var/log/x"), Destination::File("/var/log/x".into()));
        assert_eq!(read("file:x"), Destination::File("x".into()));
        assert_eq!(read("journald:box"), Destination::Journal("box".into()));
        assert_eq!(read("syslog:box"), Destination::Syslog("box".into()));
        assert_eq!(read("other:box"), Destination::File("other:box".into()));
    }
}
