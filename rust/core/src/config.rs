//! How a router runs, as opposed to what was trained (which the artifact says).

mod device;

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

pub use self::device::{Device, Devices};
use crate::{
    artifact::Kind,
    error::{Error, Result},
};

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

impl EngineChoice {
    /// The name that parses to it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::OnnxRuntime => "onnxruntime",
        }
    }
}

impl FromStr for EngineChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "native" => Ok(Self::Native),
            "onnxruntime" => Ok(Self::OnnxRuntime),
            _ => Err(Error::config(
                "engine",
                format!("engine is {text:?}, expected \"auto\", \"native\" or \"onnxruntime\""),
            )),
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

/// How prompts of many callers share the runs of a network. Graphs that run natively never wait and do not look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchConfig {
    /// Prompts that may wait; one more is refused with [`Error::Overloaded`].
    pub max_queue: usize,
    /// Prompts in one run.
    pub max_rows: usize,
    /// Tokens in one run, padding included; a longer prompt runs alone.
    pub max_tokens: usize,
    /// How long a free session waits for more prompts before it runs what is there. Zero is best on a CPU.
    pub max_wait_us: u64,
    /// Sessions beside each other on the CPU, which share its threads; each holds the weights. 0 is one, or several of a small network.
    pub sessions: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl BatchConfig {
    /// The defaults, which the binding reads for its signature.
    pub const DEFAULT: Self = Self { max_queue: 1024, max_rows: 64, max_tokens: 16_384, max_wait_us: 0, sessions: 0 };

    /// Says which number makes no sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        let fields = [
            ("max_queue", self.max_queue, 1 << 20),
            ("max_batch_rows", self.max_rows, 4096),
            ("max_batch_tokens", self.max_tokens, 1 << 24),
        ];
        for (field, value, limit) in fields {
            if value == 0 || value > limit {
                return Err(Error::config(field, format!("{field} is {value}, expected 1..={limit}")));
            }
        }
        if self.sessions > 256 {
            return Err(Error::config("sessions", format!("sessions is {}, expected at most 256", self.sessions)));
        }
        if self.max_wait_us > 10_000_000 {
            let message = format!("max_wait_us is {}, expected at most 10000000 (10 s)", self.max_wait_us);
            return Err(Error::config("max_wait_us", message));
        }
        Ok(())
    }
}

/// How a [`Router`](crate::Router) runs. Everything has a default, and this is the only place where defaults are written.
#[derive(Debug, Clone, Default)]
pub struct RouterConfig {
    /// Name of the strong model; `None` is the artifact's own. A name that the artifact knows is that model and is scored as such. A
    /// name that it does not know is a label for the strong model of the trained pair. The rule holds for each name alone.
    pub strong: Option<String>,
    /// Name of the weak model, likewise.
    pub weak: Option<String>,
    /// Win rate in `[0, 1]` from which the strong model is chosen; `None` is the artifact's own.
    pub threshold: Option<f64>,
    /// Share of calls for the strong model, in place of a threshold: looked up in the artifact's quantiles, which hold for the trained
    /// pair only.
    pub strong_share: Option<f64>,
    /// Engine for the graph.
    pub engine: EngineChoice,
    /// Device for the graph, or several.
    pub device: Devices,
    /// Memory that ONNX Runtime may take on each GPU, in bytes; `None` sets no limit.
    pub device_memory_bytes: Option<usize>,
    /// Folder in which TensorRT keeps the engines that it builds; needed only where a device is `tensorrt:N`.
    pub tensorrt_cache: Option<PathBuf>,
    /// How concurrent prompts share runs.
    pub batch: BatchConfig,
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

impl RouterConfig {
    /// Says which options do not go together.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        let ignored = [
            (
                "device_memory_bytes",
                self.device_memory_bytes.is_some() && self.device.is_cpu(),
                "\"cuda:N\" or \"tensorrt:N\"",
            ),
            ("tensorrt_cache", self.tensorrt_cache.is_some() && !self.device.uses_tensorrt(), "\"tensorrt:N\""),
        ];
        match ignored.iter().find(|(_, is_ignored, _)| *is_ignored) {
            None => Ok(()),
            Some((option, _, device)) => Err(Error::config(
                *option,
                format!("{option} has no effect on device {}, expected device {device}", self.device),
            )),
        }
    }

    /// Says which options belong to routers of another kind.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_kind(&self, kind: Kind, strong: &str, weak: &str) -> Result<()> {
        let of_battles = kind == Kind::SwRanking;
        let given = [("tiers", !self.tiers.is_empty()), ("index", !matches!(self.index, IndexChoice::Artifact))];
        if let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given && !of_battles) {
            return Err(Error::config(
                *option,
                format!(
                    "{option} is an option of routers of kind \"sw_ranking\", but this artifact is of kind {:?}",
                    kind.name()
                ),
            ));
        }
        match self.tiers.keys().find(|name| *name != strong && *name != weak) {
            None => Ok(()),
            Some(name) => Err(Error::config(
                "tiers",
                format!("tiers names {name:?}, expected the strong or the weak model: {strong:?}, {weak:?}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_without_effect_are_refused() {
        let memory = RouterConfig { device_memory_bytes: Some(1 << 30), ..RouterConfig::default() };
        assert!(memory.check().unwrap_err().to_string().contains("device_memory_bytes has no effect on device cpu"));
        let cache = RouterConfig {
            device: "cuda:0".parse().unwrap(),
            tensorrt_cache: Some("cache".into()),
            ..RouterConfig::default()
        };
        assert!(cache.check().unwrap_err().to_string().contains("tensorrt_cache has no effect on device cuda:0"));
    }

    #[test]
    fn options_of_another_kind_are_refused() {
        let index = RouterConfig { index: IndexChoice::Exact, ..RouterConfig::default() };
        let tiers = RouterConfig { tiers: [("x".to_owned(), 0)].into(), ..RouterConfig::default() };
        for (option, config) in [("index", &index), ("tiers", &tiers)] {
            let message = config.check_kind(Kind::Mf, "x", "y").unwrap_err().to_string();
            assert!(message.starts_with(option) && message.contains("of kind \"mf\""), "{message}");
            config.check_kind(Kind::SwRanking, "x", "y").unwrap();
        }
        let message = tiers.check_kind(Kind::SwRanking, "a", "b").unwrap_err().to_string();
        assert!(message.contains("tiers names \"x\", expected the strong or the weak model"), "{message}");
    }

    #[test]
    fn batch_limits_must_make_sense() {
        BatchConfig::default().check().unwrap();
        let wrong = [
            BatchConfig { max_queue: 0, ..BatchConfig::default() },
            BatchConfig { max_rows: 5000, ..BatchConfig::default() },
            BatchConfig { max_tokens: 0, ..BatchConfig::default() },
            BatchConfig { max_wait_us: u64::MAX, ..BatchConfig::default() },
            BatchConfig { sessions: 257, ..BatchConfig::default() },
        ];
        for config in wrong {
            assert!(config.check().unwrap_err().to_string().contains("expected"), "{config:?}");
        }
    }
}
