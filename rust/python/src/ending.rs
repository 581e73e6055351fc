//! Native threads and the end of the interpreter.
//!
//! CPython before 3.14 ends a thread that asks for the interpreter while it finalizes: by unwinding its stack, which no Rust frame
//! survives, or, where PyO3 stands between, by never letting it go on. So nobody is let in once the end has begun, and the end waits
//! for those that are in: their callbacks are called.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use pyo3::prelude::*;
use turnout_core::{Error, StopReason};

static ENDING: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// A thread that is in has a callback of microseconds to make. In a fork of another thread's making it may not exist at all.
const PATIENCE: Duration = Duration::from_secs(1);

/// A thread that is in, also while it panics.
struct Inside;

impl Inside {
    fn enter() -> Self {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Attaches a native thread to the interpreter, unless that is ending; `work` is then dropped.
pub(crate) fn attached(work: impl FnOnce(Python<'_>)) {
    // Counted before looking: either the end sees this thread, or this thread the end.
    let _inside = Inside::enter();
    if !ENDING.load(Ordering::SeqCst) {
        Python::try_attach(work);
    }
}

/// An error once the interpreter is ending: what is submitted then would never be answered.
pub(crate) fn refuse_after_the_end() -> Result<(), Error> {
    if ENDING.load(Ordering::SeqCst) {
        return Err(Error::WorkerStopped(StopReason::Exiting));
    }
    Ok(())
}

/// Run by `atexit`.
#[pyfunction]
fn end(py: Python<'_>) {
    ENDING.store(true, Ordering::SeqCst);
    let until = Instant::now() + PATIENCE;
    py.detach(|| {
        while INSIDE.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(50));
        }
    });
}

/// Registers [`end`].
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    py.import("atexit")?.call_method1("register", (wrap_pyfunction!(end, py)?,)).map(drop)
}
