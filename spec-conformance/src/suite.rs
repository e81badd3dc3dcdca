//! A run of many cases: each on a stage of its own, several at a time, until they are done or somebody interrupts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde::Deserialize;

use crate::call::Streams;
use crate::case::{CaseOutcome, Finding};
use crate::requirement::Verdict;
use crate::stage::{self, CgroupMode, Play};
use crate::wait::{Deadline, Pidfd};
use crate::{Case, Error, Profile};

/// How long a case may take unless told otherwise.
pub const WITHIN: Duration = Duration::from_secs(90);

/// What is run, and how.
#[derive(Debug)]
pub struct Suite {
    /// The harness's own binary, which is started for the stages; its `main` calls [`stage::backstage`] first.
    pub harness: PathBuf,
    /// The runtime's binary.
    pub program: PathBuf,
    /// How to drive it.
    pub profile: &'static Profile,
    /// Which cgroup hierarchies it sees. With [`CgroupMode::Auto`] on a host of both versions, a runtime that refuses
    /// such hosts sees version 1, and what that does not show is tried with version 2.
    pub cgroup: CgroupMode,
    /// How many cases run at once.
    pub jobs: usize,
    /// How long a case may take.
    pub within: Duration,
}

/// A step of a run, to be shown while it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The case that has just ended.
    pub case: &'static str,
    /// How many have.
    pub done: usize,
    /// How many there are.
    pub all: usize,
}

/// Ends a run early, and with it everything that it has started.
#[derive(Debug, Default)]
pub struct Interruption {
    raised: AtomicBool,
    /// The standard inputs of the stagehands, who end their play when theirs closes.
    stages: Mutex<BTreeMap<usize, ChildStdin>>,
}

impl Interruption {
    /// One that comes with SIGINT, SIGTERM or SIGHUP. Call it before any other thread is started.
    pub fn by_signal() -> Result<Arc<Interruption>, Error> {
        let awaited: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        awaited.thread_block().map_err(Error::system("sigprocmask"))?;
        let interruption = Arc::new(Interruption::default());
        let raiser = Arc::clone(&interruption);
        thread::spawn(move || {
            if awaited.wait().is_ok() {
                raiser.raise();
            }
        });
        Ok(interruption)
    }

