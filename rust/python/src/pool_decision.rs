//! Frozen value classes of pools.

use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};
use turnout_core::pool::Reason;

/// Why a model was chosen: made into a text where somebody asks.
#[derive(Debug, Clone)]
pub(crate) enum Why {
    Core(Reason),
    Text(String),
}

impl Why {
    fn text(&self) -> String {
        match self {
            Self::Core(reason) => reason.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// The decision of a pool for one prompt. Immutable.
///
/// Args:
///     model: Name of the chosen model, or `model:effort`.
///     success: Chance in `[0, 1]` that its answer is good; rounded to float32.
///     expected_cost: Expected cost of the request in the pool's currency; `None` without prices.
///     reason: Why it was chosen.
///
/// Example:
///     >>> import turnout
///     >>> turnout.PoolDecision("small", 0.75, 0.002, "cheapest model with P(success) >= 0.7").to_dict()
///     {'model': 'small', 'success': 0.75, 'expected_cost': 0.002, 'reason': 'cheapest model with P(success) >= 0.7'}
#[pyclass(frozen, module = "turnout")]
pub(crate) struct PoolDecision {
    /// Shared with the router: a decision holds a reference, not a copy.
    pub(crate) model: Py<PyString>,
    /// Chance in `[0, 1]` that the model's answer is good.
    #[pyo3(get)]
    pub(crate) success: f32,
    /// Expected cost of the request in the pool's currency; `None` without prices.
    #[pyo3(get)]
    pub(crate) expected_cost: Option<f64>,
    pub(crate) why: Why,
}

#[pymethods]
impl PoolDecision {
    /// For pickling and for tests of code that takes decisions; routers create their own.
    #[new]
    fn new(model: Py<PyString>, success: f32, expected_cost: Option<f64>, reason: String) -> Self {
        Self { model, success, expected_cost, why: Why::Text(reason) }
    }

    fn __getnewargs__(&self, py: Python<'_>) -> (Py<PyString>, f32, Option<f64>, String) {
        (self.model.clone_ref(py), self.success, self.expected_cost, self.why.text())
    }

    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str, &'static str) {
        ("model", "success", "expected_cost", "reason")
    }

    /// Name of the chosen model, or `model:effort`.
    #[getter]
    fn model<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.model.bind(py).clone()
    }

    /// Why it was chosen, in a few words.
    #[getter]
    fn reason(&self) -> String {
        self.why.text()
    }

    /// Converts the decision to JSON values.
    ///
    /// Returns:
    ///     A dictionary with `model`, `success`, `expected_cost` and `reason`.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        found.set_item("model", &self.model)?;
        found.set_item("success", self.success)?;
        found.set_item("expected_cost", self.expected_cost)?;
        found.set_item("reason", self.why.text())?;
        Ok(found)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let model = self.model.bind(py).repr()?;
        let cost = self.expected_cost.map_or_else(|| "None".into(), |cost| format!("{cost:.6}"));
        Ok(format!(
            "PoolDecision(model={model}, success={:.4}, expected_cost={cost}, reason={:?})",
            self.success,
            self.why.text()
        ))
    }

    fn __eq__(&self, other: &Self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.success == other.success
            && self.expected_cost == other.expected_cost
            && self.why.text() == other.why.text()
            && self.model.bind(py).as_any().eq(other.model.bind(py))?)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        (self.model.bind(py), self.success, self.expected_cost).into_pyobject(py)?.hash()
    }
}

/// One model of a pool for one prompt, from :meth:`PoolRouter.rank`.
#[pyclass(frozen, get_all, module = "turnout")]
pub(crate) struct Ranked {
    /// Name of the model, or `model:effort`.
    pub(crate) model: Py<PyString>,
    /// Chance in `[0, 1]` that its answer is good.
    pub(crate) success: f32,
    /// Lower end of the 90 % interval of that chance.
    pub(crate) success_low: f32,
    /// Upper end of the 90 % interval.
    pub(crate) success_high: f32,
    /// Expected cost of the request in the pool's currency; `None` without prices.
    pub(crate) expected_cost: Option<f64>,
    /// Milliseconds of the answer: p95 where the pool has it, else expected from the speed; `None` where neither is known.
    pub(crate) latency_ms: Option<f64>,
    /// Expected output tokens.
    pub(crate) output_tokens: f64,
    /// Whether it may serve the request.
    pub(crate) feasible: bool,
    /// The argument or field that excludes it, such as `"max_price"` or `"context_window"`; `None` where nothing does.
    pub(crate) excluded_by: Option<&'static str>,
    /// Why it may not; `None` where it may.
    pub(crate) reason: Option<String>,
}

#[pymethods]
impl Ranked {
    /// Converts the entry to JSON values.
    ///
    /// Returns:
    ///     A dictionary with every attribute.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        found.set_item("model", &self.model)?;
        found.set_item("success", self.success)?;
        found.set_item("success_low", self.success_low)?;
        found.set_item("success_high", self.success_high)?;
        found.set_item("expected_cost", self.expected_cost)?;
        found.set_item("latency_ms", self.latency_ms)?;
        found.set_item("output_tokens", self.output_tokens)?;
        found.set_item("feasible", self.feasible)?;
        found.set_item("excluded_by", self.excluded_by)?;
        found.set_item("reason", &self.reason)?;
        Ok(found)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let model = self.model.bind(py).repr()?;
        let why = self.reason.as_ref().map_or_else(String::new, |reason| format!(", reason={reason:?}"));
        Ok(format!(
            "Ranked(model={model}, success={:.4} ({:.4} to {:.4}), feasible={}{why})",
            self.success,
            self.success_low,
            self.success_high,
            if self.feasible { "True" } else { "False" }
        ))
    }
}
