//! Any other graph, through ONNX Runtime, opened at run time from the library that pip installed.
//!
//! The graph must take `input_ids` and `attention_mask` (int64 `[prompts, tokens]`) and make `model_scores` (float32
//! `[prompts, models]`); `strong` and `weak` (int64 scalars) are supplied where it asks for them, `embedding` is read where it
//! makes one.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use ort::{
    environment::Environment,
    ep,
    logging::LogLevel,
    session::{Session, SessionInputValue, SessionOutputs},
    value::{Tensor, TensorElementType, ValueType},
};

use crate::{
    artifact::{Artifact, EncoderSpec},
    config::{Device, RouterConfig},
    error::{Error, Result},
};

/// Prompts in one run, and tokens in one run with padding: a batch must not take gigabytes.
const MAX_ROWS: usize = 64;
const MAX_PADDED_TOKENS: usize = 16_384;

/// One loaded model. Runs are one at a time; ONNX Runtime uses the machine's threads within a run.
#[derive(Debug)]
pub(crate) struct OnnxSession {
    session: Mutex<Session>,
    takes_embeddings: bool,
    makes_embeddings: bool,
    takes_pair: bool,
    models: usize,
    dim: usize,
    pair: (usize, usize),
    device: Device,
    not_native_because: String,
    /// The threads of a session belong to this process and do not live on in one that it forks.
    process: u32,
}

/// The process-wide environment and the library it was opened from; ONNX Runtime has one of each in a process.
static ENVIRONMENT: OnceLock<(PathBuf, Environment)> = OnceLock::new();
static OPENING: Mutex<()> = Mutex::new(());

fn environment(library: Option<&Path>, needed_because: &str) -> Result<&'static Environment> {
    let _guard = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = ENVIRONMENT.get() {
        return match library {
            Some(library) if library != loaded => Err(Error::Engine(format!(
                "ONNX Runtime was opened from {} before, and a process can hold one only; {} was asked for",
                loaded.display(),
                library.display()
            ))),
            _ => Ok(environment),
        };
    }
    let library = library.ok_or_else(|| {
        Error::Engine(format!(
            "ONNX Runtime is not installed: `pip install turnout[onnx]`, or `turnout[gpu]` for a GPU (needed because the core does \
             not run this graph natively: {needed_because})"
        ))
    })?;
    let refused = |error: String| Error::Engine(format!("ONNX Runtime at {}: {error}", library.display()));
    let environment = ort::init_from(library)
        .map_err(|error| refused(error.to_string()))?
        .with_name("turnout")
        .with_telemetry(false)
        .build()
        .map_err(|error| refused(error.to_string()))?;
    // Whatever goes wrong is told by an error value, not on the standard error stream as well.
    environment.set_log_level(LogLevel::Fatal);
    Ok(&ENVIRONMENT.get_or_init(|| (library.to_path_buf(), environment)).1)
}

/// Whether a value is a float32 matrix of that width, as far as the graph says: sizes may be open, and so may the whole shape.
fn is_matrix_of(value: &ValueType, width: usize) -> bool {
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = value else { return false };
    shape.is_empty() || (shape.len() == 2 && (shape[1] < 0 || shape[1] == width as i64))
}

