//! The benchmark's command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::layout::Layout;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: bench [OPTION...]                       (as root)
       bench --render FILE [--html FILE] [--markdown FILE]

Times container runtimes in interleaved rounds, against each other and against a floor written in C.

  --rounds N         measurements of each item for each runtime (30), after one round that does not count
  --quick            12 rounds, and no item that takes a crowd of containers
  --realtime         let no ordinary program run while one is measured (SCHED_RR, by chrt): for a machine with others
                     on it, which wait meanwhile
  --items A,B        only these items; an unknown name lists all
  --runtimes A,B     only these of floor, ketch, crun, runc, youki
  --pause MS         wait before every measured command; otherwise 20 ms in every second round, 0 in the others
  --layout L         host: the cgroups as they are; hybrid: the same, if they are that; v1, v2: on a hybrid
                     machine, only these, in a mount namespace of the benchmark's own (v2)
  --deadline S       a command that takes longer is killed and counted as failed (10)
  --seed N           of the order within the rounds; printed, by default taken from the clock
  --json FILE        write all samples and what comes of them there
  --html FILE        write a page with plots there, one file that needs no other
  --markdown FILE    write ketch's targets beside what was measured there, and all medians
  --render FILE      measure nothing, but read what --json wrote
  --compile DIR      measure nothing, but compile the floor and its kin there, for a machine without a compiler:
                     $PROGRAMS names such a directory

Runtimes: ketch is $KETCH or the release build beside this program; the others are looked for in $PEERS (a
directory), then in $PATH. One that is not found is left out.";

/// The pause before a measured command. The kernel's RCU sleeps show only after a quiet time (some 10 ms).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pause {
    /// The same before every command.
    Always(Duration),
    /// None in even rounds, [`Pause::MIXED`] in odd ones; told apart.
    Mixed,
}

impl Pause {
    /// What [`Pause::Mixed`] waits in odd rounds.
    const MIXED: Duration = Duration::from_millis(20);

    /// How long to wait in this round.
    pub(crate) fn in_round(self, round: u32) -> Duration {
        match self {
            Self::Always(pause) => pause,
            Self::Mixed if round % 2 == 1 => Self::MIXED,
            Self::Mixed => Duration::ZERO,
        }
    }
}

/// Of `--quick`; a `--rounds` after it has its way.
const QUICK_ROUNDS: u32 = 12;

/// What to measure and how.
#[derive(Debug)]
pub(crate) struct Options {
    /// Counted rounds.
    pub(crate) rounds: u32,
    /// Names of the items; empty for all.
    pub(crate) items: Vec<String>,
    /// Names of the runtimes; empty for all that are found.
    pub(crate) runtimes: Vec<String>,
    /// The wait before every measured command.
    pub(crate) pause: Pause,
    /// The cgroup hierarchies that the runtimes see.
    pub(crate) layout: Layout,
    /// The longest that one command may take.
    pub(crate) deadline: Duration,
    /// Decides the order within the rounds.
    pub(crate) seed: u64,
    /// Leave out what takes long to prepare.
    pub(crate) quick: bool,
    /// Measure before all ordinary programs.
    pub(crate) realtime: bool,
    /// Where the samples go, if anywhere.
    pub(crate) json: Option<PathBuf>,
    /// Where the page goes.
    pub(crate) html: Option<PathBuf>,
    /// Where the targets go.
    pub(crate) markdown: Option<PathBuf>,
    /// Where programs go, if nothing is measured.
    pub(crate) compile: Option<PathBuf>,
    /// Where the samples come from, if nothing is measured.
    pub(crate) render: Option<PathBuf>,
}

impl Options {
    /// Reads the words after the program's name.
    pub(crate) fn parse(words: &[OsString]) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(option) = words.next() {
            let option = option.to_string_lossy();
            match &*option {
                "--quick" => (options.quick, options.rounds) = (true, QUICK_ROUNDS),
                "--realtime" => options.realtime = true,
                _ => {
                    let value =
                        words.next().ok_or_else(|| usage(&option, "unknown, or its value is missing"))?;
                    options.set(&option, &value.to_string_lossy())?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), Error> {
        match option {
            "--rounds" => self.rounds = number(option, value)?,
            "--items" => self.items = list(value),
            "--runtimes" => self.runtimes = list(value),
            "--pause" => self.pause = Pause::Always(Duration::from_millis(number(option, value)?)),
            "--layout" => {
                let known = Layout::NAMES.iter().find(|(name, _)| *name == value);
                self.layout = known.ok_or_else(|| usage(option, "host, hybrid, v1 or v2"))?.1;
            }
            "--deadline" => self.deadline = Duration::from_secs(number(option, value)?),
            "--seed" => self.seed = number(option, value)?,
            "--json" => self.json = Some(value.into()),
            "--html" => self.html = Some(value.into()),
            "--markdown" => self.markdown = Some(value.into()),
            "--compile" => self.compile = Some(value.into()),
            "--render" => self.render = Some(value.into()),
            _ => return Err(usage(option, "no such option")),
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            rounds: 30,
            items: Vec::new(),
            runtimes: Vec::new(),
            pause: Pause::Mixed,
            layout: Layout::V2,
            deadline: Duration::from_secs(10),
            seed: clock.as_secs(),
            quick: false,
            realtime: false,
            json: None,
            html: None,
            markdown: None,
            compile: None,
            render: None,
        }
    }
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}

fn number<N: std::str::FromStr>(option: &str, value: &str) -> Result<N, Error> {
    value.parse().map_err(|_| usage(option, &format!("{value} is not a number that fits")))
}

fn usage(option: &str, reason: &str) -> Error {
    Error::new(option, format!("{reason} (see --help)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Error> {
        Options::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn mixed_pauses_are_in_every_second_round() {
        let pause = parse("--rounds 4").unwrap().pause;
        let waits: Vec<_> = (1..=4).map(|round| pause.in_round(round).as_millis()).collect();
        assert_eq!(waits, [20, 0, 20, 0]);
    }

    #[test]
    fn an_option_without_its_value_is_an_error() {
        assert!(parse("--rounds").is_err());
        assert!(parse("--rounds many").is_err());
        assert!(parse("--layout v3").is_err());
        assert!(parse("--no-such 1").is_err());
    }

    #[test]
    fn quick_takes_no_value() {
        let options = parse("--quick --rounds 3 --layout hybrid").unwrap();
        assert_eq!((options.quick, options.rounds, options.layout), (true, 3, Layout::Hybrid));
        assert_eq!(parse("--quick").unwrap().rounds, QUICK_ROUNDS);
        assert!(parse("--realtime --seed 1").unwrap().realtime && !options.realtime);
    }

    #[test]
    fn lists_are_separated_by_commas() {
        assert_eq!(parse("--items run,exec").unwrap().items, ["run", "exec"]);
    }
}
