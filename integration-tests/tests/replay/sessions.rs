//! What engines call, as recorded: a session is what one of them does with one container.
//!
//! `@SHIM` and `@CONMON` are the flags before the command, `@ROOT`, `@BUNDLE` and `@ID` what they are named for.

use spec_conformance::Exit;

/// One container's calls.
pub(crate) struct Session {
    /// Who makes them.
    pub(crate) client: &'static str,
    /// What for.
    pub(crate) name: &'static str,
    /// In which environment.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Whether in the bundle, or in `/`.
    pub(crate) in_bundle: bool,
    /// What the container runs, if it is not what waits for TERM.
    pub(crate) program: &'static str,
    /// Whether in a terminal.
    pub(crate) terminal: bool,
    /// The file in the bundle that has the pid.
    pub(crate) pid_file: &'static str,
    /// The calls.
    pub(crate) steps: &'static [Step],
}

/// One call, or what comes between two.
pub(crate) enum Step {
    /// A call.
    Call(&'static str, Expect),
    /// A call with something on its standard input.
    Given(&'static str, &'static str, Expect),
    /// The container's program listens to TERM by now.
    Ready,
    /// The caller, whose child it is, has the container's first process ended.
    Ended(Exit),
    /// A call that lasts until another one ends it: both, and its status.
    Killed(&'static str, &'static str, i32),
}

/// How a call is answered.
pub(crate) enum Expect {
    /// Status 0, and nothing is printed or logged.
    Silence,
    /// By status 0 or 1.
    Anything,
    /// So too, and this file of the bundle has a pid.
    PidFile(&'static str),
    /// By a JSON list of pids, among them the container's.
    Pids,
    /// By a state with this status.
    State(&'static str),
    /// By a text with these words.
    Printed(&'static str),
    /// By the output and status of process.json's program.
    Status(i32),
    /// By this status, and an error with these words, in one line of the log if there is one.
    Refusal(i32, &'static str),
    /// So too, and there is no such file.
    NoPidFile(i32, &'static str, &'static str),
}

use Expect::{Anything, NoPidFile, PidFile, Pids, Printed, Refusal, Silence, State, Status};
use Step::{Call, Ended, Given, Killed, Ready};

/// The shim's environment, with what newer ones add.
const SHIM: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LD_LIBRARY_PATH", "/opt/containerd/lib:"),
    ("TTRPC_ADDRESS", "/run/containerd/containerd.sock.ttrpc"),
    ("GRPC_ADDRESS", "/run/containerd/containerd.sock"),
    ("GOMAXPROCS", "4"),
    ("NAMESPACE", "moby"),
    ("MAX_SHIM_VERSION", "2"),
];

/// What podman gives to kill, delete, pause and resume; an empty directory counts as none.
const PODMAN: &[(&str, &str)] = &[("XDG_RUNTIME_DIR", "")];

/// What conmon leaves in the environment: the descriptors are closed.
const CONMON: &[(&str, &str)] =
    &[("XDG_RUNTIME_DIR", ""), ("_OCI_SYNCPIPE", "3"), ("_OCI_STARTPIPE", "4"), ("_OCI_ATTACHPIPE", "5")];

const CREATE: Step =
    Call("@SHIM create --bundle @BUNDLE --pid-file @BUNDLE/init.pid @ID", PidFile("init.pid"));
const START: Step = Call("@SHIM start @ID", Silence);
const TERM: Step = Call("@SHIM kill @ID 15", Silence);
const KILL: Step = Call("@SHIM kill @ID 9", Silence);
const PAUSE: Step = Call("@SHIM pause @ID", Silence);
const RESUME: Step = Call("@SHIM resume @ID", Silence);
const DELETE: Step = Call("@SHIM delete @ID", Silence);
/// From a process of the shim's own, when the container may be gone.
const CLEAN: Step = Call("@SHIM delete --force @ID", Silence);
const GONE: Step = Call("@SHIM delete @ID", Refusal(1, "does not exist"));
const FIVE: Step = Ended(Exit::Code(5));
const NINE: Step = Ended(Exit::Signal(9));

const DOCKER: Session = Session {
    client: "docker",
    name: "",
    environment: SHIM,
    in_bundle: true,
    program: "",
    terminal: false,
    pid_file: "init.pid",
    steps: &[],
};
const BUILDKIT: Session = Session { client: "buildkit", in_bundle: false, ..DOCKER };
const CONTAINERD: Session = Session { client: "containerd", ..DOCKER };
const CONMONS: Session = Session { client: "podman", environment: CONMON, in_bundle: false, ..DOCKER };
const BUILDAH: Session = Session { client: "buildah", pid_file: "pid", ..DOCKER };
const CRIO: Session = Session { client: "cri-o", in_bundle: false, ..DOCKER };

/// All of them.
pub(crate) const ALL: &[Session] = &[
    Session {
        name: "docker info",
        steps: &[
            Call("features", Printed("\"ociVersionMin\"")),
            Call("--version", Printed("ketch version ")),
        ],
        ..DOCKER
    },
    Session {
        name: "docker run, exec, top, stop, rm",
        steps: &[
            CREATE,
            START,
            Ready,
            Call(
                "@SHIM exec --process @BUNDLE/process.json --detach --pid-file @BUNDLE/exec.pid @ID",
                PidFile("exec.pid"),
            ),
            Call(
                "@SHIM exec --process @BUNDLE/process-missing.json --detach --pid-file @BUNDLE/missing.pid @ID",
                NoPidFile(255, "no such file or directory", "missing.pid"),
            ),
            Call("@SHIM ps --format json @ID", Pids),
            TERM,
            FIVE,
            DELETE,
            CLEAN,
            GONE,
        ],
        ..DOCKER
    },
    Session {
        name: "docker run -t, exec -t, kill",
        terminal: true,
        steps: &[
            Call(
                "@SHIM create --bundle @BUNDLE --pid-file @BUNDLE/init.pid --console-socket @BUNDLE/console.sock @ID",
                PidFile("init.pid"),
            ),
            START,
            Ready,
            Call(
                "@SHIM exec --process @BUNDLE/process-tty.json --console-socket @BUNDLE/console.sock --detach --pid-file @BUNDLE/exec.pid @ID",
                PidFile("exec.pid"),
            ),
            KILL,
            NINE,
            DELETE,
        ],
        ..DOCKER
    },
    Session {
        name: "docker pause, update, unpause, stop of a paused container",
        steps: &[
            CREATE,
            START,
            Ready,
            PAUSE,
            Given("@SHIM update --resources=- @ID", r#"{"pids":{"limit":33}}"#, Silence),
            Given("@SHIM update --resources=- @ID", "{}", Silence),
            Given(
                "@SHIM update --resources - @ID",
                r#"{"memory":{"limit":67108864,"reservation":0,"swap":67108864,"kernel":0},"cpu":{"shares":0,"quota":0,"period":0},"blockIO":{"weight":0}}"#,
                Silence,
            ),
            TERM,
            RESUME,
            FIVE,
            DELETE,
        ],
        ..DOCKER
    },
    Session {
        name: "docker rm -f of a paused container",
        steps: &[CREATE, START, Ready, PAUSE, KILL, Call("@SHIM resume @ID", Anything), NINE, DELETE, CLEAN],
        ..DOCKER
    },
    Session {
        name: "docker checkpoint, start --checkpoint",
        steps: &[
            CREATE,
            START,
            PAUSE,
            Call(
                "@SHIM checkpoint --image-path @BUNDLE/image --work-path @BUNDLE/work/criu-work --leave-running @ID",
                Refusal(1, "checkpoint is not supported"),
            ),
            RESUME,
            CLEAN,
            Call(
                "@SHIM restore --image-path @BUNDLE/image --work-path @BUNDLE/work --detach --pid-file @BUNDLE/restored.pid -no-subreaper --bundle @BUNDLE @ID",
                NoPidFile(1, "restore is not supported", "restored.pid"),
            ),
            CLEAN,
        ],
        ..DOCKER
    },
    Session {
        name: "docker, when the shim was killed: a running container is deleted",
        steps: &[CREATE, START, Ready, CLEAN, GONE],
        ..DOCKER
    },
    Session {
        name: "docker run of what cannot be created",
        steps: &[
            Call(
                "@SHIM create --bundle @BUNDLE/none --pid-file @BUNDLE/init.pid @ID",
                NoPidFile(1, "No such file or directory", "init.pid"),
            ),
            CLEAN,
        ],
        ..DOCKER
    },
    Session {
        name: "docker run of what ends by itself",
        program: "exit 7",
        steps: &[CREATE, START, Ended(Exit::Code(7)), Call("@SHIM kill --all @ID 9", Silence), DELETE, CLEAN],
        ..DOCKER
    },
    Session {
        name: "RUN, with a status that the build fails by",
        program: "echo out; exit 42",
        steps: &[
            Call("--log @BUNDLE/log.json --log-format json run --bundle @BUNDLE --keep @ID", Status(42)),
            Call("--log @BUNDLE/log.json --log-format json state @ID", State("stopped")),
            Call("--log @BUNDLE/log.json --log-format json delete @ID", Silence),
        ],
        ..BUILDKIT
    },
    Session {
        name: "RUN, cancelled",
        steps: &[
            Killed(
                "--log @BUNDLE/log.json --log-format json run --bundle @BUNDLE --keep @ID",
                "--log @BUNDLE/log.json --log-format json kill @ID 9",
                137,
            ),
            Call("--log @BUNDLE/log.json --log-format json delete @ID", Silence),
        ],
        ..BUILDKIT
    },
    Session {
        name: "ctr run, tasks kill, tasks delete",
        steps: &[
            Call(
                "@SHIM create --bundle @BUNDLE --pid-file @BUNDLE/init.pid --no-pivot @ID",
                PidFile("init.pid"),
            ),
            START,
            Ready,
            Call("@SHIM kill @ID 99", Refusal(1, "unable to signal init: invalid argument")),
            Call("@SHIM kill --all @ID 9", Silence),
            NINE,
            Call("@SHIM kill @ID 15", Refusal(1, "container not running")),
            DELETE,
            CLEAN,
        ],
        ..CONTAINERD
    },
    Session {
        name: "CRI: update, stop, remove",
        steps: &[
            CREATE,
            START,
            Ready,
            Given(
                "@SHIM update --resources=- @ID",
                r#"{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":134217728,"swap":134217728},"cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0"}}"#,
                Silence,
            ),
            // The container still has its /dev/null.
            Call("@SHIM exec --process @BUNDLE/process.json @ID", Status(3)),
            TERM,
            FIVE,
            Call("@SHIM kill --all @ID 9", Silence),
            Call("@SHIM kill --all @ID 9", Silence),
            DELETE,
            CLEAN,
        ],
        ..CONTAINERD
    },
    Session {
        name: "podman run, exec, update, stop",
        steps: &[
            Call("@CONMON create --bundle @BUNDLE --pid-file @BUNDLE/init.pid @ID", PidFile("init.pid")),
            Call("start @ID", Silence),
            Ready,
            Call(
                "@CONMON exec --pid-file @BUNDLE/exec.pid --process @BUNDLE/process.json --detach @ID",
                PidFile("exec.pid"),
            ),
            Call(
                "@CONMON exec --pid-file @BUNDLE/missing.pid --process @BUNDLE/process-missing.json --detach @ID",
                NoPidFile(255, "no such file or directory", "missing.pid"),
            ),
            Call("update --resources=@BUNDLE/resources.json @ID", Silence),
            Call("pause @ID", Silence),
            Call("resume @ID", Silence),
            Call("kill @ID 15", Silence),
            FIVE,
            Call("delete --force @ID", Silence),
            Call("delete --force @ID", Silence),
        ],
        ..CONMONS
    },
    Session {
        name: "podman exec -t, of an older conmon",
        steps: &[
            Call("@CONMON create --bundle @BUNDLE --pid-file @BUNDLE/init.pid @ID", PidFile("init.pid")),
            Call("start @ID", Silence),
            Call(
                "@CONMON exec --pid-file @BUNDLE/exec.pid --process @BUNDLE/process-tty.json --detach --tty --console-socket @BUNDLE/console.sock @ID",
                PidFile("exec.pid"),
            ),
            Call("kill @ID 9", Silence),
            NINE,
            Call("delete --force @ID", Silence),
        ],
        ..CONMONS
    },
    Session {
        name: "podman run --cgroups=disabled",
        steps: &[
            Call(
                "@CONMON --cgroup-manager disabled create --bundle @BUNDLE --pid-file @BUNDLE/init.pid @ID",
                PidFile("init.pid"),
            ),
            Call("start @ID", Silence),
            Ready,
            Call("kill --all @ID 9", Silence),
            NINE,
            Call("delete --force @ID", Silence),
        ],
        ..CONMONS
    },
    Session {
        name: "podman rm -f of a paused container",
        environment: PODMAN,
        steps: &[
            Call("create --bundle @BUNDLE --pid-file @BUNDLE/init.pid @ID", PidFile("init.pid")),
            Call("start @ID", Silence),
            Ready,
            Call("pause @ID", Silence),
            Call("kill @ID 9", Silence),
            NINE,
            Call("delete --force @ID", Silence),
        ],
        ..CONMONS
    },
    Session {
        name: "podman asks whether there are checkpoints",
        environment: PODMAN,
        steps: &[
            Call("checkpoint --help", Refusal(1, "not supported")),
            Call("restore --lsm-mount-context", Refusal(1, "flag needs an argument")),
            Call("--version", Printed("ketch version ")),
        ],
        ..CONMONS
    },
    Session {
        name: "buildah run",
        steps: &[
            Call("create --bundle @BUNDLE --pid-file @BUNDLE/pid @ID", PidFile("pid")),
            Call("start @ID", Silence),
            Call("state @ID", State("running")),
            Ready,
            Call("kill @ID", Silence),
            FIVE,
            Call("state @ID", State("stopped")),
            Call("delete @ID", Silence),
        ],
        ..BUILDAH
    },
    Session {
        name: "buildah run, interrupted",
        steps: &[
            Call("create --bundle @BUNDLE --pid-file @BUNDLE/pid --no-new-keyring @ID", PidFile("pid")),
            Call("start @ID", Silence),
            Call("kill @ID SIGKILL", Silence),
            NINE,
            Call("kill @ID", Refusal(1, "container not running")),
            Call("kill @ID SIGKILL", Refusal(1, "container not running")),
            Call("delete @ID", Silence),
        ],
        ..BUILDAH
    },
    Session {
        name: "buildah, of a container that is never started",
        steps: &[
            Call("create --bundle @BUNDLE --pid-file @BUNDLE/pid @ID", PidFile("pid")),
            Call("delete @ID", Silence),
            NINE,
        ],
        ..BUILDAH
    },
    Session {
        name: "CRI-O: create, exec, update, stop",
        steps: &[
            Call("--root=@ROOT create --bundle @BUNDLE --pid-file @BUNDLE/init.pid @ID", PidFile("init.pid")),
            Call("--root @ROOT start @ID", Silence),
            Call("--root @ROOT state @ID", State("running")),
            Ready,
            Call("--root @ROOT exec --process @BUNDLE/process.json @ID", Status(3)),
            Given("--root @ROOT update --resources - @ID", r#"{"cpu":{"shares":512}}"#, Silence),
            Call("--root @ROOT kill @ID TERM", Silence),
            FIVE,
            Call("--root @ROOT kill @ID KILL", Refusal(1, "container not running")),
            Call("--root @ROOT kill -a @ID 9", Silence),
            Call("--root @ROOT delete --force @ID", Silence),
        ],
        ..CRIO
    },
    Session {
        name: "conmon-rs: every global flag twice",
        steps: &[
            Call(
                "--root=@ROOT --root=@ROOT create --bundle @BUNDLE --pid-file @BUNDLE/init.pid @ID",
                PidFile("init.pid"),
            ),
            Call("--root=@ROOT --root=@ROOT start @ID", Silence),
            Call(
                "--root=@ROOT --root=@ROOT exec -d --pid-file=@BUNDLE/exec.pid @ID true",
                PidFile("exec.pid"),
            ),
            Call(
                "--root=@ROOT --root=@ROOT exec -d --console-socket=@BUNDLE/console.sock --tty --pid-file=@BUNDLE/tty.pid @ID true",
                PidFile("tty.pid"),
            ),
            Call("--root=@ROOT delete --force @ID", Silence),
        ],
        ..CRIO
    },
];
