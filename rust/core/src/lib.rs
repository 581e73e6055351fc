//! turnout routes prompts to a strong or a weak language model in microseconds.
//!
//! One decision, hop by hop: [`tokenize::PromptTokenizer`] turns the prompt into token ids, the artifact's graph turns them into
//! one score a model (run natively where the core recognizes it, else by ONNX Runtime), [`Calibration`] turns the difference of
//! two scores into a win rate, and [`Policy`] compares that with a threshold. [`Router`] composes them; an [`Artifact`] is the
//! folder they are read from.

#![deny(missing_docs)]

mod artifact;
mod batch;
#[cfg(feature = "onnx")]
mod batcher;
mod calibration;
mod config;
pub mod encoder;
mod engine;
mod error;
mod explanation;
mod exponential;
#[cfg(feature = "faiss")]
mod faiss;
mod interpolate;
mod interrupt;
pub mod onnx;
mod pair;
mod policy;
pub mod pool;
mod ranking;
mod router;
pub mod scorer;
mod scratch;
mod shared;
pub mod tokenize;
mod view;

pub use artifact::{
    Artifact, CellsSpec, CourtesySpec, EncoderSpec, ErrorSpec, FORMAT_VERSION, FileBytes, FileEntry, Generation,
    IndexSpec, Kind, Label, Manifest, Pair, Precision, RankingSpec, ShortPrompts, Thresholds, TokenizerSpec,
    Truncation,
};
pub use calibration::{Calibration, sigmoid};
pub use config::{BatchConfig, Device, Devices, EngineChoice, IndexChoice, RouterConfig};
pub use error::{Error, Result, Source, StopReason};
pub use explanation::{Explanation, Stage};
#[cfg(feature = "faiss")]
pub use faiss::LiveIndex;
pub use interrupt::Interrupt;
pub use policy::{Decision, Policy, check_quantiles, threshold_for_share};
pub use ranking::{BattleSnapshot, Neighbor, NewBattles, RankingExplanation, bradley_terry};
pub use router::Router;
