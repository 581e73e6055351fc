//! What a request is expected to cost.

use super::candidate::Prices;

/// Tokens of one request for one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    pub(super) input: f64,
    /// Of the input; more than the input counts as all of it.
    pub(super) cached: f64,
    pub(super) output: f64,
}

/// Expected cost, in the pool's currency.
pub(super) fn cost(prices: Prices, usage: Usage) -> f64 {
    let cached = usage.cached.min(usage.input);
    (usage.input - cached) * prices.input + cached * prices.cached_input + usage.output * prices.output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_have_their_own_price_and_never_exceed_the_input() {
        let prices = Prices { input: 2.0, cached_input: 0.5, output: 8.0 };
        let at = |cached| cost(prices, Usage { input: 10.0, cached, output: 3.0 });
        assert_eq!((at(0.0), at(4.0), at(10.0), at(1e9)), (44.0, 38.0, 29.0, 29.0));
    }
}
