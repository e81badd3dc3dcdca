//! What a run found out about a runtime: kept as one JSON document, from which every report is made.

pub(crate) mod lasting;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::case::CaseOutcome;
use crate::profile;
use crate::requirement::{Level, Requirement, SPEC_VERSION, Verdict};

/// What was run, when and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Name of the runtime's profile.
    pub runtime: String,
    /// What it says of its version.
    pub version: String,
    /// The version of the specification that it was measured against.
    pub specification: String,
    /// Day, in UTC: `2026-01-31`.
    pub date: String,
    /// Kernel, architecture and cgroup hierarchies of the host.
    pub host: String,
}

/// What all cases found out about one runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was run.
    #[serde(flatten)]
    pub run: Run,
    /// In the order in which they ran.
    pub cases: Vec<CaseResult>,
}

/// What one case found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// The case's id.
    pub case: String,
    /// How long it took.
    pub seconds: f64,
    /// Each verdict once.
    pub findings: Vec<Found>,
}

/// A verdict on one clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The requirement's id.
    pub clause: String,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What all verdicts on one clause come to, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// Some check failed.
    Fail,
    /// Some check could not be made here, and none failed.
    Skip,
    /// Every check passed.
    Pass,
    /// There was no check, and there could be one.
    Untested,
    /// There is no check that could be made.
    Waived,
}

impl Mark {
    /// All of them, as reports order them.
    pub const ALL: [Mark; 5] = [Mark::Pass, Mark::Fail, Mark::Skip, Mark::Untested, Mark::Waived];

    /// Its name in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Mark::Fail => "fail",
            Mark::Skip => "skip",
            Mark::Pass => "pass",
            Mark::Untested => "untested",
            Mark::Waived => "waived",
        }
    }
}

/// How many clauses have each mark.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally(BTreeMap<Mark, usize>);

impl Tally {
    /// How many have this one.
    pub fn of(&self, mark: Mark) -> usize {
        self.0.get(&mark).copied().unwrap_or_default()
    }

    /// How many clauses could be tested.
    pub fn testable(&self) -> usize {
        self.0.values().sum::<usize>() - self.of(Mark::Waived)
    }

    /// Clauses with a verdict in a hundred testable ones, rounded down; 100 if there is none.
    pub fn coverage(&self) -> usize {
        percent(self.of(Mark::Pass) + self.of(Mark::Fail), self.testable())
    }

    /// Passed clauses in a hundred with a verdict, rounded down; 100 if there is none.
    pub fn passing(&self) -> usize {
        percent(self.of(Mark::Pass), self.of(Mark::Pass) + self.of(Mark::Fail))
    }
}

fn percent(part: usize, whole: usize) -> usize {
    (part * 100).checked_div(whole).unwrap_or(100)
}

impl Run {
    /// Of this runtime, here and now. Asks it for its version.
    pub fn of(runtime: &str, program: &Path) -> Run {
        let said = profile::version(program);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Run {
            runtime: runtime.to_owned(),
            version: said.lines().next().unwrap_or_default().trim().to_owned(),
            specification: SPEC_VERSION.to_owned(),
            date: date(now.as_secs() / (24 * 60 * 60)),
            host: host(),
        }
    }
}

impl Outcome {
    /// The outcome of these cases with this runtime. Equal verdicts of a case on a clause are one, and a pass beside
    /// anything else is none. What a runtime said is kept without where it lies, and not at any length.
    pub fn new(run: Run, program: &Path, cases: &[CaseOutcome]) -> Outcome {
        let result = |case: &CaseOutcome| {
            let mut findings: Vec<Found> = Vec::new();
            for finding in &case.findings {
                let verdict = lasting::verdict(&finding.verdict, program);
                let found = Found { clause: finding.requirement.to_owned(), verdict };
                let mut others =
                    case.findings.iter().filter(|other| other.requirement == finding.requirement);
                let outweighed =
                    finding.verdict == Verdict::Pass && others.any(|other| other.verdict != Verdict::Pass);
                if !outweighed && !findings.contains(&found) {
                    findings.push(found);
                }
            }
            let milliseconds = u32::try_from(case.took.as_millis()).unwrap_or(u32::MAX);
            CaseResult { case: case.case.to_owned(), seconds: f64::from(milliseconds) / 1000.0, findings }
        };
        Outcome { run, cases: cases.iter().map(result).collect() }
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<Outcome, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        serde_json::from_str(&text).map_err(|source| Error::file(path)(io::Error::other(source)))
    }

