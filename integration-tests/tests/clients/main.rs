//! The ten configs that real engines wrote run with ketch, and the program inside sees what they asked for.
//!
//! They lie beside this file as they were recorded. What cannot be had here is replaced: the root file system and
//! the sources of binds, hooks of the recording host, the path of the cgroup, and joined namespaces, which are
//! those of an infra container that ketch runs.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod seen;

use std::fs;
use std::path::Path;

use integration_tests::{Rootless, runtime};
use seen::{DEFAULT_DEVICES, LINKS, Outside, kernel_name, list, strings};
use serde_json::{Value, json};
use spec_conformance::{Bundle, BundleBuilder, Container, Exit, Report, Runtime};

#[test]
fn docker_default_sees_what_it_asked_for() {
    privileged_client("docker-default");
}

#[test]
fn docker_privileged_sees_what_it_asked_for() {
    privileged_client("docker-privileged");
}

#[test]
fn docker_userns_remap_sees_what_it_asked_for() {
    privileged_client("docker-userns-remap");
}

#[test]
fn buildkit_run_sees_what_it_asked_for() {
    privileged_client("buildkit-run");
}

#[test]
fn containerd_ctr_default_sees_what_it_asked_for() {
    privileged_client("containerd-ctr-default");
}

#[test]
fn podman_rootful_default_sees_what_it_asked_for() {
    privileged_client("podman-rootful-default");
}

#[test]
fn podman_pod_member_sees_what_it_asked_for() {
    privileged_client("podman-pod-member");
}

#[test]
fn cri_container_in_a_pod_with_a_user_namespace_sees_what_it_asked_for() {
    privileged_client("cri-container-userns");
}

#[test]
fn podman_rootless_default_sees_what_it_asked_for_in_the_users_namespace() {
    rootless_client("podman-rootless-default");
}

#[test]
fn podman_rootless_keep_id_sees_what_it_asked_for_in_the_users_namespace() {
    rootless_client("podman-rootless-keep-id");
}

/// The recorded config.
fn recorded(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/clients/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn privileged_client(name: &str) {
    let runtime = runtime();
    let mut config = recorded(name);
    let joins = config["linux"]["namespaces"].as_array().unwrap().iter().any(|n| n.get("path").is_some());
    let pod = joins.then(|| infra(&runtime, &config));
    if let Some(pod) = &pod {
        join(&mut config, pod.pid());
    }
    let mut outside = Outside::own();
    if pod.is_some() {
        outside.hostname = "infra".into();
    }
    check(&runtime, Bundle::from_config(config.clone()), config, &outside);
}

fn rootless_client(name: &str) {
    const FIRST: u32 = 100_000;
    let rootless = Rootless::new(FIRST, 70_000);
    let config = recorded(name);
    let mut outside = Outside::own();
    outside.namespaces.insert("user".into(), rootless.inode());
    outside.first_id = FIRST.into();
    // The container's root, as the host knows it.
    let mapped = config["linux"]["uidMappings"][0]["hostID"].as_u64().unwrap_or(0);
    let owner = FIRST + u32::try_from(mapped).unwrap();
    let builder = Bundle::from_config(config.clone()).owned_by(owner, owner);
    check(&rootless.runtime(), builder, config, &outside);
}

/// A container whose namespaces the others of its pod join.
fn infra<'r>(runtime: &'r Runtime, config: &Value) -> Container<'r> {
    let mut builder = Bundle::new().args(["/bin/probe", "wait"]).set("/hostname", json!("infra"));
    if config["linux"].get("uidMappings").is_some() {
        builder = builder
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", config["linux"]["uidMappings"].clone())
            .set("/linux/gidMappings", config["linux"]["gidMappings"].clone());
    }
    let bundle = builder.build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    container
}

/// Replaces the paths of joined namespaces by those of this process.
fn join(config: &mut Value, pid: i32) {
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace.get("path").is_some() {
            let file = kernel_name(namespace["type"].as_str().unwrap());
            namespace["path"] = json!(format!("/proc/{pid}/ns/{file}"));
        }
    }
}

/// Runs the config with the probe as its program, and compares.
fn check(runtime: &Runtime, builder: BundleBuilder, config: Value, outside: &Outside) {
    let id = runtime.fresh_id();
    let mut builder = builder.remove("/hooks").args(arguments(&config));
    if let Some(path) = config["linux"].get("cgroupsPath") {
        builder = builder.set("/linux/cgroupsPath", json!(format!("/{id}{}", path.as_str().unwrap())));
    }
    let (bundle, config) = within_own_limits(builder, config);
    let mut container = runtime.create_as(&id, &bundle).unwrap();
    assert_eq!(container.state().unwrap().status, "created");
    seen::limits(&config, container.pid());
    container.start().unwrap().success().unwrap();
    let exit = container.wait().unwrap();
    assert_eq!(exit, Exit::Code(0), "{}", container.stderr().unwrap());
    let report = Report::parse(&container.stdout().unwrap()).unwrap();
    seen::process(&config, &report);
    seen::namespaces(&config, &report, outside);
    seen::mounts(&config, &report, outside);
    seen::devices(&config, &report);
    seen::hidden(&config, &report);
    assert_eq!(container.stderr().unwrap(), "");
    container.delete().unwrap().success().unwrap();
    assert_eq!(runtime.leftovers(&id), Vec::<std::path::PathBuf>::new());
}

/// The probe, told to look at everything that the config speaks of.
fn arguments(config: &Value) -> Vec<String> {
    let mut paths: Vec<&str> = strings(config, "/linux/maskedPaths");
    paths.extend(strings(config, "/linux/readonlyPaths"));
    paths.extend(list(config, "/linux/devices").map(|device| device["path"].as_str().unwrap()));
    paths.extend(list(config, "/mounts").map(|mount| mount["destination"].as_str().unwrap()));
    paths.extend(DEFAULT_DEVICES.iter().map(|(path, _)| *path));
    paths.extend(LINKS.iter().map(|(path, _)| *path));
    paths.push("/dev/ptmx");
    let mut args: Vec<String> = ["/bin/probe", "report"].map(str::to_owned).into();
    for path in paths {
        args.extend(["--stat".to_owned(), path.to_owned()]);
    }
    for name in config["linux"]["sysctl"].as_object().into_iter().flatten().map(|(name, _)| name) {
        args.extend(["--sysctl".to_owned(), name.clone()]);
    }
    args
}

/// Lowers the config's resource limits to what this process may set: raising takes CAP_SYS_RESOURCE.
fn within_own_limits(mut builder: BundleBuilder, mut config: Value) -> (Bundle, Value) {
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let hard = |title: &str| {
        let line = own.lines().find(|line| line.starts_with(title)).unwrap();
        line[title.len()..].split_whitespace().nth(1).unwrap().parse::<u64>().unwrap_or(u64::MAX)
    };
    let titles = [("RLIMIT_NOFILE", "Max open files"), ("RLIMIT_NPROC", "Max processes")];
    for (index, limit) in config["process"]["rlimits"].as_array_mut().into_iter().flatten().enumerate() {
        let title = titles.iter().find(|(name, _)| limit["type"] == *name).unwrap().1;
        for which in ["hard", "soft"] {
            let lowered = limit[which].as_u64().unwrap().min(hard(title));
            limit[which] = json!(lowered);
            builder = builder.set(&format!("/process/rlimits/{index}/{which}"), json!(lowered));
        }
    }
    (builder.build().unwrap(), config)
}
