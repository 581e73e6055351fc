//! What a decision is to achieve: an objective of one request, or a budget over many.

use super::{
    budget::Budget,
    candidate::{Candidate, without_prices},
    objective::{Key, Objective},
    rank::Reason,
    router::Estimate,
};
use crate::error::{Error, Result};

/// What a decision is to achieve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// For the request at hand.
    Objective(Objective),
    /// Over many requests, at the price that a controller has set. It has no limit of its own on a single one.
    Budget(Budget),
}

impl Aim {
    /// # Errors
    /// [`Error::InvalidInput`] for numbers out of range, and where a model says nothing of what counts.
    pub(super) fn check(&self, candidates: &[Candidate]) -> Result<()> {
        let objective = match self {
            Self::Budget(budget) => return budget.check(candidates),
            Self::Objective(objective) => objective,
        };
        objective.check().map_err(|(field, message)| Error::invalid_input(field, message))?;
        without_prices(*objective, candidates).map_or(Ok(()), |missing| {
            let name = objective.name();
            let message = format!("{name} needs input_price and output_price of every model; missing for {missing}");
            Err(Error::invalid_input(name, message))
        })
    }

    /// The most that a request may cost.
    pub(super) fn max_cost(&self) -> Option<f64> {
        match self {
            Self::Objective(Objective::MaxCost(limit)) => Some(*limit),
            Self::Objective(_) | Self::Budget(_) => None,
        }
    }

    /// The chance that a model has to reach, where the best one has `best`.
    pub(super) fn bar(&self, best: impl FnOnce() -> f64) -> f64 {
        match self {
            Self::Objective(objective @ Objective::Tolerance(_)) => objective.bar(best()),
            Self::Objective(objective) => objective.bar(0.0),
            Self::Budget(_) => 0.0,
        }
    }

    /// The place of a model in the order: a smaller key comes first.
    pub(super) fn key(&self, bar: f64, success: f32, estimate: &Estimate) -> Key {
        let (success, cost) = (f64::from(success), estimate.cost.unwrap_or(f64::INFINITY));
        match self {
            Self::Objective(objective) => objective.key(bar, success, cost),
            Self::Budget(budget) => Key::of(1.0 - success + budget.price * estimate.used, cost),
        }
    }

    /// Why the first model of the order was chosen.
    pub(super) fn reason(&self, key: Key) -> Reason {
        match self {
            Self::Objective(objective) => objective.reason(key),
            Self::Budget(_) => Reason::Budget,
        }
    }
}
