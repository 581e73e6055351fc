//! Buffers that one thread reuses from decision to decision.

use std::cell::RefCell;

/// Token ids and embedding of the prompt at hand.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) ids: Vec<u32>,
    pub(crate) embedding: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Lends this thread's buffers. Should they be lent already (a callback that routes), fresh ones serve.
pub(crate) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|cell| match cell.try_borrow_mut() {
        Ok(mut scratch) => work(&mut scratch),
        Err(_) => work(&mut Scratch::default()),
    })
}
