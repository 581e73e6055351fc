//! Everything that happened on the way to one decision.

use crate::{policy::Decision, ranking::RankingExplanation};

/// A timed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// What was done.
    pub name: &'static str,
    /// How long it took.
    pub nanoseconds: u64,
}

/// One decision, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What was decided.
    pub decision: Decision,
    /// Token ids that the model saw.
    pub ids: Vec<u32>,
    /// Texts of the tokens.
    pub tokens: Vec<String>,
    /// Score of the strong model minus score of the weak one, before calibration.
    pub logit: f32,
    /// Win rate before calibration.
    pub raw_win_rate: f32,
    /// Score of every model, in the artifact's order.
    pub model_scores: Vec<f32>,
    /// What the battles say, in routers that rank by battles.
    pub ranking: Option<RankingExplanation>,
    /// Where the time went.
    pub stages: Vec<Stage>,
}
