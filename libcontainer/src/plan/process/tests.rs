//! The program and its kernel: tests of `plan/process.rs`.

use serde_json::{Value, json};

use super::super::namespaces::NamespaceSet;
use super::super::tests::{FACTS, choices, spec};
use super::*;
use crate::plan::ids::IdMaps;

/// A process with the parts that are required, overlaid with `part`.
fn process(part: Value) -> Value {
    let mut process = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]});
    for (key, value) in part.as_object().unwrap() {
        process[key] = value.clone();
    }
    process
}

fn compiled_with(part: Value, linux: Value, facts: &Facts, ids: &Ids) -> Result<Process, Vec<String>> {
    let spec = spec(json!({"process": process(part), "linux": linux}));
    let mut findings = Findings::default();
    let process = compile(&spec, facts, &Entry::default(), ids, &mut findings);
    match findings.finish() {
        Ok(_) => Ok(process.unwrap()),
        Err(invalid) => Err(invalid.findings().iter().map(|f| f.at.clone()).collect()),
    }
}

fn compiled(part: Value) -> Result<Process, Vec<String>> {
    compiled_with(part, json!({}), &FACTS, &Ids::default())
}

fn texts(list: &[KernelString]) -> Vec<&str> {
    list.iter().map(KernelString::as_str).collect()
}

#[test]
fn p03_the_working_directory_is_absolute() {
    assert_eq!(compiled(json!({"cwd": "/a//b"})).unwrap().cwd.as_str(), "/a/b");
    assert_eq!(compiled(json!({"cwd": "a"})).unwrap_err(), ["/process/cwd"]);
    assert_eq!(compiled(json!({"cwd": ""})).unwrap_err(), ["/process/cwd"]);
}

#[test]
fn p04_of_two_entries_of_the_environment_the_last_wins() {
    let process = compiled(json!({"env": ["A=1", "B=2", "A=3=4", "C="]})).unwrap();
    assert_eq!(texts(&process.env), ["B=2", "A=3=4", "C="]);
}

#[test]
fn p04_an_entry_without_a_name_or_a_value_is_refused() {
    let at = compiled(json!({"env": ["A", "=b", "C=\u{0}", "D=1"]})).unwrap_err();
    assert_eq!(at, ["/process/env/2", "/process/env/1", "/process/env/0"]);
}

#[test]
fn p05_home_is_looked_up_only_if_nobody_says_it() {
    assert!(compiled(json!({"env": ["HOMER=x"]})).unwrap().find_home);
    assert!(!compiled(json!({"env": ["HOME=/root"]})).unwrap().find_home);
}

#[test]
fn p06_a_program_is_looked_up_in_the_containers_path() {
    let process = compiled(json!({"env": ["PATH=/a:/b/::rel:/a:/"]})).unwrap();
    assert_eq!(texts(&process.programs), ["/a/sh", "/b/sh", "./sh", "rel/sh", "/sh"]);
    let process = compiled(json!({"args": ["bin/sh", "-c"], "env": ["PATH=/a"]})).unwrap();
    assert_eq!(texts(&process.programs), ["bin/sh"]);
    assert_eq!(texts(&process.args), ["bin/sh", "-c"]);
}

#[test]
fn p06_an_image_without_path_gets_a_default_one_which_it_does_not_see() {
    let process = compiled(json!({})).unwrap();
    assert_eq!(process.programs.len(), 6);
    assert_eq!(process.programs[0].as_str(), "/usr/local/sbin/sh");
    assert!(process.env.is_empty());
}

#[test]
fn p06_a_path_that_is_too_long_is_passed_over() {
    let path = format!("PATH={}:/b", "/a".repeat(2100));
    assert_eq!(texts(&compiled(json!({"env": [path]})).unwrap().programs), ["/b/sh"]);
}

#[test]
fn p06_a_program_must_be_named() {
    assert_eq!(compiled(json!({"args": []})).unwrap_err(), ["/process/args"]);
    assert_eq!(compiled(json!({"args": null})).unwrap_err(), ["/process/args"]);
    assert_eq!(compiled(json!({"args": [""]})).unwrap_err(), ["/process/args/0"]);
    assert_eq!(compiled(json!({"args": ["a", "b\u{0}"]})).unwrap_err(), ["/process/args/1"]);
}

