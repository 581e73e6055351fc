//! Composes tokenizer, engine, scorer, calibration and policy into one decision.

mod battles;
pub(crate) mod many;
mod open;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    artifact::Artifact,
    calibration::Calibration,
    config::RouterConfig,
    engine::Engine,
    error::{Error, Result},
    explanation::{Explanation, Stage},
    policy::{Decision, Policy, threshold_of_checked},
    scratch,
    tokenize::PromptTokenizer,
};

/// Routes prompts between two models. Immutable after construction and safe to share between threads.
///
/// ```no_run
/// use turnout_core::{Router, RouterConfig};
///
/// let router = Router::open("path/to/artifact".as_ref(), &RouterConfig::default())?;
/// let decision = router.route("What is 2 + 2?", None)?;
/// println!("{} at {:.3}", router.model(decision), decision.win_rate);
/// # Ok::<(), turnout_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Router {
    artifact: Artifact,
    tokenizer: Option<Arc<PromptTokenizer>>,
    /// Texts before and after the prompt, for routers that are asked in words.
    frame: Option<(String, String)>,
    engine: Engine,
    calibration: Calibration,
    policy: Policy,
    strong: String,
    weak: String,
    /// Those of the artifact where they hold for the scored pair, else none.
    quantiles: Vec<f32>,
    config: RouterConfig,
    threads: usize,
}

impl Router {
    /// Writes the embedding of token ids into a buffer.
    pub(crate) fn embed_into(&self, ids: &[u32], embedding: &mut Vec<f32>) -> Result<()> {
        self.engine.embed_into(ids, embedding)
    }

    /// The artifact behind the router.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Name of the engine that runs the graph: `native` or `onnxruntime`.
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// Device on which the graph runs.
    pub fn device(&self) -> String {
        self.engine.device()
    }

    /// Why the core does not run the graph natively, if it does not.
    pub fn not_native_because(&self) -> Option<&str> {
        self.engine.not_native_because()
    }

    /// Whether one decision takes microseconds and never waits: natively run graphs. Others may take milliseconds.
    pub fn is_microseconds(&self) -> bool {
        self.engine.is_microseconds()
    }

    /// Name of the strong model.
    pub fn strong(&self) -> &str {
        &self.strong
    }

    /// Name of the weak model.
    pub fn weak(&self) -> &str {
        &self.weak
    }

    /// Threshold used where a call names none.
    pub fn threshold(&self) -> f64 {
        self.policy.threshold()
    }

    /// Win rates at evenly spaced quantiles of the calibration prompts, never falling. Empty where the artifact stores none, or scores
    /// another pair than the trained one, for which its quantiles do not hold.
    pub fn quantiles(&self) -> &[f32] {
        &self.quantiles
    }

    /// How the router was opened.
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// The threshold that a caller named, either itself or by a share of strong calls; `None` if neither.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for both at once, a share outside `0..=1`, or a share where [`quantiles`](Self::quantiles) are empty.
    pub fn choose_threshold(&self, threshold: Option<f64>, strong_share: Option<f64>) -> Result<Option<f64>> {
        match (threshold, strong_share) {
            (threshold, None) => Ok(threshold),
            (Some(_), Some(_)) => {
                Err(Error::invalid_input("strong_share", "give either threshold or strong_share, not both"))
            }
            (None, Some(_)) if self.quantiles.is_empty() => Err(self.no_quantiles()),
            (None, Some(share)) => threshold_of_checked(&self.quantiles, share).map(Some),
        }
    }

    fn no_quantiles(&self) -> Error {
        let manifest = self.artifact.manifest();
        let reason = if manifest.thresholds.quantiles.is_empty() {
            "this artifact stores none: run `turnout calibrate --save`, or give a threshold".to_owned()
        } else {
            format!(
                "those of this artifact hold for {:?} over {:?}, and the router scores {:?} over {:?}: give a threshold, which \
                 turnout.calibrate.threshold_for_share(router.win_rates(prompts), share) finds on prompts of your own",
                manifest.pair.strong, manifest.pair.weak, self.strong, self.weak
            )
        };
        Error::invalid_input("strong_share", format!("strong_share needs quantiles of the win rate, and {reason}"))
    }

