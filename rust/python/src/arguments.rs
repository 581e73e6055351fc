//! Python arguments borrowed as Rust values, with errors that say what was expected and found.

use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{prelude::*, types::PyString};

use crate::errors::{invalid_input, invalid_type};

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string())
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

/// A C-contiguous float32 array of the given rank, borrowed without a copy.
pub(crate) fn floats<'py>(
    value: &Bound<'py, PyAny>,
    rank: usize,
    name: &str,
) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
    let py = value.py();
    let shape = if rank == 1 { "[d]" } else { "[n, d]" };
    let expected = format!("{name} must be a C-contiguous float32 NumPy array of shape {shape}");
    let Ok(untyped) = value.cast::<PyUntypedArray>() else {
        return Err(invalid_type(py, format!("{expected}, not {}", type_name(value))));
    };
    let Ok(array) = value.cast::<PyArrayDyn<f32>>() else {
        return Err(invalid_type(
            py,
            format!("{expected}, not {}; convert it with .astype(\"float32\")", untyped.dtype()),
        ));
    };
    if array.ndim() != rank {
        return Err(invalid_input(py, format!("{expected}, found shape {:?}", array.shape())));
    }
    // NumPy makes such arrays from the middle of a buffer; to Rust a misaligned slice is undefined behaviour.
    if array.data().align_offset(align_of::<f32>()) != 0 {
        return Err(invalid_input(py, format!("{expected}, found one that is not aligned; use a copy of it")));
    }
    if !array.is_c_contiguous() {
        return Err(invalid_input(py, format!("{expected}, found other strides; use numpy.ascontiguousarray")));
    }
    array.try_readonly().map_err(|error| invalid_input(py, format!("{name} cannot be borrowed: {error}")))
}
