//! From token ids to an embedding.

mod activation;
pub(crate) mod pattern;
pub(crate) mod ports;
mod table;
mod views;

pub(crate) use pattern::Pattern;
pub use table::TableEncoder;
