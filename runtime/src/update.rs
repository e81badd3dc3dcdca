//! `update`: limits of a container, changed by a file of resources, by flags, or by both.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use libcontainer::container::{self, Container};
use libcontainer::plan::document::parse_resources;
use libcontainer::state::Store;
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};

use crate::outcome::Failure;

// What is changed. Bytes may have a unit: k, m, g, t, p.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// File with the resources object of config.json, - for stdin; device rules in it are ignored. Flags that
    /// are given beside it take precedence
    #[arg(long, short, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Limit of memory; -1 for none
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory: Option<i64>,
    /// Limit of memory and swap together; -1 for none
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory_swap: Option<i64>,
    /// Memory that is to be left to the container; -1 for all of it
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Limit of kernel memory (deprecated; cgroup version 1); -1 for none
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    kernel_memory: Option<i64>,
    /// Limit of buffers of TCP (cgroup version 1); -1 for none
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    kernel_memory_tcp: Option<i64>,
    /// Weight of the container for the CPUs, 2 to 262144
    #[arg(long, alias = "cpu-shares", value_name = "N")]
    cpu_share: Option<u64>,
    /// Time on CPUs in each period, in microseconds; -1 for no limit
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Period of the quota, in microseconds
    #[arg(long, value_name = "USEC")]
    cpu_period: Option<u64>,
    /// Time that may be saved up and used above the quota, in microseconds
    #[arg(long, value_name = "USEC")]
    cpu_burst: Option<u64>,
    /// Period of the real-time limit, in microseconds (cgroup version 1)
    #[arg(long, value_name = "USEC")]
    cpu_rt_period: Option<u64>,
    /// Real time in each period, in microseconds (cgroup version 1)
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// 1 for time that nobody else wants, 0 for a share of it
    #[arg(long, value_name = "0|1", allow_negative_numbers = true)]
    cpu_idle: Option<i64>,
    /// CPUs to run on, such as 0-2,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0-1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit of the number of tasks; -1 for none
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Weight of the container for block devices, 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<u16>,
    /// Share of the level 3 cache, as a line for resctrl: L3:0=ff
    #[arg(long, value_name = "LINE")]
    l3_cache_schema: Option<String>,
    /// Share of memory bandwidth, as a line for resctrl: MB:0=50
    #[arg(long, value_name = "LINE")]
    mem_bw_schema: Option<String>,
    /// Fail at this step, given by its number (tests)
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "STEP", hide = true)]
    fail_at: Option<u32>,
    /// The container's id
    id: String,
}

/// `update`
pub(crate) fn update(store: &Store, args: &Update) -> Result<i32, Failure> {
    let container = Container::open(store, &args.id)?;
    let flags = args.flags();
    let name = |at: &str, flag: &str| (at.to_owned(), flag.to_owned());
    let mut names: Vec<_> =
        flags.iter().map(|(at, flag, _)| name(&format!("/linux/resources{at}"), flag)).collect();
    names.push(name("/linux/intelRdt/l3CacheSchema", "--l3-cache-schema"));
    names.push(name("/linux/intelRdt/memBwSchema", "--mem-bw-schema"));
    let update = container::Update {
        resources: resources(args.resources.as_deref(), &flags)?,
        l3_cache_schema: args.l3_cache_schema.clone(),
        mem_bw_schema: args.mem_bw_schema.clone(),
        names,
        #[cfg(debug_assertions)]
        fault: fault(args),
        #[cfg(not(debug_assertions))]
        fault: Default::default(),
    };
    container.update(&update)?;
    Ok(0)
}

#[cfg(debug_assertions)]
fn fault(args: &Update) -> libcontainer::fault::Fault {
    let step = args.fail_at.and_then(libcontainer::plan::step::Step::from_code);
    step.map_or_else(Default::default, libcontainer::fault::Fault::at)
}

