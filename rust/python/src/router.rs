//! The router class: convert, detach where it pays, call, convert.

use std::path::PathBuf;

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::{
    prelude::*,
    types::{PyDict, PyString, PyTuple},
};
use turnout_core::Error;

use crate::{
    arguments::{
        Source, array, either, is_bytes, limit, optional_number, prompt as prompt_of, slice, string, strings, text,
        texts,
    },
    battles::{Columns, columns_of},
    decision::{Decision, Explanation, scores_by_name},
    ending::{attached, refuse_after_the_end},
    errors::{invalid_input, to_python},
    interrupt::run_unless_interrupted,
    options::{config_of, dict_of},
};

/// Prompts up to this many bytes are decided without releasing the interpreter lock: see `benches/README.md`, "The lock".
const DETACH_FROM_BYTES: usize = 8192;
/// Embeddings beyond this many numbers are scored with the lock released.
const DETACH_FROM_NUMBERS: usize = 65_536;

/// Routes prompts between two models.
#[pyclass(frozen, subclass, module = "turnout._core")]
pub(crate) struct Router {
    core: turnout_core::Router,
    strong: Py<PyString>,
    weak: Py<PyString>,
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

    /// Runs `work` with the interpreter lock held if it takes microseconds, released if it may take longer.
    fn run<T: Send>(&self, py: Python<'_>, short: bool, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
        let result = if short && self.core.is_microseconds() { work() } else { py.detach(work) };
        result.map_err(|error| to_python(py, error))
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
        Ok(Self { core, strong, weak })
    }

    /// Decides one prompt or one embedding.
    ///
    /// Args:
    ///     prompt: A text, or the messages of a chat, of which the last of the user is the prompt
    ///         (:func:`turnout.conversation.prompt_of`).
    ///     threshold: Win rate in `[0, 1]` from which the strong model is chosen; by default the router's own.
    ///     strong_share: In place of `threshold`: the threshold at which this share in `[0, 1]` of the artifact's calibration prompts
    ///         goes to the strong model. Your prompts differ from those; `turnout calibrate --save` stores yours.
    ///     embedding: In place of `prompt`: C-contiguous float32 `[embedding_dim]`, which is not copied.
    ///     deadline_us: Microseconds after which a prompt that a busy network has not begun to run is given up.
    ///
    /// Returns:
    ///     The decision.
    ///
    /// Raises:
    ///     InvalidInputError: A threshold or share outside `[0, 1]`, or both; a share for another pair than the trained one, or of an
    ///         artifact without quantiles; a prompt without a UTF-8 form (lone surrogates); messages without a prompt; an embedding of
    ///         the wrong length or with numbers that are not finite.
    ///     InvalidTypeError: A prompt, threshold or embedding of another type; a prompt and an embedding, or neither.
    ///     OverloadedError: More prompts wait before the network than `max_queue`.
    ///     DeadlineExceededError: The deadline passed.
    ///     WorkerStoppedError: The router was closed.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> router = turnout.load(strong="large", weak="small")
    ///     >>> router.route("What is 2 + 2?", threshold=0.9).model
    ///     'small'
    ///     >>> router.route([{"role": "user", "content": "What is 2 + 2?"}], threshold=0.0).model
    ///     'large'
    #[pyo3(signature = (prompt=None, *, threshold=None, strong_share=None, embedding=None, deadline_us=None))]
    fn route(
        &self,
        py: Python<'_>,
        prompt: Option<&Bound<'_, PyAny>>,
        threshold: Option<&Bound<'_, PyAny>>,
        strong_share: Option<&Bound<'_, PyAny>>,
        embedding: Option<&Bound<'_, PyAny>>,
        deadline_us: Option<i64>,
    ) -> PyResult<Decision> {
        let threshold = self.threshold_for(py, threshold, strong_share)?;
        let limit = limit(py, deadline_us)?;
        let decision = match either(py, prompt, embedding, false)? {
            Source::Prompt(prompt) => {
                let prompt = prompt_of(prompt)?;
                let prompt = text(&prompt, "prompt")?;
                self.run(py, prompt.len() < DETACH_FROM_BYTES, || self.core.route_within(prompt, threshold, limit))?
            }
            Source::Embedding(embedding) => {
                let embedding = array(embedding, 1, "embedding")?;
                let embedding = slice(&embedding);
                self.run(py, true, || self.core.route_embedding(embedding, threshold))?
            }
        };
        Ok(self.decision(py, decision))
    }

