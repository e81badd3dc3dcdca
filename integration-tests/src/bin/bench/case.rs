//! One item on one runtime: how the runtime is asked for each step, and how a sample is taken. Runs in the inner
//! process.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::json;

use crate::command::{Failure, Watchdog};
use crate::error::Error;
use crate::items::{Gauge, Item, Scene, Step, TRUE};
use crate::runtimes::{self, Runtime};
use crate::stage::Stage;
use crate::sweep;

/// [`Gauge::Rate`]: how many workers, and how many runs of each make a sample.
const WORKERS: usize = 4;
const RUNS: usize = 6;

/// [`Gauge::Least`]: limits in pages; the largest, and how long a run may take under one.
const MOST_PAGES: u64 = 16 << 10;
const PAGE: u64 = 4 << 10;
const UNDER_A_LIMIT: Duration = Duration::from_secs(2);

/// A container's id, and the bundle that has its cgroup.
#[derive(Debug)]
struct Lane {
    id: String,
    bundle: PathBuf,
}

/// One item on one runtime, with its bundles.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    /// The runtime that is measured.
    pub(crate) runtime: &'a Runtime,
    /// What it is measured in.
    pub(crate) item: &'static Item,
    /// The runtime's state directory.
    pub(crate) root: PathBuf,
    /// One for each worker; the first for everything else.
    lanes: Vec<Lane>,
}

/// How long a measurement may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Before the measured step.
    pub(crate) pause: Duration,
    /// For each command.
    pub(crate) deadline: Duration,
}

/// Every item on every runtime that can do it, item by item.
pub(crate) fn cases<'a>(
    stage: &Stage,
    runtimes: &'a [Runtime],
    items: &[&'static Item],
) -> Result<Vec<Case<'a>>, Error> {
    let pairs = items.iter().flat_map(|item| runtimes.iter().map(move |runtime| (*item, runtime)));
    pairs
        .filter(|(item, runtime)| item.floor || runtime.name != runtimes::FLOOR)
        .map(|(item, runtime)| Case::new(stage, runtime, item))
        .collect()
}

impl<'a> Case<'a> {
    fn new(stage: &Stage, runtime: &'a Runtime, item: &'static Item) -> Result<Self, Error> {
        let root = stage.root(&match (item.cold, item.scene) {
            (true, _) => format!("{}-cold", runtime.name),
            (_, Scene::Crowd) => format!("{}-crowd", runtime.name),
            _ => runtime.name.to_owned(),
        })?;
        let workers = if item.gauge == Gauge::Rate { WORKERS } else { 1 };
        let lane = |number: usize| {
            let id = format!("{}-{number}", runtime.name);
            let bundle = stage.bundle(&format!("{}-{id}", item.name), &id, item.command, &item.shape)?;
            Ok(Lane { id, bundle })
        };
        let lanes = (0..workers).map(lane).collect::<Result<_, Error>>()?;
        Ok(Self { runtime, item, root, lanes })
    }

    /// Takes one sample. Steps before and after are not timed; `pause` comes right before the measured step,
    /// as the kernel's RCU sleeps would otherwise hide behind the steps before it.
    pub(crate) fn measure(&self, stage: &Stage, watchdog: &Watchdog, by: Clock) -> Result<f64, Failure> {
        let taker = Taker { case: self, lane: &self.lanes[0], stage, watchdog, deadline: by.deadline };
        for step in self.item.before {
            taker.perform(*step)?;
        }
        if self.item.cold {
            empty(&self.root);
        }
        thread::sleep(by.pause);
        let sample = match self.item.gauge {
            Gauge::Time => milliseconds(taker.perform(self.item.measured)?),
            Gauge::Cpu => taker.read(&[], "cpu")? / 1000.0,
            Gauge::Peak => taker.read(&[], "peak")?,
            Gauge::Faults => taker.read(&[], "faults")?,
            Gauge::Calls => taker.read(&["--trace"], "calls")?,
            Gauge::Forks => taker.read(&["--trace"], "forks")?,
            Gauge::Execs => taker.read(&["--trace"], "execs")?,
            Gauge::Held => taker.held()?,
            Gauge::Least => taker.least()?,
            Gauge::Rate => self.rate(stage, by.deadline)?,
            Gauge::Size => number(fs::metadata(&self.runtime.path)?.len()) / 1024.0,
        };
        for step in self.item.after {
            taker.perform(*step)?;
        }
        Ok(sample)
    }

