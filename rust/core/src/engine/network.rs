//! Any graph that the core does not run itself, through ONNX Runtime: sessions behind a batcher, and the head that reads their rows.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Instant,
};

use super::{
    follow_ups::FollowUps,
    head::{Head, Step, logit_of_labels, step},
    runner::{OnnxRunner, Opening},
    sessions::{Place, places},
};
use crate::{
    artifact::Artifact,
    batcher::{Admission, Batcher, Request, Row},
    config::{Devices, RouterConfig},
    error::{Error, Result, StopReason},
    interrupt::{CHECK_EVERY, Interrupt},
};

/// A network ready to run for one pair of models.
#[derive(Debug)]
pub(crate) struct Network {
    batcher: Batcher<OnnxRunner>,
    head: Head,
    devices: Devices,
    not_native_because: String,
    vocabulary: Option<usize>,
    /// Tokens that the tokenizer's limit leaves, for generation.
    max_tokens: usize,
    follow_ups: FollowUps,
}

/// What a row says.
enum Read {
    /// The logit of the win rate.
    Logit(f32),
    /// Nothing yet: the text goes on with this token.
    On(u32),
}

/// What was let in is read on from, however many wait by now.
fn admission(place: usize) -> Admission {
    if place == 0 { Admission::Asked } else { Admission::Given }
}

/// ONNX Runtime waits forever for threads that the system does not give, so they are asked for first.
fn check_threads(count: usize) -> Result<()> {
    let gate = RwLock::new(());
    let started = std::thread::scope(|scope| {
        let closed = gate.write();
        for _ in 0..count {
            std::thread::Builder::new().spawn_scoped(scope, || drop(gate.read()))?;
        }
        drop(closed);
        Ok::<(), std::io::Error>(())
    });
    started.map_err(|error| {
        let message =
            format!("{count} threads cannot be started: {error}; load with fewer threads, or raise the limit");
        Error::engine(None, message).caused_by(error)
    })
}

