//! A graph that the core runs itself.

use std::sync::Arc;

use crate::{
    artifact::{Artifact, EncoderSpec, FileBytes},
    encoder::{
        Pattern, TableEncoder,
        ports::{Size, TOKENS, check_inputs, check_ports},
    },
    error::{Error, Result},
    onnx::{DataType, Graph},
    scorer::{MatrixFactorizationScorer, dot},
};

/// A graph that the core runs itself, with the pair folded in.
#[derive(Debug)]
pub(crate) struct Native {
    /// Absent where embeddings come from the caller.
    encoder: Option<Arc<TableEncoder>>,
    scorer: MatrixFactorizationScorer,
    /// Its dot product with an embedding is the logit.
    pair: Vec<f32>,
}

impl Native {
    /// The native form of a graph, or the first thing about it that the core does not know.
    pub(super) fn recognize(
        artifact: &Artifact,
        file: (&FileBytes, &str),
        graph: &Graph<'_>,
        (strong, weak): (usize, usize),
    ) -> std::result::Result<Self, String> {
        let manifest = artifact.manifest();
        let mut pattern = Pattern::new(graph)?;
        let inputs = ["input_ids", "attention_mask", "strong", "weak"];
        let encoder = match manifest.encoder {
            EncoderSpec::Graph { .. } => Some(TableEncoder::recognize(file, graph, &inputs, &mut pattern)?),
            EncoderSpec::External { .. } => {
                check_inputs(graph, &["embedding", "strong", "weak"])?;
                None
            }
        };
        let scorer = MatrixFactorizationScorer::recognize(graph, &mut pattern)?;
        if encoder.as_ref().is_some_and(|encoder| encoder.dim() != scorer.dim()) {
            return Err(format!("the head takes {} numbers, the encoder makes others", scorer.dim()));
        }
        let of_prompts = |columns| [Size::Prompts, Size::Of(columns)];
        let (embeddings, scores) = (of_prompts(scorer.dim()), of_prompts(scorer.models()));
        let embedding = ("embedding", DataType::F32, &embeddings[..]);
        let [ids, mask] = ["input_ids", "attention_mask"].map(|name| (name, DataType::I64, TOKENS));
        let [strong_row, weak_row] = ["strong", "weak"].map(|name| (name, DataType::I64, &[][..]));
        let head = [("model_scores", DataType::F32, &scores[..]), ("win_rate", DataType::F32, &[Size::Prompts][..])];
        match &encoder {
            Some(_) => check_ports(graph, &[ids, mask, strong_row, weak_row], &[embedding, head[0], head[1]])?,
            None => check_ports(graph, &[embedding, strong_row, weak_row], &head)?,
        }
        // A manifest that does not fit is told later; until then no pair may be out of range.
        let pair = if strong.max(weak) < scorer.models() { scorer.fold_pair(strong, weak) } else { vec![] };
        Ok(Self { encoder, scorer, pair })
    }

    /// Whether the manifest speaks of this graph.
    pub(super) fn check_against(&self, artifact: &Artifact) -> Result<()> {
        let manifest = artifact.manifest();
        let (dim, models) = (manifest.encoder.dim(), manifest.models.len());
        if dim != self.scorer.dim() {
            let message = format!("{dim}, but embeddings of the graph have {} numbers", self.scorer.dim());
            return Err(artifact.manifest_error("encoder.dim", message));
        }
        if models != self.scorer.models() {
            let message = format!("{models} names, but the graph scores {} models", self.scorer.models());
            return Err(artifact.manifest_error("models", message));
        }
        Ok(())
    }

    /// Number of token ids of the encoder, where there is one.
    pub(super) fn vocabulary(&self) -> Option<usize> {
        self.encoder.as_ref().map(|encoder| encoder.vocabulary())
    }

    pub(super) fn embed_into(&self, ids: &[u32], embedding: &mut Vec<f32>) -> Result<()> {
        let encoder = self.encoder.as_ref().ok_or_else(|| Error::inference("this graph has no encoder"))?;
        embedding.resize(encoder.dim(), 0.0);
        encoder.encode(ids, embedding);
        Ok(())
    }

    /// Logit of the pair.
    pub(super) fn logit(&self, embedding: &[f32]) -> f32 {
        dot(&self.pair, embedding)
    }

    pub(super) fn model_scores(&self, embedding: &[f32]) -> Vec<f32> {
        self.scorer.model_scores(embedding)
    }
}
