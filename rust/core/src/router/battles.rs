//! Battles of routers of kind `sw_ranking`.

use super::Router;
use crate::{
    error::{Error, Result},
    interrupt::Interrupt,
    ranking::{BattleSnapshot, NewBattles, Ranking},
};

impl Router {
    /// Adds battles to a router that ranks by battles: they count from the next decision on. Returns the number of new ones. `embeddings`
    /// replace those of the router's own encoder; a router without one needs them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where a row is wrong or the router is of another kind, [`Error::Inference`] in a fork, and what
    /// `interrupt` gives. Nothing is added then.
    pub fn add_battles(&self, battles: &NewBattles<'_>, interrupt: Option<Interrupt<'_>>) -> Result<usize> {
        self.with_embeddings(battles, interrupt, |ranking, battles| ranking.add(&self.artifact, battles))
    }

    /// Which of these battles [`add_battles`](Self::add_battles) would add.
    ///
    /// # Errors
    /// The same.
    pub fn new_battles(&self, battles: &NewBattles<'_>, interrupt: Option<Interrupt<'_>>) -> Result<Vec<bool>> {
        self.with_embeddings(battles, interrupt, |ranking, battles| ranking.new_battles(&self.artifact, battles))
    }

    fn with_embeddings<T>(
        &self,
        battles: &NewBattles<'_>,
        interrupt: Option<Interrupt<'_>>,
        work: impl FnOnce(&Ranking, &NewBattles<'_>) -> Result<T>,
    ) -> Result<T> {
        let ranking = self.ranking()?;
        if !battles.embeddings.is_empty() || battles.prompts.is_empty() {
            return work(ranking, battles);
        }
        let embeddings = self.embed_many(battles.prompts, interrupt)?;
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
