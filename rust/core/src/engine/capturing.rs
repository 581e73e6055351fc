//! While one session captures a CUDA graph, every other GPU session of the process waits.
//!
//! ONNX Runtime captures in CUDA's global mode: a synchronous call of any other thread, such as the allocation or the copy of another
//! session's run, fails meanwhile and spoils the capture. What other libraries of the process do on a GPU cannot be held back here.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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
