//! From an artifact folder to a router.

use std::path::Path;

use super::Router;
use crate::{
    artifact::{Artifact, FileBytes},
    config::RouterConfig,
    engine::Engine,
    error::{Error, Result},
    pair::ScoredPair,
    policy::Policy,
    tokenize::PromptTokenizer,
};

const MAX_THREADS: usize = 1024;

impl Router {
    /// Opens an artifact folder and prepares everything that deciding needs.
    ///
    /// # Errors
    /// [`Error::Artifact`], [`Error::Config`], [`Error::Device`] or [`Error::Engine`].
    pub fn open(path: &Path, config: &RouterConfig) -> Result<Self> {
        Self::open_with_profiles(path, config).map(|(router, _)| router)
    }

    /// As [`open`](Self::open), with the bytes of the artifact's profiles, where it has some.
    pub(crate) fn open_with_profiles(path: &Path, config: &RouterConfig) -> Result<(Self, Option<FileBytes>)> {
        if config.threads > MAX_THREADS {
            return Err(Error::config(
                "threads",
                format!("threads is {}, expected at most {MAX_THREADS}", config.threads),
            ));
        }
        config.check()?;
        let artifact = Artifact::begin(path)?;
        let (contents, profiles) = (artifact.contents(), artifact.manifest().profiles.clone());
        let router = Self::of(artifact, config);
        // First, because an altered file explains whatever else is wrong.
        contents.check()?;
        let profiles = profiles.and_then(|file| contents.get(&file)).transpose()?;
        Ok((router?, profiles))
    }

    /// A router of an artifact whose files may not all have been checked.
    fn of(mut artifact: Artifact, config: &RouterConfig) -> Result<Self> {
        let manifest = artifact.manifest();
        let strong = config.strong.clone().unwrap_or_else(|| manifest.pair.strong.clone());
        let weak = config.weak.clone().unwrap_or_else(|| manifest.pair.weak.clone());
        config.check_kind(manifest.kind, &strong, &weak)?;
        let pair = ScoredPair::of(&artifact, config, &strong, &weak)?;
        let quantiles = if pair.is_trained { manifest.thresholds.quantiles.clone() } else { Vec::new() };
        // The tokenizer first: meanwhile, another thread reads the graph.
        let tokenizer = manifest.tokenizer.as_ref().map(|spec| (spec, PromptTokenizer::of(&artifact, spec)));
        let engine = match &manifest.ranking {
            Some(spec) => Engine::open_ranked(&artifact, spec, pair.rows, config)?,
            None => Engine::open(&artifact, pair.rows, config)?,
        };
        let tokenizer = match tokenizer {
            Some((spec, tokenizer)) => {
                let tokenizer = tokenizer?;
                tokenizer.check_ids(&artifact.path().join(&spec.file), engine.vocabulary())?;
                Some(tokenizer)
            }
            None => None,
        };
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let (calibration, manifest_default) = (manifest.calibration.clone(), manifest.thresholds.default);
        let frame =
            manifest.generation.as_ref().map(|generation| (generation.before.clone(), generation.after.clone()));
        artifact.release();
        let policy = Policy::new(manifest_default)?;
        let config = config.clone();
        let mut router =
            Self { frame, calibration, tokenizer, engine, policy, strong, weak, quantiles, config, threads, artifact };
        if let Some(threshold) = router.choose_threshold(router.config.threshold, router.config.strong_share)? {
            router.policy = Policy::new(threshold)?;
        }
        Ok(router)
    }
}
