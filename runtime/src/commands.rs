//! What each command does, in the library's verbs.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use libcontainer::bundle::Bundle;
use libcontainer::container::{self, Container, Options, Running, Status};
use libcontainer::error::{Error, ErrorKind};
use libcontainer::plan::cgroup::Driver;
use libcontainer::plan::{annotation, version};
use libcontainer::state::Store;
use libcontainer::timeline::{self, Phase};

use crate::cli::{CgroupManager, Command, Create, Delete, Global, Kill, PlanArgs, Rootless, Run};
use crate::notify::{self, Relay};
use crate::outcome::{Failure, KILLED, connect, print, print_json, tell_out_of_memory, write_pid_file};
use crate::{activation, checkpoint, events, exec, features, foreground, listing, signals, spec, update};

/// Carries out a command; gives the exit status.
pub(crate) fn run(global: &Global, command: Command) -> Result<i32, Failure> {
    let store = Store::new(root(global));
    match command {
        Command::Create(args) => create(&store, global, &args),
        Command::Run(args) => run_container(&store, global, &args),
        Command::Start(args) => start(&Container::open(&store, &args.id)?),
        Command::State(args) => print_json(&Container::open(&store, &args.id)?.state()),
        Command::Kill(args) => kill(&store, global, &args),
        Command::Delete(args) => delete(&store, global, &args),
        Command::List(args) => listing::containers(&store, &args),
        Command::Exec(args) => exec::exec(&store, args),
        Command::Ps(args) => listing::processes(&store, &args),
        Command::Events(args) => events::events(&store, &args),
        Command::Pause(args) => Container::open(&store, &args.id)?.pause().map(|()| 0).map_err(Failure::from),
        Command::Resume(args) => {
            Container::open(&store, &args.id)?.resume().map(|()| 0).map_err(Failure::from)
        }
        Command::Update(args) => update::update(&store, &args),
        Command::Checkpoint(_) => Err(checkpoint::refuse("checkpoint")),
        Command::Restore(_) => Err(checkpoint::refuse("restore")),
        Command::Spec(args) => spec::write(&args),
        Command::Features => print_json(&features::document()),
        Command::Plan(args) => plan(global, &args),
    }
}

/// The annotation by which crun is told what `--pidfd-socket` tells.
const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// Where containers are remembered. Root's place, or that of the user who runs us, maybe as root of a user
/// namespace. An empty XDG_RUNTIME_DIR counts as unset: podman sets it so for root.
fn root(global: &Global) -> PathBuf {
    if let Some(root) = &global.root {
        return root.clone();
    }
    let rootless = match global.rootless {
        Rootless::True => true,
        Rootless::False => false,
        Rootless::Auto => !libcontainer::is_privileged(),
    };
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| rootless && !dir.is_empty());
    own.map_or_else(|| PathBuf::from("/run/ketch"), |dir| Path::new(&dir).join("ketch"))
}

/// Prints the version in the lines that Docker looks for.
pub(crate) fn version() -> Result<i32, Failure> {
    let lines = format!(
        "ketch version {}\ncommit: {}\nspec: {}\nlibseccomp: {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("KETCH_COMMIT"),
        version::NEWEST,
        features::libseccomp_version(),
    );
    print(&lines)
}

fn options(global: &Global, args: &Create, bundle: &Bundle) -> Result<Options, Failure> {
    let annotated = annotation(&bundle.spec, PIDFD_RECEIVER).map(Path::new);
    let receiver = args.pidfd_socket.as_deref().or(annotated);
    let sockets = activation::sockets();
    Ok(Options {
        pivot: !args.no_pivot,
        keyring: !args.no_new_keyring,
        preserved: sockets.count.saturating_add(args.preserve_fds),
        environment: sockets.environment,
        notify: notify::is_wanted(),
        console: args.console_socket.as_deref().map(|path| connect("console", path)).transpose()?,
        pidfd_receiver: receiver.map(|path| connect("pidfd", path)).transpose()?,
        #[cfg(debug_assertions)]
        fault: fault(args),
        ..plain_options(global, &args.id)
    })
}

#[cfg(debug_assertions)]
fn plain_options(global: &Global, id: &str) -> Options {
    Options { resctrl: global.resctrl.clone(), ..release_options(global, id) }
}

#[cfg(not(debug_assertions))]
fn plain_options(global: &Global, id: &str) -> Options {
    release_options(global, id)
}

fn release_options(global: &Global, id: &str) -> Options {
    let driver = match global.cgroup_manager {
        _ if global.systemd_cgroup => Driver::Systemd,
        CgroupManager::Systemd => Driver::Systemd,
        CgroupManager::Cgroupfs => Driver::Files,
        CgroupManager::Disabled => Driver::Nobody,
    };
    Options { strict: global.strict, driver, ..Options::new(id) }
}

#[cfg(debug_assertions)]
fn fault(args: &Create) -> libcontainer::fault::Fault {
    let step = args.fail_at.and_then(libcontainer::plan::step::Step::from_code);
    step.map_or_else(Default::default, libcontainer::fault::Fault::at)
}

fn load(args: &Create) -> Result<Bundle, Error> {
    let bundle = match &args.config {
        Some(config) => Bundle::load_with(&args.bundle, config),
        None => Bundle::load(&args.bundle),
    };
    bundle.map_err(Error::from)
}

fn create(store: &Store, global: &Global, args: &Create) -> Result<i32, Failure> {
    let bundle = load(args)?;
    let container = container::create(store, &bundle, &options(global, args, &bundle)?)?;
    write_pid_file(args.pid_file.as_deref(), container.pid()).map(|()| 0).or_else(|failure| {
        container.delete(true)?;
        Err(failure)
    })
}