impl Network {
    pub(crate) fn open(
        artifact: &Artifact,
        pair: (usize, usize),
        config: &RouterConfig,
        (not_native_because, vocabulary): (String, Option<usize>),
    ) -> Result<Self> {
        let manifest = artifact.manifest();
        config.batch.check()?;
        let head = match (&manifest.labels, &manifest.generation) {
            (Some(labels), _) => Head::Labels(labels.clone()),
            (_, Some(generation)) => Head::Tokens(generation.clone()),
            _ => Head::Models(pair.0, pair.1),
        };
        if !matches!(head, Head::Models(..)) && pair != (0, 1) {
            return Err(Error::config(
                "strong",
                format!(
                    "this router was trained for {:?} over {:?} and scores no other direction; other names are labels",
                    manifest.pair.strong, manifest.pair.weak
                ),
            ));
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
        check_threads(places.iter().map(|place| place.threads).sum())?;
        let open = |&place: &Place| OnnxRunner::open(artifact, &opening, place);
        let runners = places.iter().map(open).collect::<Result<Vec<_>>>()?;
        let (path, hash) = (artifact.path().to_path_buf(), artifact.hash().to_owned());
        let restart = move |slot: usize| {
            let artifact = Artifact::open(&path)?;
            if artifact.hash() != hash {
                return Err(Error::WorkerStopped(StopReason::Replaced(path.clone())));
            }
            OnnxRunner::open(&artifact, &opening, places[slot])
        };
        let max_tokens = manifest.tokenizer.as_ref().map_or(0, |spec| spec.max_tokens);
        let fixed_shapes = (!config.device.is_cpu()).then_some(max_tokens);
        Ok(Self {
            batcher: Batcher::new(runners, &config.batch, fixed_shapes, Box::new(restart)),
            head,
            devices: config.device.clone(),
            not_native_because,
            vocabulary,
            max_tokens,
            follow_ups: FollowUps::default(),
        })
    }

    /// Number of token ids that the graph knows, where its tables tell.
    pub(crate) fn vocabulary(&self) -> Option<usize> {
        self.vocabulary
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
        if self.batcher.is_of_this_process() {
            return Ok(());
        }
        Err(Error::inference(format!(
            "this router runs in ONNX Runtime and was opened before a fork, which its threads do not survive; open it again in this \
             process ({})",
            std::process::id()
        )))
    }

    /// Logit of one prompt.
    pub(crate) fn logit(&self, ids: &[u32], deadline: Option<Instant>) -> Result<f32> {
        self.check_process()?;
        let mut generated = Vec::new();
        loop {
            let (text, place) = ([ids, &generated].concat(), generated.len());
            let row = self.batcher.run(Request::scores(text), deadline, admission(place))?;
            match self.read(&row, place, ids.len() + place)? {
                Read::Logit(logit) => return Ok(logit),
                Read::On(token) => generated.push(token),
            }
        }
    }

    /// Logits of many prompts. Those that are read on from share their runs, too.
    pub(crate) fn logits(
        &self,
        mut encodings: Vec<Vec<u32>>,
        deadline: Option<Instant>,
        stop: &AtomicBool,
    ) -> Result<Vec<f32>> {
        self.check_process()?;
        let mut logits = vec![f32::NAN; encodings.len()];
        let mut open: Vec<usize> = (0..encodings.len()).collect();
        let mut place = 0;
        while !open.is_empty() {
            let requests = open.iter().map(|&prompt| Request::scores(encodings[prompt].clone())).collect();
            let rows = self.batcher.run_many(requests, deadline, admission(place), stop)?;
            let mut unfinished = Vec::new();
            for (prompt, row) in open.into_iter().zip(rows) {
                match self.read(&row, place, encodings[prompt].len())? {
                    Read::Logit(logit) => logits[prompt] = logit,
                    Read::On(token) => {
                        encodings[prompt].push(token);
                        unfinished.push(prompt);
                    }
                }
            }
            open = unfinished;
            place += 1;
        }
        Ok(logits)
    }

    /// A batch that `interrupt`, if there is one, may end: `work` runs on another thread while this one checks. When the call is ended,
    /// that thread finishes its current run, whose result is dropped, and begins no other.
    pub(crate) fn unless(
        self: &Arc<Self>,
        interrupt: &mut Option<Interrupt<'_>>,
        work: impl FnOnce(&Self, &AtomicBool) -> Result<Vec<f32>> + Send + 'static,
    ) -> Result<Vec<f32>> {
        let stop = Arc::new(AtomicBool::new(false));
        let Some(interrupt) = interrupt else { return work(self, &stop) };
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = {
            let (network, stop) = (Arc::clone(self), Arc::clone(&stop));
            move || drop(sender.send(work(&network, &stop)))
        };
        std::thread::Builder::new()
            .name("turnout-batch".into())
            .spawn(work)
            .map_err(|error| Error::inference(format!("no thread for a batch: {error}")).caused_by(error))?;
        loop {
            match receiver.recv_timeout(CHECK_EVERY) {
                Ok(logits) => return logits,
                Err(RecvTimeoutError::Timeout) => {
                    interrupt.check().inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::inference("the thread of a batch panicked"));
                }
            }
        }
    }

    /// Leaves a prompt to the queue; `callback` is called once, as a rule on another thread. Returns what
    /// [`withdraw`](Self::withdraw) takes.
    ///
    /// # Errors
    /// Where the prompt cannot be left at all; `callback` is then dropped.
    pub(crate) fn submit(
        self: &Arc<Self>,
        ids: Vec<u32>,
        deadline: Option<Instant>,
        callback: impl FnOnce(Result<f32>) + Send + 'static,
    ) -> Result<u64> {
        self.check_process()?;
        let submission = self.follow_ups.begin();
        self.submit_run(submission, ids, 0, deadline, Box::new(callback));
        Ok(submission)
    }

