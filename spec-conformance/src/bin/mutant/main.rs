//! A runtime with one fault: calls another runtime, and gets one thing wrong on the way. The tests of the harness run
//! it to see that exactly the clauses that it breaks are found to be broken.
//!
//! ```text
//! mutant FAULT RUNTIME [ARGUMENT]...     the runtime's command line, with the fault of this name
//! mutant --list                          the names of all faults
//! ```

mod calls;
mod configs;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use serde_json::Value;

/// What is wrong with a runtime.
#[derive(Clone, Copy)]
enum Fault {
    /// It reads another configuration than it is given.
    Config(fn(&mut Value)),
    /// It refuses configurations that it should take.
    Refuse(fn(&Value) -> bool),
    /// It prints another document than it should for this operation.
    Print(&'static str, fn(&mut Value)),
    /// It does something else for an operation; `None` where it does what it should.
    Call(fn(&Call) -> io::Result<Option<u8>>),
}

/// A call of the runtime.
struct Call {
    program: OsString,
    args: Vec<String>,
    /// Where the operation is among the arguments.
    verb: usize,
}

impl Call {
    fn new(program: OsString, args: Vec<String>) -> Call {
        let mut verb = 0;
        while let Some(option) = args.get(verb).filter(|word| word.starts_with('-')) {
            verb += if ["--root", "--log", "--log-format"].contains(&option.as_str()) { 2 } else { 1 };
        }
        Call { program, args, verb }
    }

    fn is(&self, verb: &str) -> bool {
        self.args.get(self.verb).is_some_and(|own| own == verb)
    }

    /// The last argument that is no option: the id, but for `kill` and `exec`.
    fn id(&self) -> &str {
        self.args.last().map(String::as_str).unwrap_or_default()
    }

    fn after(&self, option: &str) -> Option<PathBuf> {
        let at = self.args.iter().position(|word| word == option)?;
        self.args.get(at + 1).map(PathBuf::from)
    }

    fn config(&self) -> Option<PathBuf> {
        let makes = self.is("create") || self.is("run");
        makes.then(|| self.after("--bundle")).flatten().map(|bundle| bundle.join("config.json"))
    }

    fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args.iter().map(AsRef::as_ref));
        command
    }

    /// The runtime's own answer.
    fn pass(&self) -> io::Result<u8> {
        self.command(&self.args).status().map(code)
    }

    /// Another operation of the runtime, with the global options of this call.
    fn instead(&self, words: &[&str]) -> io::Result<u8> {
        let global = self.args.iter().take(self.verb).map(String::as_str);
        self.command(&global.chain(words.iter().copied()).collect::<Vec<&str>>()).status().map(code)
    }
}

/// The status of a process, or what a shell makes of the signal that ended it.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(255)).unwrap_or(255)
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(name), program) = (args.next(), args.next()) else { return ExitCode::from(2) };
    let all = || configs::FAULTS.iter().chain(calls::FAULTS);
    if name == "--list" {
        let listed = all().try_for_each(|(name, _)| writeln!(io::stdout(), "{name}"));
        return if listed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let fault = all().find(|(own, _)| name == *own).map(|(_, fault)| *fault);
    let (Some(program), Some(fault)) = (program, fault) else { return ExitCode::from(2) };
    let args = args.map(|word| word.to_string_lossy().into_owned()).collect();
    match apply(fault, &Call::new(program, args)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => match writeln!(io::stderr(), "mutant: {error}") {
            Ok(()) | Err(_) => ExitCode::from(255),
        },
    }
}

fn apply(fault: Fault, call: &Call) -> io::Result<u8> {
    match fault {
        Fault::Config(edit) => match call.config() {
            Some(path) => edited(&path, edit, call),
            None => call.pass(),
        },
        Fault::Refuse(refuses) => {
            let config = call.config().and_then(|path| fs::read(path).ok());
            let config: Value =
                config.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
            if refuses(&config) { Ok(1) } else { call.pass() }
        }
        Fault::Print(verb, edit) if call.is(verb) => {
            let output = call.command(&call.args).output()?;
            io::stderr().write_all(&output.stderr)?;
            if let Ok(mut document) = serde_json::from_slice(&output.stdout) {
                edit(&mut document);
                writeln!(io::stdout(), "{document}")?;
            }
            Ok(code(output.status))
        }
        Fault::Print(..) => call.pass(),
        Fault::Call(act) => match act(call)? {
            Some(status) => Ok(status),
            None => call.pass(),
        },
    }
}

/// Calls the runtime while the configuration is another one, and puts it back.
fn edited(path: &PathBuf, edit: fn(&mut Value), call: &Call) -> io::Result<u8> {
    let Ok(original) = fs::read(path) else { return call.pass() };
    let Ok(mut config) = serde_json::from_slice(&original) else { return call.pass() };
    edit(&mut config);
    fs::write(path, config.to_string())?;
    let status = call.pass();
    fs::write(path, original)?;
    status
}
