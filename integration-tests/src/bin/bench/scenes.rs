//! What the machine is made to be while some items are measured, and undone after them. Runs in the inner
//! process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::Pid;

use crate::case::{Case, Clock};
use crate::command::Watchdog;
use crate::error::{At, Error};
use crate::items::{CROWD, Scene};
use crate::stage::Stage;
use crate::sweep;

/// A tree of mounts is bound into itself this often, which doubles them each time: 2,048 in the end.
const DOUBLINGS: u32 = 11;

/// `$0` is the directory, `$@` the names of the places to bind to.
const MULTIPLY: &str = "mount -t tmpfs -o size=1m none \"$0\" && mount --make-private \"$0\" && cd \"$0\" && \
                        mkdir \"$@\" && for place; do mount --rbind . \"$place\" || exit 1; done";

/// A scene that is set; undone when dropped.
#[derive(Debug)]
pub(crate) struct Set {
    /// The crowd's processes.
    kept: Vec<Pid>,
    mounts: Option<PathBuf>,
    /// Why a runtime is left out, by its name.
    pub(crate) absent: BTreeMap<&'static str, String>,
}

impl Set {
    /// Makes it, for these cases.
    pub(crate) fn new(
        scene: Scene,
        cases: &[&Case<'_>],
        stage: &Stage,
        watchdog: &Watchdog,
        clock: Clock,
    ) -> Result<Self, Error> {
        let mut set = Self { kept: Vec::new(), mounts: None, absent: BTreeMap::new() };
        match scene {
            Scene::Quiet => {}
            Scene::Mounts => set.multiply_mounts(stage)?,
            Scene::Crowd => {
                let mut done: Vec<&str> = Vec::new();
                for case in cases {
                    if !done.contains(&case.runtime.name) {
                        done.push(case.runtime.name);
                        set.gather(case, stage, watchdog, clock);
                    }
                }
            }
        }
        Ok(set)
    }

    /// Processes that stay until the scene ends.
    pub(crate) fn kept(&self) -> &[Pid] {
        &self.kept
    }

    fn multiply_mounts(&mut self, stage: &Stage) -> Result<(), Error> {
        let directory = stage.directory("mounts")?;
        self.mounts = Some(directory.clone());
        let places = (0..DOUBLINGS).map(|number| number.to_string());
        let status = Command::new("sh").args(["-c", MULTIPLY]).arg(&directory).args(places).status();
        let status = status.at("sh")?;
        if status.success() { Ok(()) } else { Err(Error::new("2,000 mounts", format!("sh: {status}"))) }
    }

    /// [`CROWD`] containers of one runtime, in the state directory that its cases share.
    fn gather(&mut self, case: &Case<'_>, stage: &Stage, watchdog: &Watchdog, clock: Clock) {
        for number in 0..CROWD {
            let id = format!("{}-crowd-{number}", case.runtime.name);
            if let Err(failure) = case.add(stage, watchdog, &id, clock) {
                let complaint = stage.complaint();
                self.absent.insert(case.runtime.name, format!("container {number}: {failure} {complaint}"));
                break;
            }
        }
        // All that is a child now and stays: the runtimes have ended.
        self.kept = sweep::children();
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if !self.kept.is_empty() {
            sweep::end_children(&[]);
        }
        if let Some(directory) = &self.mounts {
            // They end with the mount namespace if not here.
            let _ = Command::new("umount").arg("-R").arg("-l").arg(directory).status();
        }
    }
}
