//! A new file system that is changed before it is attached: by fsopen(2) rather than mount(2). Pure.

use nix::libc;
use serde::Serialize;

use super::IdMap;
use super::read::Listed;
use crate::path::KernelString;
use crate::plan::invalid::Findings;

const SPEC: &str = "config.md#linux-mount-options";

/// fsconfig(2) takes no longer value.
const VALUE_MAX: usize = 255;

/// A new instance of a file system that is changed before it is attached, made by fsopen(2). With mapped ids the
/// runtime makes it, else the container's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detached {
    /// Its type, as in /proc/filesystems.
    pub fstype: KernelString,
    /// Its source; for many types a mere name.
    pub source: KernelString,
    /// Options of the file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// `MOUNT_ATTR_` flags.
    pub attributes: u64,
    /// Its ids are mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idmap: Option<IdMap>,
    /// As of [`super::What::Filesystem`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub inherits_mode: bool,
    /// It begins with a copy of the directory that it covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_up: Option<CopyUp>,
    /// It is made read-only when that is done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
}

/// One option of a file system, as fsconfig(2) takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub key: KernelString,
    /// Its value; a flag has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<KernelString>,
}

/// A tmpfs takes over what it covers: the content, and of the directory itself what no option gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CopyUp {
    /// Its owner.
    pub uid: bool,
    /// Its group.
    pub gid: bool,
}

/// What it is made of.
pub(super) struct Instance<'a> {
    pub(super) fstype: KernelString,
    pub(super) source: KernelString,
    pub(super) idmap: Option<IdMap>,
    /// The options of the file system as mount(2) takes them.
    pub(super) data: &'a KernelString,
    pub(super) inherits_mode: bool,
    pub(super) copy_up: bool,
}

/// Turns the options of the mount into parameters of fsconfig(2).
pub(super) fn compile(
    instance: Instance<'_>,
    listed: &Listed<'_>,
    findings: &mut Findings,
) -> Option<Detached> {
    let Instance { fstype, source, idmap, data, inherits_mode, copy_up } = instance;
    let (options, at) = (&listed.options, listed.at("options"));
    let mut attributes = options.merged().attributes().set;
    let mut readonly = attributes & libc::MOUNT_ATTR_RDONLY != 0;
    let own = split(data.as_str());
    let named = |name: &str| own.iter().any(|(key, _)| *key == name);
    let copy_up = copy_up.then(|| CopyUp { uid: !named("uid"), gid: !named("gid") });
    let mut flags: Vec<&str> = options.superblock_names().collect();
    if fstype.as_str() == "tmpfs" {
        // It is written to before.
        attributes &= !libc::MOUNT_ATTR_RDONLY;
    } else if std::mem::take(&mut readonly) {
        flags.push("ro");
    }
    let mut parameters = Vec::with_capacity(flags.len() + own.len());
    for (key, value) in flags.into_iter().map(|flag| (flag, None)).chain(own) {
        let length = value.unwrap_or(key).len();
        if length > VALUE_MAX || key.len() > VALUE_MAX {
            let says = format!(
                "{key} is {length} bytes long, and fsconfig(2), which this mount needs, takes {VALUE_MAX}"
            );
            findings.error(at, says, SPEC);
            return None;
        }
        let mut text = |text: &str| findings.check(KernelString::new(text), at.as_str(), SPEC);
        let value = match value {
            Some(value) => Some(text(value)?),
            None => None,
        };
        parameters.push(Parameter { key: text(key)?, value });
    }
    if source.as_str().len() > VALUE_MAX {
        let says = format!(
            "the source is longer than {VALUE_MAX} bytes, which fsconfig(2), which this mount needs, does not take"
        );
        findings.error(listed.at("source"), says, SPEC);
    }
    Some(Detached { fstype, source, parameters, attributes, idmap, inherits_mode, copy_up, readonly })
}

/// Splits options at their commas, but for those in quotation marks, as the kernel does with a label.
fn split(data: &str) -> Vec<(&str, Option<&str>)> {
    let mut quoted = false;
    let options = data.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    let parameter = |option| match str::split_once(option, '=') {
        Some((key, value)) => (key, Some(value.trim_matches('"'))),
        None => (option, None),
    };
    options.filter(|option| !option.is_empty()).map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m31_options_are_split_at_commas_that_are_not_in_a_label() {
        let label = "size=64k,context=\"u:r:t:s0:c1,c2\",noswap,,mode=";
        let expected = [
            ("size", Some("64k")),
            ("context", Some("u:r:t:s0:c1,c2")),
            ("noswap", None),
            ("mode", Some("")),
        ];
        assert_eq!(split(label), expected);
        assert_eq!(split(""), []);
    }
}
