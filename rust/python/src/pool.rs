//! Pools of models: values in, decisions out; the core checks and decides.

use std::path::PathBuf;

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};
use pythonize::{Depythonizer, pythonize};
use turnout_core::pool::{Aim, Budget, CAPABILITIES, Choice, PoolSpec, Request, Resource};

use crate::{
    arguments::{are_messages, prompt as prompt_of, string, strings, text, texts},
    errors::{invalid_input, to_python},
    interrupt::run_unless_interrupted,
    lock::{DETACH_FROM_BYTES, run},
    options::config_of,
    pool_decision::{PoolDecision, Ranked, Why},
    pool_request::request_of,
};

/// Reads and checks a `pool.toml`.
///
/// Args:
///     path: The file.
///
/// Returns:
///     The pool as plain values, with defaults filled in.
///
/// Raises:
///     PoolError: The file is missing or wrong; the message has the line, the column and the field.
#[pyfunction]
pub(crate) fn read_pool(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let spec = PoolSpec::open(&path).map_err(|error| to_python(py, error))?;
    Ok(pythonize(py, &spec)?)
}

/// Checks a pool given as plain values.
///
/// Args:
///     pool: What `pool.toml` holds; `models` may be a list of pairs, so that a name that is listed twice is found.
///
/// Returns:
///     The pool as plain values, with defaults filled in.
///
/// Raises:
///     PoolError: A field is wrong; the message names it.
#[pyfunction]
pub(crate) fn check_pool<'py>(pool: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize(pool.py(), &spec_of(pool)?)?)
}

fn spec_of(pool: &Bound<'_, PyAny>) -> PyResult<PoolSpec> {
    PoolSpec::from_values(&mut Depythonizer::from_object(pool)).map_err(|error| to_python(pool.py(), error))
}

/// Routes prompts between the models of a pool.
#[pyclass(frozen, subclass, module = "turnout._core")]
pub(crate) struct PoolRouter {
    core: turnout_core::pool::PoolRouter,
    names: Vec<Py<PyString>>,
}

impl PoolRouter {
    /// Calls the core with the prompt and the text of the whole request.
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        call: impl FnOnce(&str, Option<&str>) -> turnout_core::Result<T> + Send,
    ) -> PyResult<T> {
        let (prompt, whole) = prompt_and_whole(prompt)?;
        let prompt = text(&prompt, "prompt")?;
        let whole = whole.as_ref().map(|whole| text(whole, "prompt")).transpose()?;
        let short = prompt.len() + whole.map_or(0, str::len) < DETACH_FROM_BYTES;
        run(py, self.core.router(), short, || call(prompt, whole))
    }

    fn explained(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        request: &Request,
    ) -> PyResult<(Option<Choice>, Vec<Ranked>)> {
        let (choice, ranked) = self.ask(py, prompt, |prompt, whole| self.core.explain(prompt, whole, request))?;
        let entry = |one: turnout_core::pool::Ranked| Ranked {
            model: self.names[one.candidate].clone_ref(py),
            success: one.success,
            success_low: one.interval.0,
            success_high: one.interval.1,
            expected_cost: one.cost,
            latency_ms: one.latency,
            output_tokens: one.output_tokens,
            feasible: one.exclusion.is_none(),
            excluded_by: one.exclusion.map(|why| why.by()),
            reason: one.exclusion.map(|why| why.describe(&self.core.candidates()[one.candidate])),
        };
        Ok((choice, ranked.into_iter().map(entry).collect()))
    }

    fn decision(&self, py: Python<'_>, choice: Choice) -> PoolDecision {
        PoolDecision {
            model: self.names[choice.candidate].clone_ref(py),
            success: choice.success,
            expected_cost: choice.cost,
            why: Why::Core(choice.reason),
        }
    }
}

