//! Composes a router's embedding with the models of a pool.

use std::{cell::RefCell, path::Path, sync::Arc};

use super::{
    aim::Aim,
    candidate::{Candidate, Prices},
    cost::{Usage, cost},
    exclusion::Exclusion,
    names::first_of,
    objective::{Key, Objective},
    plan::{Plan, exclusion},
    profiles::{Profile, Profiles},
    rank::{Choice, Ranked, Reason},
    request::{Input, Request},
    spec::PoolSpec,
    success::{Files, Heads, check_embedding},
    tokens::{self, TOKEN_MARGIN},
};
use crate::{
    batch::in_shares,
    config::RouterConfig,
    error::{Error, Result},
    interrupt::Interrupt,
    router::{Router, many::share_of},
    scratch,
};

/// Routes prompts between the models of a pool. Immutable after construction and safe to share between threads.
///
/// ```no_run
/// use turnout_core::{RouterConfig, pool::{PoolRouter, PoolSpec, Request}};
///
/// let pool = PoolSpec::open("pool.toml".as_ref())?;
/// let router = PoolRouter::open("path/to/artifact".as_ref(), &RouterConfig::default(), pool, ".".as_ref())?;
/// let choice = router.route("What is 2 + 2?", None, &Request::default())?;
/// println!("{}: {}", router.candidates()[choice.candidate].name, choice.reason);
/// # Ok::<(), turnout_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PoolRouter {
    router: Router,
    pub(super) spec: PoolSpec,
    pub(super) candidates: Vec<Candidate>,
    pub(super) objective: Objective,
    /// Those of a request that asks nothing.
    pub(super) exclusions: Vec<Option<Exclusion>>,
    prices: Vec<Option<Prices>>,
    heads: Heads,
    fallback: Option<usize>,
    /// Token ids around any text.
    around: usize,
}

/// Numbers of the prompt at hand, reused from decision to decision.
#[derive(Debug, Default)]
struct Work {
    success: Vec<f32>,
    /// Of our tokenizer, or those that the caller counted.
    input: f64,
    embedding: Vec<f32>,
    estimates: Vec<Estimate>,
}

/// One candidate for one prompt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    output: f64,
    /// Of a budget.
    pub(super) used: f64,
    pub(super) cost: Option<f64>,
    latency: Option<f64>,
    exclusion: Option<Exclusion>,
}

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
}

impl PoolRouter {
    /// Opens an artifact folder for a pool; files of profiles are looked for in `folder`.
    ///
    /// # Errors
    /// [`Error::Pool`], and those of [`Router::open`].
    pub fn open(path: &Path, config: &RouterConfig, spec: PoolSpec, folder: &Path) -> Result<Self> {
        let candidates = spec.candidates(None)?;
        let (router, bytes) = Router::open_with_profiles(path, config)?;
        let tokenizer = router.tokenizer().map_err(|_| {
            let message = "the artifact has no encoder of its own, and a pool needs one that reads prompts";
            Error::config("pool", message)
        })?;
        let mut ids = Vec::new();
        tokenizer.encode("", &mut ids)?;
        let manifest = router.artifact().manifest();
        let embedding = router.artifact().graph().ok().and_then(|graph| manifest.files.get(graph));
        let embedding = embedding.map_or("", |entry| entry.sha256.as_str());
        let own = bytes.map(|bytes| {
            let file = path.join(manifest.profiles.as_deref().unwrap_or_default());
            let profiles = Profiles::parse(&bytes, manifest.encoder.dim())
                .map_err(|(field, message)| Error::artifact(&file, field, message))?;
            check_embedding(&profiles, embedding).map_err(|message| Error::artifact(&file, "embedding", message))?;
            Ok::<_, Error>(Arc::new(profiles))
        });
        let files = Files { folder, own: own.transpose()?, dim: manifest.encoder.dim(), embedding };
        let heads = Heads::open(&candidates, &files)?;
        let named = |name: &str| candidates.iter().position(|one| one.name == name);
        Ok(Self {
            around: ids.len(),
            objective: spec.objective.unwrap_or_default(),
            exclusions: candidates.iter().map(|one| exclusion(one, &Request::default(), &spec.limits)).collect(),
            prices: candidates.iter().map(Candidate::prices).collect(),
            fallback: spec.fallback.as_ref().and_then(|fallback| named(&fallback.model)),
            heads,
            router,
            spec,
            candidates,
        })
    }

