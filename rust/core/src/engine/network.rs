//! Any graph that the core does not run itself, through ONNX Runtime: sessions behind a batcher, and the head that reads their rows.

use std::time::Instant;

use super::{
    head::{Head, Step, logit_of_labels, step},
    own_thread::OwnThread,
    runner::{OnnxRunner, Opening},
    sessions::{Place, places},
};
use crate::{
    artifact::Artifact,
    batcher::{Batcher, Request, Row, Runner},
    config::{Devices, RouterConfig},
    error::{Error, Result},
};

/// A network ready to run for one pair of models.
#[derive(Debug)]
pub(crate) struct Network {
    batcher: Batcher<Box<dyn Runner>>,
    head: Head,
    devices: Devices,
    not_native_because: String,
    /// Tokens that the tokenizer's limit leaves, for generation.
    max_tokens: usize,
    /// The threads of a session belong to this process and do not live on in one that it forks.
    process: u32,
}

/// A session, on a thread of its own where it captures CUDA graphs.
fn session(artifact: &Artifact, opening: &Opening, place: Place) -> Result<Box<dyn Runner>> {
    let runner = OnnxRunner::open(artifact, opening, place)?;
    Ok(if opening.config.cuda_graphs { Box::new(OwnThread::new(runner)?) } else { Box::new(runner) })
}

impl Network {
    pub(crate) fn open(
        artifact: &Artifact,
        pair: (usize, usize),
        config: &RouterConfig,
        not_native_because: String,
    ) -> Result<Self> {
        let manifest = artifact.manifest();
        config.batch.check()?;
        let head = match (&manifest.labels, &manifest.generation) {
            (Some(labels), _) => Head::Labels(labels.clone()),
            (_, Some(generation)) => Head::Tokens(generation.clone()),
            _ => Head::Models(pair.0, pair.1),
        };
        if !matches!(head, Head::Models(..)) && pair != (0, 1) {
            return Err(Error::Config(format!(
                "this router was trained for {:?} over {:?} and scores no other direction; other names are labels",
                manifest.pair.strong, manifest.pair.weak
            )));
        }
        let width = match &head {
            Head::Models(..) => manifest.models.len(),
            Head::Labels(labels) => labels.len(),
            Head::Tokens(_) => 0,
        };
        let opening = Opening {
            config: config.clone(),
            output: head.output(),
            width,
            pair,
            not_native_because: not_native_because.clone(),
        };
        let places = places(config, manifest.files.values().map(|entry| entry.bytes).sum());
        let open = |&place: &Place| session(artifact, &opening, place);
        let runners = places.iter().map(open).collect::<Result<Vec<_>>>()?;
        let (path, hash) = (artifact.path().to_path_buf(), artifact.hash().to_owned());
        let restart = move |slot: usize| {
            let artifact = Artifact::open(&path)?;
            if artifact.hash() != hash {
                return Err(Error::WorkerStopped(format!(
                    "{} was replaced since the router was opened, and its session has to be made anew: open the router again",
                    path.display()
                )));
            }
            session(&artifact, &opening, places[slot])
        };
        Ok(Self {
            batcher: Batcher::new(runners, &config.batch, Box::new(restart)),
            head,
            devices: config.device.clone(),
            not_native_because,
            max_tokens: manifest.tokenizer.as_ref().map_or(0, |spec| spec.max_tokens),
            process: std::process::id(),
        })
    }

    pub(crate) fn devices(&self) -> &Devices {
        &self.devices
    }

    pub(crate) fn not_native_because(&self) -> &str {
        &self.not_native_because
    }

    pub(crate) fn close(&self) {
        self.batcher.close();
    }

    fn check_process(&self) -> Result<()> {
        if std::process::id() == self.process {
            return Ok(());
        }
        Err(Error::Inference(format!(
            "this router runs in ONNX Runtime and was opened in process {} before a fork, which its threads do not survive; \
             open it again in this process ({})",
            self.process,
            std::process::id()
        )))
    }

