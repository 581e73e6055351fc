//! From a win rate to a choice of model, and from a share of strong calls to a threshold. Pure, and the only place where either
//! rule is written: every router, the server, the evaluation and routers of the user's own call it.

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
            Err(Error::invalid_input("threshold", format!("threshold is {threshold}, expected a number in 0..=1")))
        }
    }

    /// The threshold.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Whether a win rate chooses the strong model.
    pub fn chooses_strong(&self, win_rate: f64) -> bool {
        win_rate >= self.threshold
    }

    /// Decides; the comparison is made in double precision.
    pub fn decide(&self, win_rate: f32) -> Decision {
        Decision { strong: self.chooses_strong(win_rate.into()), win_rate, threshold: self.threshold }
    }
}

/// Whether these are win rates at evenly spaced quantiles: two or more numbers in `0..=1`, never falling.
///
/// # Errors
/// What was expected and found, for a message.
pub fn check_quantiles<T: Copy + Into<f64>>(quantiles: &[T]) -> std::result::Result<(), String> {
    let inside = quantiles.iter().all(|&value| (0.0..=1.0).contains(&value.into()));
    let falls = quantiles.windows(2).any(|pair| pair[0].into() > pair[1].into());
    if quantiles.len() >= 2 && inside && !falls {
        return Ok(());
    }
    Err(format!("expected two or more numbers in 0..=1, never falling; found {}", quantiles.len()))
}

/// The threshold at which `share` of the prompts behind `quantiles` goes to the strong model: the win rate at quantile `1 - share`,
/// linear between neighbors, as in RouteLLM's calibration. A share of 1 is the threshold 0, which always chooses the strong model. A
/// share of 0 is the threshold 1, which leaves it only win rates of exactly 1.
///
/// ```
/// let quantiles = [0.2, 0.4, 0.6];
/// assert_eq!(turnout_core::threshold_for_share(&quantiles, 0.5)?, 0.4);
/// assert_eq!(turnout_core::threshold_for_share(&quantiles, 1.0)?, 0.0);
/// # Ok::<(), turnout_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidInput`] for a share outside `0..=1`, or quantiles that [`check_quantiles`] refuses.
pub fn threshold_for_share<T: Copy + Into<f64>>(quantiles: &[T], share: f64) -> Result<f64> {
    check_quantiles(quantiles).map_err(|message| Error::invalid_input("quantiles", format!("quantiles: {message}")))?;
    threshold_of_checked(quantiles, share)
}

/// [`threshold_for_share`] over quantiles that were checked when they were read.
pub(crate) fn threshold_of_checked<T: Copy + Into<f64>>(quantiles: &[T], share: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::invalid_input(
            "strong_share",
            format!("strong_share is {share}, expected a number in 0..=1"),
        ));
    }
    if share == 0.0 || share == 1.0 {
        return Ok(1.0 - share);
    }
    let last = quantiles.len() - 1;
    let position = (1.0 - share) * last as f64;
    let below = (position as usize).min(last - 1);
    let (low, high): (f64, f64) = (quantiles[below].into(), quantiles[below + 1].into());
    Ok(low + (high - low) * (position - below as f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_lies_between_quantiles_and_its_ends_are_exact() {
        let stored = [0.125f32, 0.25, 0.5];
        for (share, expected) in [(1.0, 0.0), (0.75, 0.1875), (0.5, 0.25), (0.25, 0.375), (0.0, 1.0)] {
            assert_eq!(threshold_for_share(&stored, share).unwrap(), expected, "{share}");
        }
    }

    #[test]
    fn shares_outside_zero_to_one_and_other_quantiles_are_refused() {
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert!(threshold_for_share(&[0.1, 0.2], wrong).unwrap_err().to_string().contains("strong_share is"));
        }
        for wrong in [&[][..], &[0.5], &[0.5, 0.4], &[0.5, 1.5], &[f64::NAN, 0.5]] {
            assert!(threshold_for_share(wrong, 0.5).unwrap_err().to_string().contains("never falling"), "{wrong:?}");
        }
    }

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
        fn a_larger_share_never_raises_the_threshold(
            mut quantiles in prop::collection::vec(0.0f32..=1.0, 2..50), a in 0.0f64..=1.0, b in 0.0f64..=1.0,
        ) {
            quantiles.sort_by(f32::total_cmp);
            let at = |share| threshold_for_share(&quantiles, share).unwrap();
            let (low, high) = (at(a.max(b)), at(a.min(b)));
            prop_assert!(low <= high && (0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
        }

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
