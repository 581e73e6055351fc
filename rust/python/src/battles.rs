//! Battles as columns: from Python to the core and back.

use numpy::{PyArray1, PyArrayMethods};
use pyo3::{prelude::*, types::PyDict};
use turnout_core::{BattleSnapshot, Error, Interrupt, NewBattles};

use crate::{
    arguments::{array, slice, strings, texts},
    interrupt::run_unless_interrupted,
};

/// Battles as Python gives them.
pub(crate) struct Columns<'a, 'py> {
    pub(crate) ids: &'a Bound<'py, PyAny>,
    pub(crate) prompts: &'a Bound<'py, PyAny>,
    pub(crate) models_a: &'a Bound<'py, PyAny>,
    pub(crate) models_b: &'a Bound<'py, PyAny>,
    pub(crate) outcomes: &'a Bound<'py, PyAny>,
    pub(crate) embeddings: Option<&'a Bound<'py, PyAny>>,
}

impl Columns<'_, '_> {
    /// Runs `work` over the battles with the interpreter lock released, unless a signal handler raises.
    pub(crate) fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&NewBattles<'_>, Interrupt<'_>) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let prompts = strings(self.prompts, "prompts")?;
        let (models_a, models_b) = (strings(self.models_a, "models_a")?, strings(self.models_b, "models_b")?);
        let prompts = texts(&prompts, "prompts")?;
        let (models_a, models_b) = (texts(&models_a, "models_a")?, texts(&models_b, "models_b")?);
        let embeddings = self.embeddings.map(|embeddings| array::<f32>(embeddings, 2, "embeddings")).transpose()?;
        let (ids, outcomes) = (array::<u64>(self.ids, 1, "ids")?, array::<u8>(self.outcomes, 1, "outcomes")?);
        let battles = NewBattles {
            ids: slice(&ids),
            prompts: &prompts,
            embeddings: embeddings.as_ref().map(slice).unwrap_or_default(),
            models_a: &models_a,
            models_b: &models_b,
            outcomes: slice(&outcomes),
        };
        run_unless_interrupted(py, |interrupt| work(&battles, interrupt))
    }
}

/// The tensors of `battles.safetensors`, and the prompts.
pub(crate) fn columns_of(py: Python<'_>, all: BattleSnapshot, dim: usize) -> PyResult<Bound<'_, PyDict>> {
    let rows = all.vectors.len() / dim;
    let columns = PyDict::new(py);
    columns.set_item("vectors", PyArray1::from_vec(py, all.vectors).reshape([rows, dim])?)?;
    columns.set_item("battle_prompt", PyArray1::from_vec(py, all.prompt))?;
    columns.set_item("battle_model_a", PyArray1::from_vec(py, all.model_a))?;
    columns.set_item("battle_model_b", PyArray1::from_vec(py, all.model_b))?;
    columns.set_item("battle_outcome", PyArray1::from_vec(py, all.outcome))?;
    columns.set_item("battle_id", PyArray1::from_vec(py, all.id))?;
    columns.set_item("prompts", all.prompts)?;
    Ok(columns)
}
