//! Long calls that Ctrl-C ends.

use pyo3::prelude::*;
use turnout_core::{Error, Interrupt};

use crate::errors::to_python;

/// Runs a long call with the interpreter released. Signal handlers of Python run meanwhile, and what they raise ends the call.
pub(crate) fn run_unless_interrupted<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(Interrupt<'_>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let mut raised = None;
    let result = py.detach(|| {
        let mut ask = || match Python::try_attach(|py| py.check_signals()) {
            Some(Err(error)) => {
                raised = Some(error);
                Err(Error::Interrupted)
            }
            _ => Ok(()),
        };
        work(Interrupt::new(&mut ask))
    });
    match raised {
        Some(error) => Err(error),
        None => result.map_err(|error| to_python(py, error)),
    }
}
