//! The core's rules for thresholds and choices as functions, for routers that are not the core's.

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::{prelude::*, types::PyString};
use turnout_core::Policy;

use crate::{
    arguments::{number, type_name},
    decision::Decision,
    errors::{invalid_input, invalid_type, to_python},
};

fn policy(threshold: &Bound<'_, PyAny>) -> PyResult<Policy> {
    Policy::new(number(threshold, "threshold")?).map_err(|error| to_python(threshold.py(), error))
}

/// The threshold at which a share of prompts goes to the strong model.
///
/// It is the win rate at quantile `1 - strong_share`, linear between neighbors, as in RouteLLM's calibration. A share of 1 is the
/// threshold 0, which always chooses the strong model. A share of 0 is the threshold 1, which leaves it only win rates of exactly 1.
///
/// Args:
///     quantiles: Win rates in `[0, 1]` at evenly spaced quantiles from 0 to 1, two or more, never falling.
///     strong_share: Share of strong calls in `[0, 1]`.
///
/// Returns:
///     A threshold in `[0, 1]`.
///
/// Raises:
///     InvalidInputError: A share outside `[0, 1]`, or other quantiles.
///     InvalidTypeError: A share that is not a number.
///
/// Example:
///     >>> import turnout
///     >>> turnout.threshold_for_share([0.25, 0.5, 0.75], 0.5)
///     0.5
#[pyfunction]
pub(crate) fn threshold_for_share(quantiles: Vec<f64>, strong_share: &Bound<'_, PyAny>) -> PyResult<f64> {
    let share = number(strong_share, "strong_share")?;
    turnout_core::threshold_for_share(&quantiles, share).map_err(|error| to_python(strong_share.py(), error))
}

/// Decides on a win rate that is known: the strong model where `win_rate >= threshold`.
///
/// Args:
///     win_rate: Chance in `[0, 1]` that the strong model's answer is preferred. It is rounded to float32, as all win rates are.
///     threshold: In `[0, 1]`.
///     strong: Name of the strong model.
///     weak: Name of the weak model.
///
/// Returns:
///     A decision.
///
/// Raises:
///     InvalidInputError: A win rate or threshold outside `[0, 1]`.
///     InvalidTypeError: One that is not a number.
///
/// Example:
///     >>> import turnout
///     >>> turnout.decide(0.5, 0.4).model
///     'strong'
#[pyfunction]
#[pyo3(signature = (win_rate, threshold, *, strong=None, weak=None))]
pub(crate) fn decide(
    py: Python<'_>,
    win_rate: &Bound<'_, PyAny>,
    threshold: &Bound<'_, PyAny>,
    strong: Option<Py<PyString>>,
    weak: Option<Py<PyString>>,
) -> PyResult<Decision> {
    let policy = policy(threshold)?;
    let win_rate = number(win_rate, "win_rate")?;
    if !(0.0..=1.0).contains(&win_rate) {
        let message = format!("win_rate is {win_rate}, expected a number in 0..=1");
        return Err(invalid_input(py, "win_rate", message));
    }
    let decision = policy.decide(win_rate as f32);
    let (name, word) = if decision.strong { (strong, "strong") } else { (weak, "weak") };
    Ok(Decision {
        model: name.unwrap_or_else(|| PyString::intern(py, word).unbind()),
        win_rate: decision.win_rate,
        threshold: decision.threshold,
        strong: decision.strong,
    })
}

/// Which of many win rates choose the strong model: those with `win_rate >= threshold`.
///
/// Args:
///     win_rates: float32 or float64 `[n]`, compared as they are. Routers decide on float32.
///     threshold: In `[0, 1]`.
///
/// Returns:
///     bool `[n]`.
///
/// Raises:
///     InvalidInputError: A threshold outside `[0, 1]`.
///     InvalidTypeError: Something else than an array of floats, or a threshold that is not a number.
///
/// Example:
///     >>> import numpy as np, turnout
///     >>> turnout.choose_strong(np.array([0.25, 0.5]), 0.5).tolist()
///     [False, True]
#[pyfunction]
pub(crate) fn choose_strong<'py>(
    win_rates: &Bound<'py, PyAny>,
    threshold: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<bool>>> {
    let py = win_rates.py();
    let policy = policy(threshold)?;
    let chosen: Vec<bool> = if let Ok(rates) = win_rates.extract::<PyReadonlyArray1<'_, f32>>() {
        rates.as_array().iter().map(|&rate| policy.chooses_strong(rate.into())).collect()
    } else if let Ok(rates) = win_rates.extract::<PyReadonlyArray1<'_, f64>>() {
        rates.as_array().iter().map(|&rate| policy.chooses_strong(rate)).collect()
    } else {
        let message =
            format!("win_rates must be a float32 or float64 NumPy array of shape [n], not {}", type_name(win_rates));
        return Err(invalid_type(py, "win_rates", message));
    };
    Ok(PyArray1::from_vec(py, chosen))
}
