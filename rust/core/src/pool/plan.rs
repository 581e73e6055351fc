//! A request, resolved against the pool: which candidates it excludes whatever the prompt is, and what it counts.

use std::borrow::Cow;

use super::{
    PoolRouter,
    aim::Aim,
    candidate::Candidate,
    exclusion::Exclusion,
    limits::Limits,
    names::listed,
    request::{Input, Request},
    spec::is_amount,
};
use crate::error::{Error, Result};

/// A request, resolved against the pool.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) aim: Aim,
    pub(super) exclusions: Cow<'a, [Option<Exclusion>]>,
    /// Limit on the latency of candidates whose latency depends on the prompt.
    pub(super) max_latency: Option<f64>,
    pub(super) input: Option<Input>,
    /// One a candidate, or none at all.
    pub(super) cached: Vec<f64>,
    pub(super) max_output: Option<u64>,
}

impl PoolRouter {
    /// Resolves a request. That of the default costs nothing.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for numbers out of range, names that the pool does not have, and an objective without prices.
    pub(super) fn plan(&self, request: &Request) -> Result<Plan<'_>> {
        let aim = request.aim.unwrap_or(Aim::Objective(self.objective));
        if request.aim.is_some() {
            aim.check(&self.candidates)?;
        }
        request.limits.check().map_err(|(field, message)| Error::invalid_input(field, message))?;
        let named = request.unavailable.iter().map(|name| ("unavailable", name));
        for (argument, name) in named.chain(request.cached_tokens.iter().map(|(name, _)| ("cached_tokens", name))) {
            if !self.candidates.iter().any(|candidate| candidate.is_named(name)) {
                let known = listed(self.candidates.iter().map(|one| one.name.as_str()), name);
                let message = format!("{argument} names {name:?}, which is not a model of the pool: {known}");
                return Err(Error::invalid_input(argument, message));
            }
        }
        if request.max_output == Some(0) {
            return Err(Error::invalid_input("max_output", "max_output is 0, expected at least 1"));
        }
        if let Some(Input::Estimated(tokens)) = request.input
            && !is_amount(tokens)
        {
            let message = format!("estimated_tokens is {tokens}, expected a finite number of 0 or more");
            return Err(Error::invalid_input("estimated_tokens", message));
        }
        let asks_nothing = request.needs.is_empty()
            && request.unavailable.is_empty()
            && request.max_output.is_none()
            && request.limits == Limits::default();
        let exclusions = if asks_nothing {
            Cow::Borrowed(&self.exclusions[..])
        } else {
            let limits = request.limits.over(&self.spec.limits);
            Cow::Owned(self.candidates.iter().map(|one| exclusion(one, request, &limits)).collect())
        };
        let cached = |candidate: &Candidate| {
            let own = request.cached_tokens.iter().find(|(name, _)| *name == candidate.name);
            let found = own.or_else(|| request.cached_tokens.iter().find(|(name, _)| *name == candidate.model));
            found.map_or(0.0, |(_, tokens)| *tokens as f64)
        };
        let cached =
            if request.cached_tokens.is_empty() { Vec::new() } else { self.candidates.iter().map(cached).collect() };
        Ok(Plan {
            aim,
            exclusions,
            max_latency: request.limits.max_latency_ms.or(self.spec.limits.max_latency_ms),
            input: request.input,
            cached,
            max_output: request.max_output,
        })
    }
}

/// Why a candidate may not serve a request, whatever the prompt is.
pub(super) fn exclusion(candidate: &Candidate, request: &Request, limits: &Limits) -> Option<Exclusion> {
    let spec = &candidate.spec;
    if request.unavailable.iter().any(|name| candidate.is_named(name)) {
        return Some(Exclusion::Unavailable);
    }
    let lacking = candidate.lacks(request.needs);
    if !lacking.is_empty() {
        return Some(Exclusion::Needs(lacking));
    }
    let tags = spec.tags.as_deref().unwrap_or_default();
    if limits.allow_tags.as_ref().is_some_and(|allowed| !tags.iter().any(|tag| allowed.contains(tag))) {
        return Some(Exclusion::NoAllowedTag);
    }
    if let Some(denied) = &limits.deny_tags
        && let Some(at) = tags.iter().position(|tag| denied.contains(tag))
    {
        return Some(Exclusion::DeniedTag(at));
    }
    if let Some(regions) = &limits.regions
        && !spec.region.as_ref().is_some_and(|region| regions.contains(region))
    {
        return Some(Exclusion::Region);
    }
    if let Some(limit) = limits.max_price {
        let price = spec.input_price.zip(spec.output_price).map(|(input, output)| input.max(output));
        if price.is_none_or(|price| price > limit) {
            return Some(Exclusion::Price { price, limit });
        }
    }
    if let Some(limit) = limits.max_latency_ms {
        let latency = spec.latency_ms.map(|latency| latency.p95);
        let depends_on_prompt = latency.is_none() && spec.tokens_per_second.is_some();
        if !depends_on_prompt && latency.is_none_or(|latency| latency > limit) {
            return Some(Exclusion::Latency { latency, limit });
        }
    }
    match (request.max_output, spec.max_output) {
        (Some(asked), Some(limit)) if asked > limit => Some(Exclusion::MaxOutput { asked, limit }),
        _ => None,
    }
}
