//! Long calls that their caller may end early, such as a batch in a program that gets Ctrl-C.

use std::time::{Duration, Instant};

use crate::error::Result;

/// How often a long call looks whether its caller still wants the answer.
pub(crate) const CHECK_EVERY: Duration = Duration::from_millis(20);

/// Asks the caller of a long call, at most once in 20 ms, whether to go on.
///
/// It is asked on the thread that made the call, between parts of the work. What runs on other threads ends with its part.
pub struct Interrupt<'a> {
    ask: &'a mut dyn FnMut() -> Result<()>,
    last: Instant,
}

impl std::fmt::Debug for Interrupt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").field("last", &self.last).finish_non_exhaustive()
    }
}

impl<'a> Interrupt<'a> {
    /// `ask` returns an error, as a rule [`Error::Interrupted`](crate::Error::Interrupted), to end the call with it.
    pub fn new(ask: &'a mut dyn FnMut() -> Result<()>) -> Self {
        Self { ask, last: Instant::now() }
    }

    /// Asks, if the last time was long enough ago.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.last.elapsed() < CHECK_EVERY {
            return Ok(());
        }
        (self.ask)()?;
        self.last = Instant::now();
        Ok(())
    }
}

/// Asks if there is somebody to ask.
pub(crate) fn check(interrupt: &mut Option<Interrupt<'_>>) -> Result<()> {
    interrupt.as_mut().map_or(Ok(()), Interrupt::check)
}
