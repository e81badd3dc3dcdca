//! A set of up to 64 kernel flags (capabilities or signals), and the names of the capabilities.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Capability names by number, from `linux/capability.h`.
#[rustfmt::skip]
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
    "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
];

/// A bit set as procfs prints it: 16 hexadecimal digits, in JSON too.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Mask(
    /// The bits.
    pub u64,
);

impl Mask {
    /// The set of the named capabilities; `None` if a name is unknown.
    pub fn of_capabilities(names: &[&str]) -> Option<Mask> {
        names.iter().try_fold(Mask(0), |mask, name| {
            let bit = CAPABILITIES.iter().position(|known| known == name)?;
            Some(Mask(mask.0 | 1 << bit))
        })
    }

    /// Names of the capabilities in the set; bits beyond the table are left out.
    pub fn capabilities(self) -> Vec<&'static str> {
        let named = CAPABILITIES.iter().enumerate();
        named.filter(|(bit, _)| self.0 & 1 << bit != 0).map(|(_, name)| *name).collect()
    }

    /// Whether the signal with this number (1 to 64) is in the set.
    pub fn has_signal(self, signal: u32) -> bool {
        (1..=64).contains(&signal) && self.0 & 1 << (signal - 1) != 0
    }

    /// Reads the hexadecimal form.
    pub fn parse(text: &str) -> Option<Mask> {
        u64::from_str_radix(text, 16).ok().map(Mask)
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mask, D::Error> {
        let text = String::deserialize(deserializer)?;
        Mask::parse(&text).ok_or_else(|| de::Error::custom(format_args!("not a hexadecimal mask: {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_numbers_are_those_of_the_kernel() {
        assert_eq!(Mask::of_capabilities(&["CAP_CHOWN"]), Some(Mask(1)));
        assert_eq!(Mask::of_capabilities(&["CAP_KILL", "CAP_NET_BIND_SERVICE"]), Some(Mask(0x420)));
        assert_eq!(Mask::of_capabilities(&["CAP_SYS_ADMIN"]), Some(Mask(1 << 21)));
        assert_eq!(Mask::of_capabilities(&["CAP_CHECKPOINT_RESTORE"]), Some(Mask(1 << 40)));
        assert_eq!(Mask::of_capabilities(&["CAP_NONE"]), None);
    }

    #[test]
    fn names_and_bits_are_inverse() {
        assert_eq!(Mask(0x2000_0420).capabilities(), ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
    }

    #[test]
    fn signal_n_is_bit_n_minus_one() {
        assert!(Mask(0x1000).has_signal(13));
        assert!(!Mask(0x1000).has_signal(12));
        assert!(!Mask(u64::MAX).has_signal(0));
    }
}
