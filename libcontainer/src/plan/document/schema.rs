//! What config.json consists of on Linux: every property, its type, and the clause about it. Pure.
//!
//! The types of `oci-spec` are looser: they read a list where an object belongs, and put zeros where something
//! is missing. What a value *means* is not said here, but where it is compiled.

mod linux;

use serde_json::Value;

use Need::{Key, May, Must};
use Shape::{Any, Capability, Cpus, Flag, List, Map, Number, Of, Record, Text, Word};
use linux::LINUX;
pub(super) use linux::NAMESPACES;

/// What a value has to be.
#[derive(Debug)]
pub(super) enum Shape {
    /// Whatever it is, it is none of ours.
    Any,
    /// True or false.
    Flag,
    /// A string.
    Text,
    /// One of these strings, which are separated by spaces.
    Word(&'static str),
    /// The name of a capability. One that is not known is left out with a warning.
    Capability,
    /// A list of processors, such as `0-3,7`, or none.
    Cpus,
    /// A whole number, not below the first and not above the second.
    Number(i64, u64),
    /// A list of these.
    List(&'static Shape),
    /// An object whose members have any name.
    Map(&'static Shape),
    /// An object of these properties. What else is in it is none of ours.
    Record(&'static [Field]),
    /// One of the above, with a clause of its own.
    Of(&'static str, &'static Shape),
}

/// A property: its name, its shape, and whether it has to be there.
pub(super) type Field = (&'static str, Shape, Need);

/// Whether a property has to be there.
#[derive(Debug)]
pub(super) enum Need {
    /// It may be missing, or null.
    May,
    /// It may not. This JSON stands in for one that is wrong, so that the rest can be compiled.
    Must(&'static str),
    /// It may not, and differs in each element of a list: a word that no other has stands in for it.
    Key,
}

const U16: Shape = Number(0, u16::MAX as u64);
const U32: Shape = Number(0, u32::MAX as u64);
const U64: Shape = Number(0, u64::MAX);
const I32: Shape = Number(i32::MIN as i64, i32::MAX as u64);
const I64: Shape = Number(i64::MIN, i64::MAX as u64);
const TEXTS: Shape = List(&Text);

/// The whole document.
pub(super) const DOCUMENT: Shape = Of(
    "config.md",
    &Record(&[
        ("ociVersion", Of("config.md#specification-version", &Text), Must("\"1.0.0\"")),
        (
            "root",
            Of("config.md#root", &Record(&[("path", Text, Must("\"rootfs\"")), ("readonly", Flag, May)])),
            May,
        ),
        ("mounts", Of("config.md#mounts", &List(&MOUNT)), May),
        ("process", Of("config.md#process", &PROCESS), May),
        ("hostname", Of("config.md#hostname", &Text), May),
        ("domainname", Of("config.md#domainname", &Text), May),
        (
            "hooks",
            Of(
                "config.md#posix-platform-hooks",
                &Record(&[
                    ("prestart", List(&HOOK), May),
                    ("createRuntime", List(&HOOK), May),
                    ("createContainer", List(&HOOK), May),
                    ("startContainer", List(&HOOK), May),
                    ("poststart", List(&HOOK), May),
                    ("poststop", List(&HOOK), May),
                ]),
            ),
            May,
        ),
        ("annotations", Of("config.md#annotations", &Map(&Text)), May),
        ("linux", Of("config-linux.md", &LINUX), May),
    ]),
);

const MOUNT: Shape = Record(&[
    ("destination", Text, Must("\"/mnt\"")),
    ("source", Text, May),
    ("type", Of("config.md#posix-platform-mounts", &Text), May),
    ("options", Of("config.md#linux-mount-options", &TEXTS), May),
    ("uidMappings", Of("config.md#posix-platform-mounts", &List(&MAPPING)), May),
    ("gidMappings", Of("config.md#posix-platform-mounts", &List(&MAPPING)), May),
]);

const MAPPING: Shape = Record(&[
    // The last id that there is: no other range reaches it.
    ("containerID", U32, Must("4294967294")),
    ("hostID", U32, Must("4294967294")),
    ("size", U32, Must("1")),
]);

const HOOK: Shape = Record(&[
    ("path", Text, Must("\"/bin/true\"")),
    ("args", TEXTS, May),
    ("env", TEXTS, May),
    ("timeout", I64, May),
]);

/// The program of a container.
const PROCESS: Shape = Record(&[
    ("terminal", Flag, May),
    ("consoleSize", Record(&[("height", U64, Must("0")), ("width", U64, Must("0"))]), May),
    ("cwd", Text, Must("\"/\"")),
    ("env", TEXTS, May),
    ("args", TEXTS, May),
    ("rlimits", Of("config.md#posix-process", &List(&RLIMIT)), May),
    ("apparmorProfile", Of(PROCESS_CLAUSE, &Text), May),
    (
        "capabilities",
        Of(
            PROCESS_CLAUSE,
            &Record(&[
                ("effective", List(&Capability), May),
                ("bounding", List(&Capability), May),
                ("inheritable", List(&Capability), May),
                ("permitted", List(&Capability), May),
                ("ambient", List(&Capability), May),
            ]),
        ),
        May,
    ),
    ("noNewPrivileges", Of(PROCESS_CLAUSE, &Flag), May),
    ("oomScoreAdj", Of(PROCESS_CLAUSE, &I32), May),
    ("scheduler", Of(PROCESS_CLAUSE, &SCHEDULER), May),
    ("selinuxLabel", Of(PROCESS_CLAUSE, &Text), May),
    (
        "ioPriority",
        Of(
            PROCESS_CLAUSE,
            &Record(&[
                (
                    "class",
                    Word("IOPRIO_CLASS_RT IOPRIO_CLASS_BE IOPRIO_CLASS_IDLE"),
                    Must("\"IOPRIO_CLASS_BE\""),
                ),
                ("priority", I64, Must("0")),
            ]),
        ),
        May,
    ),
    ("execCPUAffinity", Of(PROCESS_CLAUSE, &Record(&[("initial", Cpus, May), ("final", Cpus, May)])), May),
    (
        "user",
        Of(
            "config.md#posix-platform-user",
            &Record(&[
                // Required by the word of the specification; but no peer asks for them, and zero is what they take.
                ("uid", U32, May),
                ("gid", U32, May),
                ("umask", U32, May),
                ("additionalGids", List(&U32), May),
            ]),
        ),
        Must("{}"),
    ),
]);

const PROCESS_CLAUSE: &str = "config.md#linux-process";

const RLIMIT: Shape = Record(&[
    (
        "type",
        Word(
            "RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_DATA RLIMIT_FSIZE RLIMIT_LOCKS \
    RLIMIT_MEMLOCK RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_RSS \
    RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RLIMIT_STACK",
        ),
        Key,
    ),
    ("soft", U64, Must("0")),
    ("hard", U64, Must("18446744073709551615")),
]);

const SCHEDULER: Shape = Record(&[
    (
        "policy",
        Word("SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_ISO SCHED_IDLE SCHED_DEADLINE"),
        Must("\"SCHED_OTHER\""),
    ),
    ("nice", I32, May),
    ("priority", I32, May),
    (
        "flags",
        List(&Word(
            "SCHED_FLAG_RESET_ON_FORK SCHED_FLAG_RECLAIM SCHED_FLAG_DL_OVERRUN \
    SCHED_FLAG_KEEP_POLICY SCHED_FLAG_KEEP_PARAMS SCHED_FLAG_UTIL_CLAMP_MIN \
    SCHED_FLAG_UTIL_CLAMP_MAX",
        )),
        May,
    ),
    ("runtime", U64, May),
    ("deadline", U64, May),
    ("period", U64, May),
]);

impl Shape {
    /// The shape itself, and its clause if it has one of its own.
    pub(super) fn named(&self) -> (Option<&'static str>, &Shape) {
        match self {
            Of(clause, shape) => (Some(clause), shape),
            shape => (None, shape),
        }
    }

    /// What it has to be, in words.
    pub(super) fn wanted(&self) -> String {
        match self.named().1 {
            Any | Of(..) => "anything".to_owned(),
            Flag => "true or false".to_owned(),
            Text | Capability => "a string".to_owned(),
            Word(words) => format!("one of {}", words.replace(' ', ", ")),
            Cpus => "a list of processors such as \"0-3,7\"".to_owned(),
            Number(i64::MIN, _) => "a whole number".to_owned(),
            Number(0, u64::MAX) => "a whole number, not below 0".to_owned(),
            Number(low, high) => format!("a whole number from {low} to {high}"),
            List(_) => "a list".to_owned(),
            Map(_) | Record(_) => "an object".to_owned(),
        }
    }

    /// JSON that stands in for an element of a list that is none of these.
    pub(super) fn blank(&self) -> &'static str {
        match self.named().1 {
            Flag => "false",
            Number(..) => "0",
            List(_) => "[]",
            Map(_) | Record(_) => "{}",
            Any | Text | Word(_) | Capability | Cpus | Of(..) => "\"\"",
        }
    }

    /// Whether `value`, which is no list and no object, is of this shape.
    pub(super) fn accepts(&self, value: &Value) -> bool {
        match (self.named().1, value) {
            (Number(low, high), Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
                (Some(n), _) => n <= *high,
                (None, Some(n)) => n >= *low,
                (None, None) => false,
            },
            (shape, Value::String(text)) => shape.accepts_text(text),
            (Flag, Value::Bool(_)) => true,
            _ => false,
        }
    }

    /// Whether a string of this text is of this shape.
    pub(super) fn accepts_text(&self, text: &str) -> bool {
        match self.named().1 {
            Text | Capability => true,
            Word(words) => words.split(' ').any(|word| word == text),
            Cpus => text.is_empty() || is_cpus(text),
            _ => false,
        }
    }
}

/// A list such as `0-3,7`.
fn is_cpus(text: &str) -> bool {
    let number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    text.split(',').all(|range| match range.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => number(range),
    })
}
