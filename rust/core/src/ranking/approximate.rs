//! Decisions that look at the nearest prompts only, and at the others cell by cell.

use std::path::Path;

use super::{
    Segment, Weighting,
    cells::Cells,
    vectors::{Query, Vectors, largest},
    weigh,
};
use crate::{
    artifact::{Artifact, ErrorSpec, RankingSpec},
    config::{IndexChoice, RouterConfig},
    error::{Error, Result},
    faiss::FaissIndex,
};

/// Nearest prompts for an index that the artifact knows nothing about.
const DEFAULT_NEIGHBORS: usize = 64;

/// An index for the near battles and cells for the far ones.
#[derive(Debug)]
pub(super) struct Approximate {
    index: FaissIndex,
    cells: Cells,
    neighbors: usize,
    error: Option<ErrorSpec>,
}

impl Approximate {
    /// What the configuration asks for: the artifact's index, another one, or (`None`) exact decisions.
    pub(super) fn open(
        artifact: &Artifact,
        spec: &RankingSpec,
        config: &RouterConfig,
        base: &Segment,
    ) -> Result<Option<Self>> {
        let (dim, count) = (artifact.manifest().encoder.dim(), base.prompts());
        let library = config.faiss_library.as_deref();
        let file = |path: &Path, bytes: &[u8]| FaissIndex::read(library, bytes, path);
        let (index, error, path) = match (&config.index, &spec.index) {
            (IndexChoice::Exact, _) | (IndexChoice::Artifact, None) => return Ok(None),
            (IndexChoice::Artifact, Some(stored)) => {
                let path = artifact.path().join(&stored.file);
                (file(&path, &artifact.file(&stored.file)?)?, Some(stored.error), Some(path))
            }
            (IndexChoice::File(path), _) => {
                let bytes = std::fs::read(path).map_err(|error| Error::artifact_from(path, "file", error))?;
                (file(path, &bytes)?, None, Some(path.clone()))
            }
            (IndexChoice::Live(live), _) => (FaissIndex::live(library, live)?, None, None),
        };
        let wrong = |message: String| match &path {
            Some(path) => Error::artifact(path, "index", message),
            None => Error::config("index", format!("index {message}")),
        };
        let index = index.checked(dim, count).map_err(wrong)?;
        let Some(cells) = &spec.cells else {
            let message = "null, but an index needs cells: build the artifact with an index";
            return Err(artifact.manifest_error("ranking.cells", message));
        };
        let path = artifact.path().join(&cells.file);
        let cells = Cells::parse(&artifact.file(&cells.file)?, dim, count, &base.outcomes, spec.tier_count)
            .map_err(|(tensor, message)| Error::artifact(&path, tensor, message))?;
        let neighbors = spec.index.as_ref().map_or(DEFAULT_NEIGHBORS, |index| index.neighbors).min(count);
        check_vectors(&index, &base.battles.vectors, neighbors)?.map_err(wrong)?;
        Ok(Some(Self { index, cells, neighbors, error }))
    }

    pub(super) fn stated_error(&self) -> Option<ErrorSpec> {
        self.error
    }

    /// Numbers and similarities of the nearest prompts that say anything about tiers.
    pub(super) fn nearest(&self, base: &Segment, query: &Query) -> Result<Vec<(usize, f32)>> {
        let labels = self.index.nearest(query.exact(), self.neighbors)?;
        let prompts = labels.into_iter().filter_map(|label| usize::try_from(label).ok());
        let known = prompts.filter(|&prompt| prompt < base.prompts() && base.outcomes.speaks(prompt));
        Ok(known.map(|prompt| (prompt, base.battles.vectors.similarity(prompt, query))).collect())
    }

    /// Weighted wins between tiers; `None` where the nearest prompts say nothing about tiers.
    pub(super) fn wins(&self, segments: &[&Segment], query: &Query, tiers: usize) -> Result<Option<Vec<f64>>> {
        let (base, added) = segments.split_first().ok_or_else(|| Error::inference("no battles"))?;
        let near = self.nearest(base, query)?;
        if near.is_empty() {
            return Ok(None);
        }
        let mut similarities: Vec<Vec<f32>> = added.iter().map(|segment| segment.similarities(query)).collect();
        let most = near.iter().map(|&(_, similarity)| similarity).fold(f32::NEG_INFINITY, f32::max);
        let weighting = Weighting::new(similarities.iter().map(|own| largest(own)).fold(most, f32::max));
        let mut wins = vec![0.0; tiers * tiers];
        let far = self.cells.weights(query, weighting);
        self.cells.tally(&far, &mut wins);
        for (prompt, similarity) in near {
            // The battles of this prompt are in its cell's, by the cell's weight: the difference makes up for it.
            let missing = weighting.of(similarity) - far[self.cells.of(prompt)];
            for entry in base.outcomes.of(prompt) {
                wins[entry.cell as usize] += f64::from(missing * entry.wins);
            }
        }
        for (segment, own) in added.iter().zip(&mut similarities) {
            weigh(weighting, own);
            segment.outcomes.tally(own, &mut wins);
        }
        // Differences of nearly equal sums may fall below zero by rounding.
        wins.iter_mut().for_each(|value| *value = value.max(0.0));
        Ok(Some(wins))
    }
}

/// Stored vectors that are looked for when an index is opened, results in which each must be, and the share of them that must be found:
/// quantized indexes and those that search a part of their lists miss some.
const SAMPLE: usize = 64;
const MAX_RANK: usize = 8;
const FOUND: f64 = 0.75;
/// Prompts whose vectors are this similar are as good as the same.
const SAME: f32 = 0.999;

/// Whether an index finds the artifact's own vectors under their own numbers.
fn check_vectors(index: &FaissIndex, vectors: &Vectors, neighbors: usize) -> Result<std::result::Result<(), String>> {
    let searched =
        |error: Error| Error::engine(None, format!("a trial search of the index failed: {error}")).caused_by(error);
    let count = vectors.len();
    let rank = (count / 4).clamp(1, MAX_RANK);
    let (mut asked, mut found) = (0usize, 0usize);
    for step in 0..SAMPLE.min(count) {
        let row = step * count / SAMPLE.min(count);
        let Some(query) = Query::new(&vectors.row(row)) else { continue };
        // As many as a decision asks for: some indexes on a GPU refuse large numbers.
        let labels = index.nearest(query.exact(), neighbors.max(rank)).map_err(searched)?;
        let is_own = |label: &i64| {
            let label = usize::try_from(*label).ok().filter(|&label| label < count);
            label.is_some_and(|label| label == row || vectors.similarity(label, &query) >= SAME)
        };
        asked += 1;
        found += usize::from(labels.iter().take(rank).any(is_own));
    }
    if (found as f64) < FOUND * asked as f64 {
        return Ok(Err(format!(
            "finds {found} of {asked} of the artifact's vectors under their own numbers: it holds other vectors or another order, \
             expected one vector for each prompt, in their order"
        )));
    }
    Ok(Ok(()))
}
