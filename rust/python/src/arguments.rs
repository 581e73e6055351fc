//! Python arguments borrowed as Rust values, with errors that say what was expected and found.

use numpy::{Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{
    prelude::*,
    types::{PyBool, PyFloat, PyList, PyString, PyTuple},
};

use crate::errors::{invalid_input, invalid_type};

pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string())
}

/// A real number, and not a truth value: `threshold=True` is a mistake, not 1.0.
pub(crate) fn number(value: &Bound<'_, PyAny>, name: &str) -> PyResult<f64> {
    if let Ok(float) = value.cast_exact::<PyFloat>() {
        return Ok(float.value());
    }
    let found = if is_truth_value(value) { None } else { value.extract().ok() };
    found.ok_or_else(|| invalid_type(value.py(), format!("{name} must be a number, not {}", type_name(value))))
}

/// As [`number`], where there is one.
pub(crate) fn optional_number(value: Option<&Bound<'_, PyAny>>, name: &str) -> PyResult<Option<f64>> {
    value.map(|value| number(value, name)).transpose()
}

/// A whole number, and not a truth value.
pub(crate) fn whole(value: &Bound<'_, PyAny>, name: &str) -> PyResult<i64> {
    let found = if is_truth_value(value) { None } else { value.extract().ok() };
    found.ok_or_else(|| {
        let message = format!("{name} must be an int of at most 64 bits, not {}", type_name(value));
        invalid_type(value.py(), message)
    })
}

/// `bool`, or that of NumPy.
fn is_truth_value(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyBool>() || matches!(type_name(value).as_str(), "bool" | "bool_")
}

/// The text of a prompt: a `str`, or the messages of a chat, of which `turnout.conversation.prompt_of` takes the last of the user.
pub(crate) fn prompt<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    if let Ok(prompt) = value.cast::<PyString>() {
        return Ok(prompt.clone());
    }
    if !are_messages(value) {
        return string(value, || "prompt".into()).cloned();
    }
    let found = value.py().import("turnout.conversation")?.call_method1("prompt_of", (value,))?;
    string(&found, || "prompt".into()).cloned()
}

/// Whether a value is a list whose first item is not a `str`, which would be a batch.
fn are_messages(value: &Bound<'_, PyAny>) -> bool {
    let is_list = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
    is_list && !value.get_item(0).is_ok_and(|first| first.is_instance_of::<PyString>())
}

/// A prompt that must be `str`; `place` names it in messages.
pub(crate) fn string<'a, 'py>(
    value: &'a Bound<'py, PyAny>,
    place: impl Fn() -> String,
) -> PyResult<&'a Bound<'py, PyString>> {
    value
        .cast::<PyString>()
        .map_err(|_| invalid_type(value.py(), format!("{} must be str, not {}", place(), type_name(value))))
}

/// The UTF-8 of a prompt, without a copy for ASCII.
pub(crate) fn text<'a>(prompt: &'a Bound<'_, PyString>, place: impl Fn() -> String) -> PyResult<&'a str> {
    prompt.to_str().map_err(|error| {
        invalid_input(
            prompt.py(),
            format!(
                "{} has no UTF-8 form ({error}); clean it with text.encode(\"utf-8\", \"replace\").decode()",
                place()
            ),
        )
    })
}

/// A C-contiguous array of the given type and rank, borrowed without a copy.
pub(crate) fn array<'py, T: Element>(
    value: &Bound<'py, PyAny>,
    rank: usize,
    name: &str,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let py = value.py();
    // NumPy writes the name of a type in Python: only where it is wanted.
    let expected = || {
        let shape = if rank == 1 { "[n]" } else { "[n, d]" };
        format!("{name} must be a C-contiguous {} NumPy array of shape {shape}", T::get_dtype(py))
    };
    let Ok(untyped) = value.cast::<PyUntypedArray>() else {
        return Err(invalid_type(py, format!("{}, not {}", expected(), type_name(value))));
    };
    let Ok(array) = value.cast::<PyArrayDyn<T>>() else {
        let message = {
            let (kind, found) = (T::get_dtype(py), untyped.dtype());
            format!("{}, not {found}; convert it with .astype(\"{kind}\")", expected())
        };
        return Err(invalid_type(py, message));
    };
    if array.ndim() != rank {
        return Err(invalid_input(py, format!("{}, found shape {:?}", expected(), array.shape())));
    }
    // NumPy makes such arrays from the middle of a buffer; to Rust a misaligned slice is undefined behavior.
    if array.data().align_offset(align_of::<T>()) != 0 {
        return Err(invalid_input(py, format!("{}, found one that is not aligned; use a copy of it", expected())));
    }
    if !array.is_c_contiguous() {
        return Err(invalid_input(py, format!("{}, found other strides; use numpy.ascontiguousarray", expected())));
    }
    array.try_readonly().map_err(|error| invalid_input(py, format!("{name} cannot be borrowed: {error}")))
}
