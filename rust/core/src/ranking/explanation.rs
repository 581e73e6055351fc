//! What stood behind a rating: the battles nearest to a prompt, and the tiers.

use super::{Ranking, Segment, vectors::Query};
use crate::error::Result;

/// Battles that an explanation shows.
const SHOWN: usize = 20;

/// One of the battles nearest to a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbor {
    /// Cosine of the prompt and the battle's prompt.
    pub similarity: f32,
    /// Text of the battle's prompt, where the artifact keeps texts.
    pub prompt: Option<String>,
    /// Model on one side, by its number in the artifact.
    pub model_a: usize,
    /// Model on the other side.
    pub model_b: usize,
    /// 0 where model a won, 1 where model b did, 2 for a tie.
    pub outcome: u8,
}

/// What the battles say about one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct RankingExplanation {
    /// The nearest battles, nearest first.
    pub neighbors: Vec<Neighbor>,
    /// Elo ratings of the tiers for this prompt, centered at 1000.
    pub tier_ratings: Vec<f64>,
    /// Whether every prompt was looked at.
    pub exact: bool,
    /// 99th percentile of the distance from exact win rates as the artifact states it; `None` where decisions are exact, or where
    /// nobody has measured the index.
    pub error: Option<f64>,
}

impl Ranking {
    /// Explains a decision; slow.
    pub(crate) fn explain(&self, embedding: &[f32]) -> Result<RankingExplanation> {
        let query = Query::new(embedding);
        let neighbors = query.as_ref().map_or_else(Vec::new, |query| self.neighbors(query));
        let strengths = self.estimate(query)?.strengths;
        let mean = strengths.iter().sum::<f64>() / strengths.len() as f64;
        let elo = 400.0 / std::f64::consts::LN_10;
        Ok(RankingExplanation {
            neighbors,
            tier_ratings: strengths.iter().map(|strength| 1000.0 + elo * (strength - mean)).collect(),
            exact: self.is_exact(),
            error: self.stated_error().map(|error| error.p99),
        })
    }

    /// The battles over the nearest prompts that say anything about tiers.
    fn neighbors(&self, query: &Query) -> Vec<Neighbor> {
        let added = self.added.load_full();
        let segments: Vec<&Segment> =
            std::iter::once(&*self.base).chain(added.iter().map(|segment| &**segment)).collect();
        let mut near: Vec<(f32, &Segment, usize)> = Vec::new();
        for segment in segments {
            let similarities = segment.similarities(query).into_iter().enumerate();
            near.extend(
                similarities.filter(|(_, s)| s.is_finite()).map(|(prompt, similarity)| (similarity, segment, prompt)),
            );
        }
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter()
            .flat_map(|(similarity, segment, prompt)| self.battles_over(segment, prompt, similarity))
            .take(SHOWN)
            .collect()
    }

    fn battles_over(&self, segment: &Segment, prompt: usize, similarity: f32) -> Vec<Neighbor> {
        let battles = &segment.battles;
        let prompts = battles.prompt.as_slice();
        let range =
            prompts.partition_point(|&p| (p as usize) < prompt)..prompts.partition_point(|&p| p as usize <= prompt);
        let models =
            |at: usize| (usize::from(battles.model_a.as_slice()[at]), usize::from(battles.model_b.as_slice()[at]));
        let across = range.filter(|&at| self.tier_of[models(at).0] != self.tier_of[models(at).1]);
        let text = segment.texts.as_ref().and_then(|texts| texts.get(prompt));
        across
            .take(SHOWN)
            .map(|at| {
                let (model_a, model_b) = models(at);
                Neighbor {
                    similarity,
                    prompt: text.cloned(),
                    model_a,
                    model_b,
                    outcome: battles.outcome.as_slice()[at],
                }
            })
            .collect()
    }
}
