//! While one session captures a CUDA graph, every other GPU session of the process waits.
//!
//! ONNX Runtime captures in CUDA's global mode: a synchronous call of any other thread, such as the allocation or the copy of another
//! session's run, fails meanwhile and spoils the capture. What other libraries of the process do on a GPU cannot be held back here.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    batcher::{Request, Row, RunError, Runner},
    error::Error,
};

static GPU: RwLock<()> = RwLock::new(());

/// Kept for as long as a session uses a GPU.
#[expect(dead_code, reason = "guards are held, not read")]
#[derive(Debug)]
pub(super) enum Turn {
    Together(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Waits until captures of others have ended; `captures` asks for the GPUs alone.
pub(super) fn turn(captures: bool) -> Turn {
    // Nothing lies behind the lock that a panic could have left half done.
    if captures {
        Turn::Alone(GPU.write().unwrap_or_else(PoisonError::into_inner))
    } else {
        Turn::Together(GPU.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A session that gives the memory of its GPU back while nobody captures.
#[derive(Debug)]
pub(super) struct GoesInTurn<R>(Option<R>);

impl<R> GoesInTurn<R> {
    pub(super) fn new(session: R) -> Self {
        Self(Some(session))
    }
}

impl<R: Runner> Runner for GoesInTurn<R> {
    fn run(&mut self, batch: &[&Request]) -> Result<Vec<Row>, RunError> {
        let gone = || RunError::Failed(Error::WorkerStopped("the session is gone".into()));
        self.0.as_mut().ok_or_else(gone)?.run(batch)
    }

    fn is_lost(&self) -> bool {
        self.0.as_ref().is_none_or(Runner::is_lost)
    }
}

impl<R> Drop for GoesInTurn<R> {
    fn drop(&mut self) {
        let _turn = turn(false);
        self.0 = None;
    }
}
