//! Makes containers: `create`, and `run`, which starts them too.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use oci_spec::runtime::Spec;

use crate::bundle::Bundle;
use crate::error::{Error, ErrorKind};
use crate::fault::Fault;
use crate::hooks::StateText;
use crate::host;
use crate::launch::{self, Launched, Made, Settings, cgroup::Group, rdt::Resctrl};
use crate::path::KernelString;
use crate::plan::cgroup::{Driver, named};
use crate::plan::facts::{Facts, Needs, SystemdFacts};
use crate::plan::invalid::Finding;
use crate::plan::step::Step;
use crate::plan::systemd::UnitName;
use crate::plan::{Choices, Plan, seccomp};
use crate::state::{CgroupDirectory, Entry, Identity, Record, Refused, Store, VERSION};
use crate::sys::process::{self, Child, Exit};
use crate::sys::{Call, Stop, fs};

use super::{Container, State, Status, additions, pidfd, run_poststop, state_text};
use crate::channel::{At, Channel};
use crate::timeline::{self, Phase};

/// What the caller decides about a new container.
#[derive(Debug)]
pub struct Options {
    /// Its id, unique in the store.
    pub id: String,
    /// Change the root by pivot_root(2), not by moving the mount.
    pub pivot: bool,
    /// Give it a session keyring of its own.
    pub keyring: bool,
    /// Refuse what is tolerated for the sake of clients, where the specification wants an error.
    pub strict: bool,
    /// How many descriptors from 3 on its program gets.
    pub preserved: u32,
    /// A connected stream socket, over which the master of its terminal is sent.
    pub console: Option<OwnedFd>,
    /// A connected stream socket, over which a pidfd of its first process is sent when it is created.
    pub pidfd_receiver: Option<OwnedFd>,
    /// Variables of the environment that its program gets beside the config's, as `NAME=value`.
    pub environment: Vec<String>,
    /// Give it a place for the socket of its notifications, see [`Container::notify_socket`].
    pub notify: bool,
    /// Who makes its cgroup.
    pub driver: Driver,
    /// Where resctrl is, if not where the mount table says.
    pub resctrl: Option<String>,
    /// A step that is to fail, for tests.
    pub fault: Fault,
}

impl Options {
    /// The usual for a container of this id.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Options {
        Options {
            id: id.into(),
            pivot: true,
            keyring: true,
            strict: false,
            preserved: 0,
            console: None,
            pidfd_receiver: None,
            environment: Vec::new(),
            notify: false,
            driver: Driver::Files,
            resctrl: None,
            fault: Fault::default(),
        }
    }
}

/// A process that the caller waits for: a child of the calling process.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    pub(super) fn new(child: Child) -> Running {
        Running { child }
    }

    /// Its pid, as the caller sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Its pidfd, which is readable when it has ended. See pidfd_open(2).
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone, or the number is no signal.
    pub fn signal(&self, signal: i32) -> Result<(), Stop> {
        process::send_signal(self.pidfd(), signal)
    }

    /// Kills and reaps it: a program that nobody can be told of does not run on.
    pub fn give_up(self) {
        // It may have ended by itself; ended or killed, it is ours to reap.
        let _ended = self.signal(nix::libc::SIGKILL).and_then(|()| self.wait());
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Something else in this process has reaped it.
    pub fn wait(self) -> Result<Exit, Stop> {
        process::wait(self.child.pidfd.as_fd())
    }
}

/// Compiles the plan for a bundle on this host; does nothing else.
///
/// ```no_run
/// use libcontainer::{Bundle, Options, compile};
///
/// let plan = compile(&Bundle::load("/bundles/web".as_ref())?, &Options::new("web"))?;
/// println!("{} mounts", plan.rootfs.mounts.len());
/// # Ok::<(), libcontainer::Error>(())
/// ```
///
/// # Errors
/// Everything that is wrong with the config.
pub fn compile(bundle: &Bundle, options: &Options) -> Result<Plan, Error> {
    compile_for(bundle, &bundle.spec, options)
}

