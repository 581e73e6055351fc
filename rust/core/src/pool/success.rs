//! Chances of success and output tokens of all candidates for one embedding.
//!
//! Performance notes: profiles are folded into one row over the embedding a candidate, so that a decision is one product of a small
//! matrix with a vector, whatever basis the profiles have. Landmarks come in blocks, each for all candidates that have them, so that
//! nothing is allocated.

use std::{collections::HashMap, path::Path, sync::Arc};

use multiversion::multiversion;

use super::{
    candidate::{Candidate, OUTPUT_TOKENS},
    landmarks::nearness,
    names::listed,
    profiles::{ProfileRow, Profiles, chance},
};
use crate::{
    artifact::read_file,
    error::{Error, Result},
    scorer::dot,
};

/// A file of profiles, at most: those of the largest pool over the largest basis would need more, but nobody has them.
const MAX_PROFILE_BYTES: u64 = 1 << 28;
/// Landmarks that are compared at once.
const BLOCK: usize = 64;

/// Where the chance of one candidate comes from.
#[derive(Debug, Clone)]
enum Source {
    Constant(f32),
    Profile(ProfileRow),
}

/// What landmarks of one file of profiles add to the logits of its candidates.
#[derive(Debug)]
struct Bend {
    profiles: Arc<Profiles>,
    /// Each with its weights of the landmarks.
    candidates: Vec<(usize, Vec<f32>)>,
}

/// Chances and output tokens of all candidates.
#[derive(Debug)]
pub(super) struct Heads {
    dim: usize,
    sources: Vec<Source>,
    /// Expected output tokens of each candidate.
    outputs: Vec<f64>,
    /// `[candidates, dim]`; zeros for constants.
    weights: Vec<f32>,
    bias: Vec<f32>,
    bends: Vec<Bend>,
    reads_embedding: bool,
    has_constants: bool,
}

/// From where profiles are read.
pub(super) struct Files<'a> {
    /// Folder of the pool's file.
    pub(super) folder: &'a Path,
    /// Those of the artifact.
    pub(super) own: Option<Arc<Profiles>>,
    /// Length of an embedding.
    pub(super) dim: usize,
    /// SHA-256 of the artifact's graph.
    pub(super) embedding: &'a str,
}

impl Files<'_> {
    /// The profile that a candidate names, or its own.
    fn source(&self, candidate: &Candidate, read: &mut HashMap<String, Arc<Profiles>>) -> Result<Source> {
        let spec = &candidate.spec;
        if let Some(success) = spec.success {
            return Ok(Source::Constant(success as f32));
        }
        if let Some(file) = &spec.profile {
            let profiles = match read.get(file) {
                Some(profiles) => Arc::clone(profiles),
                None => Arc::new(self.read(file)?),
            };
            read.insert(file.clone(), Arc::clone(&profiles));
            let row = profiles.row(&candidate.name).or_else(|| profiles.row(&candidate.model));
            let row = row.or((profiles.models.len() == 1).then_some(0)).ok_or_else(|| {
                let known = listed(profiles.models.iter().map(|one| one.name.as_str()), &candidate.model);
                fault(candidate, "profile", format!("{file:?} has no profile of this name; it has {known}"))
            })?;
            return Ok(Source::Profile(ProfileRow { profiles, row }));
        }
        let (field, name) = match &spec.like {
            Some(like) => ("like", like),
            None => ("", &candidate.model),
        };
        let Some(own) = &self.own else {
            let message = "the artifact has no profiles: give each model a `profile` or a `success`";
            return Err(fault(candidate, field, message));
        };
        match own.row(name) {
            Some(row) => Ok(Source::Profile(ProfileRow { profiles: Arc::clone(own), row })),
            None => {
                let known = listed(own.models.iter().map(|one| one.name.as_str()), name);
                let message = format!(
                    "the artifact has no profile of {name:?}: name a similar model with `like`, give a file with `profile` (`turnout \
                     profile` makes one), or a constant with `success`; it has profiles of {known}"
                );
                Err(fault(candidate, field, message))
            }
        }
    }

    fn read(&self, file: &str) -> Result<Profiles> {
        let path = self.folder.join(file);
        let profiles = Profiles::parse(&read_file(&path, MAX_PROFILE_BYTES)?, self.dim)
            .map_err(|(field, message)| Error::artifact(&path, field, message))?;
        check_embedding(&profiles, self.embedding).map_err(|message| Error::artifact(&path, "embedding", message))?;
        Ok(profiles)
    }
}

/// Whether profiles were fitted on the embeddings of this graph.
pub(super) fn check_embedding(profiles: &Profiles, embedding: &str) -> std::result::Result<(), String> {
    if profiles.embedding == embedding {
        return Ok(());
    }
    Err(format!(
        "the profiles are for the embeddings of the graph {}, and that of the artifact is {embedding}: make them again",
        profiles.embedding
    ))
}

fn fault(candidate: &Candidate, field: &str, message: impl Into<String>) -> Error {
    let effort = candidate.effort.as_ref().map_or_else(String::new, |effort| format!(".efforts.{effort}"));
    let dot = if field.is_empty() { "" } else { "." };
    let field = format!("models.{}{effort}{dot}{field}", candidate.model);
    Error::Pool { path: None, field, message: message.into(), source: None }
}

