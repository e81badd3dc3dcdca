//! Everything that can go wrong has a name here: the steps of a plan, as errors and tests call them. Pure.

use std::fmt;

use serde::Serialize;

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident $(($index:ident))? = $code:literal),* $(,)?) => {
        /// One step of carrying out a plan. Lists of the plan carry the index of their element.
        ///
        /// It crosses the process boundary as a number (see [`Step::code`]), so the numbers are fixed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Step { $($(#[$doc])* $name $(($index))?,)* }

        impl Step {
            /// The step as one number: kind in the high half, index in the low one.
            #[must_use]
            pub fn code(self) -> u32 {
                match self { $(steps!(@pattern $name $(($index i))?) => ($code << 16) | steps!(@index $(($index i))?),)* }
            }

            /// The step that has this number.
            #[must_use]
            pub fn from_code(code: u32) -> Option<Step> {
                let [high, low, ..] = [code >> 16, code & 0xffff];
                let index = u16::try_from(low).ok()?;
                match high { $($code => Some(steps!(@make index $name $(($index))?)),)* _ => None }
            }
        }
    };
    (@pattern $name:ident) => { Step::$name };
    (@pattern $name:ident ($index:ident $i:ident)) => { Step::$name($i) };
    (@index) => { 0 };
    (@index ($index:ident $i:ident)) => { u32::from($i) };
    (@make $index:ident $name:ident) => { Step::$name };
    (@make $index:ident $name:ident ($type:ident)) => { Step::$name($index) };
}

steps! {
    /// Making the cgroup directory in one hierarchy.
    CgroupCreate(u16) = 1,
    /// Writing one limit.
    CgroupWrite(u16) = 2,
    /// Moving into the cgroup in one hierarchy.
    CgroupJoin(u16) = 3,
    /// Loading and attaching the device program.
    DeviceProgram = 4,
    /// Opening a namespace that is joined by path.
    OpenNamespace(u16) = 5,
    /// Compiling the seccomp filter.
    CompileFilter = 6,
    /// Opening the source of a bind mount in the runtime's process.
    OpenSource(u16) = 7,
    /// Making the user namespace of an id-mapped mount.
    MapMount(u16) = 8,
    /// Connecting to the console socket.
    ConnectConsole = 9,
    /// Creating the container's process.
    Clone = 10,
    /// Writing the id maps of the new user namespace.
    MapIds = 11,
    /// Joining a namespace.
    Join(u16) = 12,
    /// Making the new namespaces.
    Unshare = 13,
    /// Writing the offsets of the new time namespace.
    TimeOffset(u16) = 14,
    /// Moving one network device into the container's network namespace.
    NetDevice(u16) = 66,
    /// Handing the cgroup over to the container's user.
    CgroupOwner = 67,
    /// Creating the second process, which lives in the new pid namespace.
    Refork = 15,
    /// Becoming root of the user namespace.
    BecomeRoot = 16,
    /// Bringing up the loopback device of a new network namespace.
    Loopback = 17,
    /// Setting the propagation of the host's mounts, as the container sees them.
    Propagation = 18,
    /// Mounting the root file system onto itself.
    Root = 19,
    /// One entry of `mounts`.
    Mount(u16) = 20,
    /// One device node.
    Device(u16) = 21,
    /// One of the symbolic links in /dev.
    Link(u16) = 22,
    /// One prestart hook.
    Prestart(u16) = 23,
    /// One createRuntime hook.
    CreateRuntime(u16) = 24,
    /// One createContainer hook.
    CreateContainer(u16) = 25,
    /// Changing to the new root.
    Pivot = 26,
    /// Setting up the terminal.
    Console = 27,
    /// One masked path.
    Mask(u16) = 28,
    /// One read-only path.
    ReadonlyPath(u16) = 29,
    /// Making the root file system read-only.
    ReadonlyRoot = 30,
    /// Setting the host name.
    Hostname = 31,
    /// Setting the NIS domain name.
    Domainname = 32,
    /// Writing one kernel parameter.
    Sysctl(u16) = 33,
    /// Joining a new session keyring.
    Keyring = 34,
    /// Adjusting the OOM killer's score.
    OomScore = 35,
    /// Setting one resource limit.
    Rlimit(u16) = 36,
    /// Setting the scheduling policy.
    Scheduler = 37,
    /// Setting the I/O priority.
    IoPriority = 38,
    /// Setting the NUMA memory policy.
    MemoryPolicy = 39,
    /// Setting the execution domain.
    Personality = 40,
    /// Changing to the working directory.
    Cwd = 41,
    /// Setting supplementary groups.
    Groups = 42,
    /// Setting user and group ids.
    User = 43,
    /// Setting capabilities.
    Capabilities = 44,
    /// Setting the no-new-privileges bit.
    NoNewPrivileges = 45,
    /// Setting the LSM label of the program.
    Label = 46,
    /// Looking the program up.
    FindProgram = 47,
    /// Closing what the program must not see.
    CloseFiles = 48,
    /// Waiting for `start`.
    AwaitStart = 49,
    /// One startContainer hook.
    StartContainer(u16) = 50,
    /// Loading the seccomp filter.
    LoadFilter = 51,
    /// Executing the program.
    Exec = 52,
    /// One poststart hook.
    Poststart(u16) = 53,
    /// One poststop hook.
    Poststop(u16) = 54,
    /// Writing the container's record.
    Record = 55,
    /// Resetting signals to their defaults.
    Signals = 56,
    /// Talking between the two processes.
    Channel = 57,
    /// Giving the listener of the seccomp filter to its agent.
    SendListener = 58,
    /// Making the new network namespace beside the container's process.
    Network = 71,
    /// Entering a mount namespace that begins with the root file system. Not listed by a plan: the kernel decides
    /// whether it comes to that.
    EnterRoot = 73,
    /// Changing to a sealed copy of the runtime's binary.
    Seal = 72,
    /// Opening the files that hooks print into.
    HookOutput = 70,
    /// Restricting the runtime to the CPUs on which a program joins.
    InitialAffinity = 80,
    /// Setting the CPUs of a program that has joined.
    Affinity = 81,
    /// Making a resctrl group, or finding that it is as configured.
    RdtGroup = 82,
    /// Writing one line of a resctrl group's schemata.
    RdtSchema(u16) = 83,
    /// Making a resctrl monitoring group.
    RdtMonitor = 84,
    /// Moving into a resctrl group.
    RdtJoin = 85,
    /// Having systemd make the unit whose cgroup is the container's, with the container's process in it.
    Unit = 90,
}

impl Step {
    /// It is taken when the container is started or deleted, not when it is created.
    #[must_use]
    pub fn is_after_create(self) -> bool {
        matches!(
            self,
            Step::AwaitStart
                | Step::StartContainer(_)
                | Step::LoadFilter
                | Step::SendListener
                | Step::Exec
                | Step::Poststart(_)
                | Step::Poststop(_)
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_survives_the_process_boundary() {
        for step in
            [Step::Clone, Step::Mount(0), Step::Mount(513), Step::Channel, Step::CgroupWrite(u16::MAX)]
        {
            assert_eq!(Step::from_code(step.code()), Some(step));
        }
        assert_eq!(Step::from_code(0), None);
        assert_eq!(Step::from_code(u32::MAX), None);
    }
}
