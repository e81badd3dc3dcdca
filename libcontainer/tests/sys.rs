//! The system call wrappers do what their manual pages say. Needs root: mounts are made in private namespaces.
//!
//! What changes a process is tried in a child of its own, which tells by its exit status how it went.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::RwLock;
use std::time::Duration;

use libcontainer::path::RootPath;
use libcontainer::sys::fs::{self as sys_fs, CWD};
use libcontainer::sys::mount::{self, Change};
use libcontainer::sys::process::{self, Exit, Leash};
use libcontainer::sys::{Call, Proc, Root, Stop, socket, terminal};
use nix::errno::Errno;
use nix::libc;
use tempfile::TempDir;

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn path(text: &str) -> RootPath {
    RootPath::new(text).unwrap()
}

fn open_directory(path: &Path) -> OwnedFd {
    sys_fs::open(CWD, &c(path), libc::O_PATH | libc::O_DIRECTORY, 0).unwrap()
}

/// A root in a directory that has a secret beside it.
fn prison() -> (TempDir, Root) {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("secret"), "outside").unwrap();
    fs::create_dir(place.path().join("root")).unwrap();
    let root = Root::new(open_directory(&place.path().join("root")));
    (place, root)
}

fn make_directories(place: &Path, names: &[&str]) {
    for name in names {
        fs::create_dir(place.join(name)).unwrap();
    }
}

/// Where a descriptor leads, counted from the root.
fn place_of(fd: &OwnedFd, place: &TempDir) -> String {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    let root = place.path().join("root");
    format!(
        "/{}",
        link.strip_prefix(&root).unwrap_or_else(|_| panic!("{} is outside", link.display())).display()
    )
}

fn is<T: std::fmt::Debug>(result: Result<T, Stop>, errno: Errno) {
    let stop = result.unwrap_err();
    assert!(stop.is(errno), "{stop}, not {errno:?}");
}

/// Held while children exist: each has copies of all descriptors, so that closing one closes nothing.
static CHILDREN: RwLock<()> = RwLock::new(());

/// Runs `body` in a child; it has done well if it says so.
fn in_a_child(body: impl FnOnce() -> bool) {
    let _children = CHILDREN.read().unwrap();
    let child = process::spawn(0, None, || i32::from(!body())).unwrap();
    assert_eq!(process::wait(child.pidfd.as_fd()), Ok(Exit::Status(0)));
}

/// Runs `body` in a child with mounts of its own.
fn in_private_mounts(body: impl FnOnce() -> bool) {
    in_a_child(|| {
        process::unshare(libc::CLONE_NEWNS).is_ok()
            && mount::change_at(c"/", libc::MS_PRIVATE | libc::MS_REC).is_ok()
            && body()
    });
}

#[test]
fn a_path_is_looked_up_inside_the_root_whatever_the_links_say() {
    let (place, root) = prison();
    let inside = place.path().join("root");
    make_directories(&inside, &["a", "a/b"]);
    fs::write(inside.join("a/file"), "inside").unwrap();
    symlink("/a", inside.join("absolute")).unwrap();
    symlink("../../../../../../a", inside.join("a/b/up")).unwrap();
    symlink(place.path().join("secret"), inside.join("out")).unwrap();
    for text in ["/a/file", "/absolute/file", "/a/b/up/file", "/../../a/file", "/a/../../../a/file"] {
        assert_eq!(place_of(&root.open(&path(text), libc::O_PATH).unwrap(), &place), "/a/file", "{text}");
    }
    is(root.open(&path("/out"), libc::O_RDONLY), Errno::ENOENT);
    is(root.open(&path("/../secret"), libc::O_RDONLY), Errno::ENOENT);
    is(root.open(&path("/absent"), libc::O_PATH), Errno::ENOENT);
    is(root.open(&path("/a/file/x"), libc::O_PATH), Errno::ENOTDIR);
}

#[test]
fn a_loop_of_links_is_an_error_for_every_way_of_looking() {
    let (place, root) = prison();
    let inside = place.path().join("root");
    symlink("two", inside.join("one")).unwrap();
    symlink("/one", inside.join("two")).unwrap();
    symlink("self/x", inside.join("self")).unwrap();
    for text in ["/one", "/two/x", "/self", "/self/y"] {
        is(root.open(&path(text), libc::O_PATH), Errno::ELOOP);
        is(root.make_directory(&path(text)), Errno::ELOOP);
        is(root.make_file(&path(text)), Errno::ELOOP);
    }
}

