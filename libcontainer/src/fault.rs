//! Makes one step fail on purpose, so that a test can see what every failure leaves behind. Each attempt is in the
//! timeline.

use crate::channel::{At, Failure};
use crate::plan::step::Step;
use crate::sys::Stop;
use crate::timeline;

/// The step that is to fail, if any. Only debug builds can name one; elsewhere this is nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fault {
    #[cfg(debug_assertions)]
    step: Option<Step>,
}

impl Fault {
    /// Lets `step` fail as if the kernel had refused it.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn at(step: Step) -> Fault {
        Fault { step: Some(step) }
    }

    /// Does `act` as `step`, unless that step is to fail, and notes when.
    ///
    /// # Errors
    /// What stopped it, with the step.
    pub(crate) fn attempt<T>(self, step: Step, act: impl FnOnce() -> Result<T, Stop>) -> Result<T, Failure> {
        timeline::step(step, || self.check(step).and_then(|()| act())).at(step)
    }

    #[cfg(debug_assertions)]
    fn check(self, step: Step) -> Result<(), Stop> {
        use crate::sys::Call;
        if self.step == Some(step) {
            Err(Stop { call: Call::Injected, errno: nix::libc::EIO })
        } else {
            Ok(())
        }
    }

    #[cfg(not(debug_assertions))]
    #[allow(clippy::unused_self, reason = "the debug build's has the same signature")]
    fn check(self, _: Step) -> Result<(), Stop> {
        Ok(())
    }
}