impl Heads {
    pub(super) fn open(candidates: &[Candidate], files: &Files<'_>) -> Result<Self> {
        let mut read = HashMap::new();
        let sources = candidates.iter().map(|one| files.source(one, &mut read)).collect::<Result<Vec<_>>>()?;
        let (dim, mut weights, mut bias) = (files.dim, Vec::new(), Vec::new());
        let mut bends: Vec<Bend> = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            match source {
                Source::Constant(_) => {
                    weights.resize(weights.len() + dim, 0.0);
                    bias.push(0.0);
                }
                Source::Profile(ProfileRow { profiles, row }) => {
                    let mut folded = profiles.folded(*row);
                    let beyond = folded.split_off(dim);
                    weights.extend(folded);
                    bias.push(profiles.bias[*row]);
                    if profiles.landmarks.is_none() {
                        continue;
                    }
                    match bends.iter_mut().find(|bend| Arc::ptr_eq(&bend.profiles, profiles)) {
                        Some(bend) => bend.candidates.push((number, beyond)),
                        None => {
                            bends.push(Bend { profiles: Arc::clone(profiles), candidates: vec![(number, beyond)] });
                        }
                    }
                }
            }
        }
        let outputs = candidates.iter().zip(&sources).map(|(one, source)| output(one, source)).collect();
        let is_constant = |source: &Source| matches!(source, Source::Constant(_));
        Ok(Self {
            dim,
            reads_embedding: !sources.iter().all(is_constant),
            has_constants: sources.iter().any(is_constant),
            sources,
            outputs,
            weights,
            bias,
            bends,
        })
    }

    /// Log odds of every candidate; those of constants mean nothing.
    fn logits(&self, embedding: &[f32], logits: &mut Vec<f32>) {
        let rows = self.weights.chunks_exact(self.dim).zip(&self.bias);
        logits.extend(rows.map(|(weights, bias)| dot(weights, embedding) + bias));
        self.bends.iter().for_each(|bend| bend.add(embedding, logits));
    }

    /// Whether any chance depends on the prompt.
    pub(super) fn reads_embedding(&self) -> bool {
        self.reads_embedding
    }

    /// What is known of a candidate's profile; nothing where its chance is a constant.
    pub(super) fn profile(&self, candidate: usize) -> Option<&super::Profile> {
        match &self.sources[candidate] {
            Source::Constant(_) => None,
            Source::Profile(ProfileRow { profiles, row }) => Some(&profiles.models[*row]),
        }
    }

    /// Writes the chance of every candidate into `success`.
    pub(super) fn success(&self, embedding: &[f32], success: &mut Vec<f32>) -> Result<()> {
        success.clear();
        if !self.reads_embedding {
            success.extend(self.sources.iter().map(|source| match source {
                Source::Constant(success) => *success,
                Source::Profile(_) => f32::NAN,
            }));
            return Ok(());
        }
        self.logits(embedding, success);
        if success.iter().any(|logit| logit.is_nan()) {
            return Err(Error::inference(
                "the embedding of the prompt overflows, so that chances of success are not numbers",
            ));
        }
        sigmoids(success);
        if self.has_constants {
            for (chance, source) in success.iter_mut().zip(&self.sources) {
                if let Source::Constant(success) = source {
                    *chance = *success;
                }
            }
        }
        Ok(())
    }

    /// Expected output tokens of a candidate.
    pub(super) fn output(&self, candidate: usize) -> f64 {
        self.outputs[candidate]
    }

    /// Ends of the 90 % interval of every chance.
    pub(super) fn intervals(&self, embedding: &[f32]) -> Vec<(f32, f32)> {
        let mut factors: HashMap<*const Profiles, Vec<f32>> = HashMap::new();
        let mut logits = Vec::new();
        self.logits(embedding, &mut logits);
        let interval = |(source, logit): (&Source, &f32)| match source {
            Source::Constant(success) => (*success, *success),
            Source::Profile(ProfileRow { profiles, row }) => {
                let factors = factors.entry(Arc::as_ptr(profiles)).or_insert_with(|| profiles.factors(embedding));
                profiles.interval(*row, *logit, factors)
            }
        };
        self.sources.iter().zip(&logits).map(interval).collect()
    }
}

impl Bend {
    fn add(&self, embedding: &[f32], logits: &mut [f32]) {
        let Some(landmarks) = &self.profiles.landmarks else { return };
        let (mut apart, mut near) = ([0.0; BLOCK], [0.0; BLOCK]);
        for first in (0..landmarks.points()).step_by(BLOCK) {
            let range = first..landmarks.points().min(first + BLOCK);
            let (apart, near) = (&mut apart[..range.len()], &mut near[..range.len()]);
            landmarks.distances(range.clone(), embedding, apart);
            for (number, &scale) in landmarks.scales().iter().enumerate() {
                nearness(apart, scale, near);
                let at = number * landmarks.points();
                for (candidate, weights) in &self.candidates {
                    logits[*candidate] += dot(&weights[at + range.start..at + range.end], near);
                }
            }
        }
    }
}

/// The pool's mean, the profile's, or a default, in this order.
fn output(candidate: &Candidate, source: &Source) -> f64 {
    let known = match source {
        Source::Constant(_) => None,
        Source::Profile(ProfileRow { profiles, row }) => profiles.models[*row].output_tokens,
    };
    candidate.spec.output_tokens.or(known).unwrap_or(OUTPUT_TOKENS)
}

/// Chances from logits, in place.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
fn sigmoids(values: &mut [f32]) {
    for value in values {
        *value = chance(*value);
    }
}
