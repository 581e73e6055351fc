//! What the server may do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

/// The header of the gateway's request that has the reason why nothing was decided.
pub const UNDECIDED: &str = "x-turnout-undecided";

/// What the server may do, and which requests are decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Ends of the paths whose requests are decided; the first that fits counts.
    pub paths: Vec<String>,
    /// The header that names the model, in lower case.
    pub model_header: Bytes,
    /// Whether answers may bring another body. Otherwise a body in pieces cannot be decided: headers go on before it.
    pub rewrites_body: bool,
    /// Exchanges at a time; further ones are refused.
    pub max_exchanges: usize,
    /// Bytes of one message. A body that is too long to be judged still goes on.
    pub max_message_bytes: usize,
    /// Bytes of a body that is decided for.
    pub max_body_bytes: Limit,
    /// How long a body may take that is held.
    pub body_timeout: Duration,
    /// How long a decision may take before its request goes on without it. Who decides has a shorter deadline of its own.
    pub patience: Duration,
}

impl Settings {
    /// Streams of a connection at a time. One counts until its answer is written, so that a gateway that reads nothing makes the server hold
    /// no more; there is room beyond the exchanges, which are refused one by one: the gateway then does not wait for them.
    pub fn max_streams(&self) -> u32 {
        self.max_exchanges.saturating_mul(2).saturating_add(1000).try_into().unwrap_or(u32::MAX)
    }
}

/// A limit that may change while the server runs. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Limit(Arc<AtomicUsize>);

impl Limit {
    /// A limit.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(limit)))
    }

    /// Changes it for all clones.
    pub fn set(&self, limit: usize) {
        self.0.store(limit, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