/// Compiles the plan for the config as it is in the store, where the container is to have its place.
fn compile_in(store: &Store, bundle: &Bundle, options: &Options) -> Result<Plan, Error> {
    compile_for(bundle, &additions::apply(&bundle.spec, options, store), options)
}

fn compile_for(bundle: &Bundle, spec: &Spec, options: &Options) -> Result<Plan, Error> {
    timeline::during(Phase::Compile, || compile_plan(bundle, spec, options))
}

fn compile_plan(bundle: &Bundle, spec: &Spec, options: &Options) -> Result<Plan, Error> {
    // First of all: names of cgroups are made from it, and would be what is complained of.
    crate::state::check_id(&options.id)?;
    let choices = Choices {
        id: options.id.clone(),
        bundle: text(&bundle.path)?,
        pivot: options.pivot,
        keyring: options.keyring,
        strict: options.strict,
        driver: options.driver,
    };
    let wants_resctrl = spec.linux().as_ref().is_some_and(|linux| linux.intel_rdt().is_some());
    let mut facts = host::probe(Needs::by(spec, spec.process().as_ref()));
    facts.resctrl = options.resctrl.clone().or_else(|| wants_resctrl.then(host::resctrl).flatten());
    facts.named = named::asked(spec).and_then(|_| host::named_hierarchy());
    facts.systemd = (options.driver == Driver::Systemd).then(host::systemd).flatten();
    let compiled = Plan::compile(spec, &choices, &facts);
    let architectures = launch::filter::check(&seccomp::architectures(spec));
    let mistakes = bundle.mistakes.clone().and(architectures);
    let mut plan = mistakes.beside(compiled, &bundle.text)?;
    plan.warnings.splice(0..0, bundle.warnings.iter().cloned());
    let terminal = plan.process.as_ref().is_some_and(|process| process.terminal.is_some());
    if !terminal && options.console.is_some() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a console socket is given, but /process/terminal is not true",
        ));
    }
    Ok(plan)
}

