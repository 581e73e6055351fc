//! Battles that are added to a loaded router: visible to the next decision.
//!
//! Decisions read one list of segments and never wait. A call that adds battles builds a segment and puts a new list in place of the old
//! one. Neighboring segments of similar size are joined, so that a million calls leave some twenty segments and each battle is copied
//! some twenty times. Nothing here is kept on disk: the Python package stores battles before it adds them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError},
};

use super::{
    Ranking, Segment,
    battles::{Battles, TIE},
    vectors::{Query, Rows, Vectors},
};
use crate::{
    artifact::Artifact,
    error::{Error, Result},
};

/// Battles for a router, one a row.
#[derive(Debug, Clone, Copy)]
pub struct NewBattles<'a> {
    /// Numbers that tell battles apart; one that is known is ignored.
    pub ids: &'a [u64],
    /// Prompts.
    pub prompts: &'a [&'a str],
    /// Embeddings of the prompts, `[rows, dim]`.
    pub embeddings: &'a [f32],
    /// Names of the models on one side.
    pub models_a: &'a [&'a str],
    /// Names of the models on the other side.
    pub models_b: &'a [&'a str],
    /// 0 where model a won, 1 where model b did, 2 for a tie.
    pub outcomes: &'a [u8],
}

/// Every battle of a router at one moment.
#[derive(Debug, Clone, Default)]
pub struct BattleSnapshot {
    /// `[prompts, dim]`, unit length.
    pub vectors: Vec<f32>,
    /// Prompt of every battle.
    pub prompt: Vec<u32>,
    /// Model on one side, by its number in the artifact.
    pub model_a: Vec<u16>,
    /// Model on the other side.
    pub model_b: Vec<u16>,
    /// 0 where model a won, 1 where model b did, 2 for a tie.
    pub outcome: Vec<u8>,
    /// Numbers that tell battles apart.
    pub id: Vec<u64>,
    /// Texts of the prompts, where all of them were kept.
    pub prompts: Option<Vec<String>>,
}

/// A battle that was checked.
#[derive(Debug)]
struct NewBattle<'a> {
    id: u64,
    outcome: u8,
    model_a: u16,
    model_b: u16,
    prompt: &'a str,
    /// Unit length, or all zeros.
    embedding: Vec<f32>,
}

impl Ranking {
    /// Adds battles; the number that was new. Nothing is added where anything is wrong.
    pub(crate) fn add(&self, artifact: &Artifact, new: &NewBattles<'_>) -> Result<usize> {
        let mut battles = self.checked(artifact, new)?;
        let mut ids = self.added_ids()?;
        battles.retain(|battle| !self.is_stored(battle.id) && ids.insert(battle.id));
        self.show(artifact, &battles)?;
        Ok(battles.len())
    }

    /// Which of these battles [`add`](Self::add) would find new.
    pub(crate) fn new_battles(&self, artifact: &Artifact, new: &NewBattles<'_>) -> Result<Vec<bool>> {
        let battles = self.checked(artifact, new)?;
        let ids = self.added_ids()?;
        let mut seen = HashSet::new();
        Ok(battles
            .iter()
            .map(|battle| !self.is_stored(battle.id) && !ids.contains(&battle.id) && seen.insert(battle.id))
            .collect())
    }