    /// Decides many prompts in one crossing, on all threads, in their order. Signals are handled meanwhile: Ctrl-C ends it within the time
    /// of a run of a network, or of one decision over a million battles.
    ///
    /// Args:
    ///     prompts: Texts.
    ///     threshold: As for :meth:`route`, for all of them.
    ///     strong_share: As for :meth:`route`, for all of them.
    ///     deadline_us: As for :meth:`route`, for all of them together.
    ///
    /// Returns:
    ///     One decision a prompt.
    ///
    /// Raises:
    ///     InvalidInputError: As :meth:`route`; the message has the prompt's position.
    ///     InvalidTypeError: As :meth:`route`; the message has the prompt's position.
    ///     OverloadedError: The queue of the network was full when the batch came.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> router = turnout.load(strong="large", weak="small")
    ///     >>> [decision.model for decision in router.route_batch(["Hi", "Hello"], threshold=0.0)]
    ///     ['large', 'large']
    #[pyo3(signature = (prompts, *, threshold=None, strong_share=None, deadline_us=None))]
    fn route_batch(
        &self,
        py: Python<'_>,
        prompts: &Bound<'_, PyAny>,
        threshold: Option<&Bound<'_, PyAny>>,
        strong_share: Option<&Bound<'_, PyAny>>,
        deadline_us: Option<i64>,
    ) -> PyResult<Vec<Decision>> {
        let threshold = self.threshold_for(py, threshold, strong_share)?;
        let limit = limit(py, deadline_us)?;
        let prompts = strings(prompts, "prompts")?;
        let texts = texts(&prompts, "prompts")?;
        let decisions = run_unless_interrupted(py, |interrupt| {
            self.core.route_batch_within(&texts, threshold, limit, Some(interrupt))
        })?;
        Ok(decisions.into_iter().map(|decision| self.decision(py, decision)).collect())
    }

    /// Chance in `[0, 1]` that the strong model's answer is preferred.
    ///
    /// Args:
    ///     prompt: As for :meth:`route`.
    ///     embedding: As for :meth:`route`.
    ///
    /// Returns:
    ///     The win rate, a float32 as a Python float.
    ///
    /// Raises:
    ///     RouterError: As :meth:`route`.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> 0.0 <= turnout.load().win_rate("What is 2 + 2?") <= 1.0
    ///     True
    #[pyo3(signature = (prompt=None, *, embedding=None))]
    fn win_rate(
        &self,
        py: Python<'_>,
        prompt: Option<&Bound<'_, PyAny>>,
        embedding: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<f32> {
        match either(py, prompt, embedding, false)? {
            Source::Prompt(prompt) => {
                let prompt = prompt_of(prompt)?;
                let prompt = text(&prompt, "prompt")?;
                self.run(py, prompt.len() < DETACH_FROM_BYTES, || self.core.win_rate(prompt))
            }
            Source::Embedding(embedding) => {
                let embedding = array(embedding, 1, "embedding")?;
                let embedding = slice(&embedding);
                self.run(py, true, || self.core.win_rate_of_embedding(embedding))
            }
        }
    }

    /// Win rates of many prompts or embeddings, on all threads. Ctrl-C ends it early.
    ///
    /// Args:
    ///     prompts: Texts.
    ///     embeddings: In place of `prompts`: C-contiguous float32 `[n, embedding_dim]`, which is not copied.
    ///
    /// Returns:
    ///     float32 `[n]`.
    ///
    /// Raises:
    ///     InvalidInputError: As :meth:`route`; the message has the position.
    ///     InvalidTypeError: As :meth:`route`; the message has the position.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> turnout.load().win_rates(["Hi", "Prove it."]).shape
    ///     (2,)
    #[pyo3(signature = (prompts=None, *, embeddings=None))]
    fn win_rates<'py>(
        &self,
        py: Python<'py>,
        prompts: Option<&Bound<'py, PyAny>>,
        embeddings: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let win_rates = match either(py, prompts, embeddings, true)? {
            Source::Prompt(prompts) => {
                let prompts = strings(prompts, "prompts")?;
                let texts = texts(&prompts, "prompts")?;
                run_unless_interrupted(py, |interrupt| self.core.win_rates_unless(&texts, interrupt))?
            }
            Source::Embedding(embeddings) => {
                let embeddings = array(embeddings, 2, "embeddings")?;
                let (width, dim) = (embeddings.shape()[1], self.core.embedding_dim());
                if width != dim {
                    let message = format!("embeddings have {width} columns, expected {dim}");
                    return Err(invalid_input(py, "embeddings", message));
                }
                let matrix = slice(&embeddings);
                let short = matrix.len() < DETACH_FROM_NUMBERS;
                if short && self.core.is_microseconds() {
                    self.run(py, true, || self.core.win_rates_of_embeddings(matrix, None))?
                } else {
                    run_unless_interrupted(py, |interrupt| self.core.win_rates_of_embeddings(matrix, Some(interrupt)))?
                }
            }
        };
        Ok(PyArray1::from_vec(py, win_rates))
    }

