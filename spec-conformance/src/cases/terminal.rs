//! Containers with a terminal. Spec: config.md#process, config-linux.md#default-devices.

use serde_json::json;

use crate::case::{Case, Checks};
use crate::report::{Kind, Report, WindowSize};
use crate::runtime::Runtime;
use crate::{Bundle, Error};

pub(super) const CASES: &[Case] = &[TERMINAL, NO_TERMINAL];

const TERMINAL: Case = Case {
    id: "terminal",
    proves: &[
        "config.process.terminal",
        "config.process.height",
        "config.process.width",
        "config-linux.default-devices.console",
    ],
    run: terminal,
};

fn terminal(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    let questions = ["--out", "/report.json", "--stat", "/dev/console", "--stat", "/dev/pts/0"];
    let bundle = Bundle::new()
        .args(["/bin/probe", "report"].into_iter().chain(questions))
        .set("/root/readonly", json!(false))
        .set("/process/terminal", json!(true))
        .set("/process/consoleSize", json!({"height": 33, "width": 101}))
        .build()?;
    let (mut container, _terminal) = runtime.create_on_terminal(&bundle)?;
    container.start()?.success()?;
    container.wait()?;
    let path = bundle.rootfs().join("report.json");
    let seen = Report::parse(&std::fs::read_to_string(&path).map_err(Error::file(&path))?)?;
    for number in 0..3 {
        let target = seen.fds.get(&number).map(String::as_str).unwrap_or_default();
        let ours = ["/dev/pts/0", "/dev/console"].contains(&target);
        checks.holds("config.process.terminal", "the pseudoterminal on each stream", &(number, target), ours);
    }
    checks.differ("config.process.terminal", 0, seen.tty);
    checks.holds("config.process.terminal", "a terminal", &seen.terminal, seen.terminal.is_some());
    let WindowSize { rows, columns } = seen.terminal.unwrap_or(WindowSize { rows: 0, columns: 0 });
    checks.equal("config.process.height", 33, rows);
    checks.equal("config.process.width", 101, columns);
    let device = |path: &str| seen.facts(path).map(|facts| (facts.kind, facts.device));
    let console = device("/dev/console");
    let same = console == device("/dev/pts/0") && console.is_some_and(|(kind, _)| kind == Kind::Character);
    checks.holds("config-linux.default-devices.console", "the pseudoterminal", &seen.paths, same);
    Ok(())
}

const NO_TERMINAL: Case =
    Case { id: "terminal-none", proves: &["config.process.console-size"], run: no_terminal };

fn no_terminal(runtime: &Runtime, checks: &mut Checks) -> Result<(), Error> {
    for terminal in [Some(false), None] {
        let bundle = Bundle::new().set("/process/consoleSize", json!({"height": 33, "width": 101}));
        let bundle = match terminal {
            Some(value) => bundle.set("/process/terminal", json!(value)),
            None => bundle.remove("/process/terminal"),
        };
        let seen = runtime.observe(&bundle.build()?)?;
        checks.equal("config.process.console-size", None, seen.terminal);
    }
    Ok(())
}
