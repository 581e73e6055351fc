//! Python arguments borrowed as Rust values, with errors that say what was expected and found.

use numpy::{Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{
    prelude::*,
    types::{PyBool, PyByteArray, PyBytes, PyFloat, PyList, PyString, PyTuple},
};

use std::{fmt, time::Duration};

use turnout_core::Error;

use crate::errors::{invalid_input, invalid_type, to_python};

/// Where a value stands in a call: an argument, or a row of one.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    argument: &'a str,
    row: Option<usize>,
}

impl<'a> From<&'a str> for Place<'a> {
    fn from(argument: &'a str) -> Self {
        Self { argument, row: None }
    }
}

impl<'a> From<(&'a str, usize)> for Place<'a> {
    fn from((argument, row): (&'a str, usize)) -> Self {
        Self { argument, row: Some(row) }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            None => write!(f, "{}", self.argument),
            Some(row) => write!(f, "{}[{row}]", self.argument),
        }
    }
}

pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string())
}

/// A real number, and not a truth value: `threshold=True` is a mistake, not 1.0.
pub(crate) fn number(value: &Bound<'_, PyAny>, name: &str) -> PyResult<f64> {
    if let Ok(float) = value.cast_exact::<PyFloat>() {
        return Ok(float.value());
    }
    let found = if is_truth_value(value) { None } else { value.extract().ok() };
    found.ok_or_else(|| invalid_type(value.py(), name, format!("{name} must be a number, not {}", type_name(value))))
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
        invalid_type(value.py(), name, message)
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
        return string(value, "prompt").cloned();
    }
    let found = value.py().import("turnout.conversation")?.call_method1("prompt_of", (value,))?;
    string(&found, "prompt").cloned()
}

/// Whether a value is a list whose first item is not a `str`, which would be a batch.
pub(crate) fn are_messages(value: &Bound<'_, PyAny>) -> bool {
    let is_list = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
    is_list && !value.get_item(0).is_ok_and(|first| first.is_instance_of::<PyString>())
}

/// A `str`.
pub(crate) fn string<'a, 'py, 'p>(
    value: &'a Bound<'py, PyAny>,
    place: impl Into<Place<'p>>,
) -> PyResult<&'a Bound<'py, PyString>> {
    value.cast::<PyString>().map_err(|_| {
        let place = place.into();
        invalid_type(value.py(), place.argument, format!("{place} must be str, not {}", type_name(value)))
    })
}

/// The UTF-8 of a prompt, without a copy for ASCII.
pub(crate) fn text<'a, 'p>(prompt: &'a Bound<'_, PyString>, place: impl Into<Place<'p>>) -> PyResult<&'a str> {
    prompt.to_str().map_err(|error| {
        let place = place.into();
        let message =
            format!("{place} has no UTF-8 form ({error}); clean it with text.encode(\"utf-8\", \"replace\").decode()");
        to_python(prompt.py(), Error::invalid_row(place.argument, place.row, message))
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
        return Err(invalid_type(py, name, format!("{}, not {}", expected(), type_name(value))));
    };
    let Ok(array) = value.cast::<PyArrayDyn<T>>() else {
        let message = {
            let (kind, found) = (T::get_dtype(py), untyped.dtype());
            format!("{}, not {found}; convert it with .astype(\"{kind}\")", expected())
        };
        return Err(invalid_type(py, name, message));
    };
    if array.ndim() != rank {
        return Err(invalid_input(py, name, format!("{}, found shape {:?}", expected(), array.shape())));
    }
    // NumPy makes such arrays from the middle of a buffer; to Rust a misaligned slice is undefined behavior.
    if array.data().align_offset(align_of::<T>()) != 0 {
        return Err(invalid_input(
            py,
            name,
            format!("{}, found one that is not aligned; use a copy of it", expected()),
        ));
    }
    if !array.is_c_contiguous() {
        return Err(invalid_input(
            py,
            name,
            format!("{}, found other strides; use numpy.ascontiguousarray", expected()),
        ));
    }
    array.try_readonly().map_err(|error| invalid_input(py, name, format!("{name} cannot be borrowed: {error}")))
}

/// Whether a value is an iterable of bytes, which is a prompt that was not decoded.
pub(crate) fn is_bytes(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>()
}

/// The items of a sequence of `str`.
pub(crate) fn strings<'py>(values: &Bound<'py, PyAny>, name: &str) -> PyResult<Vec<Bound<'py, PyString>>> {
    let py = values.py();
    if values.is_instance_of::<PyString>() {
        return Err(invalid_type(py, name, format!("{name} must be a sequence of str, not one str")));
    }
    let iterator = values
        .try_iter()
        .map_err(|_| invalid_type(py, name, format!("{name} must be a sequence of str, not {}", values.get_type())))?;
    iterator.enumerate().map(|(row, value)| string(&value?, (name, row)).cloned()).collect()
}

/// The UTF-8 of each of them.
pub(crate) fn texts<'a>(values: &'a [Bound<'_, PyString>], name: &str) -> PyResult<Vec<&'a str>> {
    values.iter().enumerate().map(|(row, value)| text(value, (name, row))).collect()
}

/// Either prompts or embeddings, never both or none.
pub(crate) fn either<T>(py: Python<'_>, prompt: Option<T>, embedding: Option<T>, plural: bool) -> PyResult<Source<T>> {
    match (prompt, embedding) {
        (Some(prompt), None) => Ok(Source::Prompt(prompt)),
        (None, Some(embedding)) => Ok(Source::Embedding(embedding)),
        _ if plural => Err(invalid_type(py, "prompts", "give either prompts or embeddings=".into())),
        _ => Err(invalid_type(py, "prompt", "give either a prompt or embedding=".into())),
    }
}

pub(crate) enum Source<T> {
    Prompt(T),
    Embedding(T),
}

/// The time that a call has.
pub(crate) fn limit(py: Python<'_>, deadline_us: Option<i64>) -> PyResult<Option<Duration>> {
    let microseconds = deadline_us.map(u64::try_from).transpose().map_err(|_| {
        let message = format!("deadline_us is {}, expected microseconds from now", deadline_us.unwrap_or_default());
        invalid_input(py, "deadline_us", message)
    })?;
    Ok(microseconds.map(Duration::from_micros))
}

/// The elements of an array whose contiguity [`array`] has checked.
pub(crate) fn slice<'a, T: Element>(array: &'a PyReadonlyArrayDyn<'_, T>) -> &'a [T] {
    array.as_slice().unwrap_or_default()
}
