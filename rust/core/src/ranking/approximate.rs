//! Decisions that look at the nearest prompts only, and at the others cell by cell.

use super::{
    Segment, Weighting,
    cells::Cells,
    vectors::{Query, largest},
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
        let (index, error) = match (&config.index, &spec.index) {
            (IndexChoice::Exact, _) | (IndexChoice::Artifact, None) => return Ok(None),
            (IndexChoice::Artifact, Some(stored)) => {
                let path = artifact.path().join(&stored.file);
                let index = FaissIndex::read(library, &artifact.file(&stored.file)?, &path)?.checked(dim, count);
                (index.map_err(|message| Error::artifact(&path, "index", message))?, Some(stored.error))
            }
            (IndexChoice::File(path), _) => {
                let bytes = std::fs::read(path).map_err(|error| Error::artifact(path, "file", error.to_string()))?;
                let index = FaissIndex::read(library, &bytes, path)?.checked(dim, count);
                (index.map_err(|message| Error::artifact(path, "index", message))?, None)
            }
            (IndexChoice::Live(live), _) => {
                let index = FaissIndex::live(library, live)?.checked(dim, count);
                (index.map_err(|message| Error::Config(format!("index {message}")))?, None)
            }
        };
        let Some(cells) = &spec.cells else {
            let message = "null, but an index needs cells for the battles that it does not find: build the artifact with an index";
            return Err(artifact.manifest_error("ranking.cells", message));
        };
        let path = artifact.path().join(&cells.file);
        let cells = Cells::parse(&artifact.file(&cells.file)?, dim, count, &base.outcomes, spec.tier_count)
            .map_err(|(tensor, message)| Error::artifact(&path, tensor, message))?;
        let neighbors = spec.index.as_ref().map_or(DEFAULT_NEIGHBORS, |index| index.neighbors).min(count);
        let mut probe = vec![0.0; dim];
        probe[0] = 1.0;
        // Some indexes on a GPU refuse large numbers of neighbours: better now than at every decision.
        index
            .nearest(&probe, neighbors)
            .map_err(|error| Error::Engine(format!("a trial search of the index failed: {error}")))?;
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
        let (base, added) = segments.split_first().ok_or_else(|| Error::Inference("no battles".into()))?;
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
