//! What decisions are made of: win rates, embeddings, scores, explanations.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};

use super::Router;
use crate::{
    arguments::{
        Source, array, either, is_bytes, optional_number, prompt as prompt_of, slice, string, strings, text, texts,
    },
    decision::{Explanation, scores_by_name},
    errors::invalid_input,
    interrupt::run_unless_interrupted,
    lock::DETACH_FROM_BYTES,
};

/// Embeddings beyond this many numbers are scored with the lock released.
const DETACH_FROM_NUMBERS: usize = 65_536;

#[pymethods]
impl Router {
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
        scores_by_name(self.models.bind(py), &scores)
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
        Explanation::of(py, explanation, decision, &self.core, self.models.bind(py))
    }
}
