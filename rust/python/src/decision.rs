//! Frozen value classes.

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyString, PyTuple},
};

/// The decision for one prompt: the chosen model, the win rate and the threshold. Immutable.
///
/// Args:
///     model: Name of the chosen model.
///     win_rate: Chance in `[0, 1]` that the strong model's answer is preferred; rounded to float32.
///     threshold: The threshold in `[0, 1]` that was applied.
///
/// Example:
///     >>> import turnout
///     >>> match turnout.Decision("large", 0.75, 0.5):
///     ...     case turnout.Decision(model, win_rate):
///     ...         model, win_rate
///     ('large', 0.75)
#[pyclass(frozen, module = "turnout")]
pub(crate) struct Decision {
    /// Shared with the router: a decision holds a reference, not a copy.
    pub(crate) model: Py<PyString>,
    /// Chance in `[0, 1]` that the strong model's answer is preferred.
    #[pyo3(get)]
    pub(crate) win_rate: f32,
    /// The threshold that was applied: the strong model is chosen where `win_rate >= threshold`.
    #[pyo3(get)]
    pub(crate) threshold: f64,
    /// Whether the strong model was chosen.
    #[pyo3(get, name = "is_strong")]
    pub(crate) strong: bool,
}

#[pymethods]
impl Decision {
    /// For pickling and for tests of code that takes decisions; routers create their own.
    #[new]
    fn new(model: Py<PyString>, win_rate: f32, threshold: f64) -> Self {
        Self { model, win_rate, threshold, strong: f64::from(win_rate) >= threshold }
    }

    fn __getnewargs__(&self, py: Python<'_>) -> (Py<PyString>, f32, f64) {
        (self.model.clone_ref(py), self.win_rate, self.threshold)
    }

    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("model", "win_rate", "threshold")
    }

    /// Name of the chosen model.
    #[getter]
    fn model<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.model.bind(py).clone()
    }

    /// Converts the decision to JSON values.
    ///
    /// Returns:
    ///     A dictionary with `model`, `win_rate`, `threshold` and `is_strong`.
    ///
    /// Example:
    ///     >>> import turnout
    ///     >>> turnout.Decision("large", 0.75, 0.5).to_dict()
    ///     {'model': 'large', 'win_rate': 0.75, 'threshold': 0.5, 'is_strong': True}
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        found.set_item("model", &self.model)?;
        found.set_item("win_rate", self.win_rate)?;
        found.set_item("threshold", self.threshold)?;
        found.set_item("is_strong", self.strong)?;
        Ok(found)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let model = self.model.bind(py).repr()?;
        Ok(format!("Decision(model={model}, win_rate={:.4}, threshold={})", self.win_rate, self.threshold))
    }

    fn __eq__(&self, other: &Self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.win_rate == other.win_rate
            && self.threshold == other.threshold
            && self.strong == other.strong
            && self.model.bind(py).as_any().eq(other.model.bind(py))?)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        (self.model.bind(py), self.win_rate, self.threshold).into_pyobject(py)?.hash()
    }
}

/// A battle on a prompt similar to the explained one.
#[pyclass(frozen, get_all, module = "turnout")]
pub(crate) struct Neighbor {
    /// Cosine of the two prompts' embeddings.
    pub(crate) similarity: f32,
    /// The battle's prompt, at most 200 characters, where the artifact keeps texts.
    pub(crate) prompt: Option<String>,
    /// Name of the model on one side.
    pub(crate) model_a: String,
    /// Name of the model on the other side.
    pub(crate) model_b: String,
    /// `"model_a"`, `"model_b"` or `"tie"`: which one won.
    pub(crate) outcome: &'static str,
}

#[pymethods]
impl Neighbor {
    fn __repr__(&self) -> String {
        format!(
            "Neighbor(similarity={:.3}, model_a={:?}, model_b={:?}, outcome={:?})",
            self.similarity, self.model_a, self.model_b, self.outcome
        )
    }
}

