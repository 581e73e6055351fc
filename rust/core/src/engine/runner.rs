//! One ONNX Runtime session: opens a graph on a device, checks its interface, runs batches.
//!
//! The graph must take `input_ids` and `attention_mask` (int64 `[prompts, tokens]`), or `embedding` (float32 `[prompts, dim]`), and
//! make the output of its head (float32 `[prompts, width]`); `strong` and `weak` (int64 scalars) are supplied where it asks for them.

use ort::{
    ep,
    session::{Session, SessionInputValue, builder::SessionBuilder},
    value::{Tensor, TensorElementType, ValueType},
};

use super::environment::environment;
use crate::{
    artifact::{Artifact, EncoderSpec},
    batcher::{Request, Row, RunError, Runner, bucket},
    config::{Device, RouterConfig},
    error::{Error, Result},
};

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
#[derive(Debug)]
pub(super) struct OnnxRunner {
    session: Session,
    output: &'static str,
    width: usize,
    dim: usize,
    takes_embeddings: bool,
    makes_embeddings: bool,
    pair: Option<(usize, usize)>,
    /// Shapes are rounded up on devices that plan or capture them.
    fixed_shapes: bool,
}

/// Whether a value is a float32 matrix of that width, as far as the graph says: sizes may be open, and so may the whole shape.
fn is_matrix_of(value: &ValueType, width: usize) -> bool {
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = value else { return false };
    shape.is_empty() || (shape.len() == 2 && (shape[1] < 0 || shape[1] == width as i64))
}

/// Options of a session on a device. A device that cannot be had is an error: ONNX Runtime would fall back silently.
fn builder(opening: &Opening, device: Device, cache: &std::path::Path) -> Result<SessionBuilder> {
    let config = &opening.config;
    let environment = environment(config.onnxruntime_library.as_deref(), &opening.not_native_because)?;
    let engine = |error: String| Error::Engine(error);
    let mut builder = Session::builder(environment).map_err(|error| engine(error.to_string()))?;
    if config.threads > 0 {
        builder = builder.with_intra_threads(config.threads).map_err(|error| engine(error.to_string()))?;
    }
    let id = |number: u32| i32::try_from(number).map_err(|_| Error::Device(format!("there is no device {device}")));
    let cuda = |number: u32| -> Result<ep::CUDA> {
        let provider = ep::CUDA::default().with_device_id(id(number)?).with_tf32(false);
        Ok(match config.device_memory_bytes {
            Some(bytes) => {
                provider.with_memory_limit(bytes).with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
            }
            None => provider,
        })
    };
    let providers = match device {
        Device::Cpu => return Ok(builder),
        Device::Cuda(number) => vec![cuda(number)?.build().error_on_failure()],
        Device::TensorRt(number) => {
            let provider = ep::TensorRT::default()
                .with_device_id(id(number)?)
                .with_engine_cache(true)
                .with_engine_cache_path(cache.display())
                .with_timing_cache(true);
            let provider = match config.device_memory_bytes {
                Some(bytes) => provider.with_max_workspace_size(bytes),
                None => provider,
            };
            // What TensorRT does not take runs on the same GPU.
            vec![provider.build().error_on_failure(), cuda(number)?.build().error_on_failure()]
        }
    };
    builder.with_execution_providers(providers).map_err(|error| {
        Error::Device(format!(
            "device {device} cannot be had: {error}; install `turnout[gpu]` (and remove `turnout[onnx]`) and check the driver"
        ))
    })
}

