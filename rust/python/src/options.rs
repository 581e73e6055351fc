//! Options of a router: keyword arguments to [`RouterConfig`] and back. The defaults are the core's.

use std::{path::PathBuf, sync::Arc};

use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};
use turnout_core::{Error, IndexChoice, LiveIndex, RouterConfig};

use crate::{
    arguments::{number, string, text, type_name, whole},
    errors::{invalid_type, to_python},
};

/// The configuration that keyword arguments name. `None` stands for the default.
pub(crate) fn config_of(options: Option<&Bound<'_, PyDict>>) -> PyResult<RouterConfig> {
    let mut config = RouterConfig::default();
    for (name, value) in options.into_iter().flatten() {
        if !value.is_none() {
            set(&mut config, name.cast::<PyString>()?.to_str()?, &value)?;
        }
    }
    Ok(config)
}

fn set(config: &mut RouterConfig, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    let batch = &mut config.batch;
    match name {
        "strong" => config.strong = Some(text_of(value, name)?),
        "weak" => config.weak = Some(text_of(value, name)?),
        "threshold" => config.threshold = Some(number(value, name)?),
        "strong_share" => config.strong_share = Some(number(value, name)?),
        "engine" => config.engine = parsed(value, name)?,
        "device" => config.device = parsed(value, name)?,
        "threads" => config.threads = natural(value, name)?,
        "device_memory_bytes" => config.device_memory_bytes = Some(natural(value, name)?),
        "tensorrt_cache" => config.tensorrt_cache = Some(value.extract()?),
        "max_queue" => batch.max_queue = natural(value, name)?,
        "max_batch_rows" => batch.max_rows = natural(value, name)?,
        "max_batch_tokens" => batch.max_tokens = natural(value, name)?,
        "max_wait_us" => batch.max_wait_us = natural(value, name)? as u64,
        "sessions" => batch.sessions = natural(value, name)?,
        "tiers" => config.tiers = value.extract()?,
        "index" => config.index = index_choice(value)?,
        "faiss_library" => config.faiss_library = Some(value.extract()?),
        "onnxruntime_library" => config.onnxruntime_library = Some(value.extract()?),
        _ => return Err(invalid_type(py, name, format!("unknown option {name:?}"))),
    }
    Ok(())
}

/// The options of a configuration but for `index` and the libraries, as [`config_of`] takes them.
pub(crate) fn dict_of<'py>(py: Python<'py>, config: &RouterConfig) -> PyResult<Bound<'py, PyDict>> {
    let options = PyDict::new(py);
    options.set_item("strong", &config.strong)?;
    options.set_item("weak", &config.weak)?;
    options.set_item("threshold", config.threshold)?;
    options.set_item("strong_share", config.strong_share)?;
    options.set_item("engine", config.engine.name())?;
    options.set_item("device", config.device.to_string())?;
    options.set_item("threads", config.threads)?;
    options.set_item("device_memory_bytes", config.device_memory_bytes)?;
    options.set_item("tensorrt_cache", &config.tensorrt_cache)?;
    options.set_item("max_queue", config.batch.max_queue)?;
    options.set_item("max_batch_rows", config.batch.max_rows)?;
    options.set_item("max_batch_tokens", config.batch.max_tokens)?;
    options.set_item("max_wait_us", config.batch.max_wait_us)?;
    options.set_item("sessions", config.batch.sessions)?;
    options.set_item("tiers", &config.tiers)?;
    Ok(options)
}

fn text_of(value: &Bound<'_, PyAny>, name: &str) -> PyResult<String> {
    text(string(value, name)?, name).map(str::to_owned)
}

fn parsed<T: std::str::FromStr<Err = Error>>(value: &Bound<'_, PyAny>, name: &str) -> PyResult<T> {
    text_of(value, name)?.parse().map_err(|error| to_python(value.py(), error))
}

fn natural(value: &Bound<'_, PyAny>, name: &str) -> PyResult<usize> {
    let found = whole(value, name)?;
    usize::try_from(found)
        .map_err(|_| to_python(value.py(), Error::config(name, format!("{name} is {found}, expected 0 or more"))))
}

/// `"exact"`, a path, or a `faiss.Index` of this process.
fn index_choice(index: &Bound<'_, PyAny>) -> PyResult<IndexChoice> {
    if index.extract::<&str>().is_ok_and(|name| name == "exact") {
        return Ok(IndexChoice::Exact);
    }
    if let Ok(path) = index.extract::<PathBuf>() {
        return Ok(IndexChoice::File(path));
    }
    let py = index.py();
    let modules = py.import("sys")?.getattr("modules")?;
    let faiss = modules.cast::<PyDict>()?.get_item("faiss")?;
    let faiss = faiss.filter(|faiss| faiss.getattr("Index").is_ok_and(|class| is_instance(index, &class)));
    // SWIG keeps the address in an object of its own, which no Python code makes from a number.
    let this = index.getattr("this").ok().filter(|this| type_name(this) == "SwigPyObject");
    let (Some(faiss), Some(this)) = (faiss, this) else {
        let message = format!("index must be \"exact\", a path or a faiss.Index, not {}", type_name(index));
        return Err(invalid_type(py, "index", message));
    };
    let address: usize = this.call_method0("__int__")?.extract()?;
    // FAISS promises overlapping searches on the CPU only, and an index of another kind may hold one on a GPU.
    let one_at_a_time = faiss.hasattr("GpuIndex")?;
    // SAFETY: the address is that of an object of `faiss.Index`, which is kept alive with the router.
    let live = unsafe { LiveIndex::new(address, Arc::new(index.clone().unbind()), one_at_a_time) };
    Ok(IndexChoice::Live(live))
}

fn is_instance(value: &Bound<'_, PyAny>, class: &Bound<'_, PyAny>) -> bool {
    value.is_instance(class).unwrap_or(false)
}
