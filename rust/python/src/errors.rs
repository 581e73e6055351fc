//! Exception classes and the only translation of core errors into them.

use pyo3::{
    exceptions::{PyException, PyKeyboardInterrupt, PyTimeoutError, PyTypeError, PyValueError},
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyTuple, PyType},
};
use turnout_core::Error;

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

struct Classes {
    router_error: Py<PyType>,
    invalid_input: Py<PyType>,
    invalid_type: Py<PyType>,
    config: Py<PyType>,
    artifact: Py<PyType>,
    device: Py<PyType>,
    engine: Py<PyType>,
    inference: Py<PyType>,
    overloaded: Py<PyType>,
    deadline_exceeded: Py<PyType>,
    worker_stopped: Py<PyType>,
}

/// A class made the way Python's `class` statement makes one: the C API's own helper takes no second base.
fn new_class<'py>(name: &str, doc: &str, bases: &[&Bound<'py, PyType>]) -> PyResult<Bound<'py, PyType>> {
    let py = bases[0].py();
    let namespace = PyDict::new(py);
    namespace.set_item("__module__", "turnout")?;
    namespace.set_item("__doc__", doc)?;
    let class = py.get_type::<PyType>().call1((name, PyTuple::new(py, bases)?, namespace))?;
    Ok(class.cast_into::<PyType>()?)
}

impl Classes {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let exception = py.get_type::<PyException>();
        let base = new_class("RouterError", "Base class of everything that turnout raises on purpose.", &[&exception])?;
        let (value, kind) = (py.get_type::<PyValueError>(), py.get_type::<PyTypeError>());
        let beside = |name, doc, other| Ok::<_, PyErr>(new_class(name, doc, &[&base, other])?.unbind());
        let alone = |name, doc| Ok::<_, PyErr>(new_class(name, doc, &[&base])?.unbind());
        Ok(Self {
            invalid_input: beside(
                "InvalidInputError",
                "A prompt, an embedding or a threshold that cannot be routed with.",
                &value,
            )?,
            invalid_type: beside("InvalidTypeError", "An argument of the wrong type.", &kind)?,
            config: beside("ConfigError", "An option that does not fit this artifact or machine.", &value)?,
            artifact: alone(
                "ArtifactError",
                "A model folder that is missing, damaged, hostile or of another version.",
            )?,
            device: alone("DeviceError", "The device asked for cannot be had.")?,
            engine: alone("EngineError", "An engine library is missing, too old or refused to load.")?,
            inference: alone("InferenceError", "The engine failed while running a model.")?,
            overloaded: alone("OverloadedError", "More prompts wait than the queue holds; try again later.")?,
            deadline_exceeded: beside(
                "DeadlineExceededError",
                "The deadline of the call passed before its prompt could be run.",
                &py.get_type::<PyTimeoutError>(),
            )?,
            worker_stopped: alone(
                "WorkerStoppedError",
                "The session stopped while the prompt waited or ran: the router was closed, or a run panicked.",
            )?,
            router_error: base.clone().unbind(),
        })
    }

    fn get(py: Python<'_>) -> PyResult<&Self> {
        CLASSES.get_or_try_init(py, || Self::new(py))
    }
}

/// Adds the exception classes to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let classes = Classes::get(py)?;
    for class in [
        &classes.router_error,
        &classes.invalid_input,
        &classes.invalid_type,
        &classes.config,
        &classes.artifact,
        &classes.device,
        &classes.engine,
        &classes.inference,
        &classes.overloaded,
        &classes.deadline_exceeded,
        &classes.worker_stopped,
    ] {
        let class = class.bind(py);
        module.add(class.name()?, class)?;
    }
    Ok(())
}

/// The exception for a core error. The match is exhaustive on purpose: a new variant needs a class here.
pub(crate) fn to_python(py: Python<'_>, error: Error) -> PyErr {
    let classes = match Classes::get(py) {
        Ok(classes) => classes,
        Err(error) => return error,
    };
    let class = match &error {
        Error::InvalidInput(_) => &classes.invalid_input,
        Error::Config(_) => &classes.config,
        Error::Artifact { .. } => &classes.artifact,
        Error::Device(_) => &classes.device,
        Error::Engine(_) => &classes.engine,
        Error::Inference(_) => &classes.inference,
        Error::Overloaded(_) => &classes.overloaded,
        Error::DeadlineExceeded(_) => &classes.deadline_exceeded,
        Error::WorkerStopped(_) => &classes.worker_stopped,
        Error::Interrupted => return PyKeyboardInterrupt::new_err(()),
    };
    PyErr::from_type(class.bind(py).clone(), error.to_string())
}

/// An `InvalidTypeError`.
pub(crate) fn invalid_type(py: Python<'_>, message: String) -> PyErr {
    match Classes::get(py) {
        Ok(classes) => PyErr::from_type(classes.invalid_type.bind(py).clone(), message),
        Err(error) => error,
    }
}

/// An `InvalidInputError`.
pub(crate) fn invalid_input(py: Python<'_>, message: String) -> PyErr {
    to_python(py, Error::InvalidInput(message))
}
