//! Understands the command line. Most of what that costs is to make up commands that are not given, so that it is
//! tried with the one that is; the whole of them says what is wrong, or helps.

use std::ffi::OsString;

use clap::{Args, Command as Definition, Error, FromArgMatches, Parser};

use crate::cli::{Cli, Create, Delete, Exec, Global, Id, Kill, Run};

/// Makes up a command's flags.
type Flags = fn(Definition) -> Definition;

/// The commands of every container's life, with their flags.
const COMMANDS: &[(&str, Flags)] = &[
    ("create", Create::augment_args),
    ("delete", Delete::augment_args),
    ("exec", Exec::augment_args),
    ("kill", Kill::augment_args),
    ("run", Run::augment_args),
    ("start", Id::augment_args),
    ("state", Id::augment_args),
];

/// Understands the words of a command line, the program's name first.
///
/// # Errors
/// They are no command line of this program, or ask for help.
pub(crate) fn parse(words: Vec<OsString>) -> Result<Cli, Error> {
    quickly(&words).map_or_else(|| Cli::try_parse_from(words), Ok)
}

/// As [`parse`], with one command alone. A word that is a flag's value and reads like a command makes this fail: the
/// command that stands there is none then.
fn quickly(words: &[OsString]) -> Option<Cli> {
    let named = |word: &OsString| COMMANDS.iter().find(|(name, _)| word == *name);
    let (name, flags) = words.iter().skip(1).find_map(named)?;
    let mut matches = only(name, *flags).try_get_matches_from(words).ok()?;
    Cli::from_arg_matches_mut(&mut matches).ok()
}

/// The program's flags, and one command. What is said of it in help is left out.
fn only(name: &'static str, flags: Flags) -> Definition {
    let command = flags(Definition::new(name).args_override_self(true));
    let program = Definition::new("ketch").disable_version_flag(true).args_override_self(true);
    Global::augment_args(program).subcommand(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn k01_one_command_alone_has_the_same_flags_as_among_all() {
        let all = Cli::command();
        // Help tells how much more it has to say of a command.
        let arguments = |command: &Definition| {
            command
                .get_arguments()
                .filter(|arg| arg.get_id() != "help")
                .map(|arg| format!("{arg:?}"))
                .collect::<Vec<_>>()
        };
        for (name, flags) in COMMANDS {
            let (mut all, mut one) = (all.clone(), only(name, *flags));
            all.build();
            one.build();
            assert_eq!(arguments(&all), arguments(&one), "{name}: before the command");
            let (all, one) = (all.find_subcommand(name).unwrap(), one.find_subcommand(name).unwrap());
            assert_eq!(arguments(all), arguments(one), "{name}");
        }
    }

    #[test]
    fn k01_what_is_understood_quickly_is_understood_the_same() {
        for line in [
            "ketch state x",
            "ketch --root create state x",
            "ketch --root state --root /r --log-format json --log f kill --all --all x 9",
            "ketch kill x",
            "ketch --rootless true state x",
            "ketch --rootless=false --debug run --detach -b a -b b --pid-file p x",
            "ketch create --preserve-fds 3 --no-pivot x",
            "ketch exec --env A=b -e C=d -t x sh -c state --force",
            "ketch exec --tty=false --user 1:2 --cap CAP_KILL x -- a --help",
            "ketch delete --force start",
            "ketch --systemd-cgroup start delete",
        ] {
            let all = Cli::try_parse_from(words(line)).unwrap();
            let quick = quickly(&words(line));
            // A flag's value that reads like a command is left to the slow way.
            assert!(
                quick.is_some() || line.contains("--root create") || line.contains("--root state"),
                "{line}"
            );
            assert_eq!(quick.map(|cli| format!("{cli:?}")).unwrap_or(format!("{all:?}")), format!("{all:?}"));
            assert_eq!(format!("{:?}", parse(words(line)).unwrap()), format!("{all:?}"));
        }
    }

    #[test]
    fn k01_what_is_wrong_is_said_as_ever() {
        for line in [
            "ketch",
            "ketch state",
            "ketch state --help",
            "ketch help state",
            "ketch stat x",
            "ketch --no-such state x",
            "ketch delete --forc x",
            "ketch create --bundle",
            "ketch --log-level loud start x",
            "ketch --root state list --format yaml",
            "ketch --rootless state x",
        ] {
            let expected = Cli::try_parse_from(words(line)).unwrap_err();
            let error = parse(words(line)).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (expected.kind(), expected.to_string()), "{line}");
        }
    }
}
