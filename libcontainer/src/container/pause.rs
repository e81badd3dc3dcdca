//! The verbs pause and resume. Run in the runtime's process.

use std::time::Duration;

use super::{Container, Status};
use crate::error::{Error, ErrorKind};
use crate::launch::freezer;

/// How long `pause` waits for processes to stop.
const PATIENCE: Duration = Duration::from_secs(10);

impl Container {
    /// Stops all processes of the container where they are, until [`Container::resume`].
    ///
    /// ```no_run
    /// use libcontainer::{Container, Store};
    ///
    /// let container = Container::open(&Store::new("/run/example"), "web")?;
    /// container.pause()?;
    /// container.resume()?;
    /// # Ok::<(), libcontainer::Error>(())
    /// ```
    ///
    /// # Errors
    /// The container does not run, has no freezer, or has a process that does not stop; then all run on.
    pub fn pause(&self) -> Result<(), Error> {
        let _alone = self.entry.lock_changes()?;
        match self.status() {
            Status::Created | Status::Running => {}
            status => {
                let says =
                    format!("cannot pause container {}: container not running: {}", self.id(), status.word());
                return Err(Error::new(ErrorKind::State, says));
            }
        }
        freezer::freeze(&self.record.cgroups, PATIENCE).map_err(|refused| self.unpaused("pause", &refused))
    }

    /// Lets the processes of a paused container run.
    ///
    /// # Errors
    /// The container is not paused, or the kernel refuses.
    pub fn resume(&self) -> Result<(), Error> {
        // Of two at once one is the last, and neither waits for what the other undoes.
        let _alone = self.entry.lock_changes()?;
        match self.status() {
            Status::Paused => {}
            status => {
                let says =
                    format!("cannot resume container {}: container not paused: {}", self.id(), status.word());
                return Err(Error::new(ErrorKind::State, says));
            }
        }
        freezer::thaw(&self.record.cgroups).map_err(|refused| self.unpaused("resume", &refused))
    }

    fn unpaused(&self, verb: &str, refused: &freezer::Refused) -> Error {
        Error::new(ErrorKind::System, format!("{verb} container {}: {refused}", self.id()))
    }
}
