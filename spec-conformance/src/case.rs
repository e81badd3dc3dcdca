//! A case: one scenario, and its verdicts on the requirements that it names.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Error;
use crate::bundle::BundleBuilder;
use crate::call::Finished;
use crate::cases::CASES;
use crate::requirement::Verdict;
use crate::runtime::Runtime;

/// What was expected of a requirement about which nothing was found out.
const DRIVEN: &str = "the scenario can be driven to its end";

/// A scenario driven against a runtime.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Name: area and what is tested, `process-user`.
    pub id: &'static str,
    /// Ids of the requirements that it gives a verdict on.
    pub proves: &'static [&'static str],
    /// The scenario. An error fails every requirement without a verdict so far.
    pub run: fn(&Runtime, &mut Checks) -> Result<(), Error>,
}

/// A verdict on one requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The requirement's id.
    pub requirement: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What a case found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseOutcome {
    /// The case's id.
    pub case: &'static str,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// At least one for each requirement that it names.
    pub findings: Vec<Finding>,
}

impl CaseOutcome {
    /// Clauses about which nothing could be found out.
    pub(crate) fn hidden(&self) -> Vec<&'static str> {
        let shown = |id: &str| {
            let mut of = self.findings.iter().filter(|finding| finding.requirement == id);
            of.any(|finding| !matches!(finding.verdict, Verdict::Skip { .. }))
        };
        let mut hidden: Vec<&'static str> =
            self.findings.iter().map(|finding| finding.requirement).filter(|id| !shown(id)).collect();
        hidden.sort_unstable();
        hidden.dedup();
        hidden
    }

    /// Takes from the same case, run elsewhere, what was hidden here and was not there.
    pub(crate) fn complete(&mut self, elsewhere: CaseOutcome) {
        let (hidden, still) = (self.hidden(), elsewhere.hidden());
        let taken = |id: &&'static str| {
            hidden.contains(id)
                && !still.contains(id)
                && elsewhere.findings.iter().any(|found| found.requirement == *id)
        };
        let ids: Vec<&'static str> = hidden.iter().copied().filter(|id| taken(id)).collect();
        self.findings.retain(|finding| !ids.contains(&finding.requirement));
        self.findings.extend(elsewhere.findings.into_iter().filter(|found| ids.contains(&found.requirement)));
        self.took += elsewhere.took;
    }
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

impl Case {
    /// The case with this id.
    pub fn find(id: &str) -> Option<&'static Case> {
        CASES.iter().find(|case| case.id == id)
    }

    /// The findings of a case of which nothing came.
    pub(crate) fn fail_all(&self, observed: &str) -> Vec<Finding> {
        let mut checks = Checks::default();
        for id in self.proves {
            checks.fail(id, DRIVEN, observed);
        }
        checks.findings
    }

    /// Runs the scenario here. A requirement that it named and said nothing about has failed. Some scenarios mount things
    /// and can be run on a stage alone: see [`crate::suite`].
    pub fn conduct(&self, runtime: &Runtime) -> CaseOutcome {
        let started = Instant::now();
        let mut checks = Checks::default();
        let ended = (self.run)(runtime, &mut checks);
        let observed = match ended {
            Ok(()) => "the case ended without a verdict".to_owned(),
            Err(error) => error.to_string(),
        };
        for id in self.proves {
            if !checks.findings.iter().any(|finding| finding.requirement == *id) {
                checks.fail(id, DRIVEN, &observed);
            }
        }
        CaseOutcome { case: self.id, took: started.elapsed(), findings: checks.findings }
    }
}

/// Collects the verdicts of a running case.
#[derive(Debug, Default)]
pub struct Checks {
    findings: Vec<Finding>,
}

impl Checks {
    /// Passes if both are equal.
    pub fn equal<T: Debug + PartialEq>(&mut self, requirement: &'static str, expected: T, observed: T) {
        let holds = expected == observed;
        self.holds(requirement, &format!("{expected:?}"), &observed, holds);
    }

    /// Passes if both differ.
    pub fn differ<T: Debug + PartialEq>(&mut self, requirement: &'static str, unwanted: T, observed: T) {
        let holds = unwanted != observed;
        self.holds(requirement, &format!("other than {unwanted:?}"), &observed, holds);
    }

    /// Passes if `holds`; otherwise reports both sides.
    pub fn holds(&mut self, requirement: &'static str, expected: &str, observed: &dyn Debug, holds: bool) {
        if holds {
            self.findings.push(Finding { requirement, verdict: Verdict::Pass });
        } else {
            self.fail(requirement, expected, &format!("{observed:?}"));
        }
    }

