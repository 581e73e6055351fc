//! The section of `router.json` about battles, tiers and their index.

use std::collections::BTreeMap;

use serde::Deserialize;

/// More tiers tell no more than the models themselves, and a solve costs their cube.
const MAX_TIERS: usize = 64;
/// More nearest prompts than any approximation needs.
const MAX_NEIGHBORS: usize = 65_536;

/// Battles, and the tiers in which models were grouped.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingSpec {
    /// File name of the battles.
    pub battles: String,
    /// File name of the prompts' texts, for explanations; null where they were not kept.
    #[serde(deserialize_with = "Option::deserialize")]
    pub prompts: Option<String>,
    /// Tier of every model, 0 the strongest, in the order of `models`.
    pub tiers: Vec<u16>,
    /// Elo rating of every model over all battles, in the order of `models`.
    pub ratings: Vec<f64>,
    /// Number of tiers.
    pub tier_count: usize,
    /// The FAISS index for approximate decisions, if there is one.
    #[serde(deserialize_with = "Option::deserialize")]
    pub index: Option<IndexSpec>,
    /// Cells of prompts for approximate decisions, if there are any.
    #[serde(deserialize_with = "Option::deserialize")]
    pub cells: Option<CellsSpec>,
    /// Tiers of models that fought no battle.
    #[serde(default)]
    pub unknown_tiers: BTreeMap<String, u16>,
}

/// A FAISS index over the prompts' vectors.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexSpec {
    /// File name of the index.
    pub file: String,
    /// Factory string that made it, for people.
    pub factory: String,
    /// Search parameters, which the index holds; for people.
    pub search: String,
    /// Nearest prompts whose battles count exactly.
    pub neighbors: usize,
    /// Difference from exact win rates on held-out prompts, as measured when the index was built.
    pub error: ErrorSpec,
}

/// Distribution of `|win rate - exact win rate|`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorSpec {
    /// Prompts measured.
    pub prompts: usize,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Cells of prompts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellsSpec {
    /// File name of the cells.
    pub file: String,
}

impl RankingSpec {
    /// Files that the section names, by field.
    pub(super) fn files(&self) -> [(&'static str, Option<&String>); 4] {
        [
            ("ranking.battles", Some(&self.battles)),
            ("ranking.prompts", self.prompts.as_ref()),
            ("ranking.index.file", self.index.as_ref().map(|index| &index.file)),
            ("ranking.cells.file", self.cells.as_ref().map(|cells| &cells.file)),
        ]
    }

    /// Says what is wrong with the section, if anything.
    pub(super) fn check(&self, models: &[String]) -> Result<(), (&'static str, String)> {
        let count = models.len();
        if !(1..=MAX_TIERS).contains(&self.tier_count) {
            return Err(("ranking.tier_count", format!("{}, expected 1..={MAX_TIERS}", self.tier_count)));
        }
        if self.tiers.len() != count {
            return Err(("ranking.tiers", format!("{} tiers for {count} models", self.tiers.len())));
        }
        let beyond = |tier: u16| usize::from(tier) >= self.tier_count;
        if let Some(tier) = self.tiers.iter().find(|&&tier| beyond(tier)) {
            return Err(("ranking.tiers", format!("tier {tier}, there are {}", self.tier_count)));
        }
        if self.ratings.len() != count || self.ratings.iter().any(|rating| !rating.is_finite()) {
            return Err(("ranking.ratings", format!("expected {count} finite numbers, one a model")));
        }
        if let Some((name, _)) = self.unknown_tiers.iter().find(|(name, tier)| beyond(**tier) || models.contains(name))
        {
            return Err((
                "ranking.unknown_tiers",
                format!("{name:?}, expected a model without battles and a tier below {}", self.tier_count),
            ));
        }
        match &self.index {
            Some(_) if self.cells.is_none() => {
                Err(("ranking.cells", "null, expected because there is an index".into()))
            }
            Some(index) if !(1..=MAX_NEIGHBORS).contains(&index.neighbors) => {
                Err(("ranking.index.neighbors", format!("{}, expected 1..={MAX_NEIGHBORS}", index.neighbors)))
            }
            _ => Ok(()),
        }
    }
}
