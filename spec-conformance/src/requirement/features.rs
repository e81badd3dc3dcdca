//! features.md and features-linux.md: what a runtime says that it can.

use super::{Requirement, must, should};

/// In the order of the text.
#[rustfmt::skip]
pub(super) const CLAUSES: &[Requirement] = &[
    should("features.features-structure.compile-time", 0xe6d2813520aaaa59,
        "the features are those of the build")
        .waived("says how, not what: needs the same build on two machines"),
    must("features.features-structure.null", 0x9b8588feec646538,
        "a null is not an empty value")
        .waived("binds whoever reads the structure"),

    must("features.specification-version.version-min", 0xce2398eb33f69d52,
        "the least version is known"),
    must("features.specification-version.version-accepted", 0xb05f52c002ba6203,
        "both versions are accepted in config.json"),
    must("features.specification-version.version-max", 0xf48741e786ba70a6,
        "the greatest version is known"),
    must("features.specification-version.version-order", 0xafee8b8d8b063e9e,
        "the greatest version is not less than the least"),
    must("features.specification-version.undefined", 0x7e388ca922321a31,
        "no property is of a later specification"),

    must("features.hooks.hooks", 0x4cad85bf8686e6a4,
        "every listed hook runs"),

    must("features.mount-options.recognized", 0x6a665c34ad732af5,
        "every listed mount option is recognized"),
    should("features.mount-options.data", 0x79a7608785024c9b,
        "options of file systems are not listed"),

    must("features.annotations.map", 0x6142217c57268bb4,
        "annotations are a map of texts"),

    must("features-linux.namespaces.recognized", 0x039f6fa3f1b66442,
        "every listed type of namespace is recognized"),

    must("features-linux.capabilities.recognized", 0xcfbbcea91428ae65,
        "every listed capability is recognized"),

    must("features-linux.seccomp.actions", 0x8e57c1999d4c38aa,
        "every listed action is recognized"),
    must("features-linux.seccomp.operators", 0x4874919305bd971e,
        "every listed operator is recognized"),
    must("features-linux.seccomp.archs", 0x70bb762c3bca1e00,
        "every listed architecture is recognized"),
    must("features-linux.seccomp.known-flags", 0x915ba6e8e028ffeb,
        "every listed flag is recognized"),
    must("features-linux.seccomp.supported-flags", 0x1309e21b862dd48d,
        "every supported flag can be used"),

    must("features-linux.memorypolicy.modes", 0xd6f6bfaf60f755f6,
        "every listed mode is recognized"),
    must("features-linux.memorypolicy.flags", 0x48e8bd43c1f9deb7,
        "every listed flag is recognized"),

    must("features-linux.mountextensions.enabled", 0x051f7b58e7acfd2b,
        "idmap is said to be known even where the kernel cannot do it"),
];
