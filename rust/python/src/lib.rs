//! Python extension `turnout._core`: conversions and nothing else; the core decides.

mod arguments;
mod byte_budget;
mod decision;
mod ending;
mod errors;
mod ext_proc;
mod interrupt;
mod lock;
mod options;
mod policy;
mod pool;
mod pool_decision;
mod pool_request;
mod router;

use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::{exceptions::PyImportError, ffi, prelude::*};

/// Classes live in statics of the process, and an object of one interpreter must not show up in another. Python refuses by itself
/// from 3.12 on.
fn refuse_another_interpreter() -> PyResult<()> {
    static FIRST: AtomicI64 = AtomicI64::new(-1);
    // SAFETY: the module is being initialized, so the thread is attached to an interpreter.
    let this = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    match FIRST.compare_exchange(-1, this, Ordering::Relaxed, Ordering::Relaxed) {
        Err(first) if first != this => Err(PyImportError::new_err(
            "turnout._core does not support subinterpreters: another interpreter of this process has loaded it",
        )),
        _ => Ok(()),
    }
}

/// The extension module. It needs no interpreter lock of its own: routers are immutable.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::{
        byte_budget::ByteBudget,
        decision::{Decision, Explanation, Neighbor},
        ext_proc::{ExtProcRequest, ExtProcServer},
        policy::{choose_strong, decide, threshold_for_share},
        pool::{PoolRouter, check_pool, read_pool},
        pool_decision::{PoolDecision, Ranked},
        router::Router,
    };
    use pyo3::{prelude::*, types::PyMappingProxy};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::refuse_another_interpreter()?;
        super::ending::register(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        let defaults = super::options::dict_of(module.py(), &turnout_core::RouterConfig::default())?;
        module.add("DEFAULT_OPTIONS", PyMappingProxy::new(module.py(), defaults.as_mapping()))?;
        super::errors::add_to(module)
    }
}