impl OnnxSession {
    pub(crate) fn open(
        artifact: &Artifact,
        bytes: &[u8],
        pair: (usize, usize),
        config: &RouterConfig,
        not_native_because: String,
    ) -> Result<Self> {
        let path = artifact.path().join(artifact.graph()?);
        let environment = environment(config.onnxruntime_library.as_deref(), &not_native_because)?;
        let refused = |error: String| Error::artifact(&path, "graph", format!("ONNX Runtime refused it: {error}"));
        let mut builder = Session::builder(environment).map_err(|error| Error::Engine(error.to_string()))?;
        if config.threads > 0 {
            builder = builder.with_intra_threads(config.threads).map_err(|error| Error::Engine(error.to_string()))?;
        }
        if let Device::Cuda(number) = config.device {
            let number =
                i32::try_from(number).map_err(|_| Error::Device(format!("there is no device {}", config.device)))?;
            let cuda = ep::CUDA::default().with_device_id(number).build().error_on_failure();
            builder = builder.with_execution_providers([cuda]).map_err(|error| {
                Error::Device(format!(
                    "device {} cannot be had: {error}; install `turnout[gpu]` and check the driver",
                    config.device
                ))
            })?;
        }
        let session = builder.commit_from_memory(bytes).map_err(|error| refused(error.to_string()))?;
        let inputs: Vec<&str> = session.inputs().iter().map(|outlet| outlet.name()).collect();
        let makes = |name: &str| session.outputs().iter().any(|outlet| outlet.name() == name);
        let takes_embeddings = matches!(artifact.manifest().encoder, EncoderSpec::External { .. });
        let expected: &[&str] = if takes_embeddings { &["embedding"] } else { &["input_ids", "attention_mask"] };
        let takes_pair = inputs.contains(&"strong") && inputs.contains(&"weak");
        let known = |name: &&str| expected.contains(name) || (takes_pair && (*name == "strong" || *name == "weak"));
        if !inputs.iter().all(known) || !expected.iter().all(|name| inputs.contains(name)) || !makes("model_scores") {
            return Err(Error::artifact(
                &path,
                "graph",
                format!(
                    "takes {inputs:?}, expected {expected:?} (with strong and weak, or without), making model_scores"
                ),
            ));
        }
        let models = artifact.manifest().models.len();
        for scores in session.outputs().iter().filter(|outlet| outlet.name() == "model_scores") {
            if !is_matrix_of(scores.dtype(), models) {
                let message = format!("model_scores is {}, expected float32 [prompts, {models}]", scores.dtype());
                return Err(Error::artifact(&path, "graph", message));
            }
        }
        Ok(Self {
            takes_embeddings,
            makes_embeddings: makes("embedding"),
            takes_pair,
            models,
            dim: artifact.manifest().encoder.dim(),
            pair,
            device: config.device,
            not_native_because,
            process: std::process::id(),
            session: Mutex::new(session),
        })
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    pub(crate) fn not_native_because(&self) -> &str {
        &self.not_native_because
    }

    /// Runs the session over named inputs and reads one output as rows of `width`.
    fn run(
        &self,
        mut inputs: Vec<(&'static str, SessionInputValue<'_>)>,
        output: &str,
        rows: usize,
        width: usize,
    ) -> Result<Vec<f32>> {
        if std::process::id() != self.process {
            return Err(Error::Inference(format!(
                "this router runs in ONNX Runtime and was opened in process {} before a fork, which its threads do not survive; \
                 open it again in this process ({})",
                self.process,
                std::process::id()
            )));
        }
        let failed = |error: ort::Error| Error::Inference(format!("ONNX Runtime: {error}"));
        if self.takes_pair {
            for (name, row) in [("strong", self.pair.0), ("weak", self.pair.1)] {
                let scalar = Tensor::from_array(([0usize; 0], vec![row as i64])).map_err(failed)?;
                inputs.push((name, scalar.into()));
            }
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs: SessionOutputs<'_> = session.run(inputs).map_err(failed)?;
        let (shape, values) = outputs[output].try_extract_tensor::<f32>().map_err(failed)?;
        if shape[..] != [rows as i64, width as i64] {
            let found = &shape[..];
            return Err(Error::Inference(format!("{output} has the shape {found:?}, expected [{rows}, {width}]")));
        }
        Ok(values.to_vec())
    }

    fn run_ids(&self, encodings: &[&[u32]], output: &str, width: usize) -> Result<Vec<f32>> {
        if self.takes_embeddings {
            return Err(Error::InvalidInput("this graph takes embeddings, not prompts".into()));
        }
        // A prompt without tokens still needs a column; its mask is zero.
        let tokens = encodings.iter().map(|ids| ids.len()).max().unwrap_or(0).max(1);
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for encoding in encodings {
            let padding = tokens - encoding.len();
            ids.extend(encoding.iter().map(|&id| i64::from(id)).chain(std::iter::repeat_n(0, padding)));
            mask.extend(encoding.iter().map(|_| 1i64).chain(std::iter::repeat_n(0, padding)));
        }
        let failed = |error: ort::Error| Error::Inference(format!("ONNX Runtime: {error}"));
        let shape = [encodings.len(), tokens];
        let ids = Tensor::from_array((shape, ids)).map_err(failed)?;
        let mask = Tensor::from_array((shape, mask)).map_err(failed)?;
        self.run(vec![("input_ids", ids.into()), ("attention_mask", mask.into())], output, encodings.len(), width)
    }

    fn logit_of_scores(&self, scores: &[f32]) -> f32 {
        scores[self.pair.0] - scores[self.pair.1]
    }

    pub(crate) fn logits(&self, encodings: &[&[u32]]) -> Result<Vec<f32>> {
        let scores = self.run_ids(encodings, "model_scores", self.models)?;
        Ok(scores.chunks_exact(self.models).map(|row| self.logit_of_scores(row)).collect())
    }

    /// Logits of any number of prompts: similar lengths share a run, so that little is padding.
    pub(crate) fn logits_in_batches(&self, encodings: &[Vec<u32>]) -> Result<Vec<f32>> {
        let mut order: Vec<usize> = (0..encodings.len()).collect();
        order.sort_by_key(|&row| encodings[row].len());
        let mut logits = vec![0.0; encodings.len()];
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let fits = |rows: usize| rows * encodings[rest[rows - 1]].len() <= MAX_PADDED_TOKENS;
            let rows = (1..=rest.len().min(MAX_ROWS)).take_while(|&rows| fits(rows)).last().unwrap_or(1);
            let (batch, later) = rest.split_at(rows);
            let ids: Vec<&[u32]> = batch.iter().map(|&row| encodings[row].as_slice()).collect();
            for (&row, logit) in batch.iter().zip(self.logits(&ids)?) {
                logits[row] = logit;
            }
            rest = later;
        }
        Ok(logits)
    }

    pub(crate) fn logit_of_embedding(&self, embedding: &[f32]) -> Result<f32> {
        if !self.takes_embeddings {
            return Err(Error::InvalidInput(
                "this graph runs in ONNX Runtime from token ids; it takes prompts, not embeddings".into(),
            ));
        }
        let failed = |error: ort::Error| Error::Inference(format!("ONNX Runtime: {error}"));
        let tensor = Tensor::from_array(([1, embedding.len()], embedding.to_vec())).map_err(failed)?;
        let scores = self.run(vec![("embedding", tensor.into())], "model_scores", 1, self.models)?;
        Ok(self.logit_of_scores(&scores))
    }

    pub(crate) fn embed(&self, ids: &[u32]) -> Result<Vec<f32>> {
        if !self.makes_embeddings {
            return Err(Error::InvalidInput("this graph makes no embedding".into()));
        }
        self.run_ids(&[ids], "embedding", self.dim)
    }

    pub(crate) fn model_scores(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.run_ids(&[ids], "model_scores", self.models)
    }
}