impl Update {
    /// The limits that are given by flags: where they are in the resources, and the flag.
    fn flags(&self) -> Vec<(&'static str, &'static str, Value)> {
        let flag = |at, name, value: Value| (!value.is_null()).then_some((at, name, value));
        [
            flag("/memory/limit", "--memory", json!(self.memory)),
            flag("/memory/swap", "--memory-swap", json!(self.memory_swap)),
            flag("/memory/reservation", "--memory-reservation", json!(self.memory_reservation)),
            flag("/memory/kernelTCP", "--kernel-memory-tcp", json!(self.kernel_memory_tcp)),
            flag("/memory/kernel", "--kernel-memory", json!(self.kernel_memory)),
            flag("/cpu/shares", "--cpu-share", json!(self.cpu_share)),
            flag("/cpu/quota", "--cpu-quota", json!(self.cpu_quota)),
            flag("/cpu/period", "--cpu-period", json!(self.cpu_period)),
            flag("/cpu/burst", "--cpu-burst", json!(self.cpu_burst)),
            flag("/cpu/realtimePeriod", "--cpu-rt-period", json!(self.cpu_rt_period)),
            flag("/cpu/realtimeRuntime", "--cpu-rt-runtime", json!(self.cpu_rt_runtime)),
            flag("/cpu/idle", "--cpu-idle", json!(self.cpu_idle)),
            flag("/cpu/cpus", "--cpuset-cpus", json!(self.cpuset_cpus)),
            flag("/cpu/mems", "--cpuset-mems", json!(self.cpuset_mems)),
            flag("/pids/limit", "--pids-limit", json!(self.pids_limit)),
            flag("/blockIO/weight", "--blkio-weight", json!(self.blkio_weight)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The limits of the file with those of the flags put in.
fn resources(
    file: Option<&Path>,
    flags: &[(&'static str, &'static str, Value)],
) -> Result<LinuxResources, Failure> {
    let mut document = json!({});
    if let Some(path) = file {
        let text = read(path)?;
        let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
        let (resources, warnings) =
            parse_resources(&text).map_err(|invalid| Failure::new(invalid.lines(&name)))?;
        for finding in warnings {
            tracing::warn!("{finding}");
        }
        if flags.is_empty() {
            return Ok(resources);
        }
        document = serde_json::from_slice(&text).unwrap_or_default();
    }
    for (at, _, value) in flags {
        put(&mut document, at, value);
    }
    let text = document.to_string();
    let (resources, _) =
        parse_resources(text.as_bytes()).map_err(|invalid| Failure::new(invalid.lines("update")))?;
    Ok(resources)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return fs::read(path).map_err(|error| Failure::file("read", path, &error));
    }
    let mut text = Vec::new();
    let all = io::stdin().lock().read_to_end(&mut text);
    all.map(|_| text).map_err(|error| Failure::new(format!("read stdin: {error}")))
}

/// Puts a value at its place, and makes what is missing above it; null counts as missing.
fn put(document: &mut Value, at: &str, value: &Value) {
    let mut place = document;
    for key in at.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[key];
    }
    *place = value.clone();
}

/// A number of bytes as Docker and runc read it: `64m`, `1.5GiB`, `4096`; -1 for no limit.
fn bytes(text: &str) -> Result<i64, String> {
    const UNITS: &str = "kmgtp";
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || format!("{text:?} is not a number of bytes, such as 4096, 64m or 1.5g, nor -1");
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = lower.get(number.len()..).unwrap_or_default();
    let unit = suffix.strip_suffix("ib").or(suffix.strip_suffix('b')).unwrap_or(suffix);
    let shift = match unit {
        "" if suffix != "ib" => 0,
        _ => UNITS.find(unit).filter(|_| unit.len() == 1).map(|i| 10 * (i + 1)).ok_or_else(wrong)?,
    };
    let number = number.strip_suffix(' ').unwrap_or(number);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() < 18 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let parsed = |text: &str| text.parse::<i128>().map_err(|_| wrong());
    let scale = 10_i128.pow(u32::try_from(part.len()).unwrap_or(0));
    let total = (parsed(whole)? << shift) + (parsed(part)? << shift) / scale;
    i64::try_from(total).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k66_bytes_have_the_units_of_docker() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64MB", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("2 k", 2048),
            ("7b", 7),
            ("1t", 1 << 40),
            ("1p", 1 << 50),
            ("-1", -1),
        ];
        for (text, number) in cases {
            assert_eq!(bytes(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn k66_what_is_no_number_of_bytes_is_refused() {
        for text in [
            "", "-2", "m", "1x", "1mm", "1.m", ".5g", "1,5g", "0x10", "1e3", "9999999p", "1ib", "- 1",
            "1 k b",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn k65_flags_are_put_beside_what_a_file_has() {
        let mut document = json!({"memory": {"limit": 1}, "cpu": null});
        put(&mut document, "/memory/swap", &json!(2));
        put(&mut document, "/cpu/idle", &json!(1));
        put(&mut document, "/pids/limit", &json!(-1));
        assert_eq!(
            document,
            json!({"memory": {"limit": 1, "swap": 2}, "cpu": {"idle": 1}, "pids": {"limit": -1}})
        );
    }
}
