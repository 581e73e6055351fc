//! The models that a decision chooses from: those of the pool, and each of their reasoning efforts.

use std::collections::HashSet;

use super::{
    limits::{Capabilities, Limits},
    names::listed,
    objective::Objective,
    spec::{ModelSpec, PoolSpec},
};

/// Candidates of a pool, efforts included, at most.
pub const MAX_CANDIDATES: usize = 4096;
/// Bytes of a name, at most.
const MAX_NAME_BYTES: usize = 256;
/// Output tokens where neither the pool nor a profile says how many.
pub(super) const OUTPUT_TOKENS: f64 = 300.0;

/// One model, or one reasoning effort of it, with every field resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// `model`, or `model:effort`.
    pub name: String,
    /// Name of the model.
    pub model: String,
    /// Reasoning effort, where it is one.
    pub effort: Option<String>,
    /// Its fields; those of the model where the effort has none.
    pub spec: ModelSpec,
}

/// Prices of a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prices {
    pub(super) input: f64,
    pub(super) cached_input: f64,
    pub(super) output: f64,
}

impl Candidate {
    /// Prices of one token; none where one is missing.
    pub(super) fn prices(&self) -> Option<Prices> {
        let (input, output) = (self.spec.input_price?, self.spec.output_price?);
        let cached_input = self.spec.cached_input_price.unwrap_or(input);
        Some(Prices { input: input / 1e6, cached_input: cached_input / 1e6, output: output / 1e6 })
    }

    /// Whether a name means it: its own, or that of its model.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name || self.model == name
    }

    /// What it serves; everything where nothing is said.
    pub(super) fn lacks(&self, needs: Capabilities) -> Capabilities {
        self.spec.capabilities.map_or(Capabilities::default(), |own| needs.without(own))
    }
}

/// All candidates of a pool, or the field at fault and what is wrong with it.
pub(super) fn candidates(pool: &PoolSpec) -> Result<Vec<Candidate>, (String, String)> {
    if pool.models.is_empty() {
        return Err(("models".into(), "the pool is empty, expected at least one model".into()));
    }
    let mut found = Vec::new();
    let mut names = HashSet::new();
    for (name, model) in &pool.models {
        let field = format!("models.{name}");
        check_name(name).map_err(|message| (field.clone(), message))?;
        check_model(model).map_err(|(own, message)| (format!("{field}.{own}"), message))?;
        add(
            &mut found,
            &mut names,
            &field,
            Candidate {
                name: name.clone(),
                model: name.clone(),
                effort: None,
                spec: ModelSpec { efforts: Vec::new(), ..model.clone() },
            },
        )?;
        for (effort, own) in &model.efforts {
            let field = format!("{field}.efforts.{effort}");
            check_name(effort).map_err(|message| (field.clone(), message))?;
            if !own.efforts.is_empty() {
                return Err((format!("{field}.efforts"), "an effort has efforts of its own, expected none".into()));
            }
            check_model(own).map_err(|(own, message)| (format!("{field}.{own}"), message))?;
            let spec = own.with(model);
            add(
                &mut found,
                &mut names,
                &field,
                Candidate { name: format!("{name}:{effort}"), model: name.clone(), effort: Some(effort.clone()), spec },
            )?;
        }
    }
    if let Some(fallback) = pool.fallback.as_ref().filter(|fallback| !names.contains(&fallback.model)) {
        let known = listed(found.iter().map(|one| one.name.as_str()), &fallback.model);
        return Err(("fallback.model".into(), format!("{:?} is not a model of the pool: {known}", fallback.model)));
    }
    check_limits(&pool.limits)?;
    check_objective(pool.objective.unwrap_or_default(), pool.objective.is_some(), &found)?;
    Ok(found)
}

fn add(
    found: &mut Vec<Candidate>,
    names: &mut HashSet<String>,
    field: &str,
    candidate: Candidate,
) -> Result<(), (String, String)> {
    if !names.insert(candidate.name.clone()) {
        return Err((field.into(), format!("duplicate name {:?}", candidate.name)));
    }
    if found.len() == MAX_CANDIDATES {
        let message = format!("more than {MAX_CANDIDATES} models and efforts, expected at most that many");
        return Err(("models".into(), message));
    }
    found.push(candidate);
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(format!("the name has {} bytes, expected 1..={MAX_NAME_BYTES}", name.len()));
    }
    match name.chars().find(|c| c.is_control()) {
        Some(control) => Err(format!("the name holds the control character {control:?}")),
        None => Ok(()),
    }
}

fn check_model(model: &ModelSpec) -> Result<(), (&'static str, String)> {
    let sources =
        [("like", model.like.is_some()), ("profile", model.profile.is_some()), ("success", model.success.is_some())];
    let mut given = sources.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        return Err((second, format!("given together with {first}, expected one of like, profile and success")));
    }
    if let Some(latency) = model.latency_ms.filter(|latency| latency.p50.is_some_and(|p50| p50 > latency.p95)) {
        return Err(("latency_ms", format!("p50 exceeds p95 ({}), expected at most that", latency.p95)));
    }
    if model.first_token_ms.is_some() && model.tokens_per_second.is_none() {
        return Err(("first_token_ms", "given without tokens_per_second, expected both".into()));
    }
    if let (Some(window), Some(output)) = (model.context_window, model.max_output)
        && output > window
    {
        return Err(("max_output", format!("{output} exceeds the context_window of {window}")));
    }
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), (String, String)> {
    limits.check().map_err(|(field, message)| (format!("limits.{field}"), message))
}

fn check_objective(objective: Objective, is_given: bool, candidates: &[Candidate]) -> Result<(), (String, String)> {
    without_prices(objective, candidates).map_or(Ok(()), |missing| {
        let which = if is_given { "" } else { "the default, " };
        let message = format!(
            "{which}{}, needs input_price and output_price of every model; missing for {missing}. Without prices, `tolerance = 0` chooses \
             the most likely model",
            objective.name()
        );
        Err(("objective".into(), message))
    })
}

/// Names of the models without prices, where the objective needs them of all.
pub(super) fn without_prices(objective: Objective, candidates: &[Candidate]) -> Option<String> {
    if !objective.needs_prices() {
        return None;
    }
    let missing: Vec<&str> =
        candidates.iter().filter(|one| one.prices().is_none()).map(|one| one.name.as_str()).collect();
    (!missing.is_empty()).then(|| super::names::shortened(&missing))
}
