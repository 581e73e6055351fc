//! The only translation of core errors into the exceptions of `turnout.errors`.

use pyo3::{
    exceptions::PyKeyboardInterrupt,
    prelude::*,
    types::{IntoPyDict, PyDict},
};
use turnout_core::Error;

const MODULE: &str = "turnout.errors";
const NAMES: [&str; 13] = [
    "RouterError",
    "InvalidInputError",
    "InvalidTypeError",
    "ConfigError",
    "ArtifactError",
    "DeviceError",
    "EngineError",
    "InferenceError",
    "OverloadedError",
    "DeadlineExceededError",
    "WorkerStoppedError",
    "PoolError",
    "NoFeasibleModelError",
];

/// Adds the exception classes to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let classes = module.py().import(MODULE)?;
    NAMES.iter().try_for_each(|name| module.add(*name, classes.getattr(*name)?))
}

/// The exception for a core error. The match is exhaustive on purpose: a new variant needs a class here.
pub(crate) fn to_python(py: Python<'_>, error: Error) -> PyErr {
    made(py, error).unwrap_or_else(|error| error)
}

fn made(py: Python<'_>, error: Error) -> PyResult<PyErr> {
    let message = error.to_string();
    let (name, fields) = match error {
        Error::InvalidInput { argument, row, .. } => {
            let fields = [("argument", argument)].into_py_dict(py)?;
            fields.set_item("row", row)?;
            ("InvalidInputError", fields)
        }
        Error::Config { option, .. } => ("ConfigError", [("option", option)].into_py_dict(py)?),
        Error::Artifact { path, field, .. } => {
            let fields = [("path", path)].into_py_dict(py)?;
            fields.set_item("field", field)?;
            ("ArtifactError", fields)
        }
        Error::Pool { path, field, .. } => {
            let fields = [("path", path)].into_py_dict(py)?;
            fields.set_item("field", field)?;
            ("PoolError", fields)
        }
        Error::NoFeasibleModel { reasons, .. } => {
            ("NoFeasibleModelError", [("reasons", reasons.into_py_dict(py)?)].into_py_dict(py)?)
        }
        Error::Device { device, .. } => ("DeviceError", [("device", device)].into_py_dict(py)?),
        Error::Engine { library, .. } => ("EngineError", [("library", library)].into_py_dict(py)?),
        Error::Inference { .. } => ("InferenceError", PyDict::new(py)),
        Error::Overloaded { limit, .. } => ("OverloadedError", [("limit", limit)].into_py_dict(py)?),
        Error::DeadlineExceeded => ("DeadlineExceededError", PyDict::new(py)),
        Error::WorkerStopped(reason) => ("WorkerStoppedError", [("reason", reason.name())].into_py_dict(py)?),
        Error::Interrupted => return Ok(PyKeyboardInterrupt::new_err(())),
    };
    exception(py, name, message, &fields)
}

fn exception(py: Python<'_>, name: &str, message: String, fields: &Bound<'_, PyDict>) -> PyResult<PyErr> {
    Ok(PyErr::from_value(py.import(MODULE)?.getattr(name)?.call((message,), Some(fields))?))
}

/// An `InvalidTypeError` of an argument.
pub(crate) fn invalid_type(py: Python<'_>, argument: &str, message: String) -> PyErr {
    [("argument", argument)]
        .into_py_dict(py)
        .and_then(|fields| exception(py, "InvalidTypeError", message, &fields))
        .unwrap_or_else(|error| error)
}

/// An `InvalidInputError` of an argument.
pub(crate) fn invalid_input(py: Python<'_>, argument: &str, message: String) -> PyErr {
    to_python(py, Error::invalid_input(argument, message))
}
