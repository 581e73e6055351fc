//! From a win rate to a choice of model: pure, and the same for every router.

use crate::error::{Error, Result};

/// What was decided for one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Whether the strong model was chosen.
    pub strong: bool,
    /// Chance in `[0, 1]` that the strong model's answer is preferred.
    pub win_rate: f32,
    /// The threshold that was applied.
    pub threshold: f64,
}

/// Chooses the strong model when `win_rate >= threshold`, as RouteLLM does (arXiv 2406.18665, section 3).
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    threshold: f64,
}

impl Policy {
    /// A policy with a checked threshold in `[0, 1]`.
    pub fn new(threshold: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&threshold) {
            Ok(Self { threshold })
        } else {
            Err(Error::InvalidInput(format!("threshold is {threshold}, expected a number in 0..=1")))
        }
    }

    /// The threshold.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Decides; the comparison is made in double precision.
    pub fn decide(&self, win_rate: f32) -> Decision {
        Decision { strong: f64::from(win_rate) >= self.threshold, win_rate, threshold: self.threshold }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thresholds_outside_zero_to_one_are_refused() {
        for wrong in [-0.001, 1.001, f64::NAN, f64::INFINITY] {
            assert!(Policy::new(wrong).unwrap_err().to_string().contains("expected a number in 0..=1"));
        }
    }

    #[test]
    fn a_win_rate_at_the_threshold_goes_to_the_strong_model() {
        assert!(Policy::new(0.5).unwrap().decide(0.5).strong);
        assert!(Policy::new(0.0).unwrap().decide(0.0).strong);
    }

    proptest! {
        #[test]
        fn raising_the_threshold_never_picks_the_strong_model_more_often(
            win_rate in 0.0f32..=1.0, low in 0.0f64..=1.0, high in 0.0f64..=1.0,
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let at = |threshold| Policy::new(threshold).unwrap().decide(win_rate).strong;
            prop_assert!(at(low) >= at(high));
        }
    }
}