#[test]
fn p02_a_size_counts_only_with_a_terminal() {
    let size = |rows: u64| json!({"height": rows, "width": 80});
    assert_eq!(compiled(json!({"consoleSize": size(1 << 40)})).unwrap().terminal, None);
    let terminal = compiled(json!({"terminal": true, "consoleSize": size(24)})).unwrap().terminal;
    assert_eq!(terminal, Some(Terminal { rows: 24, columns: 80 }));
    assert_eq!(compiled(json!({"terminal": true})).unwrap().terminal, Some(Terminal::default()));
    let too_big = json!({"terminal": true, "consoleSize": size(65536)});
    assert_eq!(compiled(too_big).unwrap_err(), ["/process/consoleSize/height"]);
}

#[test]
fn p08_p09_a_label_needs_its_module() {
    let (apparmor, selinux) =
        (json!({"apparmorProfile": "docker-default"}), json!({"selinuxLabel": "a:b:c"}));
    assert_eq!(compiled(apparmor.clone()).unwrap_err(), ["/process/apparmorProfile"]);
    assert_eq!(compiled(selinux.clone()).unwrap_err(), ["/process/selinuxLabel"]);
    for empty in
        [json!({"apparmorProfile": "", "selinuxLabel": ""}), json!({"apparmorProfile": "unconfined"})]
    {
        assert_eq!(compiled(empty).unwrap().label, None);
    }
    let facts = Facts { apparmor: true, ..FACTS.clone() };
    let label = compiled_with(apparmor, json!({}), &facts, &Ids::default()).unwrap().label.unwrap();
    assert_eq!((label.file.as_str(), label.value.as_str()), ("self/attr/exec", "exec docker-default"));
    let facts = Facts { selinux: true, ..FACTS.clone() };
    let label = compiled_with(selinux, json!({}), &facts, &Ids::default()).unwrap().label.unwrap();
    assert_eq!(label.value.as_str(), "a:b:c");
}

#[test]
fn p12_p13_p21_what_is_not_set_is_not_changed() {
    let process = compiled(json!({})).unwrap();
    assert_eq!((process.umask, process.oom_score_adj, process.no_new_privileges), (None, None, false));
    let set =
        json!({"user": {"uid": 0, "gid": 0, "umask": 18}, "oomScoreAdj": -1000, "noNewPrivileges": true});
    let process = compiled(set).unwrap();
    assert_eq!((process.umask, process.no_new_privileges), (Some(0o022), true));
    assert_eq!(process.oom_score_adj.unwrap().as_str(), "-1000");
    assert_eq!(compiled(json!({"oomScoreAdj": 1001})).unwrap_err(), ["/process/oomScoreAdj"]);
    let umask = json!({"user": {"uid": 0, "gid": 0, "umask": 512}});
    assert_eq!(compiled(umask).unwrap_err(), ["/process/user/umask"]);
}

#[test]
fn p18_affinity_of_exec_is_read_with_the_container_though_it_is_not_its_own() {
    let both = json!({"execCPUAffinity": {"initial": "0", "final": "5000"}});
    assert_eq!(compiled(both), compiled(json!({})));
    let backwards = json!({"execCPUAffinity": {"initial": "2-1"}});
    assert_eq!(compiled(backwards).unwrap_err(), ["/process/execCPUAffinity/initial"]);
}

#[test]
fn a02_the_callers_groups_stay_if_the_annotation_says_so() {
    let groups = |says: &str, more: &[u32]| {
        let mut findings = Findings::default();
        let process = process(json!({"user": {"uid": 0, "gid": 0, "additionalGids": more}}));
        let spec = spec(json!({"process": process, "annotations": {(KEEP_GROUPS): says}}));
        let user = spec.process().as_ref().unwrap().user().clone();
        let groups = groups(&user, &spec, &mut findings);
        findings.finish().map(|warnings| (groups, warnings.len())).map_err(|invalid| invalid.to_string())
    };
    assert_eq!(groups("1", &[]), Ok((None, 0)));
    assert_eq!(groups("1", &[7]), Ok((None, 1)));
    assert_eq!(groups("0", &[7]), Ok((Some(vec![7]), 0)));
    assert_eq!(groups("", &[7]), Ok((Some(vec![7]), 0)));
    assert!(groups("yes", &[]).unwrap_err().contains("neither 1 nor 0"));
}

