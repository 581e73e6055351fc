//! Routers that rank by battles: an encoder of the core's own, or the caller's embeddings, and the battles near them.

use std::sync::Arc;

use crate::{
    artifact::{Artifact, EncoderSpec, RankingSpec},
    config::{EngineChoice, RouterConfig},
    encoder::{
        Pattern, TableEncoder,
        ports::{Size, TOKENS, check_ports},
    },
    error::{Error, Result},
    onnx::{DataType, Graph},
    ranking::Ranking,
};

/// An encoder and the battles that decide.
#[derive(Debug)]
pub(crate) struct Ranked {
    /// Absent where embeddings come from the caller.
    pub(super) encoder: Option<Arc<TableEncoder>>,
    pub(super) ranking: Ranking,
}

impl Ranked {
    pub(crate) fn open(
        artifact: &Artifact,
        spec: &RankingSpec,
        pair: (usize, usize),
        config: &RouterConfig,
    ) -> Result<Self> {
        if config.engine == EngineChoice::OnnxRuntime || !config.device.is_cpu() {
            return Err(Error::engine(
                None,
                format!(
                    "routers of the kind sw_ranking run natively on the CPU; engine {:?} on device {} was asked for (a FAISS index may lie on a GPU)",
                    config.engine, config.device
                ),
            ));
        }
        let encoder = match (&artifact.manifest().graph, &artifact.manifest().encoder) {
            (Some(graph), EncoderSpec::Graph { dim }) => Some(Self::encoder(artifact, graph, *dim)?),
            _ => None,
        };
        Ok(Self { encoder, ranking: Ranking::open(artifact, spec, pair, config)? })
    }

    fn encoder(artifact: &Artifact, file: &str, dim: usize) -> Result<Arc<TableEncoder>> {
        let path = artifact.path().join(file);
        let bytes = artifact.file(file)?;
        let sha256 = &artifact.manifest().files[file].sha256;
        let graph = Graph::parse(&bytes).map_err(|message| Error::artifact(&path, "graph", message))?;
        let recognized = Pattern::new(&graph).and_then(|mut pattern| {
            let inputs = ["input_ids", "attention_mask"];
            let encoder = TableEncoder::recognize((&bytes, sha256), &graph, &inputs, &mut pattern)?;
            pattern.end()?;
            let tokens = inputs.map(|name| (name, DataType::I64, TOKENS));
            let embedding = [Size::Prompts, Size::Of(encoder.dim())];
            check_ports(&graph, &tokens, &[("embedding", DataType::F32, &embedding)])?;
            Ok(encoder)
        });
        let encoder = recognized.map_err(|reason| {
            Error::engine(None, format!("{}: the core does not run this encoder natively: {reason}; pass embeddings instead (an external encoder)", path.display()))
        })?;
        if encoder.dim() != dim {
            let message = format!("{dim}, but embeddings of the graph have {} numbers", encoder.dim());
            return Err(artifact.manifest_error("encoder.dim", message));
        }
        Ok(encoder)
    }

    pub(super) fn embed_into(&self, ids: &[u32], embedding: &mut Vec<f32>) -> Result<()> {
        let encoder = self.encoder.as_ref().ok_or_else(|| Error::inference("this router has no encoder"))?;
        embedding.resize(encoder.dim(), 0.0);
        encoder.encode(ids, embedding);
        Ok(())
    }
}
