//! How a router runs, as opposed to what was trained (which the artifact says).

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use crate::error::{Error, Result};

/// Which engine executes the artifact's graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// Natively where the core knows the graph and the device is the CPU, else ONNX Runtime.
    #[default]
    Auto,
    /// Natively, or an error.
    Native,
    /// ONNX Runtime, or an error.
    OnnxRuntime,
}

impl FromStr for EngineChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "native" => Ok(Self::Native),
            "onnxruntime" => Ok(Self::OnnxRuntime),
            _ => Err(Error::Config(format!("engine is {text:?}, expected \"auto\", \"native\" or \"onnxruntime\""))),
        }
    }
}

/// Where the graph runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The host processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its CUDA number.
    Cuda(u32),
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) if number.parse::<u32>().is_ok() => {
                Ok(Self::Cuda(number.parse().unwrap_or_default()))
            }
            _ => Err(Error::Device(format!("device is {text:?}, expected \"cpu\", \"cuda\" or \"cuda:N\""))),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// Where the nearest battles are looked for, in routers that rank by battles.
#[derive(Debug, Clone, Default)]
pub enum IndexChoice {
    /// In the artifact's own index if it has one, else exactly.
    #[default]
    Artifact,
    /// Everywhere: every decision looks at every battle.
    Exact,
    /// In the FAISS index of another file.
    File(PathBuf),
    /// In a FAISS index that lives in this process.
    #[cfg(feature = "faiss")]
    Live(crate::faiss::LiveIndex),
}

/// How a [`Router`](crate::Router) runs. Everything has a default.
#[derive(Debug, Clone, Default)]
pub struct RouterConfig {
    /// Name of the strong model; `None` is the artifact's own. A name the artifact never saw is a label on the trained pair.
    pub strong: Option<String>,
    /// Name of the weak model, likewise.
    pub weak: Option<String>,
    /// Win rate in `[0, 1]` from which the strong model is chosen; `None` is the artifact's own.
    pub threshold: Option<f64>,
    /// Share of calls for the strong model, in place of a threshold: looked up in the artifact's quantiles.
    pub strong_share: Option<f64>,
    /// Engine for the graph.
    pub engine: EngineChoice,
    /// Device for the graph.
    pub device: Device,
    /// Threads for a batch; 0 means as many as the machine has.
    pub threads: usize,
    /// Tiers of models, 0 the strongest, for routers that rank by battles: needed for models that fought none.
    pub tiers: BTreeMap<String, u16>,
    /// Where the nearest battles are looked for.
    pub index: IndexChoice,
    /// The FAISS library; needed only where an index is used.
    pub faiss_library: Option<PathBuf>,
    /// The ONNX Runtime library; needed only where the engine is ONNX Runtime.
    pub onnxruntime_library: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_and_print() {
        assert_eq!("cpu".parse::<Device>().unwrap(), Device::Cpu);
        assert_eq!("cuda".parse::<Device>().unwrap().to_string(), "cuda:0");
        assert_eq!("cuda:3".parse::<Device>().unwrap().to_string(), "cuda:3");
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:0"] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }
}
