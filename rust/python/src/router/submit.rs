//! Prompts of callers that cannot wait on a thread: left to the queue of a network, answered by a callback.

use pyo3::prelude::*;
use turnout_core::Error;

use super::Router;
use crate::{
    arguments::{limit, prompt as prompt_of, text},
    ending::{attached, refuse_after_the_end},
    errors::to_python,
};

#[pymethods]
impl Router {
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
        let told = move |win_rate: Result<f32, Error>| {
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
        self.core.submit(prompt, limit, told).map_err(|error| to_python(py, error))
    }

    fn _withdraw(&self, request: u64) {
        self.core.withdraw(request);
    }
}