#[test]
fn p19_p20_ids_must_exist_in_a_new_user_namespace() {
    let range = IdRange { inside: 0, outside: 100_000, count: 10 };
    let maps = Some(IdMaps { users: vec![range], groups: vec![range] });
    let ids = Ids { maps, become_root: true };
    let user =
        |uid: u32, gid: u32, more: &[u32]| json!({"user": {"uid": uid, "gid": gid, "additionalGids": more}});
    let read = |part| compiled_with(part, json!({}), &FACTS, &ids);
    assert_eq!(read(user(9, 9, &[0, 9])).unwrap().groups.unwrap(), [0, 9]);
    assert_eq!(read(user(10, 0, &[])).unwrap_err(), ["/process/user/uid"]);
    assert_eq!(read(user(0, 10, &[])).unwrap_err(), ["/process/user/gid"]);
    assert_eq!(read(user(0, 0, &[1, 11])).unwrap_err(), ["/process/user/additionalGids/1"]);
    assert_eq!(compiled(user(4000, 4000, &[4000])).unwrap().uid, 4000);
    assert_eq!(compiled(user(u32::MAX, 0, &[])).unwrap_err(), ["/process/user/uid"]);
}

#[test]
fn n14_n15_a_personality_has_a_domain_and_no_flags() {
    let read =
        |value: Value| compiled_with(json!({}), json!({"personality": value}), &FACTS, &Ids::default());
    assert_eq!(compiled(json!({})).unwrap().personality, None);
    assert_eq!(read(json!({"domain": "LINUX"})).unwrap().personality, Some(0));
    assert_eq!(read(json!({"domain": "LINUX32", "flags": []})).unwrap().personality, Some(8));
    let flags = json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]});
    assert_eq!(read(flags).unwrap_err(), ["/linux/personality/flags/0"]);
}

#[test]
fn i11_a_memory_policy_is_the_programs_of_create_and_exec() {
    let policy = json!({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"}});
    let process = compiled_with(json!({}), policy, &FACTS, &Ids::default()).unwrap();
    assert_eq!(process.memory_policy, Some(MemoryPolicy { mode: 2, nodes: vec![1] }));
}

#[test]
fn x17_names_loopback_and_keyring_belong_to_the_containers_namespaces() {
    let entry =
        Entry { unshare: NamespaceSet::of(&[Namespace::Uts, Namespace::Network]), ..Entry::default() };
    let document = spec(json!({"hostname": "box", "domainname": "lan"}));
    let mut findings = Findings::default();
    let kernel = kernel(&document, &choices(), &entry, &mut findings);
    assert!(findings.finish().is_ok() && kernel.loopback);
    assert_eq!(kernel.hostname.unwrap().as_str(), "box");
    assert_eq!(kernel.domainname.unwrap().as_str(), "lan");
    assert_eq!(kernel.keyring.unwrap().as_str(), "_ses.box");
}

#[test]
fn n01_names_without_a_uts_namespace_are_refused() {
    let mut findings = Findings::default();
    let choices = Choices { keyring: false, ..choices() };
    let document = spec(json!({"hostname": "box", "domainname": ""}));
    let read = kernel(&document, &choices, &Entry::default(), &mut findings);
    assert_eq!((read.keyring, read.domainname, read.loopback), (None, None, false));
    let invalid = findings.finish().unwrap_err();
    assert!(invalid.to_string().contains("unable to set hostname without a private UTS namespace"));
    assert_eq!(invalid.findings().len(), 1);
    let mut findings = Findings::default();
    let entry = Entry { unshare: NamespaceSet::of(&[Namespace::Uts]), ..Entry::default() };
    kernel(&spec(json!({"hostname": "a".repeat(65)})), &choices, &entry, &mut findings);
    assert_eq!(findings.finish().unwrap_err().findings()[0].at, "/hostname");
}
