//! One ONNX Runtime session: opens a graph on a device, checks its interface, runs batches.
//!
//! The graph must take `input_ids` and `attention_mask` (int64 `[prompts, tokens]`), or `embedding` (float32 `[prompts, dim]`), and
//! make the output of its head (float32 `[prompts, width]`); `strong` and `weak` (int64 scalars) are supplied where it asks for them.
//!
//! On a CPU the tensors of a run are as long as its longest prompt. On a GPU shapes are rounded up, so that few occur: TensorRT plans
//! for shapes, and CUDA libraries choose kernels by them.

use ort::{
    session::{Session, SessionInputValue},
    value::{Tensor, TensorElementType, ValueType},
};

use super::{failure::run_error, providers::builder, sessions::Place};
use crate::{
    artifact::{Artifact, EncoderSpec},
    batcher::{Request, Row, RunError, Runner, fixed_length, fixed_rows},
    config::RouterConfig,
    error::{Error, Result},
};

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Tokens(&'a [&'a [u32]]),
    Embeddings(&'a [&'a [f32]]),
}

/// How to open a session; kept, for a session that panicked is opened again.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) config: RouterConfig,
    /// Name and width of the output that the head reads.
    pub(super) output: &'static str,
    pub(super) width: usize,
    pub(super) pair: (usize, usize),
    pub(super) not_native_because: String,
}

/// A session and what its graph takes.
pub(super) struct OnnxRunner {
    session: Session,
    output: &'static str,
    width: usize,
    dim: usize,
    takes_embeddings: bool,
    makes_embeddings: bool,
    pair: Option<(usize, usize)>,
    /// Whether shapes are rounded up.
    fixed_shapes: bool,
    /// Beyond these the network may have no positions, not even for padding.
    max_tokens: usize,
}

/// Whether a value is a float32 matrix of that width, as far as the graph says: sizes may be open, and so may the whole shape.
fn is_matrix_of(value: &ValueType, width: usize) -> bool {
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = value else { return false };
    shape.is_empty() || (shape.len() == 2 && (shape[1] < 0 || shape[1] == width as i64))
}

impl OnnxRunner {
    pub(super) fn open(artifact: &Artifact, opening: &Opening, place: Place) -> Result<Self> {
        let manifest = artifact.manifest();
        let path = artifact.path().join(artifact.graph()?);
        let mut builder = builder(artifact, &opening.config, place, &opening.not_native_because)?;
        let refused = |error: ort::Error| {
            Error::artifact(&path, "graph", format!("ONNX Runtime refused it: {error}")).caused_by(error)
        };
        let not_data = [manifest.graph.as_ref(), manifest.tokenizer.as_ref().map(|spec| &spec.file)];
        for name in manifest.files.keys().filter(|name| !not_data.contains(&Some(name))) {
            builder = builder
                .with_external_initializer_file_in_memory(name, artifact.file(name)?.shared())
                .map_err(|error| refused(error.into()))?;
        }
        let bytes = artifact.file(artifact.graph()?)?;
        let session = builder.commit_from_memory(&bytes).map_err(refused)?;
        let runner = Self {
            output: opening.output,
            width: opening.width,
            dim: manifest.encoder.dim(),
            takes_embeddings: matches!(manifest.encoder, EncoderSpec::External { .. }),
            makes_embeddings: session.outputs().iter().any(|outlet| outlet.name() == "embedding"),
            pair: None,
            fixed_shapes: !place.device.is_cpu(),
            max_tokens: manifest.tokenizer.as_ref().map_or(1, |spec| spec.max_tokens),
            session,
        };
        runner.check(opening).map_err(|message| Error::artifact(&path, "graph", message))
    }

    /// Whether the graph has the interface that its manifest promises.
    fn check(mut self, opening: &Opening) -> std::result::Result<Self, String> {
        let inputs: Vec<&str> = self.session.inputs().iter().map(|outlet| outlet.name()).collect();
        let expected: &[&str] = if self.takes_embeddings { &["embedding"] } else { &["input_ids", "attention_mask"] };
        let takes_pair = inputs.contains(&"strong") && inputs.contains(&"weak");
        let known = |name: &&str| expected.contains(name) || (takes_pair && (*name == "strong" || *name == "weak"));
        let output = self.session.outputs().iter().find(|outlet| outlet.name() == self.output);
        let (Some(output), true, true) =
            (output, inputs.iter().all(known), expected.iter().all(|name| inputs.contains(name)))
        else {
            return Err(format!(
                "takes {inputs:?}, expected {expected:?} (with strong and weak, or without), making {}",
                self.output
            ));
        };
        let shape = match self.width {
            0 => matches!(output.dtype(), ValueType::Tensor { ty: TensorElementType::Float32, .. }),
            width => is_matrix_of(output.dtype(), width),
        };
        if !shape {
            let width = if self.width == 0 { "tokens".to_owned() } else { self.width.to_string() };
            return Err(format!("{} is {}, expected float32 [prompts, {width}]", self.output, output.dtype()));
        }
        self.pair = takes_pair.then_some(opening.pair);
        Ok(self)
    }