    /// Embeddings of the artifact, as `route(embedding=...)` and `win_rates(embeddings=...)` take them.
    ///
    /// Args:
    ///     prompt: One text, or several.
    ///
    /// Returns:
    ///     float32 `[embedding_dim]` for one text, `[n, embedding_dim]` for several.
    ///
    /// Raises:
    ///     InvalidInputError: A text without a UTF-8 form, or a router that takes embeddings from the caller.
    ///     InvalidTypeError: Something else than texts.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> router = turnout.load()
    ///     >>> router.embed(["Hi", "Hello"]).shape == (2, router.embedding_dim)
    ///     True
    fn embed<'py>(&self, py: Python<'py>, prompt: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(prompt) = prompt.cast::<PyString>() {
            let prompt = text(prompt, "prompt")?;
            let embedding = self.run(py, false, || self.core.embed(prompt))?;
            return Ok(PyArray1::from_vec(py, embedding).into_any());
        }
        if is_bytes(prompt) || prompt.try_iter().is_err() {
            string(prompt, "prompt")?;
        }
        let prompts = strings(prompt, "prompt")?;
        let texts = texts(&prompts, "prompts")?;
        let rows = run_unless_interrupted(py, |interrupt| self.core.embed_many(&texts, Some(interrupt)))?;
        let matrix: Bound<'_, PyArray2<f32>> =
            PyArray1::from_vec(py, rows).reshape([texts.len(), self.core.embedding_dim()])?;
        Ok(matrix.into_any())
    }

    /// The score of every model of the artifact for one prompt.
    ///
    /// The difference of two scores is the logit, before calibration, of the chance that the one model's answer is preferred to the
    /// other's on this prompt (arXiv 2406.18665, section 4.2), or with `sw_ranking` the difference of strength of their tiers. Only
    /// that of the trained pair was calibrated and evaluated. Models of different training tables never answered the same prompts, so
    /// their scores are not a ranking.
    ///
    /// Args:
    ///     prompt: As for :meth:`route`.
    ///
    /// Returns:
    ///     Score by name of the model, in the artifact's order; empty where the router scores its pair as a whole.
    ///
    /// Raises:
    ///     RouterError: As :meth:`route`.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> router = turnout.load()
    ///     >>> list(router.model_scores("Hi")) == router.models
    ///     True
    fn model_scores(&self, py: Python<'_>, prompt: &Bound<'_, PyAny>) -> PyResult<Py<PyDict>> {
        let prompt = prompt_of(prompt)?;
        let prompt = text(&prompt, "prompt")?;
        let scores = self.run(py, false, || self.core.model_scores(prompt))?;
        scores_by_name(py, &self.core, scores)
    }

    /// Decides one prompt, with everything on the way: tokens, scores, and the nanoseconds of each stage. Not for the hot path.
    ///
    /// Args:
    ///     prompt: As for :meth:`route`.
    ///     threshold: As for :meth:`route`.
    ///
    /// Returns:
    ///     The explanation.
    ///
    /// Raises:
    ///     RouterError: As :meth:`route`.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> turnout.load().explain("What is 2 + 2?").tokens[:2]
    ///     ['what', 'is']
    #[pyo3(signature = (prompt, *, threshold=None))]
    fn explain(
        &self,
        py: Python<'_>,
        prompt: &Bound<'_, PyAny>,
        threshold: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Explanation> {
        let threshold = optional_number(threshold, "threshold")?;
        let prompt = prompt_of(prompt)?;
        let prompt = text(&prompt, "prompt")?;
        let explanation = self.run(py, false, || self.core.explain(prompt, threshold))?;
        let decision = self.decision(py, explanation.decision);
        Explanation::of(py, explanation, decision, &self.core)
    }

    /// Makes battles count and stores nothing; :meth:`turnout.Router.append_battles` and `add_battles` store them first.
    ///
    /// Args:
    ///     ids: uint64 `[n]`; ids that are known are ignored.
    ///     prompts: One a battle.
    ///     models_a: Names of the models on one side.
    ///     models_b: Names of the models on the other side.
    ///     outcomes: uint8 `[n]`: 0 where model a won, 1 where model b did, 2 for a tie.
    ///     embeddings: float32 `[n, embedding_dim]` in place of the router's own; a router without an encoder needs them.
    ///
    /// Returns:
    ///     How many were new.
    ///
    /// Raises:
    ///     InvalidInputError: A row is wrong (nothing is added then), or the router is of another kind.
    ///     InferenceError: The router was loaded before a fork.
    #[pyo3(signature = (ids, prompts, models_a, models_b, outcomes, *, embeddings=None))]
    #[expect(clippy::too_many_arguments, reason = "columns of a table")]
    fn append_battles(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        prompts: &Bound<'_, PyAny>,
        models_a: &Bound<'_, PyAny>,
        models_b: &Bound<'_, PyAny>,
        outcomes: &Bound<'_, PyAny>,
        embeddings: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let columns = Columns { ids, prompts, models_a, models_b, outcomes, embeddings };
        columns.with(py, |battles, interrupt| self.core.add_battles(battles, Some(interrupt)))
    }

    #[pyo3(signature = (ids, prompts, models_a, models_b, outcomes, *, embeddings=None))]
    #[expect(clippy::too_many_arguments, reason = "columns of a table")]
    fn _new_battles<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'_, PyAny>,
        prompts: &Bound<'_, PyAny>,
        models_a: &Bound<'_, PyAny>,
        models_b: &Bound<'_, PyAny>,
        outcomes: &Bound<'_, PyAny>,
        embeddings: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let columns = Columns { ids, prompts, models_a, models_b, outcomes, embeddings };
        let new = columns.with(py, |battles, interrupt| self.core.new_battles(battles, Some(interrupt)))?;
        Ok(PyArray1::from_vec(py, new))
    }

    /// Every battle of a router of kind `sw_ranking`, added ones included.
    ///
    /// Returns:
    ///     The tensors of `battles.safetensors` with `vectors` as float32 `[prompts, embedding_dim]`, and `prompts`, a list of texts or
    ///     `None`.
    ///
    /// Raises:
    ///     InvalidInputError: The router is of another kind.
    fn battles<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = py.detach(|| self.core.battles()).map_err(|error| to_python(py, error))?;
        columns_of(py, all, self.core.embedding_dim())
    }

    #[pyo3(signature = (prompt, callback, deadline_us=None))]
    fn _submit(
        &self,
        prompt: &Bound<'_, PyAny>,
        callback: Py<PyAny>,
        deadline_us: Option<i64>,
    ) -> PyResult<Option<u64>> {
        let py = prompt.py();
        let limit = limit(py, deadline_us)?;
        refuse_after_the_end().map_err(|error| to_python(py, error))?;
        let prompt = prompt_of(prompt)?;
        let prompt = text(&prompt, "prompt")?;
        let tell = move |win_rate: Result<f32, Error>| {
            attached(|py| {
                let (win_rate, error) = match win_rate {
                    Ok(win_rate) => (Some(win_rate), None),
                    Err(error) => (None, Some(to_python(py, error))),
                };
                if let Err(error) = callback.call1(py, (win_rate, error)) {
                    error.write_unraisable(py, None);
                }
            });
        };
        self.core.submit(prompt, limit, tell).map_err(|error| to_python(py, error))
    }

    fn _withdraw(&self, place: u64) {
        self.core.withdraw(place);
    }

    /// The text that messages are routed on.
    #[staticmethod]
    fn _prompt<'py>(prompt: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
        prompt_of(prompt)
    }

    #[pyo3(signature = (win_rate, *, threshold=None, strong_share=None))]
    fn _decide(
        &self,
        py: Python<'_>,
        win_rate: f32,
        threshold: Option<&Bound<'_, PyAny>>,
        strong_share: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Decision> {
        let threshold = self.threshold_for(py, threshold, strong_share)?;
        let policy = self.core.policy(threshold).map_err(|error| to_python(py, error))?;
        Ok(self.decision(py, policy.decide(win_rate)))
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
