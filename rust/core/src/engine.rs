//! What runs the artifact's graph: the core itself where it knows the graph, else ONNX Runtime.

#[cfg(feature = "onnx")]
mod environment;
#[cfg(feature = "onnx")]
mod failure;
#[cfg(feature = "onnx")]
mod follow_ups;
#[cfg(feature = "onnx")]
mod head;
mod native;
#[cfg(feature = "onnx")]
mod network;
#[cfg(feature = "onnx")]
mod providers;
mod ranked;
#[cfg(feature = "onnx")]
mod runner;
#[cfg(feature = "onnx")]
mod sessions;

#[cfg(feature = "onnx")]
use std::sync::Arc;
use std::time::Instant;

use self::native::Native;
#[cfg(feature = "onnx")]
pub(crate) use self::network::Network;
use crate::{
    artifact::{Artifact, Kind, Precision, RankingSpec},
    config::{Devices, EngineChoice, RouterConfig},
    error::{Error, Result},
    interrupt::Interrupt,
    onnx::{DataFile, Graph},
    ranking::Ranking,
};

/// A graph ready to run for one pair of models.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a router; a box would cost the native path a load")]
pub(crate) enum Engine {
    Native(Native),
    Ranked(Box<ranked::Ranked>),
    #[cfg(feature = "onnx")]
    Network(Arc<Network>),
}

/// Of a graph that ONNX Runtime runs: why the core does not, and the number of token ids.
type Known = (String, Option<usize>);

impl Engine {
    pub(crate) fn open(artifact: &Artifact, pair: (usize, usize), config: &RouterConfig) -> Result<Self> {
        let manifest = artifact.manifest();
        let file = artifact.graph()?;
        let bytes = artifact.file(file)?;
        let path = artifact.path().join(file);
        let others = manifest.files.iter().filter(|(name, _)| manifest.kind != Kind::Mf && *name != file);
        let files: Vec<DataFile<'_>> = others.map(|(name, entry)| DataFile { name, bytes: entry.bytes }).collect();
        let graph = Graph::parse_beside(&bytes, &files).map_err(|message| Error::artifact(&path, "graph", message))?;
        let is_float16 = graph.float16 || manifest.graph_precision == Precision::Float16;
        if is_float16 && config.device.is_cpu() {
            return Err(Error::device(
                &config.device,
                format!(
                    "{}: holds float16 weights, which a CPU runs ten times slower than float32: open it with device \"cuda:0\", or \
                 export it in float32 or int8",
                    path.display()
                ),
            ));
        }
        if manifest.graph_precision == Precision::Int8 && !config.device.is_cpu() {
            return Err(Error::device(
                &config.device,
                format!(
                    "{}: multiplies int8, which ONNX Runtime does on the CPU alone, whatever the device: open it with device \"cpu\", or \
                 export it in float16 or float32",
                    path.display()
                ),
            ));
        }
        let native = match manifest.kind {
            Kind::Mf => Native::recognize(artifact, (&bytes, &manifest.files[file].sha256), &graph, pair),
            _ => Err("a router of this kind is a network".to_string()),
        };
        if let Ok(native) = &native {
            native.check_against(artifact)?;
        }
        let wanted = match (config.engine, config.device.is_cpu()) {
            (EngineChoice::Native, false) => {
                return Err(Error::device(
                    &config.device,
                    format!(
                        "device is {}, but the native engine runs on the CPU; use engine \"onnxruntime\"",
                        config.device
                    ),
                ));
            }
            (EngineChoice::Auto, false) => EngineChoice::OnnxRuntime,
            (choice, _) => choice,
        };
        match (wanted, native) {
            (EngineChoice::Auto | EngineChoice::Native, Ok(native)) => Ok(Self::Native(native)),
            (EngineChoice::Native, Err(reason)) => Err(Error::engine(
                None,
                format!("{}: the core does not run this graph natively: {reason}", path.display()),
            )),
            (_, native) => {
                let reason = native.err().unwrap_or_else(|| format!("engine {wanted:?} was asked for"));
                let vocabulary = graph.vocabulary;
                drop(graph);
                Self::open_network(artifact, pair, config, (reason, vocabulary))
            }
        }
    }

    /// An engine for battles; `pair` are the tiers of the strong and the weak model.
    pub(crate) fn open_ranked(
        artifact: &Artifact,
        spec: &RankingSpec,
        pair: (usize, usize),
        config: &RouterConfig,
    ) -> Result<Self> {
        ranked::Ranked::open(artifact, spec, pair, config).map(|ranked| Self::Ranked(Box::new(ranked)))
    }

    #[cfg(feature = "onnx")]
    fn open_network(artifact: &Artifact, pair: (usize, usize), config: &RouterConfig, known: Known) -> Result<Self> {
        Ok(Self::Network(Arc::new(Network::open(artifact, pair, config, known)?)))
    }

    #[cfg(not(feature = "onnx"))]
    fn open_network(_: &Artifact, _: (usize, usize), _: &RouterConfig, (reason, _): Known) -> Result<Self> {
        Err(Error::engine(
            None,
            format!("this build has no ONNX Runtime, and the core does not run the graph natively: {reason}"),
        ))
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.is_native() { "native" } else { "onnxruntime" }
    }

    pub(crate) fn is_native(&self) -> bool {
        matches!(self, Self::Native(_) | Self::Ranked(_))
    }