#[test]
fn magic_links_of_procfs_are_not_followed() {
    let root = Root::new(open_directory(Path::new("/")));
    let file = fs::File::open("/etc/passwd").unwrap();
    for text in ["/proc/self/exe", "/proc/self/root/etc", "/proc/self/cwd"] {
        is(root.open(&path(text), libc::O_PATH), Errno::ELOOP);
    }
    is(root.open(&path(&format!("/proc/self/fd/{}", file.as_raw_fd())), libc::O_PATH), Errno::ELOOP);
}

#[test]
fn what_is_missing_is_made_where_the_links_lead_and_nowhere_else() {
    let (place, root) = prison();
    let inside = place.path().join("root");
    make_directories(&inside, &["deep"]);
    symlink(place.path().join("elsewhere"), inside.join("absolute")).unwrap();
    symlink("not/yet", inside.join("deep/dangling")).unwrap();
    symlink("../../../../../../outside", inside.join("deep/up")).unwrap();
    let made = |text: &str| place_of(&root.make_directory(&path(text)).unwrap(), &place);
    assert_eq!(made("/new/directories/here"), "/new/directories/here");
    assert_eq!(made("/deep/dangling/x"), "/deep/not/yet/x");
    assert_eq!(made("/deep/up/x"), "/outside/x");
    // The absolute link's whole path is made below the root.
    let whole = format!("{}/x", place.path().join("elsewhere").display());
    assert_eq!(made("/absolute/x"), whole);
    assert_eq!(made("/"), "/");
    let outside: Vec<_> =
        fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 2, "{outside:?}");
}

#[test]
fn a_file_that_is_there_stays_and_one_that_is_not_is_made_empty() {
    let (place, root) = prison();
    let inside = place.path().join("root");
    fs::write(inside.join("there"), "content").unwrap();
    symlink("made", inside.join("dangling")).unwrap();
    assert_eq!(place_of(&root.make_file(&path("/there")).unwrap(), &place), "/there");
    assert_eq!(fs::read_to_string(inside.join("there")).unwrap(), "content");
    assert_eq!(place_of(&root.make_file(&path("/a/b")).unwrap(), &place), "/a/b");
    assert_eq!(place_of(&root.make_file(&path("/dangling")).unwrap(), &place), "/made");
    assert_eq!(fs::metadata(inside.join("made")).unwrap().len(), 0);
    is(root.make_directory(&path("/there/below")), Errno::ENOTDIR);
}

#[test]
fn a_parent_is_looked_up_and_its_last_name_is_not() {
    let (place, root) = prison();
    let inside = place.path().join("root");
    symlink("/etc/passwd", inside.join("link")).unwrap();
    let text = path("/new/link");
    let (parent, name) = root.make_parent(&text).unwrap();
    assert_eq!((place_of(&parent, &place).as_str(), name), ("/new", c"link"));
    is(root.make_parent(&path("/")), Errno::EISDIR);
    is(root.make_parent(&path("/a/..")), Errno::EINVAL);
}

#[test]
fn m40_x03_a_plain_directory_is_one_without_any_link_before_it() {
    let (place, root) = prison();
    let inside = place.path().join("root");
    make_directories(&inside, &["a"]);
    symlink("a", inside.join("link")).unwrap();
    symlink("nowhere", inside.join("dangling")).unwrap();
    fs::write(inside.join("file"), "").unwrap();
    assert_eq!(place_of(&root.make_plain_directory(&path("/a/new")).unwrap(), &place), "/a/new");
    is(root.make_plain_directory(&path("/link")), Errno::ELOOP);
    is(root.make_plain_directory(&path("/link/x")), Errno::ELOOP);
    is(root.make_plain_directory(&path("/dangling")), Errno::ELOOP);
    is(root.make_plain_directory(&path("/file")), Errno::ENOTDIR);
}

