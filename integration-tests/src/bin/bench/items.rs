//! What is measured: one table, a line for each item, and how a runtime is asked for each step.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::Value;

use crate::command::{Failure, Watchdog};
use crate::error::Error;
use crate::runtimes::{self, Runtime};
use crate::stage::Stage;

use Step::{AwaitEnd, Create, Delete, Exec, Kill, Run, Start, State, Version};
use Unit::{Kibibytes, Milliseconds};

/// Every item. Columns: name, unit, the config's difference from the default, the container's command, steps
/// before, the measured step, steps after.
const ITEMS: &[Item] = &[
    item("version", Milliseconds, default, TRUE, &[], Version, &[]),
    item("run", Milliseconds, default, TRUE, &[], Run, &[]),
    item("create", Milliseconds, default, TRUE, &[], Create, &[Kill]),
    item("start", Milliseconds, default, TRUE, &[Create], Start, &[AwaitEnd, Delete]),
    item("delete", Milliseconds, default, TRUE, &[Create, Start, AwaitEnd], Delete, &[]),
    item("exec", Milliseconds, default, PAUSE, &[Create, Start], Exec, &[Kill]),
    item("state", Milliseconds, default, PAUSE, &[Create, Start], State, &[Kill]),
    item("kill", Milliseconds, default, PAUSE, &[Create, Start], Kill, &[]),
    item("memory", Kibibytes, default, TRUE, &[], Run, &[]),
];

const TRUE: &str = "/true";
const PAUSE: &str = "/pause";

/// The config of `runc spec` as it is.
fn default(_: &mut Value) {}

/// What a measurement gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Time from the spawn of the runtime until it has ended.
    Milliseconds,
    /// Peak resident memory of the runtime, and of the processes that it waited for.
    Kibibytes,
}

/// One command, or one wait.
#[derive(Debug, Clone, Copy)]
enum Step {
    Version,
    Run,
    Create,
    Start,
    /// Until the container's process has ended.
    AwaitEnd,
    Exec,
    State,
    /// `delete` of a stopped container.
    Delete,
    /// `delete --force` of a created or running one.
    Kill,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its name in the table and for `--items`.
    pub(crate) name: &'static str,
    /// What its numbers are.
    pub(crate) unit: Unit,
    config: fn(&mut Value),
    command: &'static str,
    before: &'static [Step],
    measured: Step,
    after: &'static [Step],
}

const fn item(
    name: &'static str,
    unit: Unit,
    config: fn(&mut Value),
    command: &'static str,
    before: &'static [Step],
    measured: Step,
    after: &'static [Step],
) -> Item {
    Item { name, unit, config, command, before, measured, after }
}

/// One item on one runtime, with its bundle.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    /// The runtime that is measured.
    pub(crate) runtime: &'a Runtime,
    /// What it is measured in.
    pub(crate) item: &'static Item,
    id: String,
    root: PathBuf,
    bundle: PathBuf,
}

/// Every wanted item (all if `wanted` is empty) on every runtime, item by item.
pub(crate) fn cases<'a>(
    stage: &Stage,
    runtimes: &'a [Runtime],
    wanted: &[String],
) -> Result<Vec<Case<'a>>, Error> {
    if let Some(unknown) = wanted.iter().find(|name| ITEMS.iter().all(|item| item.name != *name)) {
        let names: Vec<_> = ITEMS.iter().map(|item| item.name).collect();
        return Err(Error::new(unknown, format!("no such item: {}", names.join(", "))));
    }
    let items = ITEMS.iter().filter(|item| wanted.is_empty() || wanted.iter().any(|name| name == item.name));
    items.flat_map(|item| runtimes.iter().map(move |runtime| Case::new(stage, runtime, item))).collect()
}

impl<'a> Case<'a> {
    fn new(stage: &Stage, runtime: &'a Runtime, item: &'static Item) -> Result<Self, Error> {
        // With the pid, as two benchmarks share the parent cgroup.
        let id = format!("{}-{}", runtime.name, std::process::id());
        let root = stage.root(runtime.name)?;
        let bundle =
            stage.bundle(&format!("{}-{}", item.name, runtime.name), &id, item.command, item.config)?;
        Ok(Self { runtime, item, id, root, bundle })
    }

