//! What the batcher runs: requests, and the session that answers a batch of them.

use crate::error::Error;

/// One row of the graph's output.
pub(crate) type Row = Vec<f32>;

/// One prompt, as the graph takes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// Token ids to scores or logits.
    Scores(Vec<u32>),
    /// Token ids to the embedding.
    Embedding(Vec<u32>),
    /// A caller's embedding to scores.
    ScoresOfEmbedding(Vec<f32>),
}

impl Request {
    pub(crate) fn scores(ids: Vec<u32>) -> Self {
        Self::Scores(ids)
    }

    /// Tokens, or numbers of an embedding; at least 1.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Scores(ids) | Self::Embedding(ids) => ids.len().max(1),
            Self::ScoresOfEmbedding(values) => values.len().max(1),
        }
    }

    pub(super) fn graph_side(&self) -> u8 {
        match self {
            Self::Scores(_) => 0,
            Self::Embedding(_) => 1,
            Self::ScoresOfEmbedding(_) => 2,
        }
    }
}

/// Why a run failed.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The device has no room; a smaller batch may succeed.
    OutOfMemory(String),
    /// Anything else.
    Failed(Error),
}

/// What executes a batch: one session. It is never called by two threads at once.
pub(crate) trait Runner: Send {
    /// One row for each request, in order. All requests are of the same variant.
    fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError>;
}