    /// Adds what another run of the same runtime found out on another host: what was skipped there or here yields to a
    /// verdict.
    pub fn join(&mut self, other: Outcome) {
        if !self.run.host.split("; ").any(|host| host == other.run.host) {
            self.run.host = format!("{}; {}", self.run.host, other.run.host);
        }
        self.run.date = self.run.date.clone().max(other.run.date);
        for case in other.cases {
            match self.cases.iter_mut().find(|own| own.case == case.case) {
                Some(own) => own.join(case),
                None => self.cases.push(case),
            }
        }
    }

    /// The verdicts on a clause, with the cases that gave them.
    pub fn verdicts<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (&'a str, &'a Verdict)> {
        let found = move |case: &'a CaseResult| {
            let findings = case.findings.iter().filter(move |found| found.clause == id);
            findings.map(|found| (case.case.as_str(), &found.verdict))
        };
        self.cases.iter().flat_map(found)
    }

    /// What the verdicts on a clause come to.
    pub fn mark(&self, requirement: &Requirement) -> Mark {
        let mark = |(_, verdict): (&str, &Verdict)| match verdict {
            Verdict::Fail { .. } => Mark::Fail,
            Verdict::Skip { .. } => Mark::Skip,
            Verdict::Pass => Mark::Pass,
        };
        let without = if requirement.waived.is_some() { Mark::Waived } else { Mark::Untested };
        self.verdicts(requirement.id).map(mark).min().unwrap_or(without)
    }

    /// Marks of the clauses that are wanted.
    pub fn tally(&self, wanted: impl Fn(&Requirement) -> bool) -> Tally {
        let mut tally = Tally::default();
        for requirement in Requirement::all().filter(|requirement| wanted(requirement)) {
            *tally.0.entry(self.mark(requirement)).or_default() += 1;
        }
        tally
    }

    /// Whether a clause of this level, or of a stronger one, failed.
    pub fn fails(&self, level: Level) -> bool {
        self.tally(|requirement| requirement.level <= level).of(Mark::Fail) > 0
    }

    /// Clauses with this mark.
    pub fn marked(&self, mark: Mark) -> impl Iterator<Item = &'static Requirement> {
        Requirement::all().filter(move |requirement| self.mark(requirement) == mark)
    }

    /// One JSON document, with a line for each finding: small, and easy to compare with another.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let Run { runtime, version, specification, date, host } = &self.run;
        let fields = [
            ("runtime", runtime),
            ("version", version),
            ("specification", specification),
            ("date", date),
            ("host", host),
        ];
        writeln!(out, "{{")?;
        for (name, value) in fields {
            writeln!(out, "  \"{name}\": {},", json(value)?)?;
        }
        write!(out, "  \"cases\": [")?;
        for (at, CaseResult { case, seconds, findings }) in self.cases.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(out, "{comma}\n    {{\"case\": {}, \"seconds\": {seconds}, \"findings\": [", json(case)?)?;
            for (at, found) in findings.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                write!(out, "{comma}\n      {}", json(found)?)?;
            }
            write!(out, "]}}")?;
        }
        writeln!(out, "]\n}}")
    }
}

impl CaseResult {
    fn join(&mut self, other: CaseResult) {
        self.seconds += other.seconds;
        let skips = |found: &Found| matches!(found.verdict, Verdict::Skip { .. });
        let is_told = |all: &[Found], id: &str| all.iter().any(|found| found.clause == id && !skips(found));
        self.findings.retain(|found| !skips(found) || !is_told(&other.findings, &found.clause));
        for found in other.findings {
            let yields = skips(&found) && is_told(&self.findings, &found.clause);
            if !yields && !self.findings.contains(&found) {
                self.findings.push(found);
            }
        }
    }
}

fn json<T: Serialize>(value: &T) -> io::Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// The day that begins so many days after 1970-01-01, in the Gregorian calendar.
fn date(days: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", day + 1)
}

