//! `events`: what runc's clients read of a container, until it ends.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod shape;
mod watching;

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;

use integration_tests::{Resctrl, refused, running, runtime, waiting};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use serde_json::json;
use spec_conformance::{Bundle, Container, Exit, Runtime};

use shape::{EntriesOrPressure, NumberOrList, Stats};
use watching::Watching;

/// Often enough that a test does not wait for it, and seldom enough for a slow machine.
const OFTEN: [&str; 2] = ["--interval", "50ms"];
const NEVER: [&str; 2] = ["--interval", "24h"];
const FINE: (Exit, String) = (Exit::Code(0), String::new());

/// A program that waits, in a container of 32 MiB.
fn limited() -> Bundle {
    let memory = json!({"limit": 32 << 20, "swap": 32 << 20});
    let bundle = Bundle::new().args(["/bin/probe", "wait"]);
    bundle.set("/linux/resources", json!({"memory": memory, "pids": {"limit": 55}})).build().unwrap()
}

fn stats(runtime: &Runtime, id: &str) -> Stats {
    let printed = runtime.call(["events", "--stats", id]).unwrap().success().unwrap();
    assert_eq!(printed.stderr, "");
    let line = printed.stdout.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "more than one line: {line}");
    let event = shape::read(line);
    assert_eq!((event.kind.as_str(), event.id.as_str()), ("stats", id));
    event.data.unwrap()
}

/// The directories of a container's cgroups.
fn cgroups(runtime: &Runtime, id: &str) -> Vec<PathBuf> {
    runtime.leftovers(id).into_iter().filter(|path| path.starts_with("/sys/fs/cgroup")).collect()
}

fn file(runtime: &Runtime, id: &str, name: &str) -> Option<String> {
    cgroups(runtime, id).iter().find_map(|path| fs::read_to_string(path.join(name)).ok())
}

#[test]
fn k63_stats_are_one_object_that_says_what_the_kernel_says() {
    let runtime = runtime();
    let container = running(&runtime, &limited());
    let id = container.id();
    let seen = stats(&runtime, id);
    assert_eq!(seen.memory.usage.limit, 32 << 20);
    assert_eq!((seen.pids.current, seen.pids.limit), (1, 55));
    assert!(seen.memory.usage.usage > 0 && seen.memory.usage.max >= seen.memory.usage.usage, "{seen:?}");
    assert!(!seen.memory.raw.is_empty() && seen.memory.raw.values().any(|value| *value > 0));
    assert_eq!(seen.memory.event_count["oom_kill"], 0);
    assert!(seen.cpu.usage.total > 0 && seen.cpu.throttling.periods == 0, "{:?}", seen.cpu);
    assert!(matches!(&seen.cpuset["cpus"], NumberOrList::List(cpus) if !cpus.is_empty()));
    for (size, pages) in &seen.hugetlb {
        assert!(size.ends_with('B') && pages.usage == 0, "{size} {pages:?}");
    }
    // The container has a network namespace of its own, in which there is nothing but lo.
    assert!(seen.network_interfaces.is_empty(), "{:?}", seen.network_interfaces);
    assert!(seen.intel_rdt.l3_cache_schema.is_none());
}

#[test]
fn k63_a_created_container_has_stats_too() {
    let runtime = runtime();
    let container = runtime.create(&waiting()).unwrap();
    assert_eq!(stats(&runtime, container.id()).pids.current, 1);
}

#[test]
fn k63_b35_what_the_kernel_tells_of_pressure_is_told() {
    let runtime = runtime();
    let container = running(&runtime, &waiting());
    let seen = stats(&runtime, container.id());
    let has = |name: &str| file(&runtime, container.id(), name).is_some_and(|text| text.contains("some"));
    assert_eq!(seen.cpu.psi.is_some(), has("cpu.pressure"));
    assert_eq!(seen.memory.psi.is_some(), has("memory.pressure"));
    assert_eq!(seen.blkio.contains_key("psi"), has("io.pressure"));
    if let Some(EntriesOrPressure::Pressure(pressure)) = seen.blkio.get("psi") {
        assert!(pressure.some.avg10 >= 0.0 && pressure.full.total <= pressure.some.total, "{pressure:?}");
    }
    let huge = file(&runtime, container.id(), "hugetlb.2MB.current")
        .or_else(|| file(&runtime, container.id(), "hugetlb.2MB.usage_in_bytes"));
    assert_eq!(seen.hugetlb.contains_key("2MB"), huge.is_some());
    let misc = file(&runtime, container.id(), "misc.current").is_some_and(|text| !text.trim().is_empty());
    assert_eq!(!seen.misc.is_empty(), misc);
    let rdma = file(&runtime, container.id(), "rdma.max").is_some_and(|text| !text.trim().is_empty());
    assert_eq!(!seen.rdma.is_empty(), rdma);
}

#[test]
fn k63_the_resctrl_group_is_told() {
    let resctrl = Resctrl::new();
    resctrl.write("info/L3/cbm_mask", "7ff\n");
    resctrl.write("info/L3/min_cbm_bits", "1\n");
    resctrl.write("info/L3/num_closids", "16\n");
    let runtime = resctrl.runtime();
    let bundle = Bundle::new()
        .args(["/bin/probe", "wait"])
        .set("/linux/intelRdt", json!({"closID": "gold", "l3CacheSchema": "L3:0=f;1=f"}))
        .build()
        .unwrap();
    let container = running(&runtime, &bundle);
    resctrl.write("gold/mon_data/mon_L3_00/llc_occupancy", "4711\n");
    let rdt = stats(&runtime, container.id()).intel_rdt;
    fs::remove_dir_all(resctrl.path("gold/mon_data")).unwrap();
    assert_eq!(rdt.l3_cache_info.unwrap().num_closids, 16);
    assert_eq!(rdt.l3_cache_schema_root.as_deref(), Some("L3:0=7ff;1=7ff"));
    assert_eq!(rdt.l3_cache_schema.as_deref(), Some("L3:0=f;1=f"));
    assert_eq!(rdt.cmt_stats.unwrap()[0]["llc_occupancy"], 4711);
}