/// A request whose aim is the price of a budget.
fn budgeted(
    py: Python<'_>,
    request: Option<&Bound<'_, PyDict>>,
    resource: &str,
    price: f64,
    limit_ms: f64,
) -> PyResult<Request> {
    let mut request = request_of(request)?;
    let resource = match resource {
        "cost" => Resource::Cost,
        "co2" => Resource::Co2,
        "latency" => Resource::Slow(limit_ms),
        _ => {
            let message = format!("resource is {resource:?}, expected cost, co2 or latency");
            return Err(invalid_input(py, "resource", message));
        }
    };
    if request.aim.is_some() {
        return Err(invalid_input(py, "objective", "an objective is given, expected none with a budget".into()));
    }
    request.aim = Some(Aim::Budget(Budget { price, resource }));
    Ok(request)
}

/// The prompt, and the text of the whole request where it is a list of messages.
fn prompt_and_whole<'py>(prompt: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyString>, Option<Bound<'py, PyString>>)> {
    let found = prompt_of(prompt)?;
    if !are_messages(prompt) {
        return Ok((found, None));
    }
    let whole = prompt.py().import("turnout.conversation")?.call_method1("whole_text", (prompt,))?;
    Ok((found, Some(string(&whole, "prompt")?.clone())))
}

#[pymethods]
impl PoolRouter {
    #[new]
    #[pyo3(signature = (path, pool, folder, **options))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        pool: &Bound<'_, PyAny>,
        folder: PathBuf,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let (spec, config) = (spec_of(pool)?, config_of(options)?);
        let core = py
            .detach(|| turnout_core::pool::PoolRouter::open(&path, &config, spec, &folder))
            .map_err(|error| to_python(py, error))?;
        let names = core.candidates().iter().map(|one| PyString::new(py, &one.name).unbind()).collect();
        Ok(Self { core, names })
    }

    /// Chooses a model for one prompt.
    ///
    /// Args:
    ///     prompt: A text, or the messages of a chat: the last of the user is judged, and tokens are counted over all of them.
    ///     **request: At most one objective, limits in place of the pool's, and what the request needs: see
    ///         :class:`turnout.pool.PoolRequest`.
    ///
    /// Returns:
    ///     The decision.
    ///
    /// Raises:
    ///     NoFeasibleModelError: No model may serve the request, and no fallback is declared that may.
    ///     InvalidInputError: A number out of range, two objectives, an objective without prices, or a name that the pool does not have.
    ///     InvalidTypeError: An argument of another type, or one that does not exist.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> pool = turnout.Pool([
    ///     ...     turnout.Model("large", success=0.9, input_price=2.0, output_price=8.0),
    ///     ...     turnout.Model("small", success=0.8, input_price=0.1, output_price=0.4),
    ///     ... ])
    ///     >>> router = turnout.load(pool=pool)
    ///     >>> router.route("What is 2 + 2?", target=0.85).model
    ///     'large'
    ///     >>> router.route("What is 2 + 2?", target=0.75).reason
    ///     'cheapest model with P(success) >= 0.75'
    #[pyo3(signature = (prompt, **request))]
    fn route(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        request: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PoolDecision> {
        let request = request_of(request)?;
        Ok(self.decision(py, self.ask(py, prompt, |prompt, whole| self.core.route(prompt, whole, &request))?))
    }

    /// Chooses a model for each of many prompts in one crossing, on all threads, in their order. Ctrl-C ends it early.
    ///
    /// Args:
    ///     prompts: Texts.
    ///     **request: As for :meth:`route`, for all of them.
    ///
    /// Returns:
    ///     One decision a prompt.
    ///
    /// Raises:
    ///     RouterError: As :meth:`route`; the message has the prompt's position.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
    ///     >>> [decision.model for decision in router.route_batch(["Hi", "Hello"])]
    ///     ['a', 'a']
    #[pyo3(signature = (prompts, **request))]
    fn route_batch(
        &self,
        py: Python<'_>,
        prompts: &Bound<'_, PyAny>,
        request: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<PoolDecision>> {
        let request = request_of(request)?;
        let prompts = strings(prompts, "prompts")?;
        let texts = texts(&prompts, "prompts")?;
        let choices = run_unless_interrupted(py, |interrupt| self.core.route_batch(&texts, &request, Some(interrupt)))?;
        Ok(choices.into_iter().map(|choice| self.decision(py, choice)).collect())
    }

    /// Every model for one prompt, in the order of the objective; models that may not serve it come last, with the reason.
    ///
    /// Args:
    ///     prompt: As for :meth:`route`.
    ///     **request: As for :meth:`route`.
    ///
    /// Returns:
    ///     One entry a model.
    ///
    /// Raises:
    ///     RouterError: As :meth:`route`, except that no model needs to be feasible.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> pool = turnout.Pool([turnout.Model("a", success=0.5), turnout.Model("b", success=0.6)], tolerance=0)
    ///     >>> [(one.model, one.feasible) for one in turnout.load(pool=pool).rank("Hi", unavailable=["b"])]
    ///     [('a', True), ('b', False)]
    #[pyo3(signature = (prompt, **request))]
    fn rank(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        request: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Ranked>> {
        Ok(self.explained(py, prompt, &request_of(request)?)?.1)
    }

    /// The decision of :meth:`route` with the models of :meth:`rank`, for logs and people. Takes a few microseconds more than :meth:`route`.
    ///
    /// Args:
    ///     prompt: As for :meth:`route`.
    ///     **request: As for :meth:`route`.
    ///
    /// Returns:
    ///     The decision, `None` where no model may serve the request, and one entry a model.
    ///
    /// Raises:
    ///     RouterError: As :meth:`rank`.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
    ///     >>> decision, ranked = router.explain("Hi", unavailable=["a"])
    ///     >>> decision, ranked[0].excluded_by
    ///     (None, 'unavailable')
    #[pyo3(signature = (prompt, **request))]
    fn explain(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        request: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(Option<PoolDecision>, Vec<Ranked>)> {
        let (choice, ranked) = self.explained(py, prompt, &request_of(request)?)?;
        Ok((choice.map(|choice| self.decision(py, choice)), ranked))
    }

    /// Tokens of a text by the artifact's tokenizer, without those around it; of a text beyond 8 KiB an estimate.
    ///
    /// Args:
    ///     text: Such as all messages of a chat.
    ///
    /// Returns:
    ///     The number, for `estimated_tokens` of :meth:`route`.
    ///
    /// Raises:
    ///     InferenceError: The tokenizer refuses the text.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0)).count_tokens("one two")
    ///     2.0
    fn count_tokens(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<f64> {
        let found = crate::arguments::text(string(text, "text")?, "text")?;
        self.core.count(found).map_err(|error| to_python(py, error))
    }

    /// The chance of success of every model for many prompts, on all threads. Ctrl-C ends it early.
    ///
    /// Args:
    ///     prompts: Texts.
    ///
    /// Returns:
    ///     float32 `[n, models]`, in the order of :attr:`models`.
    ///
    /// Raises:
    ///     RouterError: As :meth:`route`; the message has the prompt's position.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
    ///     >>> router.success(["Hi", "Hello"]).tolist()
    ///     [[0.5], [0.5]]
    fn success<'py>(&self, py: Python<'py>, prompts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let prompts = strings(prompts, "prompts")?;
        let texts = texts(&prompts, "prompts")?;
        let rows = run_unless_interrupted(py, |interrupt| self.core.success(&texts, Some(interrupt)))?;
        PyArray1::from_vec(py, rows).reshape([texts.len(), self.names.len()])
    }

    /// The expected cost of every model for many prompts, on all threads. Ctrl-C ends it early.
    ///
    /// Args:
    ///     prompts: Texts.
    ///     **request: As for :meth:`route`, for all of them.
    ///
    /// Returns:
    ///     float64 `[n, models]` in the pool's currency, in the order of :attr:`models`; NaN without prices.
    ///
    /// Raises:
    ///     RouterError: As :meth:`route`; the message has the prompt's position.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> model = turnout.Model("a", success=0.5, input_price=2e6, output_price=0)
    ///     >>> turnout.load(pool=turnout.Pool([model])).costs(["Hi"], input_tokens=10).tolist()
    ///     [[20.0]]
    #[pyo3(signature = (prompts, **request))]
    fn costs<'py>(
        &self,
        py: Python<'py>,
        prompts: &Bound<'py, PyAny>,
        request: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let request = request_of(request)?;
        let prompts = strings(prompts, "prompts")?;
        let texts = texts(&prompts, "prompts")?;
        let rows = run_unless_interrupted(py, |interrupt| self.core.costs(&texts, &request, Some(interrupt)))?;
        PyArray1::from_vec(py, rows).reshape([texts.len(), self.names.len()])
    }

    /// Embeddings of the artifact, which its profiles read.
    ///
    /// Args:
    ///     prompts: Texts.
    ///
    /// Returns:
    ///     float32 `[n, embedding_dim]`.
    ///
    /// Raises:
    ///     RouterError: As :meth:`route`; the message has the prompt's position.
    fn embed<'py>(&self, py: Python<'py>, prompts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let prompts = strings(prompts, "prompts")?;
        let texts = texts(&prompts, "prompts")?;
        let rows = run_unless_interrupted(py, |interrupt| self.core.router().embed_many(&texts, Some(interrupt)))?;
        PyArray1::from_vec(py, rows).reshape([texts.len(), self.core.router().embedding_dim()])
    }

    /// Names of the models that are chosen from, reasoning efforts included (`model:effort`), in the pool's order.
    #[getter]
    fn models(&self, py: Python<'_>) -> Vec<Py<PyString>> {
        self.names.iter().map(|name| name.clone_ref(py)).collect()
    }

    /// `"native"` or `"onnxruntime"`.
    #[getter]
    fn engine(&self) -> &'static str {
        self.core.router().engine()
    }

    /// Whether a decision takes microseconds and never waits.
    #[getter]
    fn is_microseconds(&self) -> bool {
        self.core.router().is_microseconds()
    }

    /// SHA-256 of the artifact's manifest, which holds the hashes of its files.
    #[getter]
    fn artifact_hash(&self) -> String {
        self.core.router().artifact().hash().to_owned()
    }

    /// Chooses by the price of a budget, and says what the request is expected to use of it.
    #[pyo3(signature = (prompt, resource, price, limit_ms=0.0, **request))]
    fn _route_budget(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        resource: &str,
        price: f64,
        limit_ms: f64,
        request: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(PoolDecision, f64)> {
        let request = budgeted(py, request, resource, price, limit_ms)?;
        let choice = self.ask(py, prompt, |prompt, whole| self.core.route(prompt, whole, &request))?;
        let used = choice.used;
        Ok((self.decision(py, choice), used))
    }

    /// :meth:`explain` by the price of a budget, with what the request is expected to use of it.
    #[pyo3(signature = (prompt, resource, price, limit_ms=0.0, **request))]
    fn _explain_budget(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        resource: &str,
        price: f64,
        limit_ms: f64,
        request: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(Option<PoolDecision>, f64, Vec<Ranked>)> {
        let request = budgeted(py, request, resource, price, limit_ms)?;
        let (choice, ranked) = self.explained(py, prompt, &request)?;
        let used = choice.map_or(0.0, |choice| choice.used);
        Ok((choice.map(|choice| self.decision(py, choice)), used, ranked))
    }

    /// Model and reasoning effort of every candidate, and what its profile was fitted on.
    fn _candidates<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let candidates = self.core.candidates().iter().enumerate();
        candidates
            .map(|(at, one)| {
                let found = PyDict::new(py);
                found.set_item("name", &self.names[at])?;
                found.set_item("model", &one.model)?;
                found.set_item("effort", &one.effort)?;
                let profile = self.core.profile(at);
                found.set_item("profile", profile.map(|profile| &profile.name))?;
                found.set_item("prompts", profile.map(|profile| profile.prompts))?;
                found.set_item("sources", profile.map(|profile| profile.sources.clone()))?;
                found.set_item("ece", profile.and_then(|profile| profile.ece))?;
                found.set_item("brier", profile.and_then(|profile| profile.brier))?;
                Ok(found)
            })
            .collect()
    }

    /// Ends the queue before a network. Pending and later calls fail with `WorkerStoppedError`.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.core.router().close());
    }

    /// Words for the capabilities of models.
    #[classattr]
    const CAPABILITIES: [&'static str; 5] = CAPABILITIES;
}