    /// The router whose embedding is used.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// What the pool says.
    pub fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// The models that are chosen from, efforts included.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// What a candidate's profile was fitted on; nothing where its chance is a constant.
    pub fn profile(&self, candidate: usize) -> Option<&Profile> {
        self.heads.profile(candidate)
    }

    /// Chooses a model for one prompt. `whole` is the text of the whole request where it holds more than the prompt, for its tokens.
    ///
    /// # Errors
    /// [`Error::NoFeasibleModel`], [`Error::InvalidInput`] for a request that does not fit the pool, and those of [`Router::route`].
    pub fn route(&self, prompt: &str, whole: Option<&str>, request: &Request) -> Result<Choice> {
        let plan = self.plan(request)?;
        with_work(|work| self.choose(&plan, prompt, whole, work))
    }

    /// Chooses a model for each of many prompts, on all threads, in their order. Equal to [`route`](Self::route) of each.
    ///
    /// # Errors
    /// As [`route`](Self::route), with the row, and what `interrupt` gives.
    pub fn route_batch(
        &self,
        prompts: &[&str],
        request: &Request,
        mut interrupt: Option<Interrupt<'_>>,
    ) -> Result<Vec<Choice>> {
        let plan = self.plan(request)?;
        self.for_each(prompts, &mut interrupt, |prompt, work, found| {
            found.push(self.choose(&plan, prompt, None, work)?);
            Ok(())
        })
    }

    /// The chance of every candidate for each of many prompts: rows of a matrix.
    ///
    /// # Errors
    /// Those of [`Router::route`], with the row, and what `interrupt` gives.
    pub fn success(&self, prompts: &[&str], mut interrupt: Option<Interrupt<'_>>) -> Result<Vec<f32>> {
        self.for_each(prompts, &mut interrupt, |prompt, work, found| {
            self.read(prompt, None, Some(Input::Exact(0)), work)?;
            found.extend_from_slice(&work.success);
            Ok(())
        })
    }

    /// The expected cost of every candidate for each of many prompts: rows of a matrix; NaN without prices.
    ///
    /// # Errors
    /// As [`route`](Self::route), except that no model needs to be feasible.
    pub fn costs(&self, prompts: &[&str], request: &Request, mut interrupt: Option<Interrupt<'_>>) -> Result<Vec<f64>> {
        let plan = self.plan(request)?;
        self.for_each(prompts, &mut interrupt, |prompt, work, found| {
            self.read(prompt, None, plan.input, work)?;
            let cost = |at| self.estimate(&plan, work, at).cost.unwrap_or(f64::NAN);
            found.extend((0..self.candidates.len()).map(cost));
            Ok(())
        })
    }

    /// Tokens of a text by the artifact's tokenizer: the estimate for [`Input::Estimated`].
    ///
    /// # Errors
    /// [`Error::Inference`] for a text that the tokenizer refuses.
    pub fn count(&self, text: &str) -> Result<f64> {
        scratch::with(|scratch| tokens::estimate(self.router.tokenizer()?, text, &mut scratch.ids))
    }

    /// Every candidate for one prompt, in the order of the aim; those that may not serve it come last, in the pool's order.
    ///
    /// # Errors
    /// As [`route`](Self::route), except that no model needs to be feasible.
    pub fn rank(&self, prompt: &str, whole: Option<&str>, request: &Request) -> Result<Vec<Ranked>> {
        Ok(self.explain(prompt, whole, request)?.1)
    }

