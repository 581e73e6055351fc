//! The router class: convert, detach where it pays, call, convert.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};
use turnout_core::{BatchConfig, Error, IndexChoice, LiveIndex, NewBattles, RouterConfig};

use crate::{
    arguments::{floats, string, text},
    decision::{Decision, Explanation, Neighbor},
    ending::{attached, refuse_after_the_end},
    errors::{invalid_type, to_python},
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
        threshold: Option<f64>,
        strong_share: Option<f64>,
    ) -> PyResult<Option<f64>> {
        let thresholds = &self.core.artifact().manifest().thresholds;
        thresholds.choose(threshold, strong_share).map_err(|error| to_python(py, error))
    }

    /// Runs `work` with the interpreter lock held if it takes microseconds, released if it may take longer.
    fn run<T: Send>(&self, py: Python<'_>, short: bool, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
        let result = if short && self.core.is_microseconds() { work() } else { py.detach(work) };
        result.map_err(|error| to_python(py, error))
    }
}

/// `None`, `"exact"`, a path, or a live index as `(address, object, one_at_a_time)`, which `turnout.faiss_index` makes.
fn index_choice(index: Option<&Bound<'_, PyAny>>) -> PyResult<IndexChoice> {
    let Some(index) = index else { return Ok(IndexChoice::Artifact) };
    if index.extract::<&str>().is_ok_and(|name| name == "exact") {
        return Ok(IndexChoice::Exact);
    }
    if let Ok((address, object, one_at_a_time)) = index.extract::<(usize, Py<PyAny>, bool)>() {
        // SAFETY: `turnout.router` takes the address from an object of `faiss.Index` itself, and the object is kept alive.
        let live = unsafe { LiveIndex::new(address, Arc::new(object), one_at_a_time) };
        return Ok(IndexChoice::Live(live));
    }
    Ok(IndexChoice::File(index.extract()?))
}

/// The texts of a sequence of prompts.
fn strings<'py>(prompts: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyString>>> {
    let py = prompts.py();
    if prompts.is_instance_of::<PyString>() {
        return Err(invalid_type(py, "prompts must be a sequence of str, not one str".into()));
    }
    let iterator = prompts
        .try_iter()
        .map_err(|_| invalid_type(py, format!("prompts must be a sequence of str, not {}", prompts.get_type())))?;
    iterator.enumerate().map(|(row, prompt)| string(&prompt?, || format!("prompts[{row}]")).cloned()).collect()
}

fn texts<'a>(prompts: &'a [Bound<'_, PyString>]) -> PyResult<Vec<&'a str>> {
    prompts.iter().enumerate().map(|(row, prompt)| text(prompt, || format!("prompts[{row}]"))).collect()
}

/// Either prompts or embeddings, never both or none.
fn either<'a, T>(py: Python<'_>, prompt: Option<T>, embedding: Option<T>, names: &str) -> PyResult<Source<T>>
where
    T: 'a,
{
    match (prompt, embedding) {
        (Some(prompt), None) => Ok(Source::Prompt(prompt)),
        (None, Some(embedding)) => Ok(Source::Embedding(embedding)),
        _ => Err(invalid_type(py, format!("give either {names}"))),
    }
}

enum Source<T> {
    Prompt(T),
    Embedding(T),
}

