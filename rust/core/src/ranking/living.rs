//! Battles that are added to a loaded router: logged first, then visible to the next decision.
//!
//! Decisions read one list of segments and never wait. A call that adds battles writes them to the log, builds a segment and puts a
//! new list in place of the old one. Neighbouring segments of similar size are joined, so that a million calls leave some twenty
//! segments and each battle is copied some twenty times.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Ranking, Segment,
    battles::{Battles, TIE},
    log::{Log, LoggedBattle},
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

/// What adding battles needs; one call at a time.
#[derive(Debug)]
pub(super) struct Living {
    log: Log,
    /// Ids of the battles that were added; those of the artifact are in its columns.
    ids: HashSet<u64>,
}

impl Living {
    pub(super) fn new(artifact: &Artifact) -> Mutex<Self> {
        let log = Log::new(artifact.path(), artifact.manifest().encoder.dim());
        Mutex::new(Self { log, ids: HashSet::new() })
    }
}

impl Ranking {
    /// Reads what was added before.
    pub(super) fn read_log(&self, artifact: &Artifact) -> Result<()> {
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let battles = living.log.read()?;
        // A compaction empties the log after it has replaced the manifest.
        if !artifact.is_current()? {
            let message = "was compacted or replaced while it was loaded: load it again";
            return Err(Error::artifact(artifact.path(), "artifact", message));
        }
        let news = self.unknown(&mut living, battles);
        self.show(artifact, &news)
    }

    /// Adds battles; the number that was new. Nothing is added where anything is wrong.
    pub(crate) fn add(&self, artifact: &Artifact, new: &NewBattles<'_>) -> Result<usize> {
        let battles = self.checked(artifact, new)?;
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let Living { log, ids } = &mut *living;
        let mut seen = Vec::new();
        let written = log.append(
            || artifact.is_current(),
            |others| {
                seen = others;
                let mut known: HashSet<u64> = ids.clone();
                known.extend(seen.iter().map(|battle| battle.id));
                let wanted = self.beyond_base(&battles);
                Ok(battles
                    .into_iter()
                    .filter(|battle| wanted.contains(&battle.id) && known.insert(battle.id))
                    .collect())
            },
        );
        // What others added counts even where our own could not be written.
        let others = self.unknown(&mut living, seen);
        self.show(artifact, &others)?;
        let own = self.unknown(&mut living, written?);
        self.show(artifact, &own)?;
        Ok(own.len())
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

    /// Battles whose ids are new, which they then are no more.
    fn unknown(&self, living: &mut Living, battles: Vec<LoggedBattle>) -> Vec<LoggedBattle> {
        if battles.is_empty() {
            return battles;
        }
        let wanted = self.beyond_base(&battles);
        battles.into_iter().filter(|battle| wanted.contains(&battle.id) && living.ids.insert(battle.id)).collect()
    }

    /// Ids that the artifact itself does not hold.
    fn beyond_base(&self, battles: &[LoggedBattle]) -> HashSet<u64> {
        let mut wanted: HashSet<u64> = battles.iter().map(|battle| battle.id).collect();
        for id in self.base.battles.id.as_slice() {
            wanted.remove(id);
        }
        wanted
    }

    fn checked(&self, artifact: &Artifact, new: &NewBattles<'_>) -> Result<Vec<LoggedBattle>> {
        let rows = new.ids.len();
        let lengths = [new.prompts.len(), new.models_a.len(), new.models_b.len(), new.outcomes.len()];
        if lengths.iter().any(|&length| length != rows) || new.embeddings.len() != rows * self.dim {
            return Err(Error::InvalidInput(format!(
                "{rows} ids, but prompts, models and outcomes have {lengths:?} rows and the embeddings {} numbers, expected {}",
                new.embeddings.len(),
                rows * self.dim
            )));
        }
        let models = &artifact.manifest().models;
        let mut battles = Vec::with_capacity(rows);
        for row in 0..rows {
            let wrong = |message: String| Error::InvalidInput(format!("battle {row}: {message}"));
            for name in [new.models_a[row], new.models_b[row]] {
                if !models.iter().any(|model| model == name) {
                    return Err(wrong(format!(
                        "the artifact has no model {name:?}: it joins when ratings are made anew (`turnout train sw_ranking`)"
                    )));
                }
            }
            if new.models_a[row] == new.models_b[row] {
                return Err(wrong(format!("{:?} fights itself", new.models_a[row])));
            }
            if new.outcomes[row] > TIE {
                return Err(wrong(format!("outcome {}, expected 0, 1 or 2", new.outcomes[row])));
            }
            let embedding = &new.embeddings[row * self.dim..(row + 1) * self.dim];
            if embedding.iter().any(|value| !value.is_finite()) {
                return Err(wrong("its embedding holds numbers that are not finite".into()));
            }
            battles.push(LoggedBattle {
                id: new.ids[row],
                outcome: new.outcomes[row],
                model_a: new.models_a[row].into(),
                model_b: new.models_b[row].into(),
                prompt: new.prompts[row].into(),
                embedding: Query::new(embedding).map_or_else(|| vec![0.0; self.dim], |query| query.exact().to_vec()),
            });
        }
        Ok(battles)
    }

    /// Makes logged battles count.
    fn show(&self, artifact: &Artifact, battles: &[LoggedBattle]) -> Result<()> {
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

    fn segment(&self, artifact: &Artifact, logged: &[LoggedBattle]) -> Result<Segment> {
        let models = &artifact.manifest().models;
        let number = |name: &str| {
            let place = models.iter().position(|model| model == name);
            let known = place.and_then(|place| u16::try_from(place).ok());
            known.ok_or_else(|| {
                Error::artifact(
                    &artifact.path().join("battles.log"),
                    "model",
                    format!("{name:?} is no model of the artifact"),
                )
            })
        };
        let mut rows: HashMap<&str, u32> = HashMap::new();
        let (mut vectors, mut texts, mut battles) = (Vec::new(), Vec::new(), Vec::with_capacity(logged.len()));
        for one in logged {
            let row = *rows.entry(&one.prompt).or_insert_with(|| {
                vectors.extend_from_slice(&one.embedding);
                texts.push(one.prompt.clone());
                texts.len() as u32 - 1
            });
            battles.push((row, number(&one.model_a)?, number(&one.model_b)?, one.outcome, one.id));
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
            .check(models.len())
            .map_err(|(field, message)| Error::artifact(&artifact.path().join("battles.log"), field, message))?;
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