/// Creates a container and starts it. Its notifications, if they are wanted, are heard before it says any.
fn start_now(
    store: &Store,
    bundle: &Bundle,
    options: &Options,
) -> Result<(Container, Running, Option<Relay>), Failure> {
    let held = container::hold(store, bundle, options)?;
    match Relay::new(held.container()) {
        Ok(relay) => {
            held.run().map(|(container, program)| (container, program, relay)).map_err(Failure::from)
        }
        Err(failure) => {
            held.give_up();
            Err(failure)
        }
    }
}

fn start(container: &Container) -> Result<i32, Failure> {
    let relay = Relay::new(container)?;
    // Looked up before: afterwards it may have ended.
    let awaited = relay.and_then(|relay| Some((relay, container.pidfd()?, container.state().pid)));
    container.start()?;
    if let Some((relay, program, pid)) = awaited {
        await_ready(&relay, program.as_fd(), pid)?;
    }
    Ok(0)
}

/// Stays until the program has said that it is ready: whoever called us takes our end for that.
fn await_ready(relay: &Relay, program: BorrowedFd<'_>, pid: i32) -> Result<(), Failure> {
    relay.until_ready(program, pid).map_err(|error| Failure::io("wait for the program to be ready", &error))
}

fn run_container(store: &Store, global: &Global, args: &Run) -> Result<i32, Failure> {
    let bundle = load(&args.create)?;
    let terminal = bundle.spec.process().as_ref().is_some_and(|p| p.terminal().unwrap_or(false));
    let mut options = options(global, &args.create, &bundle)?;
    if args.detach {
        let (container, program, relay) = start_now(store, &bundle, &options)?;
        let told = write_pid_file(args.create.pid_file.as_deref(), program.pid());
        let told = told
            .and_then(|()| relay.map_or(Ok(()), |relay| await_ready(&relay, program.pidfd(), program.pid())));
        return told.map(|()| 0).or_else(|failure| {
            container.delete(true)?;
            Err(failure)
        });
    }
    let mut foreground =
        foreground::Foreground::enter(terminal && options.console.is_none(), args.create.no_subreaper)?;
    options.console = options.console.map(Ok).or_else(|| foreground.console()).transpose()?;
    let (container, program, relay) = start_now(store, &bundle, &options)?;
    let attended = write_pid_file(args.create.pid_file.as_deref(), program.pid())
        .and_then(|()| timeline::during(Phase::Attend, || foreground.attend(program, relay)));
    if let Ok(KILLED) = attended {
        tell_out_of_memory(&container, 0);
    }
    if !args.keep || attended.is_err() {
        container.delete(true)?;
    }
    attended
}

fn kill(store: &Store, global: &Global, args: &Kill) -> Result<i32, Failure> {
    let signal = signals::number(&args.signal).ok_or_else(|| {
        Failure::new(format!("unknown signal {:?}: give a name such as TERM, or a number", args.signal))
    })?;
    let ids = ids(store, &args.id, args.regex)?;
    each(&ids, |id| kill_one(store, global, id, signal, args.all))
}

/// The containers that are meant: the one of this id, or all whose ids match it.
fn ids(store: &Store, id: &str, regex: bool) -> Result<Vec<String>, Error> {
    if regex { store.matching(id).map_err(Error::from) } else { Ok(vec![id.to_owned()]) }
}

/// Does it to each of them, whatever becomes of the others. The first failure is the command's, the rest is logged.
fn each(ids: &[String], act: impl Fn(&str) -> Result<(), Error>) -> Result<i32, Failure> {
    let mut failures = ids.iter().filter_map(|id| act(id).err());
    let first = failures.next();
    failures.for_each(|error| tracing::error!("{error}"));
    first.map_or(Ok(0), |error| Err(error.into()))
}

fn kill_one(store: &Store, global: &Global, id: &str, signal: i32, all: bool) -> Result<(), Error> {
    let container = Container::open(store, id)?;
    // Clients signal what a stopped container has left behind; the specification knows no such thing.
    let all = all && !(global.strict && container.status() == Status::Stopped);
    container.kill(signal, all)
}

fn delete(store: &Store, global: &Global, args: &Delete) -> Result<i32, Failure> {
    let ids = ids(store, &args.id, args.regex)?;
    each(&ids, |id| delete_one(store, global, id, args.force))
}

fn delete_one(store: &Store, global: &Global, id: &str, force: bool) -> Result<(), Error> {
    let container = match Container::open(store, id) {
        Err(error) if force && error.kind() == ErrorKind::Missing => return Ok(()),
        Err(error) => {
            let entry = store.open(id).map_err(Error::from)?;
            if !force && !entry.is_abandoned() {
                return Err(error);
            }
            // The record cannot be read, so nothing is known of the container but its directory.
            return entry.remove().map_err(Error::from);
        }
        Ok(container) => container,
    };
    if global.strict && !force { container.delete_stopped() } else { container.delete(force) }
}

fn plan(global: &Global, args: &PlanArgs) -> Result<i32, Failure> {
    let bundle = Bundle::load(&args.bundle).map_err(Error::from)?;
    let plan = container::compile(&bundle, &plain_options(global, &args.id))?;
    if args.steps {
        let lines =
            plan.steps().into_iter().map(|step| format!("{:8} {}\n", step.code(), plan.describe(step)));
        return print(&lines.collect::<String>());
    }
    print_json(&plan)
}