    /// Name of the chosen model.
    pub fn model(&self, decision: Decision) -> &str {
        if decision.strong { &self.strong } else { &self.weak }
    }

    /// Decides one prompt. `threshold` replaces the router's own for this call.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a threshold outside `0..=1` or a router that takes embeddings only. A network also gives
    /// [`Error::Inference`], and [`Error::Overloaded`] and [`Error::WorkerStopped`] where many callers share it.
    pub fn route(&self, prompt: &str, threshold: Option<f64>) -> Result<Decision> {
        self.route_within(prompt, threshold, None)
    }

    /// As [`route`](Self::route), but a prompt that cannot be run within `limit` is given up. Graphs that run natively never wait,
    /// and a run that has begun is not interrupted.
    ///
    /// # Errors
    /// As [`route`](Self::route), and [`Error::DeadlineExceeded`].
    pub fn route_within(&self, prompt: &str, threshold: Option<f64>, limit: Option<Duration>) -> Result<Decision> {
        let policy = self.policy(threshold)?;
        Ok(policy.decide(self.win_rate_by(prompt, limit.map(deadline))?))
    }

    /// Leaves a prompt to the queue of a network and goes on. `callback` is called with its win rate or an error, once, on another
    /// thread, or on this one where the prompt is refused; it is dropped unheard if the prompt is withdrawn in time. A prompt whose
    /// run has not begun within `limit` is given up. `None` where the graph runs natively: deciding there takes less time than asking.
    ///
    /// # Errors
    /// As [`route`](Self::route), where the prompt cannot be queued at all.
    #[cfg(feature = "onnx")]
    pub fn submit(
        &self,
        prompt: &str,
        limit: Option<Duration>,
        callback: impl FnOnce(Result<f32>) + Send + 'static,
    ) -> Result<Option<u64>> {
        let Some(network) = self.engine.network() else { return Ok(None) };
        let deadline = limit.map(deadline);
        let mut ids = Vec::new();
        self.encode(prompt, &mut ids)?;
        let calibration = self.calibration.clone();
        let told = move |logit: Result<f32>| callback(logit.and_then(|logit| calibrated(&calibration, logit)));
        network.submit(ids, deadline, told).map(Some)
    }

    /// Forgets a prompt that [`submit`](Self::submit) queued; one that is running is not interrupted.
    #[cfg(feature = "onnx")]
    pub fn withdraw(&self, id: u64) {
        if let Some(network) = self.engine.network() {
            network.withdraw(id);
        }
    }

    /// Ends the queue of a network: waiting callers get [`Error::WorkerStopped`], and later ones too. Routers that run
    /// natively have nothing to close.
    pub fn close(&self) {
        self.engine.close();
    }

    /// Decides one embedding.
    pub fn route_embedding(&self, embedding: &[f32], threshold: Option<f64>) -> Result<Decision> {
        let policy = self.policy(threshold)?;
        Ok(policy.decide(self.win_rate_of_embedding(embedding)?))
    }

    /// Checked policy for a call.
    pub fn policy(&self, threshold: Option<f64>) -> Result<Policy> {
        threshold.map_or(Ok(self.policy), Policy::new)
    }

    /// Chance in `[0, 1]` that the strong model's answer to this prompt is preferred.
    pub fn win_rate(&self, prompt: &str) -> Result<f32> {
        self.win_rate_by(prompt, None)
    }

    fn win_rate_by(&self, prompt: &str, deadline: Option<Instant>) -> Result<f32> {
        scratch::with(|scratch| {
            self.encode(prompt, &mut scratch.ids)?;
            let logit = self.engine.logit(&scratch.ids, &mut scratch.embedding, deadline)?;
            self.calibrated(logit)
        })
    }

    /// Win rate of an embedding of length [`embedding_dim`](Self::embedding_dim) that the caller supplies.
    pub fn win_rate_of_embedding(&self, embedding: &[f32]) -> Result<f32> {
        self.check_embedding(embedding, None)?;
        let logits = self.engine.logits_of_embeddings(std::iter::once(embedding), &mut None)?;
        self.calibrated(logits.first().copied().unwrap_or(f32::NAN))
    }

    /// Length of an embedding.
    pub fn embedding_dim(&self) -> usize {
        self.artifact.manifest().encoder.dim()
    }