    /// Ids of the battles that were added; those of the artifact are in its columns. In a fork the lock may be held forever.
    fn added_ids(&self) -> Result<std::sync::MutexGuard<'_, HashSet<u64>>> {
        if std::process::id() != self.process {
            return Err(Error::inference(format!(
                "this router was loaded before a fork; load it again in this process ({}) to add battles",
                std::process::id()
            )));
        }
        Ok(self.added_ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the artifact itself holds a battle of that id.
    fn is_stored(&self, id: u64) -> bool {
        let ids = self.stored_ids.get_or_init(|| {
            let mut ids = self.base.battles.id.as_slice().to_vec();
            ids.sort_unstable();
            ids
        });
        ids.binary_search(&id).is_ok()
    }

    /// Every battle that decisions count now, and those inside one tier.
    pub(crate) fn snapshot(&self) -> BattleSnapshot {
        let added = self.added.load_full();
        let segments: Vec<&Segment> =
            std::iter::once(&*self.base).chain(added.iter().map(|segment| &**segment)).collect();
        let mut all = BattleSnapshot { prompts: Some(Vec::new()), ..BattleSnapshot::default() };
        for segment in segments {
            let start = (all.vectors.len() / self.dim) as u32;
            let battles = &segment.battles;
            (0..battles.vectors.len()).for_each(|row| all.vectors.extend(battles.vectors.row(row)));
            all.prompt.extend(battles.prompt.as_slice().iter().map(|prompt| prompt + start));
            all.model_a.extend(battles.model_a.as_slice());
            all.model_b.extend(battles.model_b.as_slice());
            all.outcome.extend(battles.outcome.as_slice());
            all.id.extend(battles.id.as_slice());
            all.prompts = all.prompts.zip(segment.texts.clone()).map(|(mut all, own)| {
                all.extend(own);
                all
            });
        }
        all
    }

    fn checked<'a>(&self, artifact: &Artifact, new: &NewBattles<'a>) -> Result<Vec<NewBattle<'a>>> {
        let rows = new.ids.len();
        let lengths = [new.prompts.len(), new.models_a.len(), new.models_b.len(), new.outcomes.len()];
        if lengths.iter().any(|&length| length != rows) || new.embeddings.len() != rows * self.dim {
            return Err(Error::invalid_input(
                "ids",
                format!(
                    "{rows} ids, but prompts, models and outcomes have {lengths:?} rows and the embeddings {} numbers, expected {}",
                    new.embeddings.len(),
                    rows * self.dim
                ),
            ));
        }
        let models = &artifact.manifest().models;
        let mut battles = Vec::with_capacity(rows);
        for row in 0..rows {
            let wrong = |message: String| Error::invalid_row("battles", row, format!("battle {row}: {message}"));
            let number = |name: &str| {
                let number = models.iter().position(|model| model == name).and_then(|place| u16::try_from(place).ok());
                number.ok_or_else(|| {
                    wrong(format!(
                        "the artifact has no model {name:?}: it joins when ratings are made anew (`turnout train sw_ranking`)"
                    ))
                })
            };
            let (model_a, model_b) = (number(new.models_a[row])?, number(new.models_b[row])?);
            if model_a == model_b {
                return Err(wrong(format!("{:?} fights itself", new.models_a[row])));
            }
            if new.outcomes[row] > TIE {
                return Err(wrong(format!("outcome {}, expected 0, 1 or 2", new.outcomes[row])));
            }
            let embedding = &new.embeddings[row * self.dim..(row + 1) * self.dim];
            if embedding.iter().any(|value| !value.is_finite()) {
                return Err(wrong("its embedding holds numbers that are not finite".into()));
            }
            battles.push(NewBattle {
                id: new.ids[row],
                outcome: new.outcomes[row],
                model_a,
                model_b,
                prompt: new.prompts[row],
                embedding: Query::new(embedding).map_or_else(|| vec![0.0; self.dim], |query| query.exact().to_vec()),
            });
        }
        Ok(battles)
    }

    /// Makes battles count.
    fn show(&self, artifact: &Artifact, battles: &[NewBattle<'_>]) -> Result<()> {
        if battles.is_empty() {
            return Ok(());
        }
        let segment = self.segment(artifact, battles)?;
        let mut segments: Vec<Arc<Segment>> = self.added.load().to_vec();
        segments.push(Arc::new(segment));
        while let [.., before, last] = &segments[..] {
            if before.prompts() > 2 * last.prompts() {
                break;
            }
            let joined = Arc::new(self.joined(before, last));
            segments.truncate(segments.len() - 2);
            segments.push(joined);
        }
        self.added.store(Arc::new(segments));
        Ok(())
    }

    fn segment(&self, artifact: &Artifact, new: &[NewBattle<'_>]) -> Result<Segment> {
        let models = artifact.manifest().models.len();
        let mut rows: HashMap<&str, u32> = HashMap::new();
        let (mut vectors, mut texts, mut battles) = (Vec::new(), Vec::new(), Vec::with_capacity(new.len()));
        for one in new {
            let row = *rows.entry(one.prompt).or_insert_with(|| {
                vectors.extend_from_slice(&one.embedding);
                texts.push(one.prompt.to_owned());
                texts.len() as u32 - 1
            });
            battles.push((row, one.model_a, one.model_b, one.outcome, one.id));
        }
        battles.sort_by_key(|battle| battle.0);
        let battles = Battles {
            vectors: Vectors::new(self.dim, Rows::F32(vectors.into())),
            prompt: battles.iter().map(|battle| battle.0).collect::<Vec<_>>().into(),
            model_a: battles.iter().map(|battle| battle.1).collect::<Vec<_>>().into(),
            model_b: battles.iter().map(|battle| battle.2).collect::<Vec<_>>().into(),
            outcome: battles.iter().map(|battle| battle.3).collect::<Vec<_>>().into(),
            id: battles.iter().map(|battle| battle.4).collect::<Vec<_>>().into(),
        };
        battles
            .check(models)
            .map_err(|(field, message)| Error::invalid_input("battles", format!("{field}: {message}")))?;
        Ok(Segment::new(battles, Some(texts), &self.tier_of, self.tiers))
    }

    fn joined(&self, first: &Segment, second: &Segment) -> Segment {
        let (a, b) = (&first.battles, &second.battles);
        let start = a.vectors.len() as u32;
        let rows = [a, b].into_iter().flat_map(|one| (0..one.vectors.len()).map(|row| one.vectors.row(row)));
        let vectors: Vec<f32> = rows.flatten().collect();
        let battles = Battles {
            vectors: Vectors::new(self.dim, Rows::F32(vectors.into())),
            prompt: a
                .prompt
                .as_slice()
                .iter()
                .copied()
                .chain(b.prompt.as_slice().iter().map(|row| row + start))
                .collect::<Vec<_>>()
                .into(),
            model_a: [a.model_a.as_slice(), b.model_a.as_slice()].concat().into(),
            model_b: [a.model_b.as_slice(), b.model_b.as_slice()].concat().into(),
            outcome: [a.outcome.as_slice(), b.outcome.as_slice()].concat().into(),
            id: [a.id.as_slice(), b.id.as_slice()].concat().into(),
        };
        let texts = first.texts.clone().zip(second.texts.clone()).map(|(first, second)| [first, second].concat());
        Segment::new(battles, texts, &self.tier_of, self.tiers)
    }
}