#[test]
fn k62_a_line_comes_every_interval_until_the_container_stops() {
    let runtime = runtime();
    let container = running(&runtime, &waiting());
    let mut events = Watching::new(&runtime, &[OFTEN[0], OFTEN[1], container.id()]);
    let first = events.next().unwrap();
    assert_eq!((first.kind.as_str(), first.id.as_str()), ("stats", container.id()));
    let second = events.next().unwrap().data.unwrap();
    assert!(second.cpu.usage.total >= first.data.unwrap().cpu.usage.total);
    container.kill("KILL").unwrap().success().unwrap();
    while let Some(event) = events.next() {
        assert_eq!(event.kind, "stats");
    }
    assert_eq!(events.end(), FINE);
}

#[test]
fn k62_it_ends_when_the_container_is_deleted() {
    let runtime = runtime();
    let container = running(&runtime, &waiting());
    for interval in [OFTEN, NEVER] {
        // The second time around it is a container of the same name.
        let again = (interval == NEVER).then(|| running(&runtime, &waiting()));
        let id = again.as_ref().map_or(container.id(), Container::id);
        let mut events = Watching::new(&runtime, &[interval[0], interval[1], id]);
        events.is_ready();
        if interval == OFTEN {
            assert_eq!(events.next().unwrap().kind, "stats");
        }
        runtime.call(["delete", "--force", id]).unwrap().success().unwrap();
        while let Some(event) = events.next() {
            assert_eq!(event.kind, "stats");
        }
        assert_eq!(events.end(), FINE);
    }
}

#[test]
fn k62_signals_end_it_even_if_its_reader_is_slow() {
    let runtime = runtime();
    let container = running(&runtime, &waiting());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let events = Watching::new(&runtime, &[NEVER[0], NEVER[1], container.id()]);
        events.is_ready();
        events.signal(signal);
        assert_eq!(events.end(), FINE);
        let (reader, mut writer) = std::io::pipe().unwrap();
        fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        while writer.write(&[b'\n'; 4096]).is_ok() {}
        fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let stuck = Watching::into(&runtime, &["--stats", container.id()], reader, writer);
        stuck.is_ready();
        stuck.signal(signal);
        assert_eq!(stuck.end(), FINE);
    }
}

#[test]
fn k62_it_ends_quietly_when_nobody_reads() {
    let runtime = runtime();
    let container = running(&runtime, &waiting());
    for args in [&["--interval", "24h"][..], &["--interval", "1ms"], &["--stats"]] {
        let events = Watching::new(&runtime, &[args, &[container.id()]].concat());
        assert_eq!(events.stop_reading(), FINE, "{args:?}");
    }
}

#[test]
fn k62_memory_that_runs_out_is_told_at_once_and_the_container_runs_on() {
    let runtime = runtime();
    let bundle = limited();
    let container = running(&runtime, &bundle);
    // A line of statistics is proof that the memory is watched.
    let mut events = Watching::new(&runtime, &[OFTEN[0], OFTEN[1], container.id()]);
    events.next_of("stats");
    let killed = container.exec(["/bin/probe", "alloc", "100"]).unwrap();
    assert_eq!(killed.exit, Exit::Code(137), "{killed:?}");
    assert_eq!(events.next_of("oom").id, container.id());
    assert_eq!(events.next_of("stats").data.unwrap().memory.event_count["oom_kill"], 1);
    assert_eq!(container.state().unwrap().status, "running");
    container.kill("KILL").unwrap().success().unwrap();
    while let Some(event) = events.next() {
        assert_eq!(event.kind, "stats", "one kill is told twice");
    }
    assert_eq!(events.end(), FINE);
}

#[test]
fn k62_a_container_that_dies_of_it_is_told_of_before_the_end() {
    let runtime = runtime();
    let memory = json!({"limit": 32 << 20, "swap": 32 << 20});
    let bundle = Bundle::new().args(["/bin/probe", "alloc", "100"]);
    let bundle = bundle.set("/linux/resources", json!({"memory": memory})).build().unwrap();
    let container = runtime.create(&bundle).unwrap();
    let mut events = Watching::new(&runtime, &[OFTEN[0], OFTEN[1], container.id()]);
    events.next_of("stats");
    container.start().unwrap().success().unwrap();
    events.next_of("oom");
    while let Some(event) = events.next() {
        assert_eq!(event.kind, "stats");
    }
    assert_eq!(events.end(), FINE);
}

#[test]
fn k62_k63_a_container_that_has_stopped_or_does_not_exist_is_refused() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/bin/true"]).with_busybox().build().unwrap();
    let mut container = runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait().unwrap();
    let words = format!("container with id {} is not running", container.id());
    for args in [&["events"][..], &["events", "--stats"]] {
        let of = |id: &str| runtime.call([args, &[id]].concat()).unwrap();
        refused(&of(container.id()), &words);
        refused(&of("nobody"), "container nobody does not exist");
    }
}

#[test]
fn k62_an_interval_that_is_none_is_refused() {
    let runtime = runtime();
    for interval in ["0", "0s", "-5s"] {
        let finished = runtime.call(["events", "--interval", interval, "nobody"]).unwrap();
        refused(&finished, "duration interval must be greater than 0");
    }
    refused(&runtime.call(["events", "--interval", "5", "nobody"]).unwrap(), "not a duration");
}