    /// Forgets what a failed measurement left in the state directory; its processes have ended.
    pub(crate) fn forget(&self, stage: &Stage) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.lanes.iter().any(|lane| name.starts_with(&lane.id)) {
                remove(&entry.path());
            }
        }
        for lane in &self.lanes {
            stage.remove_cgroup(&lane.id);
        }
    }

    /// A container of this runtime that stays, in the same bundle under another id.
    pub(crate) fn add(&self, stage: &Stage, watchdog: &Watchdog, id: &str, by: Clock) -> Result<(), Failure> {
        let bundle = self.lanes[0].bundle.clone();
        let lane = Lane { id: id.to_owned(), bundle };
        let taker = Taker { case: self, lane: &lane, stage, watchdog, deadline: by.deadline };
        stage.configure(&lane.bundle, id, crate::items::PAUSE, &self.item.shape)?;
        taker.perform(Step::Create)?;
        taker.perform(Step::Start)?;
        stage.configure(&lane.bundle, &self.lanes[0].id, self.item.command, &self.item.shape)?;
        Ok(())
    }

    /// Runs that [`WORKERS`] finish in a second.
    fn rate(&self, stage: &Stage, deadline: Duration) -> Result<f64, Failure> {
        let begin = Instant::now();
        let work = |lane| {
            let watchdog = Watchdog::new();
            let taker = Taker { case: self, lane, stage, watchdog: &watchdog, deadline };
            (0..RUNS).try_for_each(|_| taker.perform(Step::Run).map(|_| ()))
        };
        thread::scope(|scope| {
            let workers: Vec<_> = self.lanes.iter().map(|lane| scope.spawn(move || work(lane))).collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker has panicked").into()))
            })
        })?;
        let runs = u32::try_from(self.lanes.len() * RUNS).map_err(io::Error::other)?;
        Ok(f64::from(runs) / begin.elapsed().as_secs_f64())
    }

    /// The runtime's arguments for a step.
    fn words(&self, step: Step, lane: &Lane, stage: &Stage) -> Vec<OsString> {
        let bundle = || [OsString::from("--bundle"), lane.bundle.clone().into()];
        let (verb, options): (&str, Vec<OsString>) = match step {
            Step::Version => return vec!["--version".into()],
            Step::Run => ("run", bundle().into()),
            Step::Create => (
                "create",
                bundle().into_iter().chain(["--pid-file".into(), stage.pid_file().into()]).collect(),
            ),
            Step::Start => ("start", vec![]),
            Step::Exec => ("exec", vec![]),
            Step::State => ("state", vec![]),
            Step::List => ("list", vec![]),
            Step::Delete => ("delete", vec![]),
            Step::Kill => ("delete", vec!["--force".into()]),
            Step::AwaitEnd => return vec![],
        };
        let is_floor = self.runtime.name == runtimes::FLOOR;
        let mut words: Vec<OsString> = vec!["--root".into(), self.root.clone().into()];
        if is_floor {
            words.extend(["--parent".into(), stage.parent().into()]);
        }
        if self.item.shape.systemd {
            words.push("--systemd-cgroup".into());
        }
        if is_floor {
            words.extend(self.item.shape.floor.iter().map(OsString::from));
        }
        words.push(verb.into());
        words.extend(options);
        if step != Step::List {
            words.push(lane.id.clone().into());
        }
        match step {
            Step::Exec => words.push(TRUE.into()),
            // It does not read the config. The crowd's containers stay.
            Step::Run if is_floor => words.push(self.item.command.into()),
            Step::Create if is_floor => words.push(stage.command_of(&lane.bundle).into()),
            _ => {}
        }
        words
    }
}

