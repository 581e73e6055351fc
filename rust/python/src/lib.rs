//! Python extension `turnout._core`: conversions and nothing else; the core decides.

mod arguments;
mod decision;
mod errors;
mod router;

use pyo3::prelude::*;

/// The extension module. It needs no interpreter lock of its own: routers are immutable.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::{
        decision::{Decision, Explanation},
        router::Router,
    };
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::errors::add_to(module)
    }
}