    /// One run of a submission. The next one is submitted again rather than run here: this is the thread of another caller.
    fn submit_run(
        self: &Arc<Self>,
        submission: u64,
        mut ids: Vec<u32>,
        place: usize,
        deadline: Option<Instant>,
        callback: Box<dyn FnOnce(Result<f32>) + Send>,
    ) {
        let network = Arc::downgrade(self);
        let request = Request::scores(ids.clone());
        let id = self.batcher.submit(request, deadline, admission(place), move |row| {
            let Some(network) = network.upgrade() else {
                return callback(Err(Error::WorkerStopped(StopReason::Closed)));
            };
            match row.and_then(|row| network.read(&row, place, ids.len())) {
                // The caller withdrew, and its callback is gone.
                Ok(Read::On(_)) if !network.follow_ups.goes_on(submission) => {}
                Ok(Read::On(token)) => {
                    ids.push(token);
                    network.submit_run(submission, ids, place + 1, deadline, callback);
                }
                Ok(Read::Logit(logit)) => {
                    network.follow_ups.end(submission);
                    callback(Ok(logit));
                }
                Err(error) => {
                    network.follow_ups.end(submission);
                    callback(Err(error));
                }
            }
        });
        self.follow_ups.waits_as(submission, place, id);
    }

    pub(crate) fn withdraw(&self, submission: u64) {
        if let Some(id) = self.follow_ups.end(submission) {
            self.batcher.withdraw(id);
        }
    }

    /// Logits of embeddings in rows.
    pub(crate) fn logits_of_embeddings<'a>(
        self: &Arc<Self>,
        rows: impl Iterator<Item = &'a [f32]>,
        interrupt: &mut Option<Interrupt<'_>>,
    ) -> Result<Vec<f32>> {
        self.check_process()?;
        let requests = rows.map(|row| Request::ScoresOfEmbedding(row.to_vec())).collect();
        self.unless(interrupt, |network, stop| {
            let rows = network.batcher.run_many(requests, None, Admission::Asked, stop)?;
            let logit = |row: Row| match network.read(&row, 0, 0)? {
                Read::Logit(logit) => Ok(logit),
                Read::On(_) => Err(Error::invalid_input(
                    "embedding",
                    "an embedding cannot be read on from: this router takes prompts",
                )),
            };
            rows.into_iter().map(logit).collect()
        })
    }

    pub(crate) fn embed(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.check_process()?;
        self.batcher.run(Request::Embedding(ids.to_vec()), None, Admission::Asked)
    }

    /// Scores of all models; none where the head scores a pair as a whole.
    pub(crate) fn model_scores(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.check_process()?;
        match self.head {
            Head::Models(..) => self.batcher.run(Request::scores(ids.to_vec()), None, Admission::Asked),
            Head::Labels(_) | Head::Tokens(_) => Ok(vec![]),
        }
    }

    /// Reads the row of a text of so many tokens, the last `place` of them generated. Nearly always the first row has the score; where
    /// it has not, the text is run again with the token behind it, up to the limit of tokens. Without a score the win rate is 1, the
    /// strong model.
    fn read(&self, row: &[f32], place: usize, tokens: usize) -> Result<Read> {
        let generation = match &self.head {
            Head::Models(strong, weak) => return Ok(Read::Logit(row[*strong] - row[*weak])),
            Head::Labels(labels) => return Ok(Read::Logit(logit_of_labels(labels, row))),
            Head::Tokens(generation) => generation,
        };
        if generation.score_tokens.iter().any(|&token| token as usize >= row.len()) {
            return Err(Error::inference(format!(
                "the graph has logits of {} tokens, fewer than the scores",
                row.len()
            )));
        }
        Ok(match step(generation, row) {
            Step::Score(logit) => Read::Logit(logit),
            Step::Token(token) if place + 1 < generation.max_new_tokens && tokens < self.max_tokens => Read::On(token),
            Step::Token(_) | Step::End => Read::Logit(f32::INFINITY),
        })
    }
}
