//! How much the battles over a prompt count, by its similarity to the query.

use multiversion::multiversion;

use crate::exponential::exp;

/// How fast weights fall with similarity, and where they are largest: `w = exp(slope * (s - most))`, up to a common factor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighting {
    slope: f32,
    most: f32,
}

impl Weighting {
    pub(super) fn new(most: f32) -> Self {
        if most > 0.0 && most.is_finite() {
            Self { slope: std::f32::consts::LN_10 / most, most }
        } else {
            Self { slope: 0.0, most: 0.0 }
        }
    }

    #[cfg(feature = "faiss")]
    pub(super) fn of(self, similarity: f32) -> f32 {
        exp(self.slope * (similarity - self.most))
    }

    /// Mean weight of similarities that scatter normally around `mean` with variance `spread`, none above the largest.
    #[cfg(feature = "faiss")]
    pub(super) fn mean(self, mean: f32, spread: f32) -> f32 {
        exp((self.slope * (mean - self.most) + 0.5 * self.slope * self.slope * spread).min(0.0))
    }
}

/// Similarities become weights.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn weigh(weighting: Weighting, similarities: &mut [f32]) {
    similarities.iter_mut().for_each(|value| *value = exp(weighting.slope * (*value - weighting.most)));
}
