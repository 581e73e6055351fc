//! From token ids to an embedding.

mod activation;
pub(crate) mod pattern;
mod table;

pub(crate) use pattern::Pattern;
pub use table::TableEncoder;