#[test]
fn x10_a_file_of_procfs_under_another_mount_is_refused() {
    let proc = Proc::open().unwrap();
    proc.open_file(c"sys/kernel/hostname", libc::O_RDONLY).unwrap();
    proc.open_file(c"self/status", libc::O_RDONLY).unwrap();
    is(proc.open_file(c"../etc/passwd", libc::O_RDONLY), Errno::EXDEV);
    is(proc.open_file(c"self/root/etc", libc::O_PATH), Errno::ELOOP);
    in_private_mounts(|| {
        let covered = mount::mount(c"tmpfs", c"/proc/sys", c"tmpfs", 0, c"").is_ok();
        // What is opened before the mounts of a container keeps seeing the host's.
        let sees = |proc: &Proc| proc.open_file(c"sys/kernel/hostname", libc::O_RDONLY);
        covered
            && sees(&proc).is_ok()
            && Proc::open().and_then(|late| sees(&late)).is_err_and(|s| s.is(Errno::EXDEV))
    });
    // Something that is not procfs in its place.
    in_private_mounts(|| {
        mount::mount(c"tmpfs", c"/proc", c"tmpfs", 0, c"").is_ok()
            && Proc::open().is_err_and(|s| s.is(Errno::ENODEV))
    });
    // Procfs, but not its root.
    in_private_mounts(|| {
        mount::mount(c"/proc/sys", c"/proc", c"", libc::MS_BIND, c"").is_ok()
            && Proc::open().is_err_and(|s| s.is(Errno::ENODEV))
    });
}

#[test]
fn a_detached_tree_is_attached_by_descriptor_and_its_attributes_can_change() {
    let place = tempfile::tempdir().unwrap();
    make_directories(place.path(), &["from", "to"]);
    fs::write(place.path().join("from/file"), "bound").unwrap();
    let (from, file) = (c(&place.path().join("from")), c(&place.path().join("to/file")));
    let target = open_directory(&place.path().join("to"));
    in_private_mounts(|| {
        // A descriptor from before the namespace would not be in it.
        let target = sys_fs::open(CWD, &c(&place.path().join("to")), libc::O_PATH, 0);
        let (Ok(tree), Ok(target)) = (mount::clone_tree(CWD, &from, false), target) else { return false };
        let read_only = Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() };
        mount::attach(tree.as_fd(), target.as_fd()).is_ok()
            && sys_fs::open(CWD, &file, libc::O_WRONLY, 0).is_ok()
            && mount::change(tree.as_fd(), false, read_only).is_ok()
            && sys_fs::open(CWD, &file, libc::O_WRONLY, 0).is_err_and(|stop| stop.is(Errno::EROFS))
            && mount::change(
                tree.as_fd(),
                false,
                Change { clear: libc::MOUNT_ATTR_RDONLY, ..Change::default() },
            )
            .is_ok()
            && sys_fs::open(CWD, &file, libc::O_WRONLY, 0).is_ok()
    });
    is(mount::clone_tree(CWD, c"/nonexistent", false), Errno::ENOENT);
    is(mount::attach(target.as_fd(), target.as_fd()), Errno::EINVAL);
    assert!(!place.path().join("to/file").exists(), "the mount was seen outside of its namespace");
}

#[test]
fn m44_the_top_of_a_root_is_what_is_mounted_on_it() {
    in_private_mounts(|| {
        let (place, root) = prison();
        let identity = |root: &Root| sys_fs::kind(root.fd()).unwrap().identity;
        let same = identity(&root.top().unwrap()) == identity(&root);
        sys_fs::change_directory(root.fd()).unwrap();
        mount::mount(c"first", c".", c"tmpfs", 0, c"").unwrap();
        let first = root.top().unwrap();
        sys_fs::change_directory(first.fd()).unwrap();
        mount::mount(c"second", c".", c"tmpfs", 0, c"").unwrap();
        let seen = sys_fs::path_kind(&c(&place.path().join("root"))).unwrap().identity;
        same && identity(&first) != identity(&root) && identity(&root.top().unwrap()) == seen
    });
}

#[test]
fn m42_a_label_is_set_on_a_directory_that_is_open_as_a_path_only() {
    let (place, root) = prison();
    let directory = root.make_directory(&path("/directory")).unwrap();
    // It becomes the working directory.
    in_a_child(|| sys_fs::set_label(directory.as_fd(), c"system_u:object_r:container_file_t:s0").is_ok());
    let name = place.path().join("root/directory");
    let seen = std::process::Command::new("stat").arg("--format=%C").arg(&name).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&seen.stdout).trim(), "system_u:object_r:container_file_t:s0");
}