    /// The choice of [`route`](Self::route), none where no model may serve the request, and the candidates of [`rank`](Self::rank).
    ///
    /// # Errors
    /// As [`rank`](Self::rank).
    pub fn explain(
        &self,
        prompt: &str,
        whole: Option<&str>,
        request: &Request,
    ) -> Result<(Option<Choice>, Vec<Ranked>)> {
        let plan = self.plan(request)?;
        with_work(|work| {
            let bar = self.weigh(&plan, prompt, whole, work)?;
            let intervals = if self.heads.reads_embedding() {
                self.heads.intervals(&work.embedding)
            } else {
                work.success.iter().map(|&success| (success, success)).collect()
            };
            let ranked = |candidate: usize| {
                let (success, estimate) = (work.success[candidate], work.estimates[candidate]);
                let one = Ranked {
                    candidate,
                    success,
                    interval: intervals[candidate],
                    cost: estimate.cost,
                    latency: estimate.latency,
                    output_tokens: estimate.output,
                    exclusion: estimate.exclusion,
                };
                (plan.aim.key(bar, success, &estimate), one)
            };
            let mut all: Vec<(Key, Ranked)> = (0..self.candidates.len()).map(ranked).collect();
            all.sort_by(|(a, one), (b, other)| match (&one.exclusion, &other.exclusion) {
                (None, None) => a.cmp(b),
                (one, other) => one.is_some().cmp(&other.is_some()),
            });
            let choice = self.first(&plan, bar, work);
            Ok((choice, all.into_iter().map(|(_, ranked)| ranked).collect()))
        })
    }

    fn for_each<T: Send>(
        &self,
        prompts: &[&str],
        interrupt: &mut Option<Interrupt<'_>>,
        work_on: impl Fn(&str, &mut Work, &mut Vec<T>) -> Result<()> + Sync,
    ) -> Result<Vec<T>> {
        let threads = self.router.threads_for(prompts.len());
        // A row has many numbers, or one; the places of shares are those of prompts.
        let rows = in_shares(prompts.len(), share_of(prompts), threads, interrupt, |range| {
            let first = range.start;
            let mut found = Vec::with_capacity(range.len());
            with_work(|work| {
                for (row, prompt) in (first..).zip(&prompts[range]) {
                    work_on(prompt, work, &mut found).map_err(|error| error.of_row(row))?;
                }
                Ok(found)
            })
        })?;
        Ok(rows)
    }

    /// Reads a prompt: its embedding, the chances of all candidates, and its tokens, unless `input` has them.
    fn read(&self, prompt: &str, whole: Option<&str>, input: Option<Input>, work: &mut Work) -> Result<()> {
        scratch::with(|scratch| {
            let found = self.router.encode(prompt, &mut scratch.ids)?;
            if self.heads.reads_embedding() {
                self.router.embed_into(&scratch.ids, &mut work.embedding)?;
            }
            self.heads.success(&work.embedding, &mut work.success)?;
            let tokenizer = self.router.tokenizer()?;
            let read = (found.saturating_sub(self.around), found < tokenizer.max_tokens());
            work.input = match (input, whole) {
                (Some(Input::Exact(tokens)), _) => tokens as f64,
                (Some(Input::Estimated(tokens)), _) => tokens,
                (None, Some(whole)) => tokens::estimate(tokenizer, whole, &mut scratch.ids)?,
                (None, None) => tokens::tokens(tokenizer, prompt, read, &mut scratch.ids)?,
            };
            Ok(())
        })
    }

    /// Reads a prompt and estimates every candidate for it; gives the chance that a model has to reach.
    fn weigh(&self, plan: &Plan<'_>, prompt: &str, whole: Option<&str>, work: &mut Work) -> Result<f64> {
        self.read(prompt, whole, plan.input, work)?;
        let mut estimates = std::mem::take(&mut work.estimates);
        estimates.clear();
        estimates.extend((0..self.candidates.len()).map(|candidate| self.estimate(plan, work, candidate)));
        work.estimates = estimates;
        Ok(plan.aim.bar(|| {
            let chances = work.estimates.iter().zip(&work.success).filter(|(one, _)| one.exclusion.is_none());
            chances.map(|(_, &success)| f64::from(success)).fold(0.0, f64::max)
        }))
    }

    fn choose(&self, plan: &Plan<'_>, prompt: &str, whole: Option<&str>, work: &mut Work) -> Result<Choice> {
        let bar = self.weigh(plan, prompt, whole, work)?;
        self.first(plan, bar, work).ok_or_else(|| self.no_feasible_model(work))
    }