/// Takes one sample of one case.
#[derive(Debug)]
struct Taker<'a> {
    case: &'a Case<'a>,
    lane: &'a Lane,
    stage: &'a Stage,
    watchdog: &'a Watchdog,
    deadline: Duration,
}

impl Taker<'_> {
    fn perform(&self, step: Step) -> Result<Duration, Failure> {
        if let Step::AwaitEnd = step {
            return self.await_end();
        }
        let mut command = Command::new(&self.case.runtime.path);
        command.args(self.case.words(step, self.lane, self.stage));
        self.time(&mut command)
    }

    /// The container's process is a child of this one since its runtime has ended.
    fn await_end(&self) -> Result<Duration, Failure> {
        let pid = fs::read_to_string(self.stage.pid_file())?;
        let pid = pid.trim().parse().map_err(io::Error::other)?;
        self.watchdog.await_end(Pid::from_raw(pid), self.deadline)?;
        Ok(Duration::ZERO)
    }

    /// Performs the measured step under the meter; gives one of the values that it writes.
    fn read(&self, flags: &[&str], name: &str) -> Result<f64, Failure> {
        let mut command = Command::new(self.stage.meter());
        command.args(flags).arg(self.stage.reading()).arg(&self.case.runtime.path);
        command.args(self.case.words(self.case.item.measured, self.lane, self.stage));
        self.time(&mut command)?;
        let text = fs::read_to_string(self.stage.reading())?;
        value(&text, name).ok_or_else(|| io::Error::other(format!("no {name} in {text}")).into())
    }

    fn held(&self) -> Result<f64, Failure> {
        self.perform(self.case.item.measured)?;
        let processes = sweep::descendants(std::process::id());
        let shares = processes.iter().map(|pid| -> Result<f64, Failure> {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            Ok(value(&text, "Pss:").unwrap_or_default())
        });
        shares.sum()
    }

    /// The least limit, KiB, to a page or a sixty-fourth of it: nothing fits in none, twice in a row means that
    /// it fits.
    fn least(&self) -> Result<f64, Failure> {
        let (mut fails, mut fits) = (0, MOST_PAGES);
        self.run_within(fits * PAGE)?;
        while fits - fails > (fits / 64).max(1) {
            let middle = fails.midpoint(fits);
            let outcome = self.run_within(middle * PAGE).and_then(|()| self.run_within(middle * PAGE));
            if outcome.is_ok() {
                fits = middle;
            } else {
                sweep::end_children(&[]);
                self.case.forget(self.stage);
                fails = middle;
            }
        }
        Ok(number(fits * PAGE) / 1024.0)
    }

    fn run_within(&self, limit: u64) -> Result<(), Failure> {
        let bundle = &self.lane.bundle;
        self.stage.amend(bundle, "/linux/resources/memory", json!({ "limit": limit }))?;
        let mut command = Command::new(&self.case.runtime.path);
        if self.case.runtime.name == runtimes::FLOOR {
            command.arg("--memory").arg(limit.to_string());
        }
        command.args(self.case.words(Step::Run, self.lane, self.stage));
        let hurried = Self { deadline: self.deadline.min(UNDER_A_LIMIT), ..*self };
        hurried.time(&mut command).map(|_| ())
    }

    fn time(&self, command: &mut Command) -> Result<Duration, Failure> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.stage.stderr()?);
        self.watchdog.time(command, self.deadline)
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn number(bytes: u64) -> f64 {
    u32::try_from(bytes).map_or(f64::INFINITY, f64::from)
}

/// The number after a name, as the meter and the kernel write them: `NAME NUMBER...` in a line.
fn value(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(|mut words| {
        words.next().filter(|word| *word == name).and_then(|_| words.next()?.parse().ok())
    })
}

fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        remove(&entry.path());
    }
}

fn remove(path: &Path) {
    let _ =
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let text = "peaks 1\npeak 3252\ncpu 7\nPss:                 82 kB\n";
        assert_eq!(value(text, "peak"), Some(3252.0));
        assert_eq!(value(text, "Pss:"), Some(82.0));
        assert_eq!(value(text, "faults"), None);
    }
}