    /// The embedding of a prompt, as [`win_rate_of_embedding`](Self::win_rate_of_embedding) takes it.
    pub fn embed(&self, prompt: &str) -> Result<Vec<f32>> {
        let mut ids = Vec::new();
        self.encode(prompt, &mut ids)?;
        self.engine.embed(&ids)
    }

    /// The score of every model of the artifact for one prompt, in the artifact's order.
    pub fn model_scores(&self, prompt: &str) -> Result<Vec<f32>> {
        let mut ids = Vec::new();
        self.encode(prompt, &mut ids)?;
        self.engine.model_scores(&ids)
    }

    /// Decides one prompt slowly and tells everything on the way. For people and for tests, not for the hot path.
    pub fn explain(&self, prompt: &str, threshold: Option<f64>) -> Result<Explanation> {
        let policy = self.policy(threshold)?;
        let tokenizer = self.tokenizer()?;
        let (mut ids, mut embedding) = (Vec::new(), Vec::new());
        // Once for the caches, so that the stages are timed as a busy service would see them.
        self.win_rate(prompt)?;
        let start = Instant::now();
        self.encode(prompt, &mut ids)?;
        let tokenized = Instant::now();
        let logit = self.engine.logit(&ids, &mut embedding, None)?;
        let scored = Instant::now();
        let win_rate = self.calibrated(logit)?;
        let decision = policy.decide(win_rate);
        let decided = Instant::now();
        let model_scores = self.engine.model_scores(&ids)?;
        let ranking = self.engine.ranking().map(|ranking| ranking.explain(&embedding)).transpose()?;
        let stage = |name, from: Instant, to: Instant| Stage { name, nanoseconds: (to - from).as_nanos() as u64 };
        Ok(Explanation {
            decision,
            tokens: ids.iter().map(|&id| tokenizer.token(id)).collect(),
            ids,
            logit,
            raw_win_rate: crate::calibration::sigmoid(logit),
            model_scores,
            ranking,
            stages: vec![
                stage("tokenize", start, tokenized),
                stage("score", tokenized, scored),
                stage("decide", scored, decided),
            ],
        })
    }

    pub(crate) fn tokenizer(&self) -> Result<&PromptTokenizer> {
        self.tokenizer.as_deref().ok_or_else(|| {
            Error::invalid_input(
                "prompt",
                format!(
                    "this artifact has no encoder of its own: pass embeddings of length {}, not prompts",
                    self.embedding_dim()
                ),
            )
        })
    }

    fn check_embedding(&self, embedding: &[f32], row: Option<usize>) -> Result<()> {
        let argument = if row.is_some() { "embeddings" } else { "embedding" };
        let place = || row.map_or_else(|| "embedding".to_string(), |row| format!("row {row} of the embeddings"));
        if embedding.len() != self.embedding_dim() {
            let message = format!("{} has {} numbers, expected {}", place(), embedding.len(), self.embedding_dim());
            return Err(Error::invalid_row(argument, row, message));
        }
        match embedding.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::invalid_row(
                argument,
                row,
                format!("{} holds {} at position {at}, expected finite numbers", place(), embedding[at]),
            )),
        }
    }

    fn calibrated(&self, logit: f32) -> Result<f32> {
        calibrated(&self.calibration, logit)
    }

    /// Token ids of a prompt, in its frame where the router has one, and their number with polite phrases. A prompt that does not fit into its frame is refused: cutting
    /// it would cut the question off what is asked about it.
    pub(crate) fn encode(&self, prompt: &str, ids: &mut Vec<u32>) -> Result<usize> {
        let tokenizer = self.tokenizer()?;
        match &self.frame {
            None => tokenizer.encode(prompt, ids),
            Some((before, after)) => tokenizer.encode_whole(&[before, prompt, after].concat(), ids),
        }
    }
}

/// A logit that is not a number must not become a decision; one that is infinite means certainty, whatever the calibration.
fn calibrated(calibration: &Calibration, logit: f32) -> Result<f32> {
    if logit.is_nan() {
        return Err(Error::inference("the model gave no number: its weights or the embedding overflow"));
    }
    Ok(if logit == f32::INFINITY { 1.0 } else { calibration.apply(logit) })
}

/// The moment when a limit ends; the far future where it lies beyond the clock.
fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(1 << 30))
}
