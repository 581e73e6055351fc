//! Similarity-weighted Elo: battles over prompts like this one count more (arXiv 2406.18665, section 4.2, "similarity-weighted
//! ranking").
//!
//! For a prompt with embedding `e`, the battle over prompt `i` weighs `w_i = 10 * 10^(s_i / s_max)`, where `s_i` is the cosine of
//! `e` and the prompt's vector and `s_max` the largest of them. Models are grouped in tiers; weighted wins between tiers give
//! Bradley-Terry strengths, and the win rate of a pair is `sigmoid(x_strong - x_weak)` of their tiers. Battles inside one tier, and
//! prompts with no others, do not count. Where `s_max` is not positive, or the embedding has no length, similarity orders nothing
//! and all battles weigh the same.
//!
//! Exact decisions look at every prompt. Approximate ones look at the nearest, which a FAISS index finds, and replace the weights of
//! the others by means over cells; battles that were added since count exactly.

#[cfg(feature = "faiss")]
mod approximate;
mod battles;
pub mod bradley_terry;
#[cfg(feature = "faiss")]
mod cells;
mod explanation;
mod int8;
mod online;
mod outcomes;
mod vectors;
mod weighting;

use std::{
    cell::RefCell,
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock},
};

use arc_swap::ArcSwap;

#[cfg(not(feature = "faiss"))]
use crate::config::IndexChoice;
#[cfg(feature = "faiss")]
use approximate::Approximate;
use battles::Battles;
pub use explanation::{Neighbor, RankingExplanation};
pub use online::{BattleSnapshot, NewBattles};
use outcomes::Outcomes;
use vectors::{Query, largest};
use weighting::{Weighting, weigh};

use crate::{
    artifact::{Artifact, ErrorSpec, RankingSpec},
    config::RouterConfig,
    error::{Error, Result},
};

/// Similarities that a batch holds at once: beyond that, a larger group of queries costs more memory than it saves time.
const GROUP_NUMBERS: usize = 1 << 20;
const MAX_GROUP: usize = 16;

/// Battles and what routing needs of them, added up.
#[derive(Debug)]
struct Segment {
    battles: Battles,
    outcomes: Outcomes,
    /// Texts of the prompts, where they were kept.
    texts: Option<Vec<String>>,
}

/// Which prompts a decision looks at.
#[derive(Debug)]
enum Search {
    Exact,
    #[cfg(feature = "faiss")]
    Approximate(Box<Approximate>),
}

/// Ratings by similarity for one pair of models.
#[derive(Debug)]
pub(crate) struct Ranking {
    dim: usize,
    tiers: usize,
    /// Tier of the strong and of the weak model.
    pair: (usize, usize),
    /// Tier of every model of the artifact.
    tier_of: Vec<u16>,
    /// Strengths over all battles unweighted: where every solve begins.
    start: Vec<f64>,
    base: Arc<Segment>,
    added: ArcSwap<Vec<Arc<Segment>>>,
    added_ids: Mutex<HashSet<u64>>,
    /// Ids of the artifact's battles, in order; made when battles are added.
    stored_ids: OnceLock<Vec<u64>>,
    process: u32,
    search: Search,
}

/// What one prompt's weighted battles say.
#[derive(Debug, Clone)]
pub(crate) struct Estimate {
    /// Strengths of the tiers, in natural units.
    pub(crate) strengths: Vec<f64>,
    /// Strong minus weak.
    pub(crate) logit: f32,
}

