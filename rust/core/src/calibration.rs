//! Applies a fitted calibration to a raw win rate. Fitting lives in Python.

use serde::Deserialize;

use crate::interpolate::interpolate;

/// A monotone map from the raw win rate to a calibrated one. Order never changes, so neither does routing quality.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Calibration {
    /// The raw win rate is the answer.
    Identity {},
    /// `sigmoid(slope * logit + intercept)` with `slope > 0` (Platt 1999).
    Platt {
        /// Positive.
        slope: f32,
        /// Any finite number.
        intercept: f32,
    },
    /// Linear interpolation through the points of an isotonic fit; flat outside them.
    Isotonic {
        /// Raw win rates, strictly rising.
        x: Vec<f32>,
        /// Calibrated win rates in `[0, 1]`, never falling.
        y: Vec<f32>,
    },
}

/// The logistic function.
pub fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

impl Calibration {
    /// Says what is wrong with the parameters, if anything.
    pub fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self::Identity {} => Ok(()),
            Self::Platt { slope, intercept } if *slope > 0.0 && slope.is_finite() && intercept.is_finite() => Ok(()),
            Self::Platt { slope, intercept } => Err(format!(
                "platt slope {slope} and intercept {intercept}, expected a positive slope and finite numbers"
            )),
            Self::Isotonic { x, y } => {
                let rising = x.windows(2).all(|w| w[0] < w[1]) && y.windows(2).all(|w| w[0] <= w[1]);
                let inside = x.iter().chain(y).all(|v| (0.0..=1.0).contains(v));
                if x.len() == y.len() && x.len() >= 2 && rising && inside {
                    Ok(())
                } else {
                    Err(format!(
                        "isotonic map of {} x and {} y, expected at least two points in 0..=1, x strictly rising, y never falling",
                        x.len(),
                        y.len()
                    ))
                }
            }
        }
    }

    /// Calibrated win rate for a logit (the strong model's score minus the weak one's).
    pub fn apply(&self, logit: f32) -> f32 {
        match self {
            Self::Identity {} => sigmoid(logit),
            Self::Platt { slope, intercept } => sigmoid(slope * logit + intercept),
            Self::Isotonic { x, y } => interpolate(x, y, sigmoid(logit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_falling_map_is_refused() {
        assert!(Calibration::Platt { slope: -1.0, intercept: 0.0 }.check().is_err());
        assert!(Calibration::Isotonic { x: vec![0.1, 0.2], y: vec![0.5, 0.4] }.check().is_err());
        assert!(Calibration::Isotonic { x: vec![0.1, 0.1], y: vec![0.4, 0.5] }.check().is_err());
        assert!(Calibration::Isotonic { x: vec![0.1, f32::NAN], y: vec![0.4, 0.5] }.check().is_err());
    }

    proptest! {
        #[test]
        fn calibration_keeps_the_order(a in -20f32..20.0, b in -20f32..20.0, slope in 0.01f32..10.0, intercept in -5f32..5.0) {
            let (low, high) = (a.min(b), a.max(b));
            let isotonic = Calibration::Isotonic { x: vec![0.1, 0.5, 0.9], y: vec![0.2, 0.2, 0.7] };
            for calibration in [Calibration::Identity {}, Calibration::Platt { slope, intercept }, isotonic] {
                let (at_low, at_high) = (calibration.apply(low), calibration.apply(high));
                prop_assert!(at_low <= at_high);
                prop_assert!((0.0..=1.0).contains(&at_low));
            }
        }
    }
}