    /// Rows and columns of the tensors of a run. A prompt without tokens still needs a column.
    fn shape(&self, content: Content<'_>) -> [usize; 2] {
        match content {
            Content::Tokens(batch) => {
                let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(0).max(1);
                if self.fixed_shapes {
                    [fixed_rows(batch.len()), fixed_length(longest, self.max_tokens)]
                } else {
                    [batch.len(), longest]
                }
            }
            Content::Embeddings(batch) if self.fixed_shapes => [fixed_rows(batch.len()), self.dim],
            Content::Embeddings(batch) => [batch.len(), self.dim],
        }
    }

    fn inputs(
        &self,
        content: Content<'_>,
        shape: [usize; 2],
    ) -> ort::Result<Vec<(&'static str, SessionInputValue<'static>)>> {
        let size = shape[0] * shape[1];
        let mut inputs = vec![];
        match content {
            Content::Tokens(batch) => {
                let (mut ids, mut mask) = (vec![0; size], vec![0; size]);
                write_tokens(batch, shape, &mut ids, &mut mask);
                inputs.push(("input_ids", Tensor::from_array((shape, ids))?.into()));
                inputs.push(("attention_mask", Tensor::from_array((shape, mask))?.into()));
            }
            Content::Embeddings(batch) => {
                let mut values = batch.concat();
                values.resize(size, 0.0);
                inputs.push(("embedding", Tensor::from_array((shape, values))?.into()));
            }
        }
        if let Some((strong, weak)) = self.pair {
            for (name, row) in [("strong", strong), ("weak", weak)] {
                inputs.push((name, Tensor::from_array(([0usize; 0], vec![row as i64]))?.into()));
            }
        }
        Ok(inputs)
    }

    /// Rows of an output.
    fn rows(
        &mut self,
        content: Content<'_>,
        output: &'static str,
        rows: usize,
    ) -> std::result::Result<Vec<Row>, RunError> {
        let inputs = self.inputs(content, self.shape(content)).map_err(run_error)?;
        let outputs = self.session.run(inputs).map_err(run_error)?;
        let (shape, values) = outputs[output].try_extract_tensor::<f32>().map_err(run_error)?;
        let found = &shape[..];
        let width = if output == "embedding" { self.dim } else { self.width };
        let fits =
            found.len() == 2 && found[0] >= rows as i64 && found[1] > 0 && (width == 0 || found[1] == width as i64);
        if !fits {
            let width = if width == 0 { "tokens".to_owned() } else { width.to_string() };
            let message = format!("{output} has the shape {found:?}, expected [{rows}, {width}]");
            return Err(RunError::Failed(Error::inference(message)));
        }
        Ok(values.chunks_exact(found[1] as usize).take(rows).map(<[f32]>::to_vec).collect())
    }
}

impl Runner for OnnxRunner {
    fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError> {
        let refuse = |message: &str| Err(RunError::Failed(Error::invalid_input("prompt", message)));
        let mut ids: Vec<&[u32]> = Vec::with_capacity(batch.len());
        let mut embeddings: Vec<&[f32]> = Vec::new();
        let mut output = self.output;
        for request in batch {
            match request {
                Request::Scores(tokens) => ids.push(tokens),
                Request::Embedding(tokens) => {
                    output = "embedding";
                    ids.push(tokens);
                }
                Request::ScoresOfEmbedding(values) => embeddings.push(values),
            }
        }
        if output == "embedding" && !self.makes_embeddings {
            return refuse("this graph makes no embedding");
        }
        if self.takes_embeddings != ids.is_empty() {
            return refuse(if self.takes_embeddings {
                "this graph takes embeddings, not prompts"
            } else {
                "this graph runs in ONNX Runtime from token ids; it takes prompts, not embeddings"
            });
        }
        let content = if self.takes_embeddings { Content::Embeddings(&embeddings) } else { Content::Tokens(&ids) };
        self.rows(content, output, batch.len())
    }
}

/// Ids and mask of a batch, each `[rows, tokens]`. A prompt without tokens has a mask of zeros; rows that only fill the shape see one
/// token, so that nothing divides by zero.
fn write_tokens(batch: &[&[u32]], [_, tokens]: [usize; 2], ids: &mut [i64], mask: &mut [i64]) {
    for ((ids, mask), encoding) in ids.chunks_exact_mut(tokens).zip(mask.chunks_exact_mut(tokens)).zip(batch) {
        ids.iter_mut().zip(*encoding).for_each(|(to, &id)| *to = i64::from(id));
        mask[..encoding.len()].fill(1);
    }
    mask.chunks_exact_mut(tokens).skip(batch.len()).for_each(|row| row[0] = 1);
}

#[cfg(test)]
mod tests;