/// What of the host decides which cases can run.
fn host() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let is_there = |path: &str| Path::new("/sys/fs/cgroup").join(path).exists();
    let cgroups = match (is_there("cgroup.controllers"), is_there("unified")) {
        (true, _) => "v2",
        (false, true) => "hybrid",
        (false, false) => "v1",
    };
    format!("Linux {} {}, cgroup {cgroups}", release.trim(), std::env::consts::ARCH)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::case::Finding;

    pub(crate) const PASSED: &str = "config.mounts.order";
    pub(crate) const FAILED: &str = "config.root.readonly";
    pub(crate) const SKIPPED: &str = "config-linux.default-filesystems.available";
    pub(crate) const WAIVED: &str = "config.root.hyper-v";

    /// One clause of each mark.
    pub(crate) fn outcome(runtime: &str) -> Outcome {
        let fail =
            || Verdict::Fail { expected: "read-only, \"ro\" <&>".into(), observed: "rw\n# not ok".into() };
        let finding = |requirement, verdict| Finding { requirement, verdict };
        let findings = vec![
            finding(PASSED, Verdict::Pass),
            finding(FAILED, Verdict::Pass),
            finding(PASSED, Verdict::Pass),
            finding(FAILED, fail()),
            finding(FAILED, fail()),
            finding(SKIPPED, Verdict::Skip { needs: "a kernel with #sysfs".into() }),
        ];
        let case = CaseOutcome { case: "case", took: Duration::from_millis(1500), findings };
        let text = |text: &str| text.to_owned();
        let run = Run {
            runtime: runtime.to_owned(),
            version: text("runtime 1.0 <beta>"),
            specification: text(SPEC_VERSION),
            date: text("2026-01-31"),
            host: text("Linux 6.1 x86_64, cgroup v2"),
        };
        Outcome::new(run, Path::new("/opt/bin/runtime"), &[case])
    }

    #[test]
    fn one_failure_among_passes_fails_the_clause_and_is_told_once() {
        let outcome = outcome("r");
        let told: Vec<&str> = outcome.cases[0].findings.iter().map(|found| found.clause.as_str()).collect();
        assert_eq!(told, [PASSED, FAILED, SKIPPED]);
        let mark = |id| outcome.mark(Requirement::find(id).unwrap());
        assert_eq!(
            [PASSED, FAILED, SKIPPED, WAIVED].map(mark),
            [Mark::Pass, Mark::Fail, Mark::Skip, Mark::Waived]
        );
        assert_eq!(mark("config.mounts.relative"), Mark::Untested);
    }

    #[test]
    fn what_one_host_skips_another_decides() {
        let (mut here, mut there) = (outcome("r"), outcome("r"));
        there.run.host = "another".to_owned();
        there.cases[0].findings[2].verdict = Verdict::Pass;
        there.cases[0].findings[0].verdict = Verdict::Skip { needs: "this".to_owned() };
        for (mut one, other) in [(here.clone(), there.clone()), (there, here.clone())] {
            one.join(other);
            let mark = |id| one.mark(Requirement::find(id).unwrap());
            assert_eq!([PASSED, FAILED, SKIPPED].map(mark), [Mark::Pass, Mark::Fail, Mark::Pass]);
            assert!(one.run.host.contains("; "));
        }
        let again = here.clone();
        here.join(again.clone());
        assert_eq!((here.run, &here.cases[0].findings), (again.run, &again.cases[0].findings));
    }

    #[test]
    fn tallies_count_each_clause_once_and_a_clause_without_a_verdict_lowers_the_coverage() {
        let tally = outcome("r").tally(|requirement| requirement.id.starts_with("config.root."));
        assert_eq!((tally.of(Mark::Fail), tally.of(Mark::Untested), tally.of(Mark::Waived)), (1, 3, 5));
        assert_eq!((tally.testable(), tally.coverage(), tally.passing()), (4, 25, 0));
        assert_eq!((Tally::default().coverage(), Tally::default().passing()), (100, 100));
    }

    #[test]
    fn what_fails_is_told_by_level() {
        let mut outcome = outcome("r");
        assert!(outcome.fails(Level::Must) && outcome.fails(Level::Should));
        outcome.cases[0].findings.retain(|found| found.clause != FAILED);
        assert!(!outcome.fails(Level::Should));
        outcome.cases[0].findings[1].verdict =
            Verdict::Fail { expected: String::new(), observed: String::new() };
        assert!(!outcome.fails(Level::Must) && outcome.fails(Level::Should));
    }

    #[test]
    fn json_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.json");
        let outcome = outcome("r");
        outcome.write_json(&mut std::fs::File::create(&path).unwrap()).unwrap();
        assert_eq!(Outcome::read(&path).unwrap(), outcome);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\n      {\"clause\":\"config.root.readonly\",\"verdict\":\"fail\""), "{text}");
    }

    #[test]
    fn days_are_dates() {
        assert_eq!([0, 58, 59, 789, 11_016, 20_483].map(date).join(" "), {
            "1970-01-01 1970-02-28 1970-03-01 1972-02-29 2000-02-29 2026-01-30"
        });
    }
}
