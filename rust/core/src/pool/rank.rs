//! What a decision says.

use std::fmt;

use super::{exclusion::Exclusion, objective::Objective};

/// The decision for one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Place of the candidate in the pool.
    pub candidate: usize,
    /// Chance in `[0, 1]` that its answer is good.
    pub success: f32,
    /// Expected cost of the request; none without prices.
    pub cost: Option<f64>,
    /// What the request is expected to use of a budget; 0 without one.
    pub used: f64,
    /// Why it was chosen.
    pub reason: Reason,
}

/// Why a model was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// It comes first by the objective.
    Objective(Objective),
    /// No feasible model reaches the target; it is the most likely one.
    TargetMissed(Objective),
    /// It has the least chance of failure plus price of what it uses of a budget.
    Budget,
    /// No model is feasible; it is the declared fallback.
    Fallback,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worst = |radius: f64| if radius > 0.0 { format!(" within a KL radius of {radius}") } else { String::new() };
        match self {
            Self::Objective(Objective::Target { target, kl_radius }) => {
                write!(f, "cheapest model with P(success) >= {target}{}", worst(*kl_radius))
            }
            Self::Objective(Objective::MaxCost(limit)) => {
                write!(f, "most likely model with an expected cost <= {limit}")
            }
            Self::Objective(Objective::ErrorCost(price)) => {
                write!(f, "least expected cost + {price} x P(failure)")
            }
            Self::Objective(Objective::Tolerance(0.0)) => write!(f, "most likely model"),
            Self::Objective(Objective::Tolerance(tolerance)) => {
                write!(f, "cheapest model within {tolerance} of the highest P(success)")
            }
            Self::TargetMissed(Objective::Target { target, kl_radius }) => {
                write!(f, "no feasible model reaches P(success) >= {target}{}; the most likely one", worst(*kl_radius))
            }
            Self::TargetMissed(_) => write!(f, "most likely model"),
            Self::Budget => write!(f, "best use of the budget"),
            Self::Fallback => write!(f, "fallback: no model is feasible"),
        }
    }
}

/// One model of the pool for one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Place of the candidate in the pool.
    pub candidate: usize,
    /// Chance in `[0, 1]` that its answer is good.
    pub success: f32,
    /// Ends of the 90 % interval of that chance; both equal to it where a constant gives it.
    pub interval: (f32, f32),
    /// Expected cost of the request; none without prices.
    pub cost: Option<f64>,
    /// Milliseconds, p95 where the pool has it, else expected from the speed; none where neither is known.
    pub latency: Option<f64>,
    /// Expected output tokens.
    pub output_tokens: f64,
    /// Why it may not serve the request, if it may not.
    pub exclusion: Option<Exclusion>,
}
