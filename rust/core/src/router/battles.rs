//! Battles of routers of kind `sw_ranking`.

use super::Router;
use crate::{
    error::{Error, Result},
    ranking::{BattleSnapshot, NewBattles, Ranking},
};

impl Router {
    /// Adds battles to a router that ranks by battles: logged beside the artifact, and counted from the next decision on. The number
    /// that was new. `embeddings` stand in for those of the router's own encoder; a router without one needs them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where a row is wrong (nothing is added then) or the router is of another kind, [`Error::Artifact`]
    /// where the log cannot be written or the artifact was compacted since it was loaded.
    pub fn add_battles(&self, battles: &NewBattles<'_>) -> Result<usize> {
        self.with_embeddings(battles, |ranking, battles| ranking.add(&self.artifact, battles))
    }

    /// Which of these battles [`add_battles`](Self::add_battles) would add.
    ///
    /// # Errors
    /// The same.
    pub fn new_battles(&self, battles: &NewBattles<'_>) -> Result<Vec<bool>> {
        self.with_embeddings(battles, |ranking, battles| ranking.new_battles(&self.artifact, battles))
    }

    fn with_embeddings<T>(
        &self,
        battles: &NewBattles<'_>,
        work: impl FnOnce(&Ranking, &NewBattles<'_>) -> Result<T>,
    ) -> Result<T> {
        let ranking = self.ranking()?;
        if !battles.embeddings.is_empty() || battles.prompts.is_empty() {
            return work(ranking, battles);
        }
        let mut embeddings = Vec::with_capacity(battles.prompts.len() * self.embedding_dim());
        for prompt in battles.prompts {
            embeddings.extend(self.embed(prompt)?);
        }
        work(ranking, &NewBattles { embeddings: &embeddings, ..*battles })
    }

    /// Every battle of a router that ranks by battles, those that were added included.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where the router is of another kind.
    pub fn battles(&self) -> Result<BattleSnapshot> {
        Ok(self.ranking()?.snapshot())
    }

    fn ranking(&self) -> Result<&Ranking> {
        self.engine
            .ranking()
            .ok_or_else(|| Error::invalid_input("battles", "this router holds no battles: its kind is not sw_ranking"))
    }
}
