//! `checkpoint` and `restore`: their command lines are understood, and answered that ketch does neither.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::outcome::Failure;

/// Which of the two commands has a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Checkpoint,
    Restore,
    Both,
}

/// Every flag that runc or crun has, with the name of its value, if it takes one.
const FLAGS: &[(Of, &str, Option<&str>)] = &[
    (Of::Both, "image-path", Some("DIR")),
    (Of::Both, "work-path", Some("DIR")),
    (Of::Both, "parent-path", Some("DIR")),
    (Of::Checkpoint, "leave-running", None),
    (Of::Checkpoint, "pre-dump", None),
    (Of::Checkpoint, "tcp-skip-in-flight", None),
    (Of::Checkpoint, "link-remap", None),
    (Of::Checkpoint, "status-fd", Some("FD")),
    (Of::Checkpoint, "page-server", Some("ADDRESS:PORT")),
    (Of::Both, "tcp-established", None),
    (Of::Restore, "tcp-close", None),
    (Of::Both, "ext-unix-sk", None),
    (Of::Both, "shell-job", None),
    (Of::Both, "file-locks", None),
    (Of::Both, "manage-cgroups-mode", Some("MODE")),
    (Of::Both, "network-lock", None),
    (Of::Both, "empty-ns", Some("NAMESPACE")),
    (Of::Both, "auto-dedup", None),
    (Of::Both, "lazy-pages", None),
    (Of::Restore, "lsm-profile", Some("TYPE:NAME")),
    (Of::Restore, "lsm-mount-context", Some("LABEL")),
    (Of::Restore, "bundle", Some("DIR")),
    (Of::Restore, "console-socket", Some("SOCKET")),
    (Of::Restore, "pid-file", Some("FILE")),
    (Of::Restore, "detach", None),
    (Of::Restore, "no-subreaper", None),
    (Of::Restore, "no-pivot", None),
    (Of::Restore, "no-new-keyring", None),
];

/// A flag that has a short form too.
const SHORT: &[(&str, char)] = &[("bundle", 'b'), ("detach", 'd')];

/// What was asked for: of it all, only whether it was for help makes a difference.
#[derive(Debug)]
pub(crate) struct Flags<const RESTORES: bool>;

impl<const RESTORES: bool> FromArgMatches for Flags<RESTORES> {
    fn from_arg_matches(_: &ArgMatches) -> Result<Flags<RESTORES>, Error> {
        Ok(Flags)
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), Error> {
        Ok(())
    }
}

impl<const RESTORES: bool> Args for Flags<RESTORES> {
    fn augment_args(command: Command) -> Command {
        let mine = if RESTORES { Of::Restore } else { Of::Checkpoint };
        let flags = FLAGS.iter().filter(|(of, _, _)| *of == Of::Both || *of == mine).map(flag);
        // Clients ask for help to learn whether there is support, and its status is the answer: so it is no clap's.
        let help = Arg::new("help").long("help").short('h').action(ArgAction::SetTrue).hide(true);
        let id = Arg::new("id").value_name("ID").required_unless_present("help");
        command.args_override_self(true).args(flags).args([help, id])
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::<RESTORES>::augment_args(command)
    }
}

fn flag((_, name, value): &(Of, &'static str, Option<&'static str>)) -> Arg {
    let arg = Arg::new(*name).long(*name).help("Accepted, without effect");
    let arg = match SHORT.iter().find(|(long, _)| long == name) {
        Some((_, short)) => arg.short(*short),
        None => arg,
    };
    match value {
        Some(value) => arg.value_name(*value).action(ArgAction::Append),
        None => arg.action(ArgAction::SetTrue),
    }
}

/// Says that there is no such command, to who asks for help as well: an exit status of 0 would be taken for support.
pub(crate) fn refuse(command: &str) -> Failure {
    Failure::new(format!("{command} is not supported by this runtime"))
}

/// The one flag that a client spells with a single dash, as Go's flags may be: containerd's, of `restore`.
const SINGLE_DASHED: &str = "-no-subreaper";

/// The command line with two dashes where `restore` has one.
pub(crate) fn spelled_out(
    args: impl Iterator<Item = std::ffi::OsString>,
) -> impl Iterator<Item = std::ffi::OsString> {
    let mut restores = false;
    args.map(move |arg| {
        restores |= arg == "restore";
        if restores && arg == SINGLE_DASHED { format!("-{SINGLE_DASHED}").into() } else { arg }
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn spell(line: &str) -> Vec<OsString> {
        spelled_out(line.split(' ').map(OsString::from)).collect()
    }

    #[test]
    fn k80_one_dash_is_enough_for_restore_and_for_nothing_else() {
        assert_eq!(spell("ketch restore -no-subreaper box").get(2), Some(&OsString::from("--no-subreaper")));
        let exec = "ketch exec box cat -no-subreaper";
        assert_eq!(spell(exec), exec.split(' ').map(OsString::from).collect::<Vec<_>>());
    }

    #[test]
    fn k73_no_flag_is_listed_twice() {
        for (i, (_, name, _)) in FLAGS.iter().enumerate() {
            assert!(FLAGS.iter().skip(i + 1).all(|(_, other, _)| other != name), "{name}");
        }
    }
}
