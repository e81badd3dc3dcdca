//! A root file system or a volume in which somebody swaps a directory for a link to the host, again and again, while the
//! runtime is on its way through it: CVE-2021-30465, CVE-2024-45310, CVE-2023-28642, CVE-2025-52881 and their kin.
//!
//! Whether a call succeeds is up to the race. What counts is that the host stays as it was and that nothing hangs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use spec_conformance::{Bundle, BundleBuilder, Exit};

use super::{Trap, without};

/// So often is each race run.
const ROUNDS: usize = 40;

/// While `act` runs, these two change places. Gives how often they have.
fn swapping<T>(one: &Path, other: &Path, act: impl FnOnce() -> T) -> (T, usize) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let racer = scope.spawn(|| {
            let mut swaps = 0;
            while !over.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).unwrap();
                swaps += 1;
            }
            // As it was.
            if swaps % 2 == 1 {
                renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
            swaps
        });
        let done = act();
        over.store(true, Ordering::Relaxed);
        (done, racer.join().unwrap())
    })
}

/// Runs the bundle while `directory` is one moment itself and the next a link to the canary.
fn race(trap: &Trap, bundle: &Bundle, directory: &Path) {
    let out = directory.with_extension("out");
    if !directory.exists() {
        fs::create_dir(directory).unwrap();
    }
    symlink(&trap.canary, &out).unwrap();
    let (exits, swaps) = swapping(directory, &out, || {
        let run = |_| {
            let finished = trap.spring(bundle);
            // A failure is one that is told.
            assert!(finished.exit == Exit::Code(0) || finished.stderr.starts_with("ketch: "), "{finished:?}");
            finished.exit
        };
        (0..ROUNDS).map(run).collect::<Vec<_>>()
    });
    assert!(swaps > exits.len(), "only {swaps} swaps in {} runs", exits.len());
}

/// A bundle with a volume of the host at `/vol`, in which `way` is what is swapped.
fn with_volume(volume: &Path, builder: BundleBuilder) -> BundleBuilder {
    builder.push("/mounts", json!({"destination": "/vol", "source": volume, "options": ["rbind", "rw"]}))
}

#[test]
fn x04_mount_points_in_a_volume_that_is_raced_are_never_made_on_the_host() {
    let trap = Trap::new();
    let volume = tempfile::tempdir().unwrap();
    let mut builder = with_volume(volume.path(), Bundle::new());
    for (name, number) in [("empty", 1), ("new/deep", 2)] {
        let to = format!("/vol/way/{name}");
        let tmpfs = json!({"destination": to, "type": "tmpfs", "source": format!("t{number}")});
        builder = builder.push("/mounts", tmpfs);
    }
    let file = json!({"destination": "/vol/way/file", "source": "/etc/hostname", "options": ["bind"]});
    let bundle = builder.push("/mounts", file).build().unwrap();
    race(&trap, &bundle, &volume.path().join("way"));
}

#[test]
fn x04_x08_masks_read_only_paths_and_a_working_directory_that_are_raced_stay_inside() {
    let trap = Trap::new();
    let volume = tempfile::tempdir().unwrap();
    let bundle = with_volume(volume.path(), Bundle::new())
        .set("/linux/maskedPaths", json!(["/vol/way/file", "/vol/way/empty"]))
        .set("/linux/readonlyPaths", json!(["/vol/way"]))
        .set("/process/cwd", json!("/vol/way/new/deep"))
        .build()
        .unwrap();
    race(&trap, &bundle, &volume.path().join("way"));
}

#[test]
fn x11_cve_2026_41579_devices_and_links_of_a_dev_that_is_raced_are_never_made_on_the_host() {
    let trap = Trap::new();
    let bundle = without(&["/dev"]).build().unwrap();
    race(&trap, &bundle, &bundle.rootfs().join("dev"));
}

#[test]
fn x03_cve_2023_28642_a_proc_that_is_raced_is_procfs_or_an_error() {
    let trap = Trap::new();
    let bundle = Bundle::new()
        .set("/linux/sysctl", json!({"kernel.shm_rmid_forced": "1"}))
        .set("/process/oomScoreAdj", json!(500))
        .build()
        .unwrap();
    race(&trap, &bundle, &bundle.rootfs().join("proc"));
}

#[test]
fn x06_exec_into_a_directory_that_the_container_swaps_stays_inside() {
    let trap = Trap::new();
    let volume = tempfile::tempdir().unwrap();
    let bundle = with_volume(volume.path(), Bundle::new().args(["/bin/probe", "wait"])).build().unwrap();
    let (way, out) = (volume.path().join("way"), volume.path().join("out"));
    fs::create_dir(&way).unwrap();
    symlink(&trap.canary, &out).unwrap();
    let mut container = trap.runtime.create(&bundle).unwrap();
    container.start().unwrap().success().unwrap();
    container.wait_for_stdout("ready").unwrap();
    let id = container.id();
    let (_, swaps) = swapping(&way, &out, || {
        for round in 0..ROUNDS {
            let cwd = format!("/vol/way/{round}");
            let call = trap.runtime.call(["exec", "--cwd", &cwd, id, "/bin/probe", "report"]).unwrap();
            if call.exit == Exit::Code(0) {
                let seen = call.success().unwrap().report().unwrap().cwd;
                // Inside the volume, or where the link leads from the container's root.
                let below = |place: &Path| Path::new(&seen).starts_with(place);
                assert!(below(Path::new("/vol")) || below(&trap.canary), "{seen}");
            }
            trap.assert_untouched();
        }
    });
    assert!(swaps > ROUNDS, "only {swaps} swaps");
}