fn text(path: &Path) -> Result<String, Error> {
    let unreadable = || Error::new(ErrorKind::Invalid, format!("{} is not UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(unreadable)
}

/// The plan of a container that exists, for its words.
pub(super) fn recompile(container: &Container) -> Result<Plan, Error> {
    let record = &container.record;
    let choices = Choices {
        id: record.id.clone(),
        bundle: text(&record.bundle)?,
        pivot: true,
        keyring: true,
        strict: false,
        // A config for no cgroup has no limits, and is fine with one.
        driver: if record.unit.is_some() { Driver::Systemd } else { Driver::Files },
    };
    // Whatever has become of resctrl and systemd: they were there when the container was created.
    let systemd = record.unit.as_ref().map(|unit| SystemdFacts { manager: unit.manager, root: "/".into() });
    let spec = container.config()?;
    let (named, resctrl) = (host::named_hierarchy(), Some("/sys/fs/resctrl".into()));
    let facts = Facts { resctrl, named, systemd, ..host::probe(Needs::by(spec, spec.process().as_ref())) };
    Ok(Plan::compile(spec, &choices, &facts)?)
}

/// Creates a container: everything is there, and only its program does not run.
///
/// ```no_run
/// use libcontainer::{Bundle, Options, Store, create};
///
/// let bundle = Bundle::load("/bundles/web".as_ref())?;
/// let container = create(&Store::new("/run/example"), &bundle, &Options::new("web"))?;
/// container.start()?;
/// # Ok::<(), libcontainer::Error>(())
/// ```
///
/// # Errors
/// Anything. Nothing is left of what was made.
pub fn create(store: &Store, bundle: &Bundle, options: &Options) -> Result<Container, Error> {
    let plan = compile_in(store, bundle, options)?;
    make(store, bundle, &plan, options, true).map(|(container, _)| container)
}

/// Creates a container and starts it. The caller waits for its program.
///
/// ```no_run
/// use libcontainer::{Bundle, Options, Store, run};
///
/// let bundle = Bundle::load("/bundles/job".as_ref())?;
/// let (container, program) = run(&Store::new("/run/example"), &bundle, &Options::new("job"))?;
/// println!("{:?}", program.wait());
/// container.delete(false)?;
/// # Ok::<(), libcontainer::Error>(())
/// ```
///
/// # Errors
/// Anything. Nothing is left of what was made.
pub fn run(store: &Store, bundle: &Bundle, options: &Options) -> Result<(Container, Running), Error> {
    hold(store, bundle, options)?.run()
}

/// A container that is created and waits for its maker, who alone can start it.
#[derive(Debug)]
pub struct Held {
    container: Container,
    child: Child,
    channel: Channel,
}

/// Creates a container to be started by the same caller: the halves of [`run`], for who has something to do between
/// them.
///
/// # Errors
/// Anything. Nothing is left of what was made.
pub fn hold(store: &Store, bundle: &Bundle, options: &Options) -> Result<Held, Error> {
    let plan = compile_in(store, bundle, options)?;
    let (container, (child, channel)) = make(store, bundle, &plan, options, false)?;
    Ok(Held { container, child, channel })
}

impl Held {
    /// The container.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Starts it. The caller waits for its program.
    ///
    /// # Errors
    /// Anything. Nothing is left of the container.
    pub fn run(self) -> Result<(Container, Running), Error> {
        match self.container.go(&self.channel) {
            Ok(()) => Ok((self.container, Running { child: self.child })),
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// Removes it.
    pub fn give_up(self) {
        self.container.give_up();
        // It has been killed; nobody else can reap it.
        let _exit = process::wait(self.child.pidfd.as_fd());
    }
}

/// Makes the container, up to `created`. With `later` it gets a socket over which `start` comes.
fn make(
    store: &Store,
    bundle: &Bundle,
    plan: &Plan,
    options: &Options,
    later: bool,
) -> Result<(Container, (Child, Channel)), Error> {
    warn(&plan.warnings);
    if plan.process.as_ref().is_some_and(|p| p.terminal.is_some()) && options.console.is_none() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "cannot allocate a terminal without a console socket; use --console-socket",
        ));
    }
    timeline::note_words(|| {
        plan.steps().into_iter().map(|step| (step, plan.describe(step).to_string())).collect()
    });
    let reservation = timeline::during(Phase::Reserve, || store.reserve(&options.id))?;
    tracing::debug!(id = options.id, "container is reserved; its record comes before anything else");
    let record = record(bundle, plan, options);
    if options.notify {
        reservation.entry().make_notify_directory()?;
    }
    options.fault.attempt(Step::Record, || Ok(())).map_err(|failure| Error::launch(plan, &failure.into()))?;
    timeline::during(Phase::Reserve, || reservation.entry().write_record(&record))?;
    let drafted = Cell::new(None);
    let draft = |made: Made| {
        let Some(complete) = completed(&record, plan, made) else { return Ok(()) };
        let entry = reservation.entry();
        entry.write_config(&bundle.text).and_then(|()| entry.draft_record(&complete)).map_err(unwritable)?;
        drafted.set(Some(complete));
        Ok(())
    };
    let launched =
        launch_in(reservation.entry(), &record, plan, bundle, options, later, &draft).map_err(|broken| {
            let error = Error::launch(plan, &broken);
            if error.kind() == ErrorKind::Hook {
                // The container is gone by now, and the specification wants these to know.
                run_poststop(&record);
            }
            error
        })?;
    narrate(plan);
    let gone = || Error::new(ErrorKind::System, "container init died while it was being set up");
    let record = drafted.take().ok_or_else(gone)?;
    reservation.entry().publish_record()?;
    pidfd::send(options.pidfd_receiver.as_ref(), c"standard", launched.pidfd())?;
    let running = launched.commit(later).map_err(|broken| Error::launch(plan, &broken))?;
    Ok((Container { entry: reservation.commit(), record, config: OnceLock::new() }, running))
}

/// Tells what has been done by the time a container is created: its own process cannot.
fn narrate(plan: &Plan) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        for step in plan.steps().into_iter().filter(|step| !step.is_after_create()) {
            tracing::debug!("done: {}", plan.describe(step));
        }
    }
}

