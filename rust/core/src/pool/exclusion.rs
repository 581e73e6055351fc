//! Why a model may not serve a request.

use super::{candidate::Candidate, limits::Capabilities};

/// Why a model may not serve a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exclusion {
    /// The caller said so.
    Unavailable,
    /// It does not serve these.
    Needs(Capabilities),
    /// It has none of the allowed tags.
    NoAllowedTag,
    /// It has this denied tag, by its place among the model's.
    DeniedTag(usize),
    /// It runs elsewhere, or nobody says where.
    Region,
    /// Its largest price, where it is known, exceeds the limit.
    Price {
        /// Of a million tokens.
        price: Option<f64>,
        /// Of a million tokens.
        limit: f64,
    },
    /// Its latency, where it is known, exceeds the limit.
    Latency {
        /// Milliseconds.
        latency: Option<f64>,
        /// Milliseconds.
        limit: f64,
    },
    /// It writes fewer tokens than the request allows.
    MaxOutput {
        /// Tokens of the request.
        asked: u64,
        /// Tokens of the model.
        limit: u64,
    },
    /// Input and output together may not fit.
    Context {
        /// Input tokens, with the margin of an estimate.
        input: f64,
        /// Output tokens.
        output: f64,
        /// The model's context window.
        window: u64,
    },
    /// Its expected cost exceeds the limit.
    Cost {
        /// Of the request.
        cost: f64,
        /// Of the request.
        limit: f64,
    },
}

impl Exclusion {
    /// Whether the declared fallback may serve the request nevertheless: limits on prices and times give way, what the request needs,
    /// where it may go and what fits do not.
    pub(super) fn gives_way(&self) -> bool {
        matches!(self, Self::Price { .. } | Self::Latency { .. } | Self::Cost { .. })
    }

    /// The field or argument that excludes it, for programs.
    pub fn by(&self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Needs(_) => "needs",
            Self::NoAllowedTag => "allow_tags",
            Self::DeniedTag(_) => "deny_tags",
            Self::Region => "regions",
            Self::Price { .. } => "max_price",
            Self::Latency { .. } => "max_latency_ms",
            Self::MaxOutput { .. } => "max_output",
            Self::Context { .. } => "context_window",
            Self::Cost { .. } => "max_cost",
        }
    }

    /// A short text for people.
    pub fn describe(&self, candidate: &Candidate) -> String {
        let unknown = |value: &Option<f64>| value.map_or_else(|| "unknown".into(), |value| format!("{value}"));
        match self {
            Self::Unavailable => "unavailable".into(),
            Self::Needs(lacking) => format!("does not serve {lacking}"),
            Self::NoAllowedTag => "has none of the allowed tags".into(),
            Self::DeniedTag(at) => {
                let tags = candidate.spec.tags.as_deref().unwrap_or_default();
                format!("has the denied tag {:?}", tags.get(*at).map_or("", String::as_str))
            }
            Self::Region => match &candidate.spec.region {
                Some(region) => format!("region {region:?} is not among the allowed ones"),
                None => "its region is unknown".into(),
            },
            Self::Price { price, limit } => format!("price {} per million tokens, limit {limit}", unknown(price)),
            Self::Latency { latency, limit } => {
                let latency = latency.map_or_else(|| "unknown".into(), |latency| format!("{latency:.0} ms"));
                format!("p95 latency {latency}, limit {limit} ms")
            }
            Self::MaxOutput { asked, limit } => format!("writes at most {limit} tokens, the request allows {asked}"),
            Self::Context { input, output, window } => {
                format!("{input:.0} input and {output:.0} output tokens exceed its context window of {window}")
            }
            Self::Cost { cost, limit } => format!("expected cost {cost:.6}, limit {limit}"),
        }
    }
}