/// A decision with its intermediate results, from :meth:`Router.explain`.
///
/// Example:
///     >>> import turnout
///     >>> explanation = turnout.load().explain("What is 2 + 2?")
///     >>> explanation.decision.win_rate == turnout.load().win_rate("What is 2 + 2?")
///     True
///     >>> [name for name, nanoseconds in explanation.stages][0]
///     'tokenize'
#[pyclass(frozen, module = "turnout")]
pub(crate) struct Explanation {
    /// The decision.
    #[pyo3(get)]
    pub(crate) decision: Py<Decision>,
    /// Texts of the tokens that the model reads.
    #[pyo3(get)]
    pub(crate) tokens: Vec<String>,
    /// Ids of the tokens.
    #[pyo3(get)]
    pub(crate) ids: Vec<u32>,
    /// Score of the strong model minus score of the weak one, before calibration.
    #[pyo3(get)]
    pub(crate) logit: f32,
    /// Win rate before calibration.
    #[pyo3(get)]
    pub(crate) raw_win_rate: f32,
    /// Scores of the models, and their names where there are scores.
    scores: Vec<f32>,
    models: Py<PyTuple>,
    /// Both together, once somebody asks: a router may know hundreds of models.
    scores_by_name: PyOnceLock<Py<PyDict>>,
    /// The battles most similar to the prompt, most similar first, at most twenty; only for routers of kind `sw_ranking`.
    #[pyo3(get)]
    pub(crate) neighbors: Option<Vec<Py<Neighbor>>>,
    /// Elo ratings of the tiers for this prompt, centered at 1000; only for routers of kind `sw_ranking`.
    #[pyo3(get)]
    pub(crate) tier_ratings: Option<Vec<f64>>,
    /// Whether every battle was compared; only for routers of kind `sw_ranking`.
    #[pyo3(get)]
    pub(crate) is_exact: Option<bool>,
    /// 99th percentile of the distance from exact win rates, as measured when the index was built; `None` if exact or unknown.
    #[pyo3(get)]
    pub(crate) error: Option<f64>,
    /// Stages with their times in nanoseconds, measured with warm caches.
    #[pyo3(get)]
    pub(crate) stages: Vec<(&'static str, u64)>,
    /// `"native"` or `"onnxruntime"`.
    #[pyo3(get)]
    pub(crate) engine: &'static str,
    /// Device on which the graph ran.
    #[pyo3(get)]
    pub(crate) device: String,
    /// SHA-256 of the artifact's manifest, which holds the hashes of its files.
    #[pyo3(get)]
    pub(crate) artifact_hash: String,
}

/// Scores of every model of the artifact by name; empty where the router scores its pair as a whole.
pub(crate) fn scores_by_name(models: &Bound<'_, PyTuple>, scores: &[f32]) -> PyResult<Py<PyDict>> {
    let found = PyDict::new(models.py());
    for (name, score) in models.iter_borrowed().zip(scores) {
        found.set_item(name, score)?;
    }
    Ok(found.unbind())
}

impl Explanation {
    pub(crate) fn of(
        py: Python<'_>,
        found: turnout_core::Explanation,
        decision: Decision,
        router: &turnout_core::Router,
        models: &Bound<'_, PyTuple>,
    ) -> PyResult<Self> {
        let names = &router.artifact().manifest().models;
        let neighbor = |one: &turnout_core::Neighbor| {
            let neighbor = Neighbor {
                similarity: one.similarity,
                prompt: one.prompt.clone(),
                model_a: names[one.model_a].clone(),
                model_b: names[one.model_b].clone(),
                outcome: ["model_a", "model_b", "tie"][usize::from(one.outcome)],
            };
            Py::new(py, neighbor)
        };
        let ranking = found.ranking.as_ref();
        let neighbors =
            ranking.map(|ranking| ranking.neighbors.iter().map(neighbor).collect::<PyResult<Vec<_>>>()).transpose()?;
        Ok(Self {
            decision: Py::new(py, decision)?,
            neighbors,
            tier_ratings: ranking.map(|ranking| ranking.tier_ratings.clone()),
            is_exact: ranking.map(|ranking| ranking.exact),
            error: ranking.and_then(|ranking| ranking.error),
            tokens: found.tokens,
            ids: found.ids,
            logit: found.logit,
            raw_win_rate: found.raw_win_rate,
            scores: found.model_scores,
            models: models.clone().unbind(),
            scores_by_name: PyOnceLock::new(),
            stages: found.stages.iter().map(|stage| (stage.name, stage.nanoseconds)).collect(),
            engine: router.engine(),
            device: router.device(),
            artifact_hash: router.artifact().hash().to_owned(),
        })
    }
}

#[pymethods]
impl Explanation {
    /// Score of every model of the artifact by name; `Router.model_scores` says what they mean.
    #[getter]
    fn model_scores(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        if let Some(scores) = self.scores_by_name.get(py) {
            return Ok(scores.clone_ref(py));
        }
        let made = scores_by_name(self.models.bind(py), &self.scores)?;
        // Not `get_or_init`: that lets other threads run while it makes the value, and a process that one of them forks would wait for it forever.
        let _ = self.scores_by_name.set(py, made.clone_ref(py));
        Ok(self.scores_by_name.get(py).map_or(made, |first| first.clone_ref(py)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let decision = self.decision.bind(py).repr()?;
        Ok(format!(
            "Explanation({decision}, {} tokens, engine={:?}, device={:?}, artifact={})",
            self.ids.len(),
            self.engine,
            self.device,
            &self.artifact_hash[..12]
        ))
    }
}
