//! turnout routes prompts to a strong or a weak language model in microseconds.
//!
//! One decision, hop by hop: [`tokenize::PromptTokenizer`] turns the prompt into token ids, the artifact's graph turns them into
//! one score a model (run natively where the core recognises it, else by ONNX Runtime), [`Calibration`] turns the difference of
//! two scores into a win rate, and [`Policy`] compares that with a threshold. [`Router`] composes them; an [`Artifact`] is the
//! folder they are read from.

#![deny(missing_docs)]

mod artifact;
#[cfg(feature = "onnx")]
mod batcher;
mod calibration;
mod config;
pub mod encoder;
mod engine;
mod error;
mod explanation;
pub mod onnx;
mod policy;
mod router;
pub mod scorer;
mod scratch;
pub mod tokenize;

pub use artifact::{
    Artifact, EncoderSpec, FORMAT_VERSION, FileEntry, Generation, Label, Manifest, Pair, Thresholds, TokenizerSpec,
};
pub use calibration::{Calibration, sigmoid};
pub use config::{BatchConfig, Device, Devices, EngineChoice, RouterConfig};
pub use error::{Error, Result};
pub use explanation::{Explanation, Stage};
pub use policy::{Decision, Policy};
pub use router::Router;