    /// Logit of one prompt.
    pub(crate) fn logit(&self, ids: &[u32], deadline: Option<Instant>) -> Result<f32> {
        self.check_process()?;
        let row = self.batcher.run(Request::scores(ids.to_vec()), deadline)?;
        self.logit_of_row(ids, &row, deadline)
    }

    /// Logits of many prompts.
    pub(crate) fn logits(&self, encodings: Vec<Vec<u32>>, deadline: Option<Instant>) -> Result<Vec<f32>> {
        self.check_process()?;
        let requests = encodings.iter().map(|ids| Request::scores(ids.clone())).collect();
        let rows = self.batcher.run_many(requests, deadline)?;
        encodings.iter().zip(rows).map(|(ids, row)| self.logit_of_row(ids, &row, deadline)).collect()
    }

    /// Leaves a prompt to the queue; `callback` is called once, on another thread. Returns what [`withdraw`](Self::withdraw) takes.
    ///
    /// # Errors
    /// Where the prompt cannot be left at all; `callback` is then dropped.
    pub(crate) fn submit(
        self: &std::sync::Arc<Self>,
        ids: Vec<u32>,
        callback: impl FnOnce(Result<f32>) + Send + 'static,
    ) -> Result<u64> {
        self.check_process()?;
        let network = std::sync::Arc::downgrade(self);
        let request = Request::scores(ids.clone());
        Ok(self.batcher.submit(request, None, move |row| {
            let logit = row.and_then(|row| match network.upgrade() {
                Some(network) => network.logit_of_row(&ids, &row, None),
                None => Err(Error::WorkerStopped("the router is gone".into())),
            });
            callback(logit);
        }))
    }

    pub(crate) fn withdraw(&self, id: u64) {
        self.batcher.withdraw(id);
    }

    /// Logits of embeddings in rows.
    pub(crate) fn logits_of_embeddings<'a>(&self, rows: impl Iterator<Item = &'a [f32]>) -> Result<Vec<f32>> {
        self.check_process()?;
        let requests = rows.map(|row| Request::ScoresOfEmbedding(row.to_vec())).collect();
        let rows = self.batcher.run_many(requests, None)?;
        rows.iter().map(|row| self.logit_of_row(&[], row, None)).collect()
    }

    pub(crate) fn embed(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.check_process()?;
        self.batcher.run(Request::Embedding(ids.to_vec()), None)
    }

    /// Scores of all models; none where the head scores a pair as a whole.
    pub(crate) fn model_scores(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.check_process()?;
        match self.head {
            Head::Models(..) => self.batcher.run(Request::scores(ids.to_vec()), None),
            Head::Labels(_) | Head::Tokens(_) => Ok(vec![]),
        }
    }

    fn logit_of_row(&self, ids: &[u32], row: &[f32], deadline: Option<Instant>) -> Result<f32> {
        match &self.head {
            Head::Models(strong, weak) => Ok(row[*strong] - row[*weak]),
            Head::Labels(labels) => Ok(logit_of_labels(labels, row)),
            Head::Tokens(_) => self.generate(ids, row, deadline),
        }
    }

    /// Reads on until a score comes. Nearly always the first token is one; where it is not, the text is run again with the token
    /// behind it, up to the limit of tokens. Without a score the win rate is 1, the strong model.
    fn generate(&self, ids: &[u32], row: &[f32], deadline: Option<Instant>) -> Result<f32> {
        let Head::Tokens(generation) = &self.head else { return Ok(f32::NAN) };
        if generation.score_tokens.iter().any(|&token| token as usize >= row.len()) {
            return Err(Error::Inference(format!(
                "the graph has logits of {} tokens, fewer than the scores",
                row.len()
            )));
        }
        let mut text = ids.to_vec();
        let mut next: Row = vec![];
        for place in 0..generation.max_new_tokens {
            match step(generation, if place == 0 { row } else { &next }) {
                Step::Score(logit) => return Ok(logit),
                Step::End => break,
                Step::Token(token) if place + 1 < generation.max_new_tokens && text.len() < self.max_tokens => {
                    text.push(token);
                    next = self.batcher.run(Request::scores(text.clone()), deadline)?;
                }
                Step::Token(_) => break,
            }
        }
        Ok(f32::INFINITY)
    }
}
