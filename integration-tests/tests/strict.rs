//! What is tolerated for the sake of clients is refused with `--strict`; and what the specification wants refused
//! is refused either way.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use integration_tests::{nothing_left, refused, runtime, text_of, waiting};
use serde_json::json;
use spec_conformance::{Bundle, Exit, Finished, Runtime};

fn strictly(runtime: &Runtime, args: &[&str]) -> Finished {
    runtime.call([&["--strict"], args].concat()).unwrap()
}

#[test]
fn e09_l14_strictly_a_created_container_cannot_be_deleted_without_force() {
    let runtime = runtime();
    let bundle = waiting();
    let mut container = runtime.create(&bundle).unwrap();
    let id = container.id().to_owned();
    refused(&strictly(&runtime, &["delete", &id]), "that is not stopped: created; kill it, or use --force");
    // No effect: it can be started as before.
    assert_eq!(container.state().unwrap().status, "created");
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    refused(&strictly(&runtime, &["delete", &id]), "that is not stopped: running");
    container.kill("TERM").unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0));
    strictly(&runtime, &["delete", &id]).success().unwrap();
    nothing_left(&runtime, &id);
    let other = runtime.create(&bundle).unwrap();
    strictly(&runtime, &["delete", "--force", other.id()]).success().unwrap();
    nothing_left(&runtime, other.id());
}

#[test]
fn e08_l11_strictly_what_a_stopped_container_left_cannot_be_signalled() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/probe", "exit", "0"]).build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(0));
    refused(&strictly(&runtime, &["kill", "--all", container.id(), "KILL"]), "container not running");
    runtime.call(["kill", "--all", container.id(), "KILL"]).unwrap().success().unwrap();
}

#[test]
fn t01_m05_strictly_what_would_have_no_effect_is_refused() {
    let runtime = runtime();
    let bind = json!({"destination": "/data", "type": "bind", "source": "/etc"});
    for (builder, at) in [
        (Bundle::new().set("/ociVersion", json!("1.4.0")), "/ociVersion: 1.4.0 is newer"),
        (Bundle::new().push("/mounts", bind), "/options: type is bind"),
    ] {
        let bundle = builder.args(["/bin/probe", "exit", "0"]).build().unwrap();
        let id = runtime.fresh_id();
        for verb in ["create", "run"] {
            refused(&strictly(&runtime, &[verb, "--bundle", text_of(bundle.path()), &id]), at);
            nothing_left(&runtime, &id);
        }
        refused(&strictly(&runtime, &["plan", "--bundle", text_of(bundle.path())]), at);
        runtime.run(&bundle).unwrap().success().unwrap();
    }
}

#[test]
fn p11_m02_strictly_too_what_the_specification_allows_is_a_warning() {
    let runtime = runtime();
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let bundle = Bundle::new()
        .args(["/bin/probe", "exit", "0"])
        .push("/process/capabilities/bounding", json!("CAP_TIME_TRAVEL"))
        .push("/mounts", json!({"destination": "tmp", "type": "tmpfs", "source": "tmpfs"}))
        .build()
        .unwrap();
    let id = runtime.fresh_id();
    let ran = strictly(&runtime, &["--log", text_of(&log), "run", "--bundle", text_of(bundle.path()), &id]);
    ran.success().unwrap();
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains("CAP_TIME_TRAVEL") && logged.contains("taken as /tmp"), "{logged}");
    nothing_left(&runtime, &id);
}

#[test]
fn e01_e02_e03_l01_an_operation_without_an_id_or_of_an_unknown_container_is_refused() {
    let runtime = runtime();
    for verb in ["state", "start", "kill", "delete", "create", "run", "exec"] {
        let finished = runtime.call([verb]).unwrap();
        assert!(!finished.exit.success() && !finished.stderr.is_empty(), "{finished:?}");
        assert_eq!(finished.stdout, "");
    }
    let id = runtime.fresh_id();
    for args in [&["state"][..], &["start"], &["kill"], &["delete"]] {
        refused(&runtime.call([args, &[&id]].concat()).unwrap(), &format!("container {id} does not exist"));
    }
    assert_eq!(runtime.call(["exec", &id, "true"]).unwrap().exit, Exit::Code(255));
    // No bundle where one is looked for: the working directory.
    let place = tempfile::tempdir().unwrap();
    let mut command = runtime.command(["create", &id]);
    command.current_dir(place.path());
    refused(&runtime.finish(command).unwrap(), "config.json");
    nothing_left(&runtime, &id);
    assert!(!runtime.root().exists() || std::fs::read_dir(runtime.root()).unwrap().next().is_none());
}

#[test]
fn e05_e16_e23_t05_t09_what_cannot_be_applied_is_refused_by_its_place_and_nothing_is_made() {
    let runtime = runtime();
    let idmapped = json!({"destination": "/data", "source": "/etc", "options": ["bind", "idmap"]});
    let without_uts = json!([{"type": "pid"}, {"type": "mount"}]);
    for (builder, at) in [
        (Bundle::new().push("/mounts", idmapped), "/mounts/7/options"),
        (Bundle::new().set("/linux/cgroupsPath", json!("/../../escape")), "/linux/cgroupsPath"),
        (Bundle::new().set("/linux/namespaces", without_uts), "/hostname"),
        (Bundle::new().remove("/linux"), "no mount namespace is listed"),
        (Bundle::new().set("/annotations", json!({"": "x"})), "/annotations/"),
        (Bundle::new().set("/ociVersion", json!("1.2")), "/ociVersion"),
    ] {
        let bundle = builder.build().unwrap();
        let id = runtime.fresh_id();
        refused(&integration_tests::create(&runtime, &bundle, &id), at);
        nothing_left(&runtime, &id);
    }
}

#[test]
fn t09_t10_the_names_are_those_of_a_joined_namespace_too() {
    let runtime = runtime();
    let pod = integration_tests::Namespaces::new(&["--uts"]);
    let names = |bundle: Bundle| {
        let seen = runtime.observe(&bundle).unwrap();
        (seen.hostname, seen.domainname)
    };
    let named = Bundle::new().set("/hostname", json!("host.name")).set("/domainname", json!("domain.name"));
    let expected = ("host.name".to_owned(), "domain.name".to_owned());
    assert_eq!(names(named.clone().build().unwrap()), expected);
    let join = json!([{"type": "pid"}, {"type": "mount"}, {"type": "uts", "path": pod.path("uts")}]);
    let joined = named.set("/linux/namespaces", join.clone());
    assert_eq!(names(joined.build().unwrap()), expected);
    // Not set: those of the pod stay.
    let kept = Bundle::new().remove("/hostname").set("/linux/namespaces", join);
    assert_eq!(names(kept.build().unwrap()), expected);
}