    /// Passes if the runtime cannot be brought to run this bundle.
    pub fn refuses(
        &mut self,
        requirement: &'static str,
        runtime: &Runtime,
        bundle: BundleBuilder,
        what: &str,
    ) -> Result<(), Error> {
        let call = runtime.run(&bundle.build()?)?;
        let expected = format!("{what} is an error");
        self.holds(requirement, &expected, &call.exit, !call.exit.success());
        Ok(())
    }

    /// Passes if the runtime runs this bundle, whose program ends well.
    pub fn accepts(
        &mut self,
        requirement: &'static str,
        runtime: &Runtime,
        bundle: BundleBuilder,
        what: &str,
    ) -> Result<(), Error> {
        let call = runtime.run(&bundle.build()?)?;
        let expected = format!("{what} is no error");
        self.holds(requirement, &expected, &(call.exit, call.stderr.trim()), call.exit.success());
        Ok(())
    }

    /// Passes if the runtime refused the call.
    pub fn refused(&mut self, requirement: &'static str, call: &Finished) {
        const OPERATIONS: [&str; 7] = ["state", "create", "start", "kill", "delete", "run", "exec"];
        // The rest of the command line is of this run alone.
        let operation = call.call.split(' ').find(|word| OPERATIONS.contains(word)).unwrap_or(&call.call);
        let expected = format!("an error of `{operation}`");
        self.holds(requirement, &expected, &call.exit, !call.exit.success());
    }

    /// Fails.
    pub fn fail(&mut self, requirement: &'static str, expected: &str, observed: &str) {
        let verdict = Verdict::Fail { expected: expected.to_owned(), observed: observed.to_owned() };
        self.findings.push(Finding { requirement, verdict });
    }

    /// Says that this host cannot test it.
    pub fn skip(&mut self, requirement: &'static str, needs: &str) {
        self.findings.push(Finding { requirement, verdict: Verdict::Skip { needs: needs.to_owned() } });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    fn conduct(run: fn(&Runtime, &mut Checks) -> Result<(), Error>) -> CaseOutcome {
        let runtime = Runtime::new("/bin/false", &Profile::RUNC).unwrap();
        Case { id: "case", proves: &["A", "B"], run }.conduct(&runtime)
    }

    #[test]
    fn silence_about_a_named_requirement_is_a_failure() {
        let outcome = conduct(|_, checks| {
            checks.equal("A", 1, 1);
            Ok(())
        });
        assert_eq!(outcome.findings[0], Finding { requirement: "A", verdict: Verdict::Pass });
        assert!(matches!(outcome.findings[1].verdict, Verdict::Fail { .. }));
    }

    #[test]
    fn an_error_fails_what_has_no_verdict_yet_and_keeps_the_rest() {
        let outcome = conduct(|runtime, checks| {
            checks.equal("A", 1, 1);
            runtime.call(["state"])?.success()?;
            checks.equal("B", 1, 1);
            Ok(())
        });
        assert_eq!(outcome.findings[0].verdict, Verdict::Pass);
        assert!(
            matches!(&outcome.findings[1].verdict, Verdict::Fail { observed, .. } if observed.contains("status 1"))
        );
    }

    #[test]
    fn what_is_hidden_in_one_place_is_taken_from_another() {
        let skip = Verdict::Skip { needs: "a second machine".into() };
        let found = |findings: &[(&'static str, &Verdict)]| CaseOutcome {
            case: "case",
            took: Duration::ZERO,
            findings: findings
                .iter()
                .map(|(requirement, verdict)| Finding { requirement, verdict: (*verdict).clone() })
                .collect(),
        };
        let fail = Verdict::Fail { expected: "1".into(), observed: "2".into() };
        let mut here = found(&[("A", &Verdict::Pass), ("B", &skip), ("C", &skip)]);
        here.complete(found(&[("A", &fail), ("B", &fail), ("B", &Verdict::Pass), ("C", &skip)]));
        assert_eq!(here, found(&[("A", &Verdict::Pass), ("C", &skip), ("B", &fail), ("B", &Verdict::Pass)]));
    }

    #[test]
    fn a_requirement_may_be_checked_more_than_once_in_a_case() {
        let outcome = conduct(|_, checks| {
            checks.equal("A", 1, 1);
            checks.equal("A", 1, 2);
            checks.skip("B", "a second machine");
            Ok(())
        });
        assert_eq!(outcome.findings.len(), 3);
    }
}
