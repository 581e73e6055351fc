//! What one request asks of the models, besides the prompt.

use super::{
    budget::Budget,
    limits::{Capabilities, Limits},
    objective::Objective,
};

/// What one request asks of the models, besides the prompt. The default asks nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// In place of the pool's.
    pub objective: Option<Objective>,
    /// In place of any objective: the price that the controller of a budget has set.
    pub budget: Option<Budget>,
    /// In place of the pool's, field by field.
    pub limits: Limits,
    /// What the models have to serve beyond text.
    pub needs: Capabilities,
    /// Names of models or candidates that cannot be called at present.
    pub unavailable: Vec<String>,
    /// Tokens of the whole request, counted by the caller and taken as exact for every model. By default estimated.
    pub input_tokens: Option<u64>,
    /// Input tokens that a model has cached, by name of model or candidate.
    pub cached_tokens: Vec<(String, u64)>,
    /// Output tokens that the request allows.
    pub max_output: Option<u64>,
}