    /// The first feasible candidate in the order of the aim, or the declared fallback.
    fn first(&self, plan: &Plan<'_>, bar: f64, work: &Work) -> Option<Choice> {
        let mut best: Option<(Key, usize)> = None;
        for (candidate, estimate) in work.estimates.iter().enumerate() {
            if estimate.exclusion.is_some() {
                continue;
            }
            let key = plan.aim.key(bar, work.success[candidate], estimate);
            if best.as_ref().is_none_or(|(first, _)| key.cmp(first).is_lt()) {
                best = Some((key, candidate));
            }
        }
        let (reason, candidate) = match best {
            Some((key, candidate)) => (plan.aim.reason(key), candidate),
            None => (Reason::Fallback, self.fallback(work)?),
        };
        let Estimate { cost, used, .. } = work.estimates[candidate];
        Some(Choice { candidate, success: work.success[candidate], cost, used, reason })
    }

    /// The declared fallback, where only limits on prices and times exclude it.
    fn fallback(&self, work: &Work) -> Option<usize> {
        self.fallback.filter(|&at| work.estimates[at].exclusion.is_none_or(|exclusion| exclusion.gives_way()))
    }

    fn no_feasible_model(&self, work: &Work) -> Error {
        let reason = |(at, candidate): (usize, &Candidate)| {
            let exclusion = work.estimates[at].exclusion;
            (candidate.name.clone(), exclusion.map_or_else(String::new, |why| why.describe(candidate)))
        };
        let reasons: Vec<(String, String)> = self.candidates.iter().enumerate().map(reason).collect();
        let shown = first_of(reasons.iter().map(|(name, why)| format!("{name}: {why}")), "; ");
        let which = if self.fallback.is_some() { "no model, the fallback included," } else { "no model of the pool" };
        let message = format!("{which} may serve the request: {shown}");
        Error::NoFeasibleModel { message, reasons }
    }

    /// What one candidate would cost and take, and whether it may serve the prompt.
    fn estimate(&self, plan: &Plan<'_>, work: &Work, candidate: usize) -> Estimate {
        let spec = &self.candidates[candidate].spec;
        // A caller's count is exact for every model; ours is an estimate.
        let (input, margin) = match plan.input {
            Some(Input::Exact(_)) => (work.input, 1.0),
            Some(Input::Estimated(_)) | None => (work.input * spec.token_ratio.unwrap_or(1.0), TOKEN_MARGIN),
        };
        let expected = self.heads.output(candidate);
        let cap = plan.max_output.into_iter().chain(spec.max_output).min();
        let output = cap.map_or(expected, |cap| expected.min(cap as f64));
        let cached = plan.cached.get(candidate).copied().unwrap_or(0.0);
        let cost = self.prices[candidate].map(|prices| cost(prices, Usage { input, cached, output }));
        let by_speed = || {
            let speed = spec.tokens_per_second?;
            Some(spec.first_token_ms.unwrap_or(0.0) + output / speed * 1000.0)
        };
        let latency = spec.latency_ms.map_or_else(by_speed, |latency| Some(latency.p95));
        let exclusion = plan.exclusions[candidate].or_else(|| {
            let needed = plan.max_output.map_or(output, |allowed| allowed as f64);
            match (spec.context_window, plan.max_latency, plan.aim.max_cost(), cost) {
                (Some(window), ..) if input * margin + needed > window as f64 => {
                    Some(Exclusion::Context { input: input * margin, output: needed, window })
                }
                (_, Some(limit), ..) if latency.is_none_or(|latency| latency > limit) => {
                    Some(Exclusion::Latency { latency, limit })
                }
                (_, _, Some(limit), Some(cost)) if cost > limit => Some(Exclusion::Cost { cost, limit }),
                _ => None,
            }
        });
        let used = match plan.aim {
            Aim::Budget(budget) => budget.used(&self.candidates[candidate], cost, input + output, latency),
            Aim::Objective(_) => 0.0,
        };
        Estimate { output, used, cost, latency, exclusion }
    }
}

/// Lends this thread's buffers. Should they be lent already, fresh ones serve.
fn with_work<T>(work_on: impl FnOnce(&mut Work) -> Result<T>) -> Result<T> {
    WORK.with(|cell| match cell.try_borrow_mut() {
        Ok(mut work) => work_on(&mut work),
        Err(_) => work_on(&mut Work::default()),
    })
}
