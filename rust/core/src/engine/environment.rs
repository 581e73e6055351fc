//! ONNX Runtime itself: the library that pip installed, opened once in a process.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use ort::{environment::Environment, logging::LogLevel};

use crate::error::{Error, Result};

// From version 1.29 on the library reads `ORT_DISABLE_TELEMETRY` while it is loaded, which is the only switch that keeps its telemetry
// from starting at all; setting a variable is no library's business in Rust, so the Python package does it.

/// The process-wide environment and the library it was opened from; ONNX Runtime has one of each in a process.
static ENVIRONMENT: OnceLock<(PathBuf, Environment)> = OnceLock::new();
static OPENING: Mutex<()> = Mutex::new(());

fn refused(library: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::engine(Some(library), format!("ONNX Runtime at {}: {error}", library.display())).caused_by(error)
}

pub(super) fn environment(library: Option<&Path>, needed_because: &str) -> Result<&'static Environment> {
    let _guard = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = ENVIRONMENT.get() {
        return match library {
            Some(library) if library != loaded => Err(Error::engine(
                Some(library),
                format!(
                    "ONNX Runtime was opened from {} before, and a process can hold one only; {} was asked for",
                    loaded.display(),
                    library.display()
                ),
            )),
            _ => Ok(environment),
        };
    }
    let library = library.ok_or_else(|| {
        Error::engine(None, format!(
            "ONNX Runtime is not installed: `pip install turnout[onnx]`, or `turnout[gpu]` for a GPU (needed because the core does \
             not run this graph natively: {needed_because})"
        ))
    })?;
    let environment = ort::init_from(library)
        .map_err(|error| refused(library, error))?
        .with_name("turnout")
        .with_telemetry(false)
        .build()
        .map_err(|error| refused(library, error))?;
    // Whatever goes wrong is told by an error value, not on the standard error stream as well.
    environment.set_log_level(LogLevel::Fatal);
    Ok(&ENVIRONMENT.get_or_init(|| (library.to_path_buf(), environment)).1)
}
