//! Routes prompts between N models: chances of success, expected costs and limits.
//!
//! One decision: models that may not serve the request are excluded ([`Request`], [`Exclusion`]); the artifact's embedding of the
//! prompt gives every other model a chance that its answer is good ([`Profiles`]); token counts and prices give its expected cost;
//! an [`Objective`] orders the models. [`PoolRouter`] composes them. The reference in NumPy, `turnout.reference.pool`, is the
//! specification.

mod aim;
mod budget;
mod candidate;
mod cost;
mod exclusion;
mod landmarks;
mod limits;
mod names;
mod objective;
mod plan;
mod profile_file;
mod profiles;
mod rank;
mod read;
mod request;
mod router;
mod spec;
mod success;
mod tokens;

pub use aim::Aim;
pub use budget::{Budget, Resource};
pub use candidate::{Candidate, MAX_CANDIDATES};
pub use exclusion::Exclusion;
pub use limits::{CAPABILITIES, Capabilities, Limits};
pub use objective::{Objective, ObjectiveFields};
pub use profiles::{Profile, Profiles};
pub use rank::{Choice, Ranked, Reason};
pub use request::{Input, Request};
pub use router::PoolRouter;
pub use spec::{Fallback, Latency, ModelSpec, PoolSpec};
pub use tokens::TOKEN_MARGIN;
