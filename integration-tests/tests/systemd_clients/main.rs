//! Engines that leave cgroups to systemd, as they do by default where there is version 2: Docker, Podman for root and for
//! a user, containerd. Each with ketch, on data of its own.
//!
//! They need systemd as the first process, version 2 of cgroups, and the engine, which `just vm` has. Elsewhere each test
//! says on standard error that it has not run.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use integration_tests::ketch;

const USER: u32 = 1000;

/// Whether systemd and these programs are here; says so if not.
fn runs_here(test: &str, programs: &[&str]) -> bool {
    let systemd = fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd");
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = |name: &str| std::env::split_paths(&path).any(|place| place.join(name).is_file());
    let missing = programs.iter().find(|program| !is_here(program));
    if systemd && unified && missing.is_none() {
        return true;
    }
    // Past the test harness, which shows nothing of tests that pass.
    let needs = missing.map_or("systemd as process 1 and cgroup version 2", |program| program);
    let says = format!("{test}: NOT RUN: needs {needs}; see `just vm`\n");
    std::io::stderr().write_all(says.as_bytes()).unwrap();
    false
}

/// A bash that ends at the first failure runs the script, after what all have in common.
fn play(script: &str, user: Option<u32>) {
    let place = tempfile::tempdir().unwrap();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    open(place.path());
    let program = place.path().join("play");
    fs::write(&program, format!("{}\n{script}", include_str!("prelude.sh"))).unwrap();
    for (from, name) in [(ketch().as_path(), "ketch"), (Path::new("/bin/busybox"), "busybox")] {
        fs::copy(from, place.path().join(name)).unwrap();
        open(&place.path().join(name));
    }
    let said = File::create(place.path().join("said")).unwrap();
    let mut command = match user {
        None => Command::new("bash"),
        Some(user) => {
            chown(place.path(), Some(user), Some(user)).unwrap();
            // Where the user's own systemd puts what is run: cgroups are the user's there.
            let mut command = Command::new("systemd-run");
            command.args(["--user", "--quiet", "--pipe", "--wait", "--collect"]);
            command.arg(format!("--machine={}@.host", name_of(user)));
            command.args(["bash"]);
            command
        }
    };
    command.arg(&program).arg(place.path()).stdin(Stdio::null());
    let status = command.stdout(said.try_clone().unwrap()).stderr(said).status().unwrap();
    let said = fs::read_to_string(place.path().join("said")).unwrap();
    assert!(status.success(), "{status}:\n{said}");
}

fn name_of(user: u32) -> String {
    let output = Command::new("id").args(["-nu", &user.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn k06_docker_has_its_containers_in_scopes_and_their_limits_outlive_a_reload() {
    if runs_here("docker", &["dockerd", "docker", "containerd"]) {
        play(include_str!("docker.sh"), None);
    }
}

#[test]
fn k06_podman_for_root_has_containers_and_pods_in_slices() {
    if runs_here("podman", &["podman", "conmon"]) {
        play(include_str!("podman.sh"), None);
    }
}

#[test]
fn k06_k08_b07_podman_for_a_user_has_containers_with_limits_and_ids_of_the_users() {
    if runs_here("rootless podman", &["podman", "conmon", "newuidmap"]) {
        play(include_str!("rootless.sh"), Some(USER));
    }
}

#[test]
fn k06_containerd_has_a_container_in_the_scope_that_it_names() {
    if runs_here("containerd", &["containerd", "ctr"]) {
        play(include_str!("ctr.sh"), None);
    }
}
