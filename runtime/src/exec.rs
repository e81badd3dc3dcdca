//! `exec`: one more program in a container, described by a file or by flags.

use std::fs;
use std::path::{Path, PathBuf};

use libcontainer::container::{Container, ExecOptions, Running};
use libcontainer::error::{Error, ErrorKind};
use libcontainer::plan::document;
use libcontainer::state::Store;
use libcontainer::timeline::{self, Phase};
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process, User};

use crate::cli::Exec;
use crate::foreground::Foreground;
use crate::outcome::{Failure, KILLED, connect, tell_out_of_memory, write_pid_file};

/// What clients expect of an exec that could not be started.
const NOT_STARTED: i32 = 255;

/// `exec`
pub(crate) fn exec(store: &Store, args: Exec) -> Result<i32, Failure> {
    attempt(store, args).map_err(|failure| Failure { status: NOT_STARTED, ..failure })
}

fn attempt(store: &Store, args: Exec) -> Result<i32, Failure> {
    let container = Container::open(store, &args.id)?;
    let process = match &args.process {
        Some(path) => {
            let text = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
            let (mut process, warnings) = document::parse_process(&text)
                .map_err(|invalid| Error::invalid(&path.display().to_string(), invalid))?;
            for finding in warnings {
                tracing::warn!("{finding}");
            }
            if args.tty {
                process.set_terminal(Some(true));
            }
            process
        }
        None => with_flags(container.process().or_else(without_own)?, &args)?,
    };
    let terminal = process.terminal().unwrap_or(false);
    let connect_to =
        |what, path: &Option<PathBuf>| path.as_deref().map(|path| connect(what, path)).transpose();
    let mut options = ExecOptions {
        preserved: args.preserve_fds,
        console: connect_to("console", &args.console_socket)?,
        pidfd_receiver: connect_to("pidfd", &args.pidfd_socket)?,
        ignore_paused: args.ignore_paused,
        cgroups: args.cgroup.iter().map(|below| below.parse()).collect::<Result<_, Error>>()?,
    };
    if args.detach {
        let program = container.exec(&process, options)?;
        return tell_pid(args.pid_file.as_deref(), program).map(|_| 0);
    }
    let mut foreground = Foreground::enter(terminal && options.console.is_none(), true)?;
    options.console = options.console.map(Ok).or_else(|| foreground.console()).transpose()?;
    let before = container.oom_killed().map_or(0, |killed| killed.kills);
    let program = container.exec(&process, options)?;
    let program = tell_pid(args.pid_file.as_deref(), program)?;
    let status = timeline::during(Phase::Attend, || foreground.attend(program, None))?;
    if status == KILLED {
        tell_out_of_memory(&container, before);
    }
    Ok(status)
}

/// Writes the pid file. A program that nobody can be told of does not run on.
fn tell_pid(path: Option<&Path>, program: Running) -> Result<Running, Failure> {
    match write_pid_file(path, program.pid()) {
        Ok(()) => Ok(program),
        Err(failure) => {
            program.give_up();
            Err(failure)
        }
    }
}

/// A container may have no program of its own.
fn without_own(error: Error) -> Result<Process, Error> {
    if error.kind() != ErrorKind::Invalid {
        return Err(error);
    }
    let mut process = Process::default();
    process.set_capabilities(None).set_rlimits(None).set_no_new_privileges(None);
    Ok(process)
}

/// The container's own program, changed as the flags say.
fn with_flags(mut process: Process, args: &Exec) -> Result<Process, Failure> {
    if args.command.is_empty() {
        return Err(Failure::new("exec needs a program, or --process FILE"));
    }
    process.set_args(Some(args.command.clone())).set_terminal(Some(args.tty));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    if !args.env.is_empty() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(args.env.iter().cloned());
        process.set_env(Some(env));
    }
    let user = user(process.user(), args)?;
    process.set_user(user);
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if args.apparmor.is_some() {
        process.set_apparmor_profile(args.apparmor.clone());
    }
    if args.process_label.is_some() {
        process.set_selinux_label(args.process_label.clone());
    }
    if !args.cap.is_empty() {
        let capabilities = add_capabilities(process.capabilities().clone(), &args.cap)?;
        process.set_capabilities(Some(capabilities));
    }
    Ok(process)
}

fn user(own: &User, args: &Exec) -> Result<User, Failure> {
    let mut user = own.clone();
    if let Some(text) = &args.user {
        let (uid, gid) = parse_user(text)
            .ok_or_else(|| Failure::new(format!("--user {text:?}: give UID or UID:GID in decimal digits")))?;
        user.set_uid(uid);
        if let Some(gid) = gid {
            user.set_gid(gid);
        }
    }
    if !args.additional_gids.is_empty() {
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.extend(&args.additional_gids);
        user.set_additional_gids(Some(groups));
    }
    Ok(user)
}

/// Reads `UID[:GID]`. Digits only: a lenient reader once made root of what it did not understand
/// (CVE-2026-30892).
fn parse_user(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok().filter(|id| *id != u32::MAX)).flatten()
    };
    match text.split_once(':') {
        None => Some((number(text)?, None)),
        Some((uid, gid)) => Some((number(uid)?, Some(number(gid)?))),
    }
}

/// Adds capabilities to the sets that a program has when it starts. Not to the inheritable one, from which a
/// program of another user would get them (CVE-2022-29162).
fn add_capabilities(own: Option<LinuxCapabilities>, names: &[String]) -> Result<LinuxCapabilities, Failure> {
    let parse = |name: &String| {
        serde_json::from_value::<Capability>(name.as_str().into())
            .map_err(|_| Failure::new(format!("--cap {name:?}: no such capability")))
    };
    let added = names.iter().map(parse).collect::<Result<Capabilities, Failure>>()?;
    // Not the library's default, which has some.
    let none = || serde_json::from_value(serde_json::json!({})).map_err(|e| Failure::new(e.to_string()));
    let own: LinuxCapabilities = own.map_or_else(none, Ok)?;
    let with = |set: &Option<Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(&added);
        Some(set)
    };
    let (bounding, permitted, effective) =
        (with(own.bounding()), with(own.permitted()), with(own.effective()));
    let mut capabilities = own;
    capabilities.set_bounding(bounding).set_permitted(permitted).set_effective(effective);
    Ok(capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x12_a_user_is_digits_or_an_error_and_never_root_by_mistake() {
        assert_eq!(parse_user("1"), Some((1, None)));
        assert_eq!(parse_user("1:2"), Some((1, Some(2))));
        assert_eq!(parse_user("01"), Some((1, None)));
        assert_eq!(parse_user("4294967294"), Some((u32::MAX - 1, None)));
        for text in
            ["", ":", "1:", ":1", " 1", "0x1", "+1", "-1", "4294967295", "4294967296", "root", "1:2:3"]
        {
            assert_eq!(parse_user(text), None, "{text}");
        }
    }
}
