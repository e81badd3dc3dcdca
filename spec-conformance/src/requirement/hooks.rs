//! config.md#posix-platform-hooks: the hooks and when they run.

use super::{Requirement, must};

/// In the order of the text.
#[rustfmt::skip]
pub(super) const CLAUSES: &[Requirement] = &[
    must("config.posix-platform-hooks.path", 0xbbc0511f5fec86de,
        "a hook's path is the program that runs"),
    must("config.posix-platform-hooks.path-absolute", 0x19a4812d8ce9964f,
        "a hook whose path is relative is an error"),
    must("config.posix-platform-hooks.args", 0xd6755a1b88171170,
        "a hook's args are its argument vector"),
    must("config.posix-platform-hooks.env", 0x131c4a654b385628,
        "a hook's env is its environment"),
    must("config.posix-platform-hooks.aborted", 0x1718b48a6cf24d4d,
        "a hook that outlives its timeout is aborted"),
    must("config.posix-platform-hooks.timeout", 0x567e928393a48856,
        "a hook's timeout of zero is an error"),
    must("config.posix-platform-hooks.path-in-runtime", 0x75baf9635a74db82,
        "hooks in the runtime namespace are found there"),
    must("config.posix-platform-hooks.path-in-container", 0x10edba307bada7e4,
        "hooks in the container namespace are found there"),
    must("config.posix-platform-hooks.order", 0x32a85d433c035657,
        "hooks run in the listed order"),
    must("config.posix-platform-hooks.state", 0xcb451d554b5c863d,
        "a hook reads the container's state from its standard input"),

    must("config.prestart.moment", 0xb8d1efe8eab45406,
        "prestart hooks run within create, before the root changes"),
    must("config.prestart.before-create-runtime", 0x58f1b2c94035638a,
        "prestart hooks run before createRuntime hooks"),
    must("config.prestart.path", 0x07e438dc237d4420,
        "a prestart hook is found in the runtime namespace"),
    must("config.prestart.namespace", 0x476010e32b5f7852,
        "a prestart hook runs in the runtime namespace"),

    must("config.createruntime-hooks.moment", 0x923e1199c1a0d3e7,
        "createRuntime hooks run within create, before the root changes"),
    must("config.createruntime-hooks.path", 0x8c7d534846a13dd9,
        "a createRuntime hook is found in the runtime namespace"),
    must("config.createruntime-hooks.namespace", 0x92b5b489a2301f1b,
        "a createRuntime hook runs in the runtime namespace"),

    must("config.createcontainer-hooks.moment", 0x0cabb742fd644186,
        "createContainer hooks run within create, before the root changes"),
    must("config.createcontainer-hooks.after-create-runtime", 0x416aa59694d78a0d,
        "createContainer hooks run after createRuntime hooks"),
    must("config.createcontainer-hooks.path", 0x5c30d172ac9935a0,
        "a createContainer hook is found in the runtime namespace"),
    must("config.createcontainer-hooks.namespace", 0x15965c0d72d5f934,
        "a createContainer hook runs in the container namespace"),

    must("config.startcontainer-hooks.moment", 0x5efb74d503451a48,
        "startContainer hooks run within start, before the program"),
    must("config.startcontainer-hooks.path", 0x93f223933b6436fa,
        "a startContainer hook is found in the container namespace"),
    must("config.startcontainer-hooks.namespace", 0xcf2276b2552b3c9c,
        "a startContainer hook runs in the container namespace"),

    must("config.poststart.moment", 0xa477a69e4cb6a2e9,
        "poststart hooks run after the program has started, before start returns"),
    must("config.poststart.path", 0x1b2ad8ce720494d7,
        "a poststart hook is found in the runtime namespace"),
    must("config.poststart.namespace", 0xf6c650d068c3a9ad,
        "a poststart hook runs in the runtime namespace"),

    must("config.poststop.moment", 0x7cf673864c2fde07,
        "poststop hooks run after the container is deleted, before delete returns"),
    must("config.poststop.path", 0x47aabf79afa9390f,
        "a poststop hook is found in the runtime namespace"),
    must("config.poststop.namespace", 0x6d3eb4c457668fe5,
        "a poststop hook runs in the runtime namespace"),
];