    pub(crate) fn is_microseconds(&self) -> bool {
        match self {
            Self::Ranked(ranked) => ranked.ranking.is_microseconds(),
            _ => self.is_native(),
        }
    }

    /// The battles that decide, where battles decide.
    pub(crate) fn ranking(&self) -> Option<&Ranking> {
        match self {
            Self::Ranked(ranked) => Some(&ranked.ranking),
            _ => None,
        }
    }

    pub(crate) fn device(&self) -> String {
        match self {
            Self::Native(_) | Self::Ranked(_) => Devices::default().to_string(),
            #[cfg(feature = "onnx")]
            Self::Network(network) => network.devices().to_string(),
        }
    }

    /// The network, if the core does not run the graph itself.
    #[cfg(feature = "onnx")]
    pub(crate) fn network(&self) -> Option<&Arc<Network>> {
        match self {
            Self::Native(_) | Self::Ranked(_) => None,
            Self::Network(network) => Some(network),
        }
    }

    pub(crate) fn close(&self) {
        #[cfg(feature = "onnx")]
        if let Self::Network(network) = self {
            network.close();
        }
    }

    pub(crate) fn not_native_because(&self) -> Option<&str> {
        match self {
            Self::Native(_) | Self::Ranked(_) => None,
            #[cfg(feature = "onnx")]
            Self::Network(network) => Some(network.not_native_because()),
        }
    }

    /// Number of token ids the graph knows, where the core can tell.
    pub(crate) fn vocabulary(&self) -> Option<usize> {
        match self {
            Self::Native(native) => native.vocabulary(),
            Self::Ranked(ranked) => ranked.encoder.as_ref().map(|encoder| encoder.vocabulary()),
            #[cfg(feature = "onnx")]
            Self::Network(network) => network.vocabulary(),
        }
    }

    /// Logit of the pair for one prompt; `embedding` is a buffer to work in.
    #[cfg_attr(not(feature = "onnx"), expect(unused_variables, reason = "native graphs never wait"))]
    pub(crate) fn logit(&self, ids: &[u32], embedding: &mut Vec<f32>, deadline: Option<Instant>) -> Result<f32> {
        match self {
            Self::Native(native) => {
                native.embed_into(ids, embedding)?;
                Ok(native.logit(embedding))
            }
            Self::Ranked(ranked) => {
                ranked.embed_into(ids, embedding)?;
                ranked.ranking.logit(embedding)
            }
            #[cfg(feature = "onnx")]
            Self::Network(network) => network.logit(ids, deadline),
        }
    }

    /// Logits of many prompts.
    #[cfg_attr(not(feature = "onnx"), expect(unused_variables, reason = "native graphs are interrupted between calls"))]
    pub(crate) fn logits(
        &self,
        encodings: Vec<Vec<u32>>,
        deadline: Option<Instant>,
        interrupt: &mut Option<Interrupt<'_>>,
    ) -> Result<Vec<f32>> {
        match self {
            Self::Native(_) => {
                let mut embedding = Vec::new();
                encodings.iter().map(|ids| self.logit(ids, &mut embedding, deadline)).collect()
            }
            Self::Ranked(ranked) => {
                let (mut embedding, mut matrix) = (Vec::new(), Vec::new());
                for ids in encodings {
                    ranked.embed_into(&ids, &mut embedding)?;
                    matrix.extend_from_slice(&embedding);
                }
                ranked.ranking.logits(&matrix)
            }
            #[cfg(feature = "onnx")]
            Self::Network(network) => {
                network.unless(interrupt, move |network, stop| network.logits(encodings, deadline, stop))
            }
        }
    }

    /// Logits of the pair for embeddings of the right length.
    #[cfg_attr(not(feature = "onnx"), expect(unused_variables, reason = "native graphs are interrupted between calls"))]
    pub(crate) fn logits_of_embeddings<'a>(
        &self,
        rows: impl Iterator<Item = &'a [f32]>,
        interrupt: &mut Option<Interrupt<'_>>,
    ) -> Result<Vec<f32>> {
        match self {
            Self::Native(native) => Ok(rows.map(|embedding| native.logit(embedding)).collect()),
            Self::Ranked(ranked) => ranked.ranking.logits(&rows.flatten().copied().collect::<Vec<f32>>()),
            #[cfg(feature = "onnx")]
            Self::Network(network) => network.logits_of_embeddings(rows, interrupt),
        }
    }

    pub(crate) fn embed(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let mut embedding = Vec::new();
        self.embed_into(ids, &mut embedding)?;
        Ok(embedding)
    }

    /// Writes the embedding of one prompt into a buffer.
    pub(crate) fn embed_into(&self, ids: &[u32], embedding: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Native(native) => native.embed_into(ids, embedding),
            Self::Ranked(ranked) => ranked.embed_into(ids, embedding),
            #[cfg(feature = "onnx")]
            Self::Network(network) => {
                *embedding = network.embed(ids)?;
                Ok(())
            }
        }
    }

    pub(crate) fn model_scores(&self, ids: &[u32]) -> Result<Vec<f32>> {
        match self {
            Self::Native(native) => {
                let mut embedding = Vec::new();
                native.embed_into(ids, &mut embedding)?;
                Ok(native.model_scores(&embedding))
            }
            Self::Ranked(ranked) => {
                let mut embedding = Vec::new();
                ranked.embed_into(ids, &mut embedding)?;
                ranked.ranking.model_scores(&embedding)
            }
            #[cfg(feature = "onnx")]
            Self::Network(network) => network.model_scores(ids),
        }
    }
}
