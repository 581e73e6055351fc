//! Battles as columns: from Python to the core and back.

use numpy::{PyArray1, PyArrayMethods};
use pyo3::{prelude::*, types::PyDict};
use turnout_core::{BattleSnapshot, Error, Interrupt, NewBattles};

use super::Router;
use crate::{
    arguments::{array, slice, strings, texts},
    errors::to_python,
    interrupt::run_unless_interrupted,
};

#[pymethods]
impl Router {
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
        ids: Bound<'_, PyAny>,
        prompts: Bound<'_, PyAny>,
        models_a: Bound<'_, PyAny>,
        models_b: Bound<'_, PyAny>,
        outcomes: Bound<'_, PyAny>,
        embeddings: Option<Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let columns = Columns(ids, prompts, models_a, models_b, outcomes, embeddings);
        columns.with(py, |battles, interrupt| self.core.add_battles(battles, Some(interrupt)))
    }

    /// Which battles are new; `columns` are the arguments of :meth:`append_battles` in their order.
    fn _new_battles<'py>(&self, py: Python<'py>, columns: Columns<'py>) -> PyResult<Bound<'py, PyArray1<bool>>> {
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
}

/// Battles as Python gives them: ids, prompts, the models of either side, outcomes, embeddings.
#[derive(FromPyObject)]
struct Columns<'py>(
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Option<Bound<'py, PyAny>>,
);

impl Columns<'_> {
    /// Runs `work` over the battles with the interpreter lock released, unless a signal handler raises.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&NewBattles<'_>, Interrupt<'_>) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let Self(ids, prompts, models_a, models_b, outcomes, embeddings) = self;
        let prompts = strings(prompts, "prompts")?;
        let (models_a, models_b) = (strings(models_a, "models_a")?, strings(models_b, "models_b")?);
        let prompts = texts(&prompts, "prompts")?;
        let (models_a, models_b) = (texts(&models_a, "models_a")?, texts(&models_b, "models_b")?);
        let embeddings = embeddings.as_ref().map(|embeddings| array::<f32>(embeddings, 2, "embeddings")).transpose()?;
        let (ids, outcomes) = (array::<u64>(ids, 1, "ids")?, array::<u8>(outcomes, 1, "outcomes")?);
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
fn columns_of(py: Python<'_>, all: BattleSnapshot, dim: usize) -> PyResult<Bound<'_, PyDict>> {
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