#[test]
fn d03_the_mode_of_a_file_that_is_open_as_a_path_only_is_changed_set_id_bits_included() {
    let (_place, root) = prison();
    let (file, proc) = (root.make_file(&path("/file")).unwrap(), Proc::open().unwrap());
    for mode in [0o4751, 0o600, 0] {
        proc.change_mode(file.as_fd(), mode).unwrap();
        assert_eq!(sys_fs::kind(file.as_fd()).unwrap().mode & 0o7777, mode);
    }
}

#[test]
fn all_descriptors_but_those_to_keep_are_closed() {
    let files: Vec<_> = (0..6).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    let mut numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    numbers.sort_unstable();
    let keep = [numbers[1], numbers[4]];
    let is_open = |number: i32| sys_fs::open(CWD, &own(number), libc::O_PATH, 0).is_ok();
    in_a_child(|| {
        // Strings are made before: the check itself must not need a descriptor that is closed.
        process::close_all_but(&keep).is_ok()
            && numbers.iter().all(|number| is_open(*number) == keep.contains(number))
            && (0..3).all(is_open)
    });
    in_a_child(|| process::close_all_but(&[]).is_ok() && numbers.iter().all(|number| !is_open(*number)));
    in_a_child(|| {
        process::close_all_but(&[0, 1, numbers[5]]).is_ok() && is_open(numbers[5]) && !is_open(numbers[0])
    });
}

fn own(number: i32) -> CString {
    CString::new(format!("/proc/self/fd/{number}")).unwrap()
}

#[test]
fn a_child_is_waited_for_by_its_descriptor_and_says_how_it_ended() {
    let _children = CHILDREN.read().unwrap();
    let spawn = |status: i32| process::spawn(0, None, move || status).unwrap();
    let child = spawn(7);
    assert_eq!(process::wait(child.pidfd.as_fd()), Ok(Exit::Status(7)));
    is(process::wait(child.pidfd.as_fd()), Errno::ECHILD);
    is(process::send_signal(child.pidfd.as_fd(), libc::SIGKILL), Errno::ESRCH);
    let child = endless();
    assert_eq!(process::has_ended(child.pidfd.as_fd(), Duration::ZERO), Ok(false));
    is(process::send_signal(child.pidfd.as_fd(), 1000), Errno::EINVAL);
    process::send_signal(child.pidfd.as_fd(), libc::SIGKILL).unwrap();
    assert_eq!(process::has_ended(child.pidfd.as_fd(), Duration::from_secs(20)), Ok(true));
    assert_eq!(process::wait(child.pidfd.as_fd()), Ok(Exit::Signal(libc::SIGKILL)));
    assert_eq!((Exit::Status(3).code(), Exit::Signal(9).code()), (3, 137));
}

/// A child that waits for what never comes. Whoever makes one holds [`CHILDREN`].
fn endless() -> process::Child {
    let (ours, theirs) = socket::pair().unwrap();
    let child = process::spawn(0, None, || {
        let mut buffer = [0; 1];
        // Its own copy of the other end keeps the connection open.
        let _held = &theirs;
        i32::from(socket::receive(ours.as_fd(), &mut buffer).is_err())
    });
    child.unwrap()
}

#[test]
fn a_leash_kills_and_reaps_unless_its_child_is_released() {
    let _children = CHILDREN.read().unwrap();
    let child = endless();
    let watch = process::pidfd_open(child.pid).unwrap();
    drop(Leash::new(child));
    is(process::send_signal(watch.as_fd(), 0), Errno::ESRCH);
    let released = Leash::new(endless()).release().unwrap();
    assert_eq!(process::has_ended(released.pidfd.as_fd(), Duration::ZERO), Ok(false));
    drop(Leash::new(released));
}

#[test]
fn a_packet_keeps_its_borders_and_the_last_words_of_a_peer_are_heard() {
    let (one, other) = socket::pair().unwrap();
    socket::send(one.as_fd(), b"first").unwrap();
    socket::send(one.as_fd(), b"second").unwrap();
    let mut buffer = [0; 64];
    assert_eq!(socket::receive(other.as_fd(), &mut buffer), Ok(5));
    assert_eq!(socket::receive(other.as_fd(), &mut buffer), Ok(6));
    // The peer goes without having read what we sent: what it said before still comes, and then the end.
    socket::send(other.as_fd(), b"unread").unwrap();
    socket::send(one.as_fd(), b"last words").unwrap();
    drop(one);
    assert_eq!(socket::receive(other.as_fd(), &mut buffer), Ok(10));
    assert_eq!(&buffer[..10], b"last words");
    assert_eq!(socket::receive(other.as_fd(), &mut buffer), Ok(0));
    is(socket::send(other.as_fd(), b"x"), Errno::EPIPE);
}

