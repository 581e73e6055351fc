//! The router class: opening, closing and properties here; what it does with prompts in the files beside.
//!
//! Methods convert, detach from the interpreter where it pays, call the core, and convert.

mod battles;
mod decide;
mod scores;
mod submit;

use std::path::PathBuf;

use pyo3::{
    prelude::*,
    types::{PyDict, PyString, PyTuple},
};
use turnout_core::Error;

use crate::{
    arguments::optional_number,
    decision::Decision,
    errors::to_python,
    lock::run,
    options::{config_of, dict_of},
};

/// Routes prompts between two models.
#[pyclass(frozen, subclass, module = "turnout._core")]
pub(crate) struct Router {
    core: turnout_core::Router,
    strong: Py<PyString>,
    weak: Py<PyString>,
    /// Names of the artifact's models.
    models: Py<PyTuple>,
}

impl Router {
    fn decision(&self, py: Python<'_>, decision: turnout_core::Decision) -> Decision {
        let model = if decision.strong { &self.strong } else { &self.weak };
        Decision {
            model: model.clone_ref(py),
            win_rate: decision.win_rate,
            threshold: decision.threshold,
            strong: decision.strong,
        }
    }

    fn threshold_for(
        &self,
        py: Python<'_>,
        threshold: Option<&Bound<'_, PyAny>>,
        strong_share: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<f64>> {
        let threshold = optional_number(threshold, "threshold")?;
        let strong_share = optional_number(strong_share, "strong_share")?;
        self.core.choose_threshold(threshold, strong_share).map_err(|error| to_python(py, error))
    }

    fn run<T: Send>(&self, py: Python<'_>, short: bool, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
        run(py, &self.core, short, work)
    }
}

#[pymethods]
impl Router {
    #[new]
    #[pyo3(signature = (path, **options))]
    fn new(py: Python<'_>, path: PathBuf, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let config = config_of(options)?;
        let core = py.detach(|| turnout_core::Router::open(&path, &config)).map_err(|error| to_python(py, error))?;
        let (strong, weak) = (PyString::new(py, core.strong()).unbind(), PyString::new(py, core.weak()).unbind());
        let models = PyTuple::new(py, &core.artifact().manifest().models)?.unbind();
        Ok(Self { core, strong, weak, models })
    }

    /// How the router runs: the options of :func:`turnout.load` with the values that hold, defaults included. `index` is left out.
    fn _options_in_use<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let options = dict_of(py, self.core.config())?;
        options.set_item("strong", &self.strong)?;
        options.set_item("weak", &self.weak)?;
        options.set_item("threshold", self.core.threshold())?;
        options.set_item("strong_share", py.None())?;
        Ok(options)
    }

    /// Ends the queue before a network. Pending and later calls fail with `WorkerStoppedError`. Routers that run natively have nothing
    /// to close.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.core.close());
    }

    /// Name of the strong model.
    #[getter]
    fn strong(&self, py: Python<'_>) -> Py<PyString> {
        self.strong.clone_ref(py)
    }

    /// Name of the weak model.
    #[getter]
    fn weak(&self, py: Python<'_>) -> Py<PyString> {
        self.weak.clone_ref(py)
    }

    /// Threshold in `[0, 1]` where a call gives none.
    #[getter]
    fn threshold(&self) -> f64 {
        self.core.threshold()
    }

    /// `"native"` or `"onnxruntime"`.
    #[getter]
    fn engine(&self) -> &'static str {
        self.core.engine()
    }

    /// `"cpu"`, `"cuda:N"` or `"tensorrt:N"`, or several GPUs with commas between.
    #[getter]
    fn device(&self) -> String {
        self.core.device()
    }

    /// Why the core does not run the graph natively; `None` if it does.
    #[getter]
    fn not_native_because(&self) -> Option<String> {
        self.core.not_native_because().map(str::to_owned)
    }

    /// Whether a decision takes microseconds and never waits.
    #[getter]
    fn is_microseconds(&self) -> bool {
        self.core.is_microseconds()
    }

    /// Win rates at evenly spaced quantiles of the calibration prompts, never falling. Empty where the artifact stores none, and where
    /// another pair than the trained one is scored, for which they do not hold.
    #[getter]
    fn quantiles<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.core.quantiles())
    }

    /// Models that the artifact knows.
    #[getter]
    fn models(&self) -> Vec<String> {
        self.core.artifact().manifest().models.clone()
    }

    /// Length of an embedding.
    #[getter]
    fn embedding_dim(&self) -> usize {
        self.core.embedding_dim()
    }

    /// SHA-256 of the artifact's manifest, which holds the hashes of its files.
    #[getter]
    fn artifact_hash(&self) -> String {
        self.core.artifact().hash().to_owned()
    }

    /// The manifest as it stands in the file.
    #[getter]
    fn manifest_json(&self) -> String {
        self.core.artifact().manifest_text().to_owned()
    }
}
