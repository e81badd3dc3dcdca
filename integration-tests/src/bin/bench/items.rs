//! What is measured: one table, an entry for each item.

use serde::{Deserialize, Serialize};

use crate::bundles::{self, Shape};
use crate::error::Error;

use Gauge::{Calls, Cpu, Execs, Faults, Forks, Held, Least, Peak, Rate, Size, Time};
use Need::{Memory, Systemd};
use Scene::{Crowd, Mounts, Quiet};
use Step::{AwaitEnd, Create, Delete, Exec, Kill, List, Run, Start, State, Version};

/// How many containers there are in [`Scene::Crowd`], of each runtime.
pub(crate) const CROWD: usize = 200;

/// What an item is if it does not say otherwise.
const ITEM: Item = Item {
    name: "",
    about: "",
    shape: bundles::DEFAULT,
    command: TRUE,
    before: &[],
    measured: Run,
    after: &[],
    gauge: Time,
    scene: Quiet,
    most: u32::MAX,
    cold: false,
    floor: true,
    need: None,
};

/// Every item, scene by scene.
pub(crate) const ITEMS: &[Item] = &[
    Item { name: "version", about: "--version", measured: Version, ..ITEM },
    Item { name: "run", about: "run, default bundle", ..ITEM },
    Item { name: "create", about: "create", measured: Create, after: &[Kill], ..ITEM },
    Item {
        name: "start",
        about: "start",
        before: &[Create],
        measured: Start,
        after: &[AwaitEnd, Delete],
        ..ITEM
    },
    Item {
        name: "delete",
        about: "delete of a stopped container",
        before: &[Create, Start, AwaitEnd],
        measured: Delete,
        ..ITEM
    },
    Item { name: "exec", about: "exec", measured: Exec, ..RUNNING },
    Item { name: "state", about: "state", measured: State, ..RUNNING },
    Item {
        name: "kill",
        about: "delete --force of a running container",
        measured: Kill,
        after: &[],
        ..RUNNING
    },
    Item {
        name: "docker-warm",
        about: "run, docker-default with its filter, warm",
        shape: bundles::DOCKER,
        ..ITEM
    },
    Item {
        name: "docker-cold",
        about: "run, docker-default with its filter, empty state directory",
        shape: bundles::DOCKER,
        cold: true,
        ..ITEM
    },
    Item { name: "userns", about: "run, new user namespace", shape: bundles::USER, ..ITEM },
    Item { name: "masks-256", about: "run, 256 masked paths", shape: bundles::MASKS, ..ITEM },
    Item { name: "binds-200", about: "run, 200 bind mounts", shape: bundles::BINDS, ..ITEM },
    Item { name: "env-64k", about: "run, 64 KiB of env", shape: bundles::VALUES, ..ITEM },
    Item {
        name: "systemd",
        about: "run, systemd driver",
        shape: bundles::SYSTEMD,
        floor: false,
        need: Some(Systemd),
        ..ITEM
    },
    Item { name: "parallel-4", about: "runs per second, 4 workers", gauge: Rate, most: 12, ..ITEM },
    Item { name: "cpu", about: "CPU time of a run", gauge: Cpu, ..ITEM },
    Item { name: "peak", about: "peak memory of the runtime in a run", gauge: Peak, most: 10, ..ITEM },
    Item { name: "faults", about: "page faults of a run", gauge: Faults, most: 5, ..ITEM },
    Item {
        name: "held",
        about: "memory held by a created container",
        gauge: Held,
        measured: Create,
        after: &[Kill],
        most: 5,
        ..ITEM
    },
    Item {
        name: "least",
        about: "least memory limit of a run",
        gauge: Least,
        most: 3,
        need: Some(Memory),
        ..ITEM
    },
    Item { name: "calls", about: "system calls of a run", gauge: Calls, most: 3, ..ITEM },
    Item { name: "forks", about: "new processes in a run", gauge: Forks, most: 3, ..ITEM },
    Item { name: "execs", about: "executed programs in a run", gauge: Execs, most: 3, ..ITEM },
    Item { name: "binary", about: "size of the binary", gauge: Size, most: 1, ..ITEM },
    Item { name: "mounts-2000", about: "run, a host with 2,000 more mounts", scene: Mounts, ..ITEM },
    Item { name: "beside-200", about: "run beside 200 containers of each runtime", scene: Crowd, ..ITEM },
    Item {
        name: "list-200",
        about: "list of 200 containers",
        measured: List,
        scene: Crowd,
        floor: false,
        ..ITEM
    },
];

/// Beside a container that runs until it is killed.
const RUNNING: Item = Item { command: PAUSE, before: &[Create, Start], after: &[Kill], ..ITEM };

