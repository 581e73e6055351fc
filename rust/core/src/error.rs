//! The one error type of the core: variants are what a caller can act on.

use std::{
    fmt::{self, Display},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The error of a library or of the operating system that caused one of this crate. Shared, because every prompt of a failed run gets
/// the same error.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why a router could not be opened or a prompt could not be routed.
///
/// Messages are whole: they name what the fields hold and say what the source says. Fields are for programs.
///
/// Not `#[non_exhaustive]` on purpose: the binding matches every variant, and a new one must break its build.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A prompt, an embedding or a threshold that cannot be routed with.
    #[error("{message}")]
    InvalidInput {
        /// The argument at fault.
        argument: String,
        /// Its row in a call with many.
        row: Option<usize>,
        /// What was expected and what was found.
        message: String,
    },
    /// An option of [`RouterConfig`](crate::RouterConfig) that does not fit this artifact or machine.
    #[error("{message}")]
    Config {
        /// The option at fault.
        option: String,
        /// What was expected and what was found.
        message: String,
        /// What the operating system said.
        source: Option<Source>,
    },
    /// A model folder that is missing, damaged, hostile or of another version.
    #[error("{}: {field}: {message}", path.display())]
    Artifact {
        /// The file at fault.
        path: PathBuf,
        /// The field, tensor or part of the file at fault.
        field: String,
        /// What was expected and what was found.
        message: String,
        /// What the parser, the engine or the operating system said.
        source: Option<Source>,
    },
    /// A pool of models whose description is wrong or does not fit the artifact.
    #[error("{}{}{message}", path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display())), prefix(field))]
    Pool {
        /// The file at fault, where the pool comes from one.
        path: Option<PathBuf>,
        /// The field at fault, with dots; empty where the whole is.
        field: String,
        /// What was expected and what was found.
        message: String,
        /// What the parser or the operating system said.
        source: Option<Source>,
    },
    /// No model of the pool may serve the request, and no fallback is declared that may.
    #[error("{message}")]
    NoFeasibleModel {
        /// Which models, and why not.
        message: String,
        /// Every model with its reason.
        reasons: Vec<(String, String)>,
    },
    /// The requested device is unavailable. There is no fallback to another one.
    #[error("{message}")]
    Device {
        /// The device.
        device: String,
        /// Why, and what would help.
        message: String,
        /// What the engine said.
        source: Option<Source>,
    },
    /// An engine library (ONNX Runtime, FAISS) is missing, too old or refused to load, or does not run the graph.
    #[error("{message}")]
    Engine {
        /// The library, where one was found.
        library: Option<PathBuf>,
        /// Why, and what would help.
        message: String,
        /// What the loader or the library said.
        source: Option<Source>,
    },
    /// The engine failed while running a model.
    #[error("{message}")]
    Inference {
        /// What went wrong.
        message: String,
        /// What the engine said.
        source: Option<Source>,
    },
    /// More prompts wait than the queue holds: try again later, or open the router with a longer queue.
    #[error("{waiting} prompts are waiting: try again later, or open the router with a larger max_queue ({limit})")]
    Overloaded {
        /// Prompts that wait.
        waiting: usize,
        /// Prompts that may wait.
        limit: usize,
    },
    /// The deadline of the call passed before its prompt could be run.
    #[error("the deadline passed before the prompt could be run")]
    DeadlineExceeded,
    /// The session stopped while the prompt waited or ran.
    #[error("{0}")]
    WorkerStopped(StopReason),
    /// The caller asked for the end of the call, as by Ctrl-C.
    #[error("the call was interrupted")]
    Interrupted,
}

/// Why a session stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The router was closed.
    Closed,
    /// The run panicked. The next one starts with a fresh session.
    Panicked,
    /// The artifact at this path changed since the router was opened, so a session cannot be made anew.
    Replaced(PathBuf),
    /// The host process is ending.
    Exiting,
}

impl StopReason {
    /// One word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Panicked => "panicked",
            Self::Replaced(_) => "replaced",
            Self::Exiting => "exiting",
        }
    }
}

impl Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the router is closed: open it again"),
            Self::Panicked => write!(f, "the run panicked; the next one starts with a fresh session"),
            Self::Replaced(path) => write!(
                f,
                "{} was replaced since the router was opened, and its session has to be made anew: open the router again",
                path.display()
            ),
            Self::Exiting => write!(f, "the interpreter is ending; nothing more can be awaited"),
        }
    }
}

/// A field's name before a message about it.
fn prefix(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

impl Error {
    /// An [`Error::InvalidInput`].
    pub fn invalid_input(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidInput { argument: argument.into(), row: None, message: message.into() }
    }

    /// An [`Error::InvalidInput`] of one row of many.
    pub fn invalid_row(argument: impl Into<String>, row: impl Into<Option<usize>>, message: impl Into<String>) -> Self {
        Self::InvalidInput { argument: argument.into(), row: row.into(), message: message.into() }
    }

    /// The error of one row of a batch, with its place where the error is the row's own.
    pub(crate) fn of_row(self, at: usize) -> Self {
        match self {
            Self::InvalidInput { argument, message, .. } => {
                Self::invalid_row(argument, at, format!("row {at} of the batch: {message}"))
            }
            Self::Inference { message, source } => {
                Self::Inference { message: format!("row {at} of the batch: {message}"), source }
            }
            Self::NoFeasibleModel { message, reasons } => {
                Self::NoFeasibleModel { message: format!("row {at} of the batch: {message}"), reasons }
            }
            other => other,
        }
    }

    /// An [`Error::Config`].
    pub fn config(option: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { option: option.into(), message: message.into(), source: None }
    }

    /// An [`Error::Artifact`].
    pub fn artifact(path: &Path, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Artifact { path: path.to_path_buf(), field: field.into(), message: message.into(), source: None }
    }

    /// An [`Error::Artifact`] whose message is that of its source.
    pub fn artifact_from(
        path: &Path,
        field: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::artifact(path, field, source.to_string()).caused_by(source)
    }

    /// An [`Error::Device`].
    pub fn device(device: impl Display, message: impl Into<String>) -> Self {
        Self::Device { device: device.to_string(), message: message.into(), source: None }
    }

    /// An [`Error::Engine`].
    pub fn engine(library: Option<&Path>, message: impl Into<String>) -> Self {
        Self::Engine { library: library.map(Path::to_path_buf), message: message.into(), source: None }
    }

    /// An [`Error::Inference`].
    pub fn inference(message: impl Into<String>) -> Self {
        Self::Inference { message: message.into(), source: None }
    }

    /// The error with its source; without a place for one, as it is.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        if let Self::Config { source, .. }
        | Self::Artifact { source, .. }
        | Self::Pool { source, .. }
        | Self::Device { source, .. }
        | Self::Engine { source, .. }
        | Self::Inference { source, .. } = &mut self
        {
            *source = Some(Arc::new(cause));
        }
        self
    }
}
