//! The verb update: changes limits of a container. Runs in the runtime's process.

use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::{Container, Status};
use crate::error::{Error, ErrorKind};
use crate::fault::Fault;
use crate::host;
use crate::launch::cgroup;
use crate::launch::update::{Target, apply};
use crate::plan::facts::Needs;
use crate::plan::invalid::Findings;
use crate::plan::update::{Asked, Now, compile, hierarchies, in_words_of, refusal_in_words_of};

/// What is to be changed. What is not named stays as it is.
#[derive(Debug, Default)]
pub struct Update {
    /// Limits, as in a config. Device rules among them are ignored: engines send one that denies everything, and
    /// mean nothing by it. Spec: config-linux.md#control-groups.
    pub resources: LinuxResources,
    /// A line for the container's resctrl group, such as `L3:0=ff`. Spec: config-linux.md#intelrdt.
    pub l3_cache_schema: Option<String>,
    /// Another, such as `MB:0=50`.
    pub mem_bw_schema: Option<String>,
    /// What the caller calls properties, for messages: a JSON pointer such as `/linux/resources/memory/limit`, and
    /// the name.
    pub names: Vec<(String, String)>,
    /// A step that is to fail, for tests.
    pub fault: Fault,
}

impl Container {
    /// Changes limits of the container, all that are named or none.
    ///
    /// ```no_run
    /// use libcontainer::{Container, Store, Update};
    /// use libcontainer::plan::document::parse_resources;
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// let (resources, _) = parse_resources(br#"{"memory": {"limit": 67108864}}"#)?;
    /// container.update(&Update { resources, ..Update::default() })?;
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    ///
    /// # Errors
    /// The container is stopped, a value is wrong, or the kernel refuses one; then all are as before.
    pub fn update(&self, update: &Update) -> Result<(), Error> {
        if let status @ (Status::Creating | Status::Stopped) = self.status() {
            let says =
                format!("cannot update container {}: container not running: {}", self.id(), status.word());
            return Err(Error::new(ErrorKind::State, says));
        }
        // What one reads and the next one writes in between would be lost.
        let _alone = self.entry.lock_changes()?;
        let facts = host::probe(Needs::EVERYTHING);
        let directories = &self.record.cgroups;
        if directories.is_empty() && update.resources != LinuxResources::default() {
            let says = format!("container {} has no cgroup to set limits in", self.id());
            return Err(Error::new(ErrorKind::State, says));
        }
        let paths = directories.iter().map(|d| (d.version, d.path.to_str().unwrap_or_default()));
        let hierarchies = hierarchies(paths, &facts.cgroup.hierarchies);
        let read = |hierarchy: u16, file: &str| {
            let directory = directories.get(usize::from(hierarchy))?;
            cgroup::read(directory.path.join(file)).ok()
        };
        let now =
            Now { hierarchies: &hierarchies, huge_page_sizes: &facts.cgroup.huge_page_sizes, read: &read };
        let asked = Asked {
            resources: &update.resources,
            l3_cache_schema: update.l3_cache_schema.as_deref(),
            mem_bw_schema: update.mem_bw_schema.as_deref(),
            check_usage: self.checks_usage(&update.resources)?,
        };
        let mut findings = Findings::default();
        let plan = compile(asked, &now, &mut findings);
        let warnings = findings.finish().map_err(|invalid| {
            let says = refusal_in_words_of(&update.names, invalid).lines("update");
            Error::new(ErrorKind::Invalid, says)
        })?;
        super::create::warn(&in_words_of(&update.names, warnings));
        let resctrl = if plan.schemata.is_empty() { None } else { Some(self.own_resctrl()?) };
        let unit = self.record.unit.as_ref();
        apply(&plan, Target { directories, resctrl, unit }, update.fault).map_err(|broken| {
            let step = broken.failure.step;
            let directory = plan.hierarchy(step).and_then(|i| directories.get(i));
            let place = directory.map(|d| d.path.as_path()).or(resctrl).unwrap_or(Path::new(""));
            let file = place.join(plan.describe(step));
            Error::at_step(format_args!("update container {}: {}", self.id(), file.display()), &broken)
        })
    }

    /// Whether a limit below what is used is refused: as the update says, or else the config.
    fn checks_usage(&self, resources: &LinuxResources) -> Result<bool, Error> {
        let said =
            |resources: &LinuxResources| resources.memory().and_then(|memory| memory.check_before_update());
        if resources.memory().is_none() {
            return Ok(false);
        }
        if let Some(check) = said(resources) {
            return Ok(check);
        }
        let config = self.config()?;
        let configured = config.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        Ok(configured.and_then(said).unwrap_or(false))
    }

    /// The resctrl group that was made for this container. One that it shares is not changed: it is others' too.
    fn own_resctrl(&self) -> Result<&Path, Error> {
        let group = self.record.resctrl.as_ref();
        let Some((group, joined)) = group.and_then(|group| Some((group, group.join.first()?))) else {
            let says = format!(
                "container {} has no resctrl group; give it intelRdt in its config when it is created",
                self.id()
            );
            return Err(Error::new(ErrorKind::Invalid, says));
        };
        if !group.made.contains(joined) {
            let says = format!(
                "resctrl group {} is not container {}'s alone; change its schemata there",
                joined.display(),
                self.id()
            );
            return Err(Error::new(ErrorKind::Invalid, says));
        }
        Ok(joined)
    }
}