    /// Takes one sample. Steps before and after are not timed; `pause` comes right before the measured step,
    /// as the kernel's RCU sleeps would otherwise hide behind the steps before it.
    pub(crate) fn measure(&self, stage: &Stage, watchdog: &Watchdog, by: Clock) -> Result<f64, Failure> {
        let taker = Taker { case: self, stage, watchdog, deadline: by.deadline };
        for step in self.item.before {
            taker.perform(*step)?;
        }
        thread::sleep(by.pause);
        let sample = match self.item.unit {
            Unit::Milliseconds => taker.perform(self.item.measured)?.as_secs_f64() * 1000.0,
            Unit::Kibibytes => taker.weigh(self.item.measured)?,
        };
        for step in self.item.after {
            taker.perform(*step)?;
        }
        Ok(sample)
    }

    /// Forgets what a failed measurement left in the state directory; its processes have ended.
    pub(crate) fn forget(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
        }
    }

    /// The runtime's arguments for a step.
    fn words(&self, step: Step, stage: &Stage) -> Vec<OsString> {
        let (verb, options): (&str, Vec<OsString>) = match step {
            Version => return vec!["--version".into()],
            Run => ("run", vec!["--bundle".into(), self.bundle.clone().into()]),
            Create => {
                let bundle = self.bundle.clone().into();
                ("create", vec!["--bundle".into(), bundle, "--pid-file".into(), stage.pid_file().into()])
            }
            Start => ("start", vec![]),
            Exec => ("exec", vec![]),
            State => ("state", vec![]),
            Delete => ("delete", vec![]),
            Kill => ("delete", vec!["--force".into()]),
            AwaitEnd => return vec![],
        };
        let mut words: Vec<OsString> = vec!["--root".into(), self.root.clone().into(), verb.into()];
        words.extend(options);
        words.push(self.id.clone().into());
        match step {
            Exec => words.push(TRUE.into()),
            // It does not read the config.
            Run | Create if self.runtime.name == runtimes::FLOOR => words.push(self.item.command.into()),
            _ => {}
        }
        words
    }
}

/// How long a measurement may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Before the measured step.
    pub(crate) pause: Duration,
    /// For each command.
    pub(crate) deadline: Duration,
}

/// Takes one sample of one case.
#[derive(Debug)]
struct Taker<'a> {
    case: &'a Case<'a>,
    stage: &'a Stage,
    watchdog: &'a Watchdog,
    deadline: Duration,
}

impl Taker<'_> {
    fn perform(&self, step: Step) -> Result<Duration, Failure> {
        if let AwaitEnd = step {
            return self.await_end();
        }
        let mut command = Command::new(&self.case.runtime.path);
        command.args(self.case.words(step, self.stage));
        self.time(&mut command)
    }

    /// The container's process is a child of this one since its runtime has ended.
    fn await_end(&self) -> Result<Duration, Failure> {
        let pid = fs::read_to_string(self.stage.pid_file())?;
        let pid = pid.trim().parse().map_err(std::io::Error::other)?;
        self.watchdog.await_end(Pid::from_raw(pid), self.deadline)?;
        Ok(Duration::ZERO)
    }

    /// Peak memory, KiB.
    fn weigh(&self, step: Step) -> Result<f64, Failure> {
        let mut command = Command::new(self.stage.meter());
        command
            .arg(self.stage.reading())
            .arg(&self.case.runtime.path)
            .args(self.case.words(step, self.stage));
        self.time(&mut command)?;
        let reading = fs::read_to_string(self.stage.reading())?;
        Ok(reading.trim().parse().map_err(std::io::Error::other)?)
    }

    fn time(&self, command: &mut Command) -> Result<Duration, Failure> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.stage.stderr()?);
        self.watchdog.time(command, self.deadline)
    }
}
