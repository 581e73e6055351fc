//! What a request uses of a budget, and the price of it that a controller sets.

use super::{candidate::Candidate, names::shortened};
use crate::{
    error::{Error, Result},
    pool::spec::{Latency, is_amount},
};

/// What a budget limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resource {
    /// Expected cost.
    Cost,
    /// Grams of CO2e.
    Co2,
    /// Chance that an answer takes longer than so many milliseconds.
    Slow(f64),
}

/// An objective of a budget: the least chance of failure plus `price` times what the request uses. With the price that a dual update
/// finds, decisions keep a budget over many requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Of one unit of the resource, in chances of success; 0 or more.
    pub price: f64,
    /// What is limited.
    pub resource: Resource,
}

/// Standard deviation of the logarithm of latency where only one number of it is known.
const SPREAD: f64 = 0.5;
/// Standard deviations from the median to the 95th percentile.
const P95: f64 = 1.644_853_6;

impl Budget {
    /// # Errors
    /// [`Error::InvalidInput`] for numbers out of range, or where a model says nothing of what is limited.
    pub(super) fn check(&self, candidates: &[Candidate]) -> Result<()> {
        let (field, has): (_, fn(&Candidate) -> bool) = match self.resource {
            Resource::Cost => ("input_price and output_price", |one| one.prices().is_some()),
            Resource::Co2 => ("co2_grams", |one| one.spec.co2_grams.is_some()),
            Resource::Slow(_) => ("latency_ms or tokens_per_second", |one| {
                one.spec.latency_ms.is_some() || one.spec.tokens_per_second.is_some()
            }),
        };
        let missing: Vec<&str> = candidates.iter().filter(|one| !has(one)).map(|one| one.name.as_str()).collect();
        if !missing.is_empty() {
            let message = format!("a budget needs {field} of every model; missing for {}", shortened(&missing));
            return Err(Error::invalid_input("budget", message));
        }
        match self.resource {
            _ if !is_amount(self.price) => Err(Error::invalid_input(
                "price",
                format!("price is {}, expected a finite number of 0 or more", self.price),
            )),
            Resource::Slow(limit) if !(limit.is_finite() && limit > 0.0) => {
                Err(Error::invalid_input("limit_ms", format!("limit_ms is {limit}, expected a finite number above 0")))
            }
            _ => Ok(()),
        }
    }

    /// What one candidate uses for a request with this expected cost, these tokens and this latency.
    pub(super) fn used(&self, candidate: &Candidate, cost: Option<f64>, tokens: f64, latency: Option<f64>) -> f64 {
        let spec = &candidate.spec;
        match self.resource {
            Resource::Cost => cost.unwrap_or(0.0),
            Resource::Co2 => spec.co2_grams.unwrap_or(0.0) * tokens / 1e6,
            Resource::Slow(limit) => match (spec.latency_ms, latency) {
                (Some(Latency { p50: Some(p50), p95 }), _) => slower(limit, p50, (p95 / p50).ln() / P95),
                (Some(Latency { p50: None, p95 }), _) => slower(limit, p95 / (SPREAD * P95).exp(), SPREAD),
                (None, Some(expected)) => slower(limit, expected, SPREAD),
                (None, None) => 1.0,
            },
        }
    }
}

/// Chance that a latency exceeds a limit, if its logarithm is normal.
fn slower(limit: f64, median: f64, spread: f64) -> f64 {
    // A spread of nothing, or a median of nothing, is a step.
    if !(median > 0.0 && spread > 1e-9 && spread.is_finite()) {
        return f64::from(median > limit);
    }
    normal_tail((limit / median).ln() / spread)
}

/// Chance that a standard normal number exceeds `x`: the logistic approximation of Bowling et al. (2009), within 0.00014.
fn normal_tail(x: f64) -> f64 {
    1.0 / (1.0 + (1.5976 * x + 0.07056 * x * x * x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_in_twenty_is_slower_than_the_95th_percentile() {
        for (p50, p95) in [(100.0, 300.0), (800.0, 2500.0)] {
            let spread = f64::ln(p95 / p50) / P95;
            assert!((slower(p95, p50, spread) - 0.05).abs() < 2e-4);
            assert!((slower(p50, p50, spread) - 0.5).abs() < 1e-9);
        }
    }

    #[test]
    fn latencies_without_spread_are_steps() {
        assert_eq!((slower(100.0, 99.0, 0.0), slower(100.0, 101.0, 0.0), slower(100.0, 0.0, 1.0)), (0.0, 1.0, 0.0));
    }
}