#[pymethods]
impl Router {
    #[new]
    #[pyo3(signature = (path, *, strong=None, weak=None, threshold=None, strong_share=None, engine="auto", device="cpu", threads=0, device_memory_bytes=None, cuda_graphs=false, tensorrt_cache=None, max_queue=1024, max_batch_rows=64, max_batch_tokens=16_384, max_wait_us=0, sessions=0, tiers=BTreeMap::new(), index=None, faiss_library=None, onnxruntime_library=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the Python constructor, gathered into RouterConfig"
    )]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        strong: Option<String>,
        weak: Option<String>,
        threshold: Option<f64>,
        strong_share: Option<f64>,
        engine: &str,
        device: &str,
        threads: i64,
        device_memory_bytes: Option<i64>,
        cuda_graphs: bool,
        tensorrt_cache: Option<PathBuf>,
        max_queue: i64,
        max_batch_rows: i64,
        max_batch_tokens: i64,
        max_wait_us: i64,
        sessions: i64,
        tiers: BTreeMap<String, u16>,
        index: Option<&Bound<'_, PyAny>>,
        faiss_library: Option<PathBuf>,
        onnxruntime_library: Option<PathBuf>,
    ) -> PyResult<Self> {
        let parsed = engine.parse().and_then(|engine| Ok((engine, device.parse()?)));
        let (engine, device) = parsed.map_err(|error| to_python(py, error))?;
        let natural = |field: &str, value: i64| {
            usize::try_from(value)
                .map_err(|_| to_python(py, Error::Config(format!("{field} is {value}, expected 0 or more"))))
        };
        let index = index_choice(index)?;
        let config = RouterConfig {
            strong,
            weak,
            threshold,
            strong_share,
            engine,
            device,
            threads: natural("threads", threads)?,
            device_memory_bytes: device_memory_bytes.map(|bytes| natural("device_memory_bytes", bytes)).transpose()?,
            cuda_graphs,
            tensorrt_cache,
            batch: BatchConfig {
                max_queue: natural("max_queue", max_queue)?,
                max_rows: natural("max_batch_rows", max_batch_rows)?,
                max_tokens: natural("max_batch_tokens", max_batch_tokens)?,
                max_wait_us: natural("max_wait_us", max_wait_us)? as u64,
                sessions: natural("sessions", sessions)?,
            },
            tiers,
            index,
            faiss_library,
            onnxruntime_library,
        };
        let core = py.detach(|| turnout_core::Router::open(&path, &config)).map_err(|error| to_python(py, error))?;
        let (strong, weak) = (PyString::new(py, core.strong()).unbind(), PyString::new(py, core.weak()).unbind());
        Ok(Self { core, strong, weak })
    }

    #[pyo3(signature = (prompt=None, *, threshold=None, strong_share=None, embedding=None, deadline_us=None))]
    fn route(
        &self,
        py: Python<'_>,
        prompt: Option<&Bound<'_, PyAny>>,
        threshold: Option<f64>,
        strong_share: Option<f64>,
        embedding: Option<&Bound<'_, PyAny>>,
        deadline_us: Option<i64>,
    ) -> PyResult<Decision> {
        let threshold = self.threshold_for(py, threshold, strong_share)?;
        let limit = limit(py, deadline_us)?;
        let decision = match either(py, prompt, embedding, "a prompt or embedding=")? {
            Source::Prompt(prompt) => {
                let prompt = text(string(prompt, || "prompt".into())?, || "prompt".into())?;
                self.run(py, prompt.len() < DETACH_FROM_BYTES, || self.core.route_within(prompt, threshold, limit))?
            }
            Source::Embedding(embedding) => {
                let embedding = floats(embedding, 1, "embedding")?;
                let embedding = slice(&embedding);
                self.run(py, true, || self.core.route_embedding(embedding, threshold))?
            }
        };
        Ok(self.decision(py, decision))
    }

    #[pyo3(signature = (prompts, *, threshold=None, strong_share=None, deadline_us=None))]
    fn route_batch(
        &self,
        py: Python<'_>,
        prompts: &Bound<'_, PyAny>,
        threshold: Option<f64>,
        strong_share: Option<f64>,
        deadline_us: Option<i64>,
    ) -> PyResult<Vec<Decision>> {
        let threshold = self.threshold_for(py, threshold, strong_share)?;
        let limit = limit(py, deadline_us)?;
        let prompts = strings(prompts)?;
        let texts = texts(&prompts)?;
        let decisions = self.run(py, false, || self.core.route_batch_within(&texts, threshold, limit))?;
        Ok(decisions.into_iter().map(|decision| self.decision(py, decision)).collect())
    }

    #[pyo3(signature = (prompt=None, *, embedding=None))]
    fn win_rate(
        &self,
        py: Python<'_>,
        prompt: Option<&Bound<'_, PyAny>>,
        embedding: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<f32> {
        match either(py, prompt, embedding, "a prompt or embedding=")? {
            Source::Prompt(prompt) => {
                let prompt = text(string(prompt, || "prompt".into())?, || "prompt".into())?;
                self.run(py, prompt.len() < DETACH_FROM_BYTES, || self.core.win_rate(prompt))
            }
            Source::Embedding(embedding) => {
                let embedding = floats(embedding, 1, "embedding")?;
                let embedding = slice(&embedding);
                self.run(py, true, || self.core.win_rate_of_embedding(embedding))
            }
        }
    }

    #[pyo3(signature = (prompts=None, *, embeddings=None))]
    fn win_rates<'py>(
        &self,
        py: Python<'py>,
        prompts: Option<&Bound<'py, PyAny>>,
        embeddings: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let win_rates = match either(py, prompts, embeddings, "prompts or embeddings=")? {
            Source::Prompt(prompts) => {
                let prompts = strings(prompts)?;
                let texts = texts(&prompts)?;
                self.run(py, false, || self.core.win_rates(&texts))?
            }
            Source::Embedding(embeddings) => {
                let embeddings = floats(embeddings, 2, "embeddings")?;
                let (width, dim) = (embeddings.shape()[1], self.core.embedding_dim());
                if width != dim {
                    let message = format!("embeddings have {width} columns, expected {dim}");
                    return Err(to_python(py, Error::InvalidInput(message)));
                }
                let matrix = slice(&embeddings);
                let short = matrix.len() < DETACH_FROM_NUMBERS;
                self.run(py, short, || self.core.win_rates_of_embeddings(matrix))?
            }
        };
        Ok(PyArray1::from_vec(py, win_rates))
    }

    fn embed<'py>(&self, py: Python<'py>, prompt: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let prompt = text(string(prompt, || "prompt".into())?, || "prompt".into())?;
        let embedding = self.run(py, false, || self.core.embed(prompt))?;
        Ok(PyArray1::from_vec(py, embedding))
    }

    fn model_scores(&self, py: Python<'_>, prompt: &Bound<'_, PyAny>) -> PyResult<Vec<(String, f32)>> {
        let prompt = text(string(prompt, || "prompt".into())?, || "prompt".into())?;
        let scores = self.run(py, false, || self.core.model_scores(prompt))?;
        Ok(self.core.artifact().manifest().models.iter().cloned().zip(scores).collect())
    }

    #[pyo3(signature = (prompt, *, threshold=None))]
    fn explain(&self, py: Python<'_>, prompt: &Bound<'_, PyAny>, threshold: Option<f64>) -> PyResult<Explanation> {
        let prompt = text(string(prompt, || "prompt".into())?, || "prompt".into())?;
        let explanation = self.run(py, false, || self.core.explain(prompt, threshold))?;
        let names = &self.core.artifact().manifest().models;
        let models = names.iter().cloned();
        let ranking = explanation.ranking;
        let neighbors = ranking.as_ref().map(|ranking| {
            let neighbor = |one: &turnout_core::Neighbor| {
                Py::new(
                    py,
                    Neighbor {
                        similarity: one.similarity,
                        prompt: one.prompt.clone(),
                        model_a: names[one.model_a].clone(),
                        model_b: names[one.model_b].clone(),
                        outcome: ["model_a", "model_b", "tie"][usize::from(one.outcome)],
                    },
                )
            };
            ranking.neighbors.iter().map(neighbor).collect::<PyResult<Vec<_>>>()
        });
        Ok(Explanation {
            neighbors: neighbors.transpose()?,
            tier_ratings: ranking.as_ref().map(|ranking| ranking.tier_ratings.clone()),
            is_exact: ranking.as_ref().map(|ranking| ranking.exact),
            error: ranking.and_then(|ranking| ranking.error),
            decision: Py::new(py, self.decision(py, explanation.decision))?,
            tokens: explanation.tokens,
            ids: explanation.ids,
            logit: explanation.logit,
            raw_win_rate: explanation.raw_win_rate,
            model_scores: models.zip(explanation.model_scores).collect(),
            stages: explanation.stages.iter().map(|stage| (stage.name, stage.nanoseconds)).collect(),
            engine: self.core.engine(),
            device: self.core.device(),
            artifact_hash: self.core.artifact().hash().to_owned(),
        })
    }

    #[pyo3(signature = (ids, prompts, models_a, models_b, outcomes, *, embeddings=None))]
    #[expect(clippy::too_many_arguments, reason = "columns of a table")]
    fn append_battles(
        &self,
        py: Python<'_>,
        ids: PyReadonlyArray1<'_, u64>,
        prompts: &Bound<'_, PyAny>,
        models_a: &Bound<'_, PyAny>,
        models_b: &Bound<'_, PyAny>,
        outcomes: PyReadonlyArray1<'_, u8>,
        embeddings: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let (prompts, models_a, models_b) = (strings(prompts)?, strings(models_a)?, strings(models_b)?);
        let (prompts, models_a, models_b) = (texts(&prompts)?, texts(&models_a)?, texts(&models_b)?);
        let embeddings = embeddings.map(|embeddings| floats(embeddings, 2, "embeddings")).transpose()?;
        let (ids, outcomes) = (ids.as_array().to_vec(), outcomes.as_array().to_vec());
        let battles = NewBattles {
            ids: &ids,
            prompts: &prompts,
            embeddings: embeddings.as_ref().map(slice).unwrap_or_default(),
            models_a: &models_a,
            models_b: &models_b,
            outcomes: &outcomes,
        };
        py.detach(|| self.core.add_battles(&battles)).map_err(|error| to_python(py, error))
    }

    fn battles<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = py.detach(|| self.core.battles()).map_err(|error| to_python(py, error))?;
        let rows = all.vectors.len() / self.core.embedding_dim();
        let columns = PyDict::new(py);
        columns.set_item("vectors", PyArray1::from_vec(py, all.vectors).reshape([rows, self.core.embedding_dim()])?)?;
        columns.set_item("battle_prompt", PyArray1::from_vec(py, all.prompt))?;
        columns.set_item("battle_model_a", PyArray1::from_vec(py, all.model_a))?;
        columns.set_item("battle_model_b", PyArray1::from_vec(py, all.model_b))?;
        columns.set_item("battle_outcome", PyArray1::from_vec(py, all.outcome))?;
        columns.set_item("battle_id", PyArray1::from_vec(py, all.id))?;
        columns.set_item("prompts", all.prompts)?;
        Ok(columns)
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
        let prompt = text(string(prompt, || "prompt".into())?, || "prompt".into())?;
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

    #[pyo3(signature = (win_rate, *, threshold=None, strong_share=None))]
    fn _decide(
        &self,
        py: Python<'_>,
        win_rate: f32,
        threshold: Option<f64>,
        strong_share: Option<f64>,
    ) -> PyResult<Decision> {
        let threshold = self.threshold_for(py, threshold, strong_share)?;
        let policy = self.core.policy(threshold).map_err(|error| to_python(py, error))?;
        Ok(self.decision(py, policy.decide(win_rate)))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.core.close());
    }

    #[getter]
    fn strong(&self, py: Python<'_>) -> Py<PyString> {
        self.strong.clone_ref(py)
    }

    #[getter]
    fn weak(&self, py: Python<'_>) -> Py<PyString> {
        self.weak.clone_ref(py)
    }

    #[getter]
    fn threshold(&self) -> f64 {
        self.core.threshold()
    }

    #[getter]
    fn engine(&self) -> &'static str {
        self.core.engine()
    }

    #[getter]
    fn device(&self) -> String {
        self.core.device()
    }

    #[getter]
    fn not_native_because(&self) -> Option<String> {
        self.core.not_native_because().map(str::to_owned)
    }

    #[getter]
    fn is_microseconds(&self) -> bool {
        self.core.is_microseconds()
    }

    #[getter]
    fn models(&self) -> Vec<String> {
        self.core.artifact().manifest().models.clone()
    }

    #[getter]
    fn embedding_dim(&self) -> usize {
        self.core.embedding_dim()
    }

    #[getter]
    fn artifact_hash(&self) -> String {
        self.core.artifact().hash().to_owned()
    }

    #[getter]
    fn manifest_json(&self) -> String {
        self.core.artifact().manifest_text().to_owned()
    }
}

/// The time that a call has.
fn limit(py: Python<'_>, deadline_us: Option<i64>) -> PyResult<Option<Duration>> {
    let microseconds = deadline_us.map(u64::try_from).transpose().map_err(|_| {
        let message = format!("deadline_us is {}, expected microseconds from now", deadline_us.unwrap_or_default());
        to_python(py, Error::InvalidInput(message))
    })?;
    Ok(microseconds.map(Duration::from_micros))
}

/// The elements of an array whose contiguity [`floats`] has checked.
fn slice<'a>(array: &'a PyReadonlyArrayDyn<'_, f32>) -> &'a [f32] {
    array.as_slice().unwrap_or_default()
}
