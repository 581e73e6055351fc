//! From a prompt or an embedding to a decision.

use pyo3::{prelude::*, types::PyString};

use super::Router;
use crate::{
    arguments::{Source, array, either, limit, prompt as prompt_of, slice, strings, text, texts},
    decision::Decision,
    errors::to_python,
    interrupt::run_unless_interrupted,
    lock::DETACH_FROM_BYTES,
};

#[pymethods]
impl Router {
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
}
