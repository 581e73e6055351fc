//! What one request asks of the models, besides the prompt.

use super::{
    aim::Aim,
    limits::{Capabilities, Limits},
};

/// What one request asks of the models, besides the prompt. The default asks nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// In place of the pool's objective.
    pub aim: Option<Aim>,
    /// In place of the pool's, field by field.
    pub limits: Limits,
    /// What the models have to serve beyond text.
    pub needs: Capabilities,
    /// Names of models or candidates that cannot be called at present.
    pub unavailable: Vec<String>,
    /// Tokens of the whole request. By default estimated from the prompt.
    pub input: Option<Input>,
    /// Input tokens that a model has cached, by name of model or candidate.
    pub cached_tokens: Vec<(String, u64)>,
    /// Output tokens that the request allows.
    pub max_output: Option<u64>,
}

/// Tokens of a whole request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input {
    /// Counted by the caller and taken as exact for every model.
    Exact(u64),
    /// As [`PoolRouter::count`](super::PoolRouter::count) gives them: each model's ratio and the margin apply.
    Estimated(f64),
}
