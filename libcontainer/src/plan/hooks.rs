//! The programs that a config asks to be run along the way. Pure.

use oci_spec::runtime::{Hook as SpecHook, Spec};
use serde::{Deserialize, Serialize};

use super::invalid::{Findings, pointer_token};
use crate::path::KernelString;

const SPEC: &str = "config.md#posix-platform-hooks";

/// One program to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The program, absolute.
    pub path: KernelString,
    /// Its arguments, the program's name first.
    pub args: Vec<KernelString>,
    /// Its whole environment.
    pub env: Vec<KernelString>,
    /// Seconds until it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

/// All hooks, by the moment at which they run. Spec: runtime.md#lifecycle.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// In the runtime's namespaces, when the environment exists (deprecated by the specification).
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, right after those.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root is changed.
    pub create_container: Vec<Hook>,
    /// In the container's namespaces and root, before the program is executed.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, when the program has been executed.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, when the container has been deleted.
    pub poststop: Vec<Hook>,
    /// Where all of them print.
    #[serde(skip_serializing_if = "OutputFiles::is_empty")]
    pub output: OutputFiles,
}

impl Hooks {
    /// There are some that run before the program does.
    #[must_use]
    pub fn any_before_program(&self) -> bool {
        self.any_before_root() || !self.start_container.is_empty()
    }

    /// There are some that run before the root is changed.
    #[must_use]
    pub fn any_before_root(&self) -> bool {
        [&self.prestart, &self.create_runtime, &self.create_container].iter().any(|hooks| !hooks.is_empty())
    }
}

/// Files that get what hooks print, instead of the runtime: added to their ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutputFiles {
    /// Their standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<KernelString>,
    /// Their standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<KernelString>,
}

impl OutputFiles {
    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }
}

/// The kinds of hooks by their names in config.json; `features` lists them too.
pub const KINDS: &[&str] =
    &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Annotations that name the files of [`OutputFiles`], as crun has them. They make the runtime write to the host.
const OUTPUT_ANNOTATIONS: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];

/// Reads the hooks of `spec`.
pub fn compile(spec: &Spec, findings: &mut Findings) -> Hooks {
    let Some(hooks) = spec.hooks() else { return Hooks::default() };
    #[allow(deprecated, reason = "the specification deprecates prestart; Docker and BuildKit still send it")]
    let prestart = hooks.prestart();
    let mut read = |hooks: &Option<Vec<SpecHook>>, kind: &str| -> Vec<Hook> {
        let hooks = hooks.as_deref().unwrap_or_default().iter().enumerate();
        hooks.filter_map(|(i, hook)| read_hook(hook, &format!("/hooks/{kind}/{i}"), findings)).collect()
    };
    let mut compiled = Hooks {
        prestart: read(prestart, "prestart"),
        create_runtime: read(hooks.create_runtime(), "createRuntime"),
        create_container: read(hooks.create_container(), "createContainer"),
        start_container: read(hooks.start_container(), "startContainer"),
        poststart: read(hooks.poststart(), "poststart"),
        poststop: read(hooks.poststop(), "poststop"),
        output: OutputFiles::default(),
    };
    if compiled != Hooks::default() {
        compiled.output = output_files(spec, findings);
    }
    compiled
}

fn output_files(spec: &Spec, findings: &mut Findings) -> OutputFiles {
    let mut read = |name: &str| {
        let path = spec.annotations().as_ref()?.get(name)?;
        let at = format!("/annotations/{}", pointer_token(name));
        if !path.starts_with('/') {
            let says =
                format!("{path:?} is not an absolute path; it names the file that gets what hooks print");
            findings.error(at, says, "config.md#annotations");
            return None;
        }
        findings.check(KernelString::path(path), at, "config.md#annotations")
    };
    let [stdout, stderr] = OUTPUT_ANNOTATIONS.map(&mut read);
    OutputFiles { stdout, stderr }
}

fn read_hook(hook: &SpecHook, at: &str, findings: &mut Findings) -> Option<Hook> {
    let path = hook.path().to_str().unwrap_or_default();
    if !path.is_empty() && !path.starts_with('/') {
        findings.error(format!("{at}/path"), format!("{path:?} is not an absolute path"), SPEC);
    }
    let path = findings.check(KernelString::path(path), format!("{at}/path"), SPEC);
    let mut list = |list: &Option<Vec<String>>, name: &str| -> Vec<KernelString> {
        let list = list.as_deref().unwrap_or_default().iter().enumerate();
        list.filter_map(|(i, text)| {
            let at = format!("{at}/{name}/{i}");
            if name == "env" && matches!(text.find('='), None | Some(0)) {
                findings.error(at, format!("{text:?} is not of the form NAME=value"), SPEC);
                return None;
            }
            findings.check(KernelString::new(text.as_str()), at, SPEC)
        })
        .collect()
    };
    let (mut args, env) = (list(hook.args(), "args"), list(hook.env(), "env"));
    let timeout = match hook.timeout() {
        None => None,
        Some(given) => {
            let seconds = u32::try_from(given).ok().filter(|s| *s > 0);
            if seconds.is_none() {
                let says = format!("{given} is not between 1 and {} seconds", u32::MAX);
                findings.error(format!("{at}/timeout"), says, SPEC);
            }
            seconds
        }
    };
    let path = path?;
    if args.is_empty() {
        args.push(path.clone());
    }
    Some(Hook { path, args, env, timeout })
}

#[cfg(test)]
mod tests {
    use super::super::tests::spec;
    use super::*;
    use serde_json::json;

    #[test]
    fn h13_a_relative_path_or_a_timeout_of_zero_is_refused() {
        let mut findings = Findings::default();
        compile(&spec(json!({"hooks": {"poststop": [{"path": "bin/x", "timeout": 0}]}})), &mut findings);
        let invalid = findings.finish().unwrap_err();
        let at: Vec<_> = invalid.findings().iter().map(|f| f.at.as_str()).collect();
        assert_eq!(at, ["/hooks/poststop/0/path", "/hooks/poststop/0/timeout"]);
    }

    #[test]
    fn a_hook_without_args_gets_its_path_as_name_and_no_environment() {
        let mut findings = Findings::default();
        let hooks = compile(&spec(json!({"hooks": {"prestart": [{"path": "/bin/x"}]}})), &mut findings);
        assert_eq!(hooks.prestart[0].args[0].as_str(), "/bin/x");
        assert!(hooks.prestart[0].env.is_empty());
    }
}
