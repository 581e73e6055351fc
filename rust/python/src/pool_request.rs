//! Keyword arguments of a call as what a request asks of the models.

use pyo3::{
    prelude::*,
    types::{PyDict, PyMapping, PyString},
};
use turnout_core::pool::{Aim, Capabilities, Input, ObjectiveFields, Request};

use crate::{
    arguments::{number, string, strings, text, type_name, whole},
    errors::{invalid_input, invalid_type},
};

/// What a call asks of the models. `None` stands for what the pool says.
pub(crate) fn request_of(arguments: Option<&Bound<'_, PyDict>>) -> PyResult<Request> {
    let mut request = Request::default();
    let mut objective = ObjectiveFields::default();
    let (mut exact, mut estimated) = (None, None);
    for (name, value) in arguments.into_iter().flatten() {
        if value.is_none() {
            continue;
        }
        let (py, name) = (value.py(), name.cast::<PyString>()?.to_str()?.to_owned());
        let name = name.as_str();
        if let Some(field) = objective.get_mut(name) {
            *field = Some(number(&value, name)?);
            continue;
        }
        match name {
            "needs" => request.needs = needs(&value)?,
            "max_price" => request.limits.max_price = Some(number(&value, name)?),
            "max_latency_ms" => request.limits.max_latency_ms = Some(number(&value, name)?),
            "allow_tags" => request.limits.allow_tags = Some(words(&value, name)?),
            "deny_tags" => request.limits.deny_tags = Some(words(&value, name)?),
            "regions" => request.limits.regions = Some(words(&value, name)?),
            "unavailable" => request.unavailable = words(&value, name)?,
            "input_tokens" => exact = Some(Input::Exact(tokens(&value, name)?)),
            "estimated_tokens" => estimated = Some(Input::Estimated(number(&value, name)?)),
            "cached_tokens" => request.cached_tokens = cached(&value, name)?,
            "max_output" => request.max_output = Some(tokens(&value, name)?),
            _ => return Err(invalid_type(py, name, format!("unknown argument {name:?}"))),
        }
    }
    let Some(py) = arguments.map(|arguments| arguments.py()) else { return Ok(request) };
    if exact.is_some() && estimated.is_some() {
        let message = "input_tokens and estimated_tokens are given, expected at most one".into();
        return Err(invalid_input(py, "estimated_tokens", message));
    }
    request.input = exact.or(estimated);
    let objective = objective.objective().map_err(|(field, message)| invalid_input(py, field, message))?;
    request.aim = objective.map(Aim::Objective);
    Ok(request)
}

fn words(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<String>> {
    let found = strings(value, name)?;
    found.iter().map(|word| text(word, name).map(str::to_owned)).collect()
}

fn needs(value: &Bound<'_, PyAny>) -> PyResult<Capabilities> {
    let names = words(value, "needs")?;
    Capabilities::new(names.iter().map(String::as_str))
        .map_err(|message| invalid_input(value.py(), "needs", format!("needs holds {message}")))
}

fn tokens(value: &Bound<'_, PyAny>, name: &str) -> PyResult<u64> {
    let found = whole(value, name)?;
    u64::try_from(found).map_err(|_| invalid_input(value.py(), name, format!("{name} is {found}, expected 0 or more")))
}

fn cached(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<(String, u64)>> {
    let Ok(mapping) = value.cast::<PyMapping>() else {
        let message = format!("{name} must be a mapping from models to tokens, not {}", type_name(value));
        return Err(invalid_type(value.py(), name, message));
    };
    let pair = |item: Bound<'_, PyAny>| {
        let (model, count): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        Ok((text(string(&model, name)?, name)?.to_owned(), tokens(&count, name)?))
    };
    mapping.items()?.iter().map(pair).collect()
}
