//! Which models a router scores: the one rule for names of models.

use crate::{
    artifact::{Artifact, RankingSpec},
    config::RouterConfig,
    error::{Error, Result},
};

/// What is scored for a pair of names.
///
/// A name that the artifact knows is that model. A name that it does not know is a label: the model of the trained pair in the same
/// role is scored, and the name is only printed. Routers transfer between pairs of unequal models (arXiv 2406.18665, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScoredPair {
    /// Rows of the graph's models, or tiers of a router that ranks by battles.
    pub(crate) rows: (usize, usize),
    /// Whether these are the rows of the trained pair, for which calibration and quantiles hold.
    pub(crate) is_trained: bool,
}

impl ScoredPair {
    /// The pair of a strong and a weak name.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty name, two names that score as one model, or a tier that does not exist.
    pub(crate) fn of(artifact: &Artifact, config: &RouterConfig, strong: &str, weak: &str) -> Result<Self> {
        if strong.is_empty() || weak.is_empty() {
            return Err(Error::config(if strong.is_empty() { "strong" } else { "weak" }, "a model name is empty"));
        }
        let manifest = artifact.manifest();
        let row = |name: &str, trained: &str, placed: Option<u16>| match &manifest.ranking {
            Some(spec) => tier(artifact, spec, name, trained, placed),
            None => model(artifact, name)
                .or_else(|| model(artifact, trained))
                .map(Ok)
                .unwrap_or_else(|| Err(artifact.manifest_error("pair", "is not among the models"))),
        };
        let trained = &manifest.pair;
        let placed = |name: &str| config.tiers.get(name).copied();
        let rows = (row(strong, &trained.strong, placed(strong))?, row(weak, &trained.weak, placed(weak))?);
        if strong == weak {
            return Err(Error::config("strong", format!("strong and weak are both {strong:?}, expected two models")));
        }
        if rows.0 == rows.1 {
            let scored = if manifest.ranking.is_some() { "tier" } else { "model" };
            return Err(Error::config(
                "strong",
                format!(
                    "strong is {strong:?} and weak is {weak:?}, which score as one {scored}: expected two {scored}s"
                ),
            ));
        }
        let of_trained = (row(&trained.strong, &trained.strong, None)?, row(&trained.weak, &trained.weak, None)?);
        Ok(Self { rows, is_trained: rows == of_trained })
    }
}

fn model(artifact: &Artifact, name: &str) -> Option<usize> {
    artifact.manifest().models.iter().position(|model| model == name)
}

/// Tier of a model: the one where the caller puts it, its own, the one that the artifact names for a model without battles, or that of
/// the trained model for which the name is a label.
fn tier(artifact: &Artifact, spec: &RankingSpec, name: &str, trained: &str, placed: Option<u16>) -> Result<usize> {
    let own = |name: &str| {
        let fought = model(artifact, name).map(|row| spec.tiers[row]);
        fought.or_else(|| spec.unknown_tiers.get(name).copied())
    };
    match placed.or_else(|| own(name)).or_else(|| own(trained)) {
        Some(tier) if usize::from(tier) < spec.tier_count => Ok(tier.into()),
        Some(tier) => Err(Error::config(
            "tiers",
            format!("tiers puts {name:?} in tier {tier}, expected 0 (the strongest) to {}", spec.tier_count - 1),
        )),
        None => Err(artifact.manifest_error("pair", "is not among the models")),
    }
}
