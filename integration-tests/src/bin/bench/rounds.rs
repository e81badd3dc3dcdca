//! Takes the samples: in each round every case once, in an order of its own, so that no runtime has the quiet
//! minutes.

use std::io::{self, IsTerminal, Write};

use nix::unistd::Pid;

use crate::case::{Case, Clock};
use crate::command::Watchdog;
use crate::error::Error;
use crate::items::Scene;
use crate::options::Options;
use crate::random::Random;
use crate::scenes::Set;
use crate::stage::Stage;
use crate::sweep;

/// A case that fails so often, and never succeeds, is given up.
const PATIENCE: u32 = 3;

/// What a runtime did in one item.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Series {
    /// One value for each success in the rounds without a pause, in their order.
    pub(crate) tight: Vec<f64>,
    /// The same for the rounds with one.
    pub(crate) paused: Vec<f64>,
    /// How many commands failed.
    pub(crate) failures: u32,
    /// The first failure in words.
    pub(crate) reason: Option<String>,
}

impl Series {
    fn is_hopeless(&self) -> bool {
        self.failures >= PATIENCE && self.tight.is_empty() && self.paused.is_empty()
    }
}

/// Measures all cases; the series are in their order.
pub(crate) fn run(
    options: &Options,
    cases: &[Case<'_>],
    stage: &Stage,
    watchdog: &Watchdog,
) -> Result<Vec<Series>, Error> {
    let mut series = vec![Series::default(); cases.len()];
    for scene in [Scene::Quiet, Scene::Mounts, Scene::Crowd] {
        let order: Vec<usize> = (0..cases.len()).filter(|index| cases[*index].item.scene == scene).collect();
        if !order.is_empty() {
            act(options, scene, cases, order, &mut series, stage, watchdog)?;
        }
    }
    Ok(series)
}

/// One scene. A first round fills the page cache and the caches of the runtimes, and does not count.
fn act(
    options: &Options,
    scene: Scene,
    cases: &[Case<'_>],
    mut order: Vec<usize>,
    series: &mut [Series],
    stage: &Stage,
    watchdog: &Watchdog,
) -> Result<(), Error> {
    let mut random = Random(options.seed);
    let clock = |round| Clock { pause: options.pause.in_round(round), deadline: options.deadline };
    let involved: Vec<&Case<'_>> = order.iter().map(|index| &cases[*index]).collect();
    let set = Set::new(scene, &involved, stage, watchdog, clock(0))?;
    for &index in &order {
        if let Some(reason) = set.absent.get(cases[index].runtime.name) {
            series[index] = Series { failures: 1, reason: Some(reason.clone()), ..Series::default() };
        }
    }
    order.retain(|index| !set.absent.contains_key(cases[*index].runtime.name));
    for round in 0..=options.rounds {
        random.shuffle(&mut order);
        for &index in &order {
            let (case, series) = (&cases[index], &mut series[index]);
            if round <= case.item.most && !series.is_hopeless() {
                sample(case, series, stage, watchdog, clock(round), set.kept());
            }
            if round == 0 {
                *series = Series::default();
            }
        }
        progress(scene, round, options.rounds);
    }
    Ok(())
}

fn sample(
    case: &Case<'_>,
    series: &mut Series,
    stage: &Stage,
    watchdog: &Watchdog,
    clock: Clock,
    kept: &[Pid],
) {
    let outcome = case.measure(stage, watchdog, clock);
    // Also after a success: the container's process is ours to reap.
    sweep::end_children(kept);
    match outcome {
        Ok(sample) if clock.pause.is_zero() => series.tight.push(sample),
        Ok(sample) => series.paused.push(sample),
        Err(failure) => {
            series.failures += 1;
            series.reason.get_or_insert_with(|| format!("{failure} {}", stage.complaint()));
            case.forget(stage);
        }
    }
}

/// Shows somebody who waits that it goes on.
fn progress(scene: Scene, round: u32, rounds: u32) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let end = if round == rounds { "\r\x1b[K" } else { "" };
        let _ = write!(stderr, "\r{scene:?}: round {round} of {rounds}  {end}");
    }
}
