//! The interpreter lock around calls into the core.

use pyo3::prelude::*;
use turnout_core::{Error, Router};

use crate::errors::to_python;

/// Prompts up to this many bytes are decided without releasing the interpreter lock: see `benches/README.md`, "The lock".
pub(crate) const DETACH_FROM_BYTES: usize = 8192;

/// Runs `work` with the interpreter lock held if it takes microseconds, released if it may take longer.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    router: &Router,
    is_short: bool,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    let result = if is_short && router.is_microseconds() { work() } else { py.detach(work) };
    result.map_err(|error| to_python(py, error))
}