    /// Ends the run.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        self.stages().clear();
    }

    fn raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    fn stages(&self) -> MutexGuard<'_, BTreeMap<usize, ChildStdin>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Suite {
    /// Runs the cases and tells of each that ends; their outcomes come in the order of `cases`, whichever ended first.
    /// An interrupted run is [`Error::Interrupted`], and has ended everything that it had started.
    pub fn run(
        &self,
        cases: &[&'static Case],
        interruption: &Interruption,
        heard: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<CaseOutcome>, Error> {
        let several = self.cgroup == CgroupMode::Auto && stage::available(CgroupMode::Hybrid).is_ok();
        let cgroup = if several && !self.profile.hybrid { CgroupMode::V1 } else { self.cgroup };
        stage::available(cgroup)?;
        let _controllers = stage::Controllers::handed_down()?;
        let mut outcomes = self.play_all(cases, cgroup, interruption, heard)?;
        if several {
            self.look_again(&mut outcomes, interruption, heard)?;
        }
        Ok(outcomes)
    }

    /// What could not be shown is tried with cgroup version 2 alone, which a host of both versions has too, if the
    /// runtime makes an ordinary container there.
    fn look_again(
        &self,
        outcomes: &mut [CaseOutcome],
        interruption: &Interruption,
        heard: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), Error> {
        const ORDINARY: &str = "uts-names";
        let hidden: Vec<usize> =
            (0..outcomes.len()).filter(|at| !outcomes[*at].hidden().is_empty()).collect();
        let again: Vec<&'static Case> =
            hidden.iter().filter_map(|at| Case::find(outcomes[*at].case)).collect();
        let ordinary: Vec<&'static Case> = Case::find(ORDINARY).into_iter().collect();
        if again.is_empty() {
            return Ok(());
        }
        let trial = self.play_all(&ordinary, CgroupMode::V2, interruption, &|_| {})?;
        if trial.iter().flat_map(|outcome| &outcome.findings).any(|found| found.verdict != Verdict::Pass) {
            return Ok(());
        }
        let seen = self.play_all(&again, CgroupMode::V2, interruption, heard)?;
        for (at, seen) in hidden.into_iter().zip(seen) {
            outcomes[at].complete(seen);
        }
        Ok(())
    }

    /// The cases on stages of one kind, several at a time.
    fn play_all(
        &self,
        cases: &[&'static Case],
        cgroup: CgroupMode,
        interruption: &Interruption,
        heard: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<CaseOutcome>, Error> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let outcomes: Mutex<BTreeMap<usize, CaseOutcome>> = Mutex::default();
        let play_on = || -> Result<(), Error> {
            while let Some((number, case)) = turn(&next, cases).filter(|_| !interruption.raised()) {
                let outcome = self.play(number, case, cgroup, interruption)?;
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(number, outcome);
                let done = done.fetch_add(1, Ordering::SeqCst) + 1;
                heard(Progress { case: case.id, done, all: cases.len() });
            }
            Ok(())
        };
        thread::scope(|scope| {
            let players: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(play_on)).collect();
            players.into_iter().try_for_each(|player| match player.join() {
                Ok(ended) => ended,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        match interruption.raised() {
            true => Err(Error::Interrupted),
            false => {
                Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())
            }
        }
    }

    /// One case on a stage.
    fn play(
        &self,
        number: usize,
        case: &'static Case,
        cgroup: CgroupMode,
        interruption: &Interruption,
    ) -> Result<CaseOutcome, Error> {
        /// What a stagehand needs beyond the case's time.
        const STAGING: Duration = Duration::from_secs(60);
        let started = Instant::now();
        let play = Play {
            case: case.id.to_owned(),
            program: std::path::absolute(&self.program).map_err(Error::file("the runtime's path"))?,
            profile: self.profile.name.to_owned(),
            cgroup,
            within: self.within,
        };
        let spelled = serde_json::to_string(&play).map_err(|source| Error::Play { source })?;
        let spawn_error = |source| Error::Spawn { program: self.harness.clone(), source };
        let (out, out_writer) = std::io::pipe().map_err(Error::file("pipe"))?;
        let (err, err_writer) = std::io::pipe().map_err(Error::file("pipe"))?;
        let mut command = Command::new(&self.harness);
        command.args([stage::HOLD, &spelled]).stdin(Stdio::piped()).stdout(out_writer).stderr(err_writer);
        let mut stagehand = command.spawn().map_err(spawn_error)?;
        // The command holds our copies of the writing ends: without this the pipes would never close.
        drop(command);
        if let Some(stdin) = stagehand.stdin.take() {
            interruption.stages().insert(number, stdin);
        }
        if interruption.raised() {
            interruption.stages().clear();
        }
        let mut streams = Streams::new(out, err);
        let process = Pidfd::open(i32::try_from(stagehand.id()).unwrap_or_default())
            .map_err(Error::system("pidfd_open"))?;
        let pumped = streams.pump(Some(&process), Deadline::after(self.within + STAGING), |_| false);
        interruption.stages().remove(&number);
        let status = stagehand.wait().map_err(spawn_error)?;
        pumped?;
        let took = started.elapsed();
        let findings = match (told(case, &streams.out.text()), status.code()) {
            (Some(findings), _) => findings,
            (None, Some(stage::LATE)) => case.fail_all(&format!("it had not ended after {:?}", self.within)),
            (None, Some(stage::UNMADE)) if !interruption.raised() => {
                return Err(Error::Stage { why: streams.err.text().trim().to_owned() });
            }
            (None, _) => case.fail_all(&format!("{status}: {}", streams.err.text().trim())),
        };
        Ok(CaseOutcome { case: case.id, took, findings })
    }
}

/// The next case that nobody has taken.
fn turn(next: &AtomicUsize, cases: &[&'static Case]) -> Option<(usize, &'static Case)> {
    let number = next.fetch_add(1, Ordering::SeqCst);
    cases.get(number).map(|case| (number, *case))
}

/// What a performer said of a case; `None` if that is not findings.
fn told(case: &Case, text: &str) -> Option<Vec<Finding>> {
    #[derive(Deserialize)]
    struct Told {
        requirement: String,
        #[serde(flatten)]
        verdict: Verdict,
    }
    let all: Vec<Told> = serde_json::from_str(text).ok()?;
    let known = |told: Told| {
        let requirement = case.proves.iter().find(|id| **id == told.requirement)?;
        Some(Finding { requirement, verdict: told.verdict })
    };
    all.into_iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: Case = Case { id: "case", proves: &["A"], run: |_, _| Ok(()) };

    #[test]
    fn findings_survive_the_way_from_the_stage() {
        let text = r#"[{"requirement":"A","verdict":"fail","expected":"1","observed":"2"}]"#;
        let fail = Verdict::Fail { expected: "1".into(), observed: "2".into() };
        assert_eq!(told(&CASE, text), Some(vec![Finding { requirement: "A", verdict: fail }]));
    }

    #[test]
    fn what_the_case_does_not_name_or_is_no_finding_is_refused() {
        assert_eq!(told(&CASE, r#"[{"requirement":"B","verdict":"pass"}]"#), None);
        assert_eq!(told(&CASE, ""), None);
    }
}