pub(super) fn warn(warnings: &[Finding]) {
    for finding in warnings {
        tracing::warn!("{finding}");
    }
}

/// The record with what exists by now. `None` if the process is gone: then it has said why.
fn completed(record: &Record, plan: &Plan, made: Made) -> Option<Record> {
    let start_time = host::look_at(made.pid)?.start_time;
    Some(Record {
        process: Some(Identity { pid: made.pid, start_time }),
        cgroups: made.cgroups,
        unit: plan.cgroup.unit.as_ref().map(|unit| unit.name.clone()),
        resctrl: made.resctrl,
        ..record.clone()
    })
}

/// Why the store refuses, as a step fails.
fn unwritable(refused: Refused) -> Stop {
    let errno = match &refused {
        Refused::File { source, .. } => source.raw_os_error(),
        _ => None,
    };
    Stop { call: Call::Write, errno: errno.unwrap_or(nix::libc::EIO) }
}

fn launch_in<'a>(
    entry: &Entry,
    record: &Record,
    plan: &'a Plan,
    bundle: &Bundle,
    options: &Options,
    later: bool,
    draft: launch::Draft<'_>,
) -> Result<Launched<'a>, launch::Broken> {
    let directory = open_directory(&bundle.path).at(Step::Root)?;
    // It costs some, and most containers have no hooks to read it.
    let state = |status| match plan.hooks.any_before_program() {
        true => state_text(&State::of(record, status)),
        false => StateText::default(),
    };
    let settings = Settings {
        start_in: later.then(|| entry.fd()),
        bundle: directory.as_fd(),
        console: options.console.as_ref().map(AsFd::as_fd),
        preserved: options.preserved,
        creating: state(Status::Creating),
        created: state(Status::Created),
        draft,
        fault: options.fault,
    };
    launch::launch(plan, settings)
}

/// Opens a directory of the host.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Stop> {
    let unusable = Stop { call: crate::sys::Call::Open, errno: nix::libc::EINVAL };
    let path = KernelString::path(path.to_str().unwrap_or_default()).map_err(|_| unusable)?;
    fs::open(fs::CWD, path.as_c_str(), nix::libc::O_RDONLY | nix::libc::O_DIRECTORY, 0)
}

/// What is remembered, before anything of it exists.
fn record(bundle: &Bundle, plan: &Plan, options: &Options) -> Record {
    let annotations = bundle.spec.annotations().clone().unwrap_or_default();
    let cgroups = Group::directories(&plan.cgroup);
    Record {
        version: VERSION,
        id: options.id.clone(),
        oci_version: bundle.spec.version().clone(),
        bundle: bundle.path.clone(),
        rootfs: plan.rootfs.path.to_string(),
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        owner: nix::unistd::getuid().as_raw(),
        annotations: annotations.into_iter().collect(),
        unit: unit(plan, &cgroups),
        cgroups,
        resctrl: Resctrl::planned(plan.rdt.as_ref()),
        namespaces: plan.entry.private_flags(),
        process: None,
        startable: plan.process.is_some(),
        listener: plan.seccomp.as_ref().and_then(|seccomp| seccomp.listener.clone()),
        poststart: plan.hooks.poststart.clone(),
        poststop: plan.hooks.poststop.clone(),
        hook_output: plan.hooks.output.clone(),
    }
}

/// The unit that is going to be made. One that has processes is somebody else's, as its cgroup is.
fn unit(plan: &Plan, cgroups: &[CgroupDirectory]) -> Option<UnitName> {
    let free = cgroups.len() == plan.cgroup.hierarchies.len();
    plan.cgroup.unit.as_ref().filter(|_| free).map(|unit| unit.name.clone())
}