thread_local! {
    static SIMILARITIES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Segment {
    fn new(battles: Battles, texts: Option<Vec<String>>, tier_of: &[u16], tiers: usize) -> Self {
        let outcomes = Outcomes::new(&battles, tier_of, tiers);
        Self { battles, outcomes, texts }
    }

    fn prompts(&self) -> usize {
        self.battles.vectors.len()
    }

    /// Similarity of every prompt that says anything about tiers; minus infinity for the others.
    fn similarities(&self, query: &Query) -> Vec<f32> {
        let mut similarities = vec![0.0; self.prompts()];
        self.battles.vectors.scan(std::slice::from_ref(query), &mut [&mut similarities]);
        self.outcomes.mute(&mut similarities);
        self.battles.vectors.refine(query, &mut similarities);
        similarities
    }
}

impl Ranking {
    /// Reads the battles of an artifact for a pair of tiers.
    pub(crate) fn open(
        artifact: &Artifact,
        spec: &RankingSpec,
        pair: (usize, usize),
        config: &RouterConfig,
    ) -> Result<Self> {
        let dim = artifact.manifest().encoder.dim();
        let models = artifact.manifest().models.len();
        let at = |file: &str| {
            let path = artifact.path().join(file);
            move |(tensor, message): (String, String)| Error::artifact(&path, tensor, message)
        };
        let battles = Battles::parse(&artifact.file(&spec.battles)?, dim, models).map_err(at(&spec.battles))?;
        let texts = spec.prompts.as_ref().map(|file| {
            let texts: Vec<String> = serde_json::from_slice(&artifact.file(file)?)
                .map_err(|error| Error::artifact_from(&artifact.path().join(file), "json", error))?;
            match texts.len() == battles.vectors.len() {
                true => Ok(texts),
                false => Err(Error::artifact(
                    &artifact.path().join(file),
                    "length",
                    format!("{} texts for {} prompts", texts.len(), battles.vectors.len()),
                )),
            }
        });
        let base = Segment::new(battles, texts.transpose()?, &spec.tiers, spec.tier_count);
        let mut ranking = Self {
            dim,
            tiers: spec.tier_count,
            pair,
            tier_of: spec.tiers.clone(),
            start: vec![0.0; spec.tier_count],
            base: Arc::new(base),
            added: ArcSwap::default(),
            added_ids: Mutex::default(),
            stored_ids: OnceLock::new(),
            process: std::process::id(),
            search: Search::Exact,
        };
        ranking.start = ranking.estimate(None)?.strengths;
        ranking.search = ranking.open_search(artifact, spec, config)?;
        Ok(ranking)
    }

    #[cfg(feature = "faiss")]
    fn open_search(&self, artifact: &Artifact, spec: &RankingSpec, config: &RouterConfig) -> Result<Search> {
        let approximate = Approximate::open(artifact, spec, config, &self.base)?;
        Ok(approximate.map_or(Search::Exact, |approximate| Search::Approximate(Box::new(approximate))))
    }

    #[cfg(not(feature = "faiss"))]
    fn open_search(&self, _: &Artifact, spec: &RankingSpec, config: &RouterConfig) -> Result<Search> {
        match (&config.index, &spec.index) {
            (IndexChoice::Exact, _) | (IndexChoice::Artifact, None) => Ok(Search::Exact),
            _ => Err(Error::engine(None, "this build has no FAISS: load with index=\"exact\"")),
        }
    }

    /// The error that the artifact states for its approximation; `None` where decisions are exact or the error is not known.
    pub(crate) fn stated_error(&self) -> Option<ErrorSpec> {
        match &self.search {
            Search::Exact => None,
            #[cfg(feature = "faiss")]
            Search::Approximate(approximate) => approximate.stated_error(),
        }
    }

    /// Whether decisions look at every prompt.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self.search, Search::Exact)
    }

    /// Whether a decision takes microseconds: what it reads fits the caches close to the processor.
    pub(crate) fn is_microseconds(&self) -> bool {
        matches!(self.search, Search::Exact)
            && self.base.battles.vectors.bytes() <= 1 << 18
            && self.added.load().is_empty()
    }

    /// Logit of the pair for an embedding.
    pub(crate) fn logit(&self, embedding: &[f32]) -> Result<f32> {
        Ok(self.estimate(Query::new(embedding))?.logit)
    }

    /// Logits of many embeddings, `[n, dim]`; equal to [`logit`](Self::logit) of each.
    pub(crate) fn logits(&self, embeddings: &[f32]) -> Result<Vec<f32>> {
        let queries: Vec<Option<Query>> = embeddings.chunks_exact(self.dim).map(Query::new).collect();
        let group = self.group();
        let mut logits = Vec::with_capacity(queries.len());
        let mut queries = queries.into_iter().peekable();
        while queries.peek().is_some() {
            let group: Vec<Option<Query>> = queries.by_ref().take(group).collect();
            logits.extend(self.estimates(group)?.into_iter().map(|estimate| estimate.logit));
        }
        Ok(logits)
    }

    /// Embeddings that are compared with the battles in one pass: fewer where there are many battles, so that the similarities of a
    /// pass stay in the cache, and a pass takes at most the time of one decision over a million prompts.
    pub(crate) fn group(&self) -> usize {
        (GROUP_NUMBERS / self.prompts().max(1)).clamp(1, MAX_GROUP)
    }

    /// The strength of every model's tier for an embedding, in the artifact's order.
    pub(crate) fn model_scores(&self, embedding: &[f32]) -> Result<Vec<f32>> {
        let strengths = self.estimate(Query::new(embedding))?.strengths;
        Ok(self.tier_of.iter().map(|&tier| strengths[usize::from(tier)] as f32).collect())
    }

    fn prompts(&self) -> usize {
        self.base.prompts() + self.added.load().iter().map(|segment| segment.prompts()).sum::<usize>()
    }

    /// Estimates for one query; `None` weighs all battles alike.
    pub(crate) fn estimate(&self, query: Option<Query>) -> Result<Estimate> {
        let mut estimates = self.estimates(vec![query])?;
        estimates.pop().ok_or_else(|| Error::inference("no estimate for a query"))
    }

    fn estimates(&self, queries: Vec<Option<Query>>) -> Result<Vec<Estimate>> {
        let added = self.added.load_full();
        let segments: Vec<&Segment> =
            std::iter::once(&*self.base).chain(added.iter().map(|segment| &**segment)).collect();
        let places: Vec<bool> = queries.iter().map(Option::is_some).collect();
        let present: Vec<Query> = queries.into_iter().flatten().collect();
        let mut found = self.weighted_wins(&segments, &present)?.into_iter();
        places
            .into_iter()
            .map(|weighted| {
                let wins = if weighted { found.next() } else { None };
                self.solve(&wins.unwrap_or_else(|| self.plain_wins(&segments)))
            })
            .collect()
    }

    /// Wins between tiers with all battles weighing the same.
    fn plain_wins(&self, segments: &[&Segment]) -> Vec<f64> {
        let mut wins = vec![0.0; self.tiers * self.tiers];
        for segment in segments {
            segment.outcomes.tally(&vec![1.0; segment.prompts()], &mut wins);
        }
        wins
    }

    fn weighted_wins(&self, segments: &[&Segment], queries: &[Query]) -> Result<Vec<Vec<f64>>> {
        match &self.search {
            Search::Exact => Ok(self.exact_wins(segments, queries)),
            #[cfg(feature = "faiss")]
            Search::Approximate(approximate) => {
                let wins = |query| match approximate.wins(segments, query, self.tiers)? {
                    Some(wins) => Ok(wins),
                    // None of the nearest prompts says anything about tiers.
                    None => Ok(self.exact_wins(segments, std::slice::from_ref(query)).remove(0)),
                };
                queries.iter().map(wins).collect()
            }
        }
    }

    /// Weighted wins between tiers for each query, over all prompts.
    fn exact_wins(&self, segments: &[&Segment], queries: &[Query]) -> Vec<Vec<f64>> {
        let total: usize = segments.iter().map(|segment| segment.prompts()).sum();
        SIMILARITIES.with_borrow_mut(|buffer| {
            // What was in the buffer before is overwritten, place by place.
            if buffer.len() < total * queries.len() {
                buffer.resize(total * queries.len(), 0.0);
            }
            let mut rows: Vec<&mut [f32]> = buffer.chunks_exact_mut(total.max(1)).take(queries.len()).collect();
            let mut start = 0;
            for segment in segments {
                let end = start + segment.prompts();
                let mut places: Vec<&mut [f32]> = rows.iter_mut().map(|row| &mut row[start..end]).collect();
                segment.battles.vectors.scan(queries, &mut places);
                for (row, query) in places.iter_mut().zip(queries) {
                    segment.outcomes.mute(row);
                    segment.battles.vectors.refine(query, row);
                }
                start = end;
            }
            rows.into_iter().map(|similarities| self.tally(segments, similarities)).collect()
        })
    }

    fn tally(&self, segments: &[&Segment], similarities: &mut [f32]) -> Vec<f64> {
        let weighting = Weighting::new(largest(similarities));
        weigh(weighting, similarities);
        let mut wins = vec![0.0; self.tiers * self.tiers];
        let mut start = 0;
        for segment in segments {
            let end = start + segment.prompts();
            segment.outcomes.tally(&similarities[start..end], &mut wins);
            start = end;
        }
        wins
    }

    fn solve(&self, wins: &[f64]) -> Result<Estimate> {
        let mut strengths = self.start.clone();
        bradley_terry::solve(wins, &mut strengths);
        let logit = strengths[self.pair.0] - strengths[self.pair.1];
        if !logit.is_finite() {
            return Err(Error::inference("the weighted battles gave no finite rating"));
        }
        Ok(Estimate { strengths, logit: logit as f32 })
    }
}