/// A program that ends at once.
pub(crate) const TRUE: &str = "/true";
/// A program that waits to be killed.
pub(crate) const PAUSE: &str = "/pause";

/// One item.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its name for `--items` and programs.
    pub(crate) name: &'static str,
    /// Its name for people.
    pub(crate) about: &'static str,
    /// The bundle.
    pub(crate) shape: Shape,
    /// The program of the container.
    pub(crate) command: &'static str,
    /// Steps before the measured one, not measured.
    pub(crate) before: &'static [Step],
    /// The measured step.
    pub(crate) measured: Step,
    /// Steps after it, not measured.
    pub(crate) after: &'static [Step],
    /// What is read of it.
    pub(crate) gauge: Gauge,
    /// What the machine is like.
    pub(crate) scene: Scene,
    /// No more rounds than these: the value hardly varies, or takes long.
    pub(crate) most: u32,
    /// What the runtime keeps between calls (its state directory, a cache of filters in it) is emptied first.
    pub(crate) cold: bool,
    /// The floor can do it.
    pub(crate) floor: bool,
    /// What the machine must have.
    pub(crate) need: Option<Need>,
}

/// One command, or one wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Version,
    Run,
    Create,
    Start,
    /// Until the container's process has ended.
    AwaitEnd,
    Exec,
    State,
    List,
    /// `delete` of a stopped container.
    Delete,
    /// `delete --force` of a created or running one.
    Kill,
}

/// What a measurement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gauge {
    /// From the spawn of the runtime until it has ended.
    Time,
    /// Processor time of the runtime, and of the processes that it waited for.
    Cpu,
    /// Peak resident memory of the largest of them.
    Peak,
    /// Their page faults that needed no disk.
    Faults,
    /// Proportional share (PSS) of memory of all processes that `create` leaves.
    Held,
    /// The least memory limit under which the container runs.
    Least,
    /// System calls of the runtime and all its descendants.
    Calls,
    /// Processes that they made.
    Forks,
    /// Programs that they executed, the runtime's first not counted.
    Execs,
    /// Runs that four workers finish in a second.
    Rate,
    /// Of the runtime's file.
    Size,
}

impl Gauge {
    /// What its numbers are.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Time | Cpu => Unit::Milliseconds,
            Peak | Held | Least | Size => Unit::Kibibytes,
            Faults | Calls | Forks | Execs => Unit::Number,
            Rate => Unit::PerSecond,
        }
    }
}

/// The unit of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "KiB")]
    Kibibytes,
    #[serde(rename = "")]
    Number,
    #[serde(rename = "/s")]
    PerSecond,
}

impl Unit {
    /// Its sign.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Kibibytes => "KiB",
            Self::Number => "",
            Self::PerSecond => "/s",
        }
    }

    /// Digits after the point that mean anything.
    pub(crate) fn digits(self) -> usize {
        usize::from(self == Self::Milliseconds) * 2
    }

    /// Whether less is better.
    pub(crate) fn is_cost(self) -> bool {
        self != Self::PerSecond
    }
}

/// What the machine is like while an item is measured. Items of one scene are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// As it is.
    Quiet,
    /// With some 2,000 more mounts in the benchmark's own mount namespace.
    Mounts,
    /// With [`CROWD`] running containers of each runtime.
    Crowd,
}

/// What not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The memory controller in the layout.
    Memory,
    /// systemd as the manager of cgroups.
    Systemd,
}

/// The wanted items, all if `wanted` is empty.
pub(crate) fn choose(wanted: &[String]) -> Result<Vec<&'static Item>, Error> {
    if let Some(unknown) = wanted.iter().find(|name| ITEMS.iter().all(|item| item.name != *name)) {
        let names: Vec<_> = ITEMS.iter().map(|item| item.name).collect();
        return Err(Error::new(unknown, format!("no such item: {}", names.join(", "))));
    }
    let is_wanted = |item: &&Item| wanted.is_empty() || wanted.iter().any(|name| name == item.name);
    Ok(ITEMS.iter().filter(is_wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_items_have_one_name() {
        for (index, item) in ITEMS.iter().enumerate() {
            assert!(ITEMS[..index].iter().all(|other| other.name != item.name), "{}", item.name);
            assert!(!item.about.is_empty(), "{}", item.name);
        }
    }

    #[test]
    fn an_unknown_item_is_an_error_that_names_all() {
        let error = choose(&["runn".into()]).unwrap_err().to_string();
        assert!(error.contains("runn") && error.contains("list-200"), "{error}");
        assert_eq!(choose(&["exec".into(), "run".into()]).unwrap().len(), 2);
        assert_eq!(choose(&[]).unwrap().len(), ITEMS.len());
    }
}