#[test]
fn a_descriptor_travels_over_a_socket() {
    let (one, other) = socket::pair().unwrap();
    let file = sys_fs::memory_file(&[b"by ", b"descriptor"]).unwrap();
    socket::send_descriptor(one.as_fd(), b"name", file.as_fd()).unwrap();
    drop(file);
    let received = socket::receive_descriptor(other.as_fd()).unwrap().unwrap();
    let mut buffer = [0; 64];
    let length = sys_fs::read(received.as_fd(), &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"by descriptor");
    drop(one);
    assert!(socket::receive_descriptor(other.as_fd()).unwrap().is_none());
}

#[test]
fn a_start_socket_is_reached_by_its_name_however_long_its_directorys_path_is() {
    let place = tempfile::tempdir().unwrap();
    let deep = place.path().join("x".repeat(150));
    fs::create_dir(&deep).unwrap();
    let directory = open_directory(&deep);
    let listening = socket::listen(directory.as_fd(), "start").unwrap();
    let connected = socket::connect(directory.as_fd(), "start", socket::Kind::Packets).unwrap();
    let accepted = socket::accept(listening.as_fd()).unwrap();
    socket::send(connected.as_fd(), b"go").unwrap();
    assert_eq!(socket::receive(accepted.as_fd(), &mut [0; 8]), Ok(2));
    let _no_children = CHILDREN.write().unwrap();
    drop((listening, accepted));
    is(socket::connect(directory.as_fd(), "start", socket::Kind::Packets), Errno::ECONNREFUSED);
    is(socket::connect(directory.as_fd(), "absent", socket::Kind::Packets), Errno::ENOENT);
}

#[test]
fn a_terminal_is_unlocked_opened_without_a_path_and_has_a_size() {
    let master = sys_fs::open(CWD, c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY, 0).unwrap();
    terminal::unlock(master.as_fd()).unwrap();
    let peer = terminal::peer(master.as_fd()).unwrap();
    terminal::set_size(peer.as_fd(), 12, 34).unwrap();
    assert_eq!(terminal::size(master.as_fd()), Ok((12, 34)));
    let null = sys_fs::open(CWD, c"/dev/null", libc::O_RDWR, 0).unwrap();
    is(terminal::size(null.as_fd()), Errno::ENOTTY);
    in_a_child(|| process::setsid().is_ok() && terminal::take_control(peer.as_fd()).is_ok());
    // Who leads no session cannot have one.
    in_a_child(|| terminal::take_control(peer.as_fd()).is_err_and(|stop| stop.is(Errno::EPERM)));
}

#[test]
fn a_kernel_file_is_written_in_one_call_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let directory = open_directory(place.path());
    is(sys_fs::write_file(directory.as_fd(), c"absent", b"x"), Errno::ENOENT);
    fs::write(place.path().join("file"), "").unwrap();
    sys_fs::write_file(directory.as_fd(), c"file", b"text").unwrap();
    assert_eq!(fs::read_to_string(place.path().join("file")).unwrap(), "text");
    let full = sys_fs::open(CWD, c"/dev/full", libc::O_WRONLY, 0).unwrap();
    let stop = sys_fs::write(full.as_fd(), b"x").unwrap_err();
    assert_eq!((stop.call, stop.is(Errno::ENOSPC)), (Call::Write, true));
}

#[test]
fn a_working_directory_outside_the_root_is_told() {
    assert_eq!(sys_fs::working_directory_is_inside(), Ok(true));
    let place = tempfile::tempdir().unwrap();
    let directory = open_directory(place.path());
    in_a_child(|| {
        // The root moves, the working directory stays behind.
        let stay = sys_fs::open(CWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0);
        let Ok(stay) = stay else { return false };
        sys_fs::change_directory(directory.as_fd()).is_ok()
            && mount::chroot_here().is_ok()
            && sys_fs::working_directory_is_inside() == Ok(true)
            && sys_fs::change_directory(stay.as_fd()).is_ok()
            && sys_fs::working_directory_is_inside() == Ok(false)
    });
}
