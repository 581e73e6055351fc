//! Profiles of models: how the chance of success follows from the embedding of a prompt, and how sure that is.

use std::sync::Arc;

use super::landmarks::Landmarks;
use crate::exponential::exp;

/// Standard deviations on either side of a 90 % interval.
const DEVIATIONS: f32 = 1.645;

/// Logistic regressions over a few directions of the embedding, one a model: `P = sigmoid(weights . (basis^T e) + bias)`. With
/// landmarks, `e` is the embedding and then its nearness to each of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Profiles {
    /// SHA-256 of the graph that makes the embedding.
    pub embedding: String,
    /// The models, in the order of the rows.
    pub models: Vec<Profile>,
    pub(super) rank: usize,
    /// They extend the embedding, where there are any.
    pub(super) landmarks: Option<Landmarks>,
    /// `[dim + landmarks, rank]`.
    pub(super) basis: Vec<f32>,
    /// `[models, rank]`.
    pub(super) weights: Vec<f32>,
    /// `[models]`.
    pub(super) bias: Vec<f32>,
    /// Lower triangles of the posterior covariances of weights and bias, row by row: `[models, (rank + 1) (rank + 2) / 2]`.
    pub(super) covariance: Vec<f32>,
}

/// What a profile was fitted on, and how well. Further keys are for people.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct Profile {
    /// Name of the model.
    pub name: String,
    /// Graded prompts that it was fitted on.
    pub prompts: u64,
    /// Tables that they come from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Expected calibration error on held-out prompts.
    #[serde(default)]
    pub ece: Option<f64>,
    /// Brier score on held-out prompts.
    #[serde(default)]
    pub brier: Option<f64>,
    /// Mean output tokens of an answer.
    #[serde(default)]
    pub output_tokens: Option<f64>,
}

impl Profiles {
    /// Row of a model. Profiles that ship have names in lower case.
    pub(super) fn row(&self, name: &str) -> Option<usize> {
        let named = |name: &str| self.models.iter().position(|model| model.name == name);
        named(name).or_else(|| named(&name.to_lowercase()))
    }

    /// Weights over the whole embedding and the landmarks, folded once so that a decision needs no other product. Infinite where they overflow.
    pub(super) fn folded(&self, row: usize) -> Vec<f32> {
        let weights = &self.weights[row * self.rank..(row + 1) * self.rank];
        let dot = |basis: &[f32]| basis.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        self.basis.chunks_exact(self.rank).map(|basis| dot(basis) as f32).collect()
    }

    /// The embedding in the directions of the basis.
    pub(super) fn factors(&self, embedding: &[f32]) -> Vec<f32> {
        let mut factors = vec![0.0f32; self.rank];
        let nearness = self.landmarks.as_ref().map_or_else(Vec::new, |landmarks| landmarks.nearness(embedding));
        for (value, basis) in embedding.iter().chain(&nearness).zip(self.basis.chunks_exact(self.rank)) {
            factors.iter_mut().zip(basis).for_each(|(sum, weight)| *sum += value * weight);
        }
        factors
    }

    /// Ends of the 90 % interval of a chance: those of its logit, whose variance is `f^T C f` with the factors and 1 as `f`.
    pub(super) fn interval(&self, row: usize, logit: f32, factors: &[f32]) -> (f32, f32) {
        let size = (self.rank + 1) * (self.rank + 2) / 2;
        let packed = &self.covariance[row * size..(row + 1) * size];
        let with_one: Vec<f64> = factors.iter().map(|&factor| f64::from(factor)).chain([1.0]).collect();
        let mut entries = packed.iter().map(|&entry| f64::from(entry));
        let mut variance = 0.0;
        for (at, own) in with_one.iter().enumerate() {
            for other in &with_one[..at] {
                variance += 2.0 * own * other * entries.next().unwrap_or(0.0);
            }
            variance += own * own * entries.next().unwrap_or(0.0);
        }
        // Rounding of float16 may leave a little less than nothing.
        let deviation = (DEVIATIONS * (variance.max(0.0).sqrt() as f32)).min(f32::MAX);
        (chance(logit - deviation), chance(logit + deviation))
    }
}

/// The chance of a logit, by the exponential function that can be vectorized: one form for decisions and for intervals.
#[inline(always)]
pub(super) fn chance(logit: f32) -> f32 {
    1.0 / (1.0 + exp(-logit))
}

/// One model of some profiles.
#[derive(Debug, Clone)]
pub(super) struct ProfileRow {
    pub(super) profiles: Arc<Profiles>,
    pub(super) row: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> Profiles {
        let model =
            Profile { name: "a".into(), prompts: 1, sources: vec![], ece: None, brier: None, output_tokens: None };
        Profiles {
            embedding: String::new(),
            models: vec![model],
            rank: 2,
            landmarks: None,
            basis: vec![1.0, 0.0, 0.0, 1.0, 1.0, -1.0],
            weights: vec![0.5, 2.0],
            bias: vec![-1.0],
            covariance: vec![4.0, 0.5, 1.0, 0.0, -0.25, 2.0],
        }
    }

    #[test]
    fn folding_gives_the_logit_of_the_factors() {
        let profiles = profiles();
        assert_eq!(profiles.folded(0), [0.5, 2.0, -1.5]);
        assert_eq!(profiles.factors(&[1.0, 2.0, 3.0]), [4.0, -1.0]);
    }

    #[test]
    fn factors_count_the_nearness_to_landmarks() {
        let mut profiles = profiles();
        profiles.basis.extend([10.0, 20.0]);
        profiles.landmarks = Some(Landmarks::new(3, vec![1.0, 2.0, 3.0], &[1.0]));
        assert_eq!(profiles.factors(&[1.0, 2.0, 3.0]), [14.0, 19.0]);
        assert_eq!(profiles.folded(0), [0.5, 2.0, -1.5, 45.0]);
    }

    #[test]
    fn an_interval_has_the_variance_of_the_packed_covariance() {
        let profiles = profiles();
        // f = (4, -1, 1) and C = [[4, .5, 0], [.5, 1, -.25], [0, -.25, 2]]: f^T C f = 64 - 4 + 1 + 0.5 + 2.
        let deviation = 1.645 * 63.5f32.sqrt();
        let (low, high) = profiles.interval(0, 0.5, &[4.0, -1.0]);
        assert!((low - chance(0.5 - deviation)).abs() < 1e-6 && (high - chance(0.5 + deviation)).abs() < 1e-6);
    }
}
