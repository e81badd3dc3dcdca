//! config.md without mount options and hooks.

use super::reasons::{ELSEWHERE, IMAGE};
use super::{Requirement, must, should};

/// In the order of the text.
#[rustfmt::skip]
pub(super) const CLAUSES: &[Requirement] = &[
    must("config.specification-version.version", 0x4db2822a3c009d3b,
        "ociVersion is a semantic version, and one that the runtime knows"),

    must("config.root.windows-server", 0x77f3031deb08a5fd,
        "root is given for Windows Server containers")
        .waived(ELSEWHERE),
    must("config.root.hyper-v", 0xa9b0169702bcdefd,
        "root is not given for Hyper-V containers")
        .waived(ELSEWHERE),
    must("config.root.required", 0x2a76ab22284398ea,
        "a configuration without root is an error"),
    must("config.root.path", 0xcf6692839e1652da,
        "the container's root is root.path"),
    must("config.root.volume", 0x3bc95557d8303d36,
        "root.path is a volume path on Windows")
        .waived(ELSEWHERE),
    should("config.root.rootfs", 0x08cdac3bb6187c51,
        "root.path is rootfs")
        .waived("a convention between authors: a runtime takes any path"),
    must("config.root.directory", 0xa668287c8a7edf1c,
        "a root that does not exist is an error"),
    must("config.root.readonly", 0x8e3636546f7676f1,
        "a read-only root cannot be written, and writable is the default"),
    must("config.root.windows-readonly", 0xacd16c0e4a5dd01d,
        "readonly is not given on Windows")
        .waived(ELSEWHERE),

    must("config.mounts.order", 0x7df789f2b1c684b1,
        "mounts are made in the listed order"),
    must("config.mounts.destination", 0x5f2d0a04e96a998e,
        "a mount is at its destination"),
    should("config.mounts.absolute", 0xaa177159ccb15aad,
        "a destination is absolute")
        .waived("a recommendation to authors: config.mounts.relative says what a runtime does"),
    must("config.mounts.relative", 0x3d82910927307a96,
        "a relative destination counts from /"),
    must("config.mounts.windows-absolute", 0xc5ec12f369d9805c,
        "a destination is absolute on Windows and Solaris")
        .waived(ELSEWHERE),
    must("config.mounts.nested", 0xae80ddbf3b1d1438,
        "destinations are not nested on Windows")
        .waived(ELSEWHERE),
    must("config.mounts.solaris-absolute", 0x619ca56b75223ecc,
        "a destination is absolute on Solaris")
        .waived(ELSEWHERE),
    must("config.mounts.other-absolute", 0xf263fd7ba6c74ce3,
        "a destination is absolute on other platforms")
        .waived(ELSEWHERE),
    must("config.mounts.relative-source", 0xc4d56e51ced23301,
        "the source of a bind mount counts from the bundle"),
    must("config.mounts.bind-or-rbind", 0xfb24511f6e70c6a6,
        "bind or rbind makes a bind mount, whatever its type"),
    must("config.mounts.windows-ro", 0x66f49296d9431248,
        "ro is supported on Windows")
        .waived(ELSEWHERE),

    should("config.posix-platform-mounts.mount-setattr", 0x7570753ae35212ba,
        "mount mappings are made with mount_setattr")
        .waived("says how, not what: needs a trace of the runtime's system calls"),
    should("config.posix-platform-mounts.idmap-option", 0x5e4a4e05865f67ed,
        "mappings come with the option idmap or ridmap")
        .waived("a recommendation to authors: older runtimes ignore the mappings"),
    must("config.posix-platform-mounts.uid-alone", 0x095fd63fdf4497e9,
        "uidMappings without gidMappings are an error"),
    must("config.posix-platform-mounts.gid-alone", 0x8bafcd5ef9fd290b,
        "gidMappings without uidMappings are an error"),

    must("config.process.required", 0xac933a0763a194ad,
        "start without a process is an error"),
    must("config.process.terminal", 0x890e220d344469e8,
        "with terminal the standard streams are a terminal"),
    must("config.process.console-size", 0x560e87f08b7d3983,
        "consoleSize is ignored without a terminal"),
    must("config.process.height", 0x624ebaa03257f270,
        "the terminal has the configured height"),
    must("config.process.width", 0xf1f322f55abe5a79,
        "the terminal has the configured width"),
    must("config.process.cwd", 0x29cf23a403c0e6bb,
        "the program starts in cwd"),
    must("config.process.cwd-absolute", 0x3774ef5e57f79eb5,
        "a relative cwd is an error"),
    must("config.process.env", 0x131c4a654b385628,
        "env reaches the program entry by entry"),
    must("config.process.args", 0xc8559b07be0accab,
        "args is the program's argument vector"),
    must("config.process.path", 0xd18b0d6a49d36004,
        "the first entry is looked up in PATH as execvp does"),
    must("config.process.command-line", 0xd2ac952aa357ddb9,
        "commandLine is given if args is not, on Windows")
        .waived(ELSEWHERE),

    must("config.posix-process.rlimit-type", 0x00d402b4db1aad43,
        "each listed resource is limited"),
    must("config.posix-process.rlimit-unknown", 0x1c1d8a0af63cc397,
        "a limit that the kernel does not know is an error"),
    must("config.posix-process.rlimit-succeeds", 0xb113cf262b73dfe6,
        "getrlimit succeeds for each entry"),
    must("config.posix-process.soft", 0x373738c6f6cebe5f,
        "the soft limit is what is enforced"),
    must("config.posix-process.soft-value", 0x780b67820afe3c64,
        "the soft limit is the configured one"),
    must("config.posix-process.hard", 0x9af0d5571317babd,
        "the hard limit is the ceiling of the soft one"),
    must("config.posix-process.hard-value", 0x91b9f4d362ac72e8,
        "the hard limit is the configured one"),
    must("config.posix-process.rlimit-twice", 0xf71e7baf507c7460,
        "the same limit twice is an error"),

    must("config.linux-process.apparmor", 0x8d4be300dc2e0f51,
        "the program runs under the AppArmor profile"),
    must("config.linux-process.capabilities", 0x22d6fd0c18d484db,
        "each capability set is exactly the configured one"),
    must("config.linux-process.capability-unknown", 0xa2a890b005d4c118,
        "a capability that cannot be granted is a warning"),
    should("config.linux-process.capability-not-granted", 0x61faf9cfb189fc97,
        "a capability that cannot be granted is no error"),
    must("config.linux-process.no-new-privileges", 0x38db076bd31a32c0,
        "noNewPrivileges sets the attribute, and only if true"),
    must("config.linux-process.oom-score", 0x44daa9995a59886a,
        "oomScoreAdj is written"),
    must("config.linux-process.oom-score-unset", 0xda1d4959e0557795,
        "without oomScoreAdj the score is left alone"),
    must("config.linux-process.scheduler", 0x63eadd3359fedc0a,
        "the program has the scheduling policy"),
    must("config.linux-process.nice", 0xf56b5ba2c5f38a9c,
        "the program has the scheduler's nice value"),
    must("config.linux-process.selinux", 0xc48005f0351023b8,
        "the program has the SELinux label")
        .waived("needs a kernel with SELinux and a policy that is loaded"),
    must("config.linux-process.io-class", 0x7e483e6d4908663b,
        "the program has the I/O scheduling class"),
    must("config.linux-process.io-priority", 0xa92f46517f594c76,
        "the program has the I/O priority"),
    must("config.linux-process.affinity-exec-only", 0x5f917d80d3e84211,
        "execCPUAffinity leaves the first process alone"),
    must("config.linux-process.affinity-final", 0x73276cc4f35b7855,
        "what exec runs is on the CPUs of execCPUAffinity.final"),
    should("config.linux-process.affinity-unset", 0xab368a352734f511,
        "without final the affinity is the kernel's choice"),

    must("config.posix-platform-user.uid", 0x1d7acd87906e12de,
        "the program runs as uid"),
    must("config.posix-platform-user.gid", 0x3860ccde8fe7bf64,
        "the program runs as gid"),
    must("config.posix-platform-user.umask", 0x1409edc5a9bf6530,
        "the program starts with the configured umask"),
    must("config.posix-platform-user.additional-gids", 0x42ea52bb3d2dcf1e,
        "the supplementary groups are additionalGids"),

    must("config.hostname.hostname", 0x2d35e13bb9cc854c,
        "processes in the container see the configured host name"),

    must("config.domainname.domainname", 0xa563ae256512e488,
        "processes in the container see the configured domain name"),

    must("config.platform-specific-configuration.windows", 0x72b1f18960cb8d36,
        "the windows object is given on Windows")
        .waived(ELSEWHERE),

    must("config.annotations.map", 0xaae346f7447d9405,
        "annotations that are not a map are an error"),
    must("config.annotations.keys", 0x54d3c6cb25cd8035,
        "annotations have texts as keys")
        .waived("JSON has no other keys"),
    must("config.annotations.empty-key", 0xe5ca9acde9f70fbf,
        "an annotation without a name is an error"),
    should("config.annotations.reverse-domain", 0xe49f34f4ba4473a6,
        "names of annotations are reverse domains")
        .waived("a recommendation to authors: a runtime takes any name"),
    must("config.annotations.reserved", 0x920cff8df18f332d,
        "annotations of org.opencontainers are as the table says")
        .waived(IMAGE),
    must("config.annotations.os", 0xcbc17742ac1e08ce,
        "image.os is a known operating system")
        .waived(IMAGE),
    should("config.annotations.conversion", 0x60c0de6e55c87d9a,
        "annotations about the image come from its conversion")
        .waived(IMAGE),
    must("config.annotations.os-version", 0x3f1dfb4107843408,
        "image.os.version is as the image says")
        .waived(IMAGE),
    must("config.annotations.os-features", 0x07a50564efc36e39,
        "image.os.features are as the image says")
        .waived(IMAGE),
    must("config.annotations.architecture", 0x3b0c2b7a9d26a43b,
        "image.architecture is as the image says")
        .waived(IMAGE),
    must("config.annotations.variant", 0x35e628840819c0af,
        "image.variant is as the image says")
        .waived(IMAGE),
    must("config.annotations.author", 0x5f372bc99b649c37,
        "image.author is as the image says")
        .waived(IMAGE),
    must("config.annotations.created", 0x0a59c16fcf2c5820,
        "image.created is as the image says")
        .waived(IMAGE),
    should("config.annotations.stop-signal", 0x715b1c2e951c8031,
        "image.stopSignal is what stops the container")
        .waived("tells callers which signal to send: the operation kill takes the signal that it is given"),
    must("config.annotations.stop-signal-value", 0x7f70981bc0741ee2,
        "image.stopSignal is as the image says")
        .waived(IMAGE),
    must("config.annotations.other-keys", 0x94c74db82370d73b,
        "no other key of org.opencontainers is used")
        .waived("binds later specifications"),
    must("config.annotations.unknown", 0x5022cf0eea558c99,
        "unknown annotations are ignored"),
    must("config.annotations.values", 0x91f0ef06c6a1fd3f,
        "an annotation that is not a text is an error"),

    must("config.extensibility.unknown", 0x552f005ff43a3502,
        "unknown properties are ignored"),

    must("config.valid-values.error", 0xcf4d63506a1335a0,
        "invalid and unsupported values are errors"),
];
