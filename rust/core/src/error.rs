//! The one error type of the core: variants are what a caller can act on.

use std::path::{Path, PathBuf};

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a router could not be opened or a prompt could not be routed.
///
/// Not `#[non_exhaustive]` on purpose: the binding matches every variant, and a new one must break its build.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A prompt, an embedding or a threshold that cannot be routed with.
    #[error("{0}")]
    InvalidInput(String),
    /// An option of [`RouterConfig`](crate::RouterConfig) that does not fit this artifact or machine.
    #[error("{0}")]
    Config(String),
    /// A model folder that is missing, damaged, hostile or of another version.
    #[error("{}: {field}: {message}", path.display())]
    Artifact {
        /// The file at fault.
        path: PathBuf,
        /// The field, tensor or part of the file at fault.
        field: String,
        /// What was expected and what was found.
        message: String,
    },
    /// The device asked for cannot be had. There is no fallback to another one.
    #[error("{0}")]
    Device(String),
    /// An engine library (ONNX Runtime) is missing, too old or refused to load.
    #[error("{0}")]
    Engine(String),
    /// The engine failed while running a model.
    #[error("{0}")]
    Inference(String),
    /// More prompts wait than the queue holds: try again later, or open the router with a longer queue.
    #[error("{0}")]
    Overloaded(String),
    /// The deadline of the call passed before its prompt could be run.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The session stopped while the prompt waited or ran: the router was closed, or a run panicked.
    #[error("{0}")]
    WorkerStopped(String),
    /// The caller asked for the end of the call, as by Ctrl-C.
    #[error("the call was interrupted")]
    Interrupted,
}

impl Error {
    /// Shorthand for [`Error::InvalidInput`].
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::InvalidInput(message.into())
    }

    /// The error of one row of a batch, with its place where the error is the row's own.
    pub(crate) fn of_row(self, row: usize) -> Self {
        match self {
            Self::InvalidInput(message) => Self::InvalidInput(format!("row {row} of the batch: {message}")),
            Self::Inference(message) => Self::Inference(format!("row {row} of the batch: {message}")),
            other => other,
        }
    }

    /// Shorthand for [`Error::Artifact`].
    pub fn artifact(path: &Path, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Artifact { path: path.to_path_buf(), field: field.into(), message: message.into() }
    }
}