impl OnnxRunner {
    pub(super) fn open(artifact: &Artifact, opening: &Opening, device: Device) -> Result<Self> {
        let manifest = artifact.manifest();
        let path = artifact.path().join(artifact.graph()?);
        let mut builder = builder(opening, device, artifact.path())?;
        let refused = |error: String| Error::artifact(&path, "graph", format!("ONNX Runtime refused it: {error}"));
        let not_data = [manifest.graph.as_ref(), manifest.tokenizer.as_ref().map(|spec| &spec.file)];
        for name in manifest.files.keys().filter(|name| !not_data.contains(&Some(name))) {
            builder = builder
                .with_external_initializer_file_in_memory(name, artifact.file(name)?)
                .map_err(|error| refused(error.to_string()))?;
        }
        let bytes = artifact.file(artifact.graph()?)?;
        let session = builder.commit_from_memory(&bytes).map_err(|error| refused(error.to_string()))?;
        let runner = Self {
            output: opening.output,
            width: opening.width,
            dim: manifest.encoder.dim(),
            takes_embeddings: matches!(manifest.encoder, EncoderSpec::External { .. }),
            makes_embeddings: session.outputs().iter().any(|outlet| outlet.name() == "embedding"),
            pair: None,
            fixed_shapes: !device.is_cpu(),
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

    /// Ids and mask of a batch. A prompt without tokens still needs a column; its mask is zero.
    fn token_inputs(&self, batch: &[&[u32]]) -> ort::Result<Vec<(&'static str, SessionInputValue<'static>)>> {
        let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(0).max(1);
        let shape = shape_of(batch.len(), longest, self.fixed_shapes);
        let [rows, tokens] = shape;
        let (mut ids, mut mask) = (vec![0i64; rows * tokens], vec![0i64; rows * tokens]);
        for (row, encoding) in batch.iter().enumerate() {
            let place = row * tokens..row * tokens + encoding.len();
            ids[place.clone()].iter_mut().zip(*encoding).for_each(|(to, &id)| *to = i64::from(id));
            mask[place].fill(1);
        }
        // Rows that only fill a shape see one token, so that nothing divides by zero.
        (batch.len()..rows).for_each(|row| mask[row * tokens] = 1);
        let (ids, mask) = (Tensor::from_array((shape, ids))?, Tensor::from_array((shape, mask))?);
        Ok(vec![("input_ids", ids.into()), ("attention_mask", mask.into())])
    }

    fn embedding_inputs(&self, batch: &[&[f32]]) -> ort::Result<Vec<(&'static str, SessionInputValue<'static>)>> {
        let tensor = Tensor::from_array(([batch.len(), self.dim], batch.concat()))?;
        Ok(vec![("embedding", tensor.into())])
    }

    fn rows(
        &mut self,
        mut inputs: Vec<(&'static str, SessionInputValue<'static>)>,
        output: &'static str,
        rows: usize,
        width: usize,
    ) -> std::result::Result<Vec<Row>, RunError> {
        let failed = |error: ort::Error| match error.to_string() {
            message if is_out_of_memory(&message) => RunError::OutOfMemory(message),
            message => RunError::Failed(Error::Inference(format!("ONNX Runtime: {message}"))),
        };
        if let Some((strong, weak)) = self.pair {
            for (name, row) in [("strong", strong), ("weak", weak)] {
                let scalar = Tensor::from_array(([0usize; 0], vec![row as i64])).map_err(failed)?;
                inputs.push((name, scalar.into()));
            }
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        let (shape, values) = outputs[output].try_extract_tensor::<f32>().map_err(failed)?;
        let found = &shape[..];
        let fits =
            found.len() == 2 && found[0] >= rows as i64 && found[1] > 0 && (width == 0 || found[1] == width as i64);
        if !fits {
            let width = if width == 0 { "tokens".to_owned() } else { width.to_string() };
            let message = format!("{output} has the shape {found:?}, expected [{rows}, {width}]");
            return Err(RunError::Failed(Error::Inference(message)));
        }
        Ok(values.chunks_exact(found[1] as usize).take(rows).map(<[f32]>::to_vec).collect())
    }
}

/// Rows and tokens of the tensors for a batch. With fixed shapes, rows are a power of two and tokens a bucket, so that few shapes
/// occur and each is planned (TensorRT) or allocated (CUDA) once.
fn shape_of(rows: usize, tokens: usize, fixed: bool) -> [usize; 2] {
    if fixed { [rows.next_power_of_two(), bucket(tokens)] } else { [rows, tokens] }
}

/// Whether ONNX Runtime's words mean that the device has no room left.
fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["failed to allocate memory", "out of memory", "cuda failure 2", "cudaerrormemoryallocation", "bad_alloc"]
        .iter()
        .any(|words| message.contains(words))
}

impl Runner for OnnxRunner {
    fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError> {
        let failed = |error: ort::Error| RunError::Failed(Error::Inference(format!("ONNX Runtime: {error}")));
        let refuse = |message: &str| Err(RunError::Failed(Error::InvalidInput(message.into())));
        let mut ids: Vec<&[u32]> = Vec::with_capacity(batch.len());
        let mut embeddings: Vec<&[f32]> = Vec::new();
        let (mut output, mut width) = (self.output, self.width);
        for request in batch {
            match request {
                Request::Scores(tokens) => ids.push(tokens),
                Request::Embedding(tokens) => {
                    (output, width) = ("embedding", self.dim);
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
        let inputs = if self.takes_embeddings { self.embedding_inputs(&embeddings) } else { self.token_inputs(&ids) };
        self.rows(inputs.map_err(failed)?, output, batch.len(), width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_fixed_only_where_asked() {
        assert_eq!(shape_of(5, 37, false), [5, 37]);
        assert_eq!(shape_of(5, 37, true), [8, 48]);
        assert_eq!(shape_of(1, 3, true), [1, 16]);
    }

    #[test]
    fn out_of_memory_is_known_by_its_words() {
        for message in [
            "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 17",
            "CUDA failure 2: out of memory ; GPU=0",
            "std::bad_alloc",
        ] {
            assert!(is_out_of_memory(message), "{message}");
        }
        assert!(!is_out_of_memory("Got invalid dimensions for input: input_ids"));
    }
}
