//! The bytes that requests make the process hold: shared by Python and the service for gateways.

use std::sync::Arc;

use pyo3::prelude::*;

/// One limit for the bytes that requests make the server hold: bodies in flight, and prompts that wait to be logged. For several threads.
///
/// Args:
///     limit: The number of bytes.
///
/// Example:
///     >>> from turnout._core import ByteBudget
///     >>> budget = ByteBudget(100)
///     >>> budget.take(60), budget.take(60)
///     (True, False)
///     >>> budget.give_back(60)
///     >>> budget.take(60)
///     True
#[pyclass(module = "turnout._core", frozen)]
pub(crate) struct ByteBudget(pub(crate) Arc<turnout_ext_proc::ByteBudget>);

#[pymethods]
impl ByteBudget {
    #[new]
    fn new(limit: usize) -> Self {
        Self(Arc::new(turnout_ext_proc::ByteBudget::new(limit)))
    }

    /// Bytes that are held now.
    #[getter]
    fn used(&self) -> usize {
        self.0.used()
    }

    /// Whether so many more may be held. Who gets a yes must give them back.
    fn take(&self, size: usize) -> bool {
        self.0.take(size)
    }

    /// Releases bytes.
    fn give_back(&self, size: usize) {
        self.0.give_back(size);
    }
}
