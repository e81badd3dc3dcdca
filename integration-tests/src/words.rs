//! What the tests say again and again: ask for something, and what must have come of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use spec_conformance::wait::{Deadline, Pidfd};
use spec_conformance::{Bundle, Container, Exit, Finished, Runtime};

/// `create` of the bundle under this id, well or not.
///
/// # Panics
/// The runtime cannot be called.
pub fn create(runtime: &Runtime, bundle: &Bundle, id: &str) -> Finished {
    let finished = runtime.call(["create", "--bundle", text_of(bundle.path()), id]);
    finished.unwrap_or_else(|error| panic!("{error}"))
}

/// A bundle whose program stays until it is told to go.
///
/// # Panics
/// It cannot be made.
pub fn waiting() -> Bundle {
    Bundle::new().args(["/bin/probe", "wait"]).build().unwrap_or_else(|error| panic!("{error}"))
}

/// A container of the bundle whose program has said that it is ready.
///
/// # Panics
/// It comes to nothing.
pub fn running<'r>(runtime: &'r Runtime, bundle: &Bundle) -> Container<'r> {
    let attempt = || {
        let mut container = runtime.create(bundle)?;
        container.start()?.success()?;
        container.wait_for_stdout("ready")?;
        Ok(container)
    };
    attempt().unwrap_or_else(|error: spec_conformance::Error| panic!("{error}"))
}

/// Demands that the call failed, with status 1 and with these words.
///
/// # Panics
/// It did not.
pub fn refused(finished: &Finished, words: &str) {
    assert_eq!(finished.exit, Exit::Code(1), "{finished:?}");
    assert!(finished.stderr.contains(words), "no {words:?} in {finished:?}");
}

/// Demands that nothing of this container is on the host.
///
/// # Panics
/// Something is.
pub fn nothing_left(runtime: &Runtime, id: &str) {
    assert_eq!(runtime.leftovers(id), Vec::<PathBuf>::new());
}

/// The path as an argument.
///
/// # Panics
/// It is not UTF-8.
pub fn text_of(path: &Path) -> &str {
    path.to_str().unwrap_or_else(|| panic!("{} is not UTF-8", path.display()))
}

/// When a wait has taken too long.
pub fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Waits until the process of this number has ended; one that is not there any more has.
///
/// # Panics
/// It lives on.
pub fn has_ended(pid: i32) {
    if let Ok(process) = Pidfd::open(pid) {
        assert!(process.wait(deadline()).is_ok_and(|ended| ended), "process {pid} lives on");
        // If it has become ours, it is ours to reap.
        let _not_ours = process.reap();
    }
}
