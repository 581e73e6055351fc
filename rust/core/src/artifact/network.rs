//! What `router.json` says of routers that are networks: the meaning of labels, the way a score is generated.

use serde::Deserialize;

use super::manifest::{Kind, Manifest};

/// Score tokens of RouteLLM's causal routers: `[[1]]` to `[[5]]`.
const SCORES: usize = 5;
/// Tokens that are generated while no score has come.
const MAX_STEPS: usize = 64;

/// What one column of a classifier's logits stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// The strong model's answer is preferred.
    Strong,
    /// Neither is.
    Tie,
    /// The weak model's answer is preferred.
    Weak,
}

/// How a causal language model is asked for a score.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Text before the prompt; the tokenizer's own special tokens come before that.
    pub before: String,
    /// Text after the prompt.
    pub after: String,
    /// Ids of the five score tokens, from score 1 to score 5; from 4 on the weak model suffices.
    pub score_tokens: [u32; SCORES],
    /// Ids that end a text.
    pub end_tokens: Vec<u32>,
    /// Greedy tokens among which the first score token is looked for.
    pub max_new_tokens: usize,
}

type Check = Result<(), (&'static str, String)>;

impl Manifest {
    pub(super) fn check_kind(&self) -> Check {
        let unexpected = |field| Err((field, format!("present, expected none for the kind {:?}", self.kind)));
        if self.kind != Kind::Bert && self.labels.is_some() {
            return unexpected("labels");
        }
        if self.kind != Kind::CausalLm && self.generation.is_some() {
            return unexpected("generation");
        }
        if !matches!(self.kind, Kind::Bert | Kind::CausalLm) && self.graph_precision.is_some() {
            return unexpected("graph_precision");
        }
        match self.kind {
            Kind::Mf | Kind::SwRanking => Ok(()),
            Kind::Bert => self.labels.as_deref().map_or(Ok(()), |labels| self.check_labels(labels)),
            Kind::CausalLm => match &self.generation {
                Some(generation) => self.check_generation(generation),
                None => Err(("generation", "missing, expected it for the kind \"causal_llm\"".into())),
            },
        }
    }

    fn check_labels(&self, labels: &[Label]) -> Check {
        let count = |wanted| labels.iter().filter(|&&label| label == wanted).count();
        let fits = match labels.len() {
            1 => count(Label::Strong) == 1,
            2 => count(Label::Strong) == 1 && count(Label::Weak) == 1,
            3 => count(Label::Strong) == 1 && count(Label::Weak) == 1 && count(Label::Tie) == 1,
            _ => false,
        };
        if !fits {
            let expected = "\"strong\" alone, \"strong\" and \"weak\", or these and \"tie\", in any order";
            return Err(("labels", format!("{labels:?}, expected {expected}")));
        }
        self.check_single_pair()
    }

    fn check_generation(&self, generation: &Generation) -> Check {
        let tokens = &generation.score_tokens;
        let twice = (1..SCORES).any(|place| tokens[..place].contains(&tokens[place]));
        if twice || generation.end_tokens.iter().any(|token| tokens.contains(token)) {
            return Err(("generation.score_tokens", format!("{tokens:?}, expected five ids of no other use")));
        }
        if !(1..=MAX_STEPS).contains(&generation.max_new_tokens) {
            let found = generation.max_new_tokens;
            return Err(("generation.max_new_tokens", format!("{found}, expected 1..={MAX_STEPS}")));
        }
        self.check_single_pair()
    }

    /// Such a router knows one pair, in one direction.
    fn check_single_pair(&self) -> Check {
        if self.models != [self.pair.strong.as_str(), self.pair.weak.as_str()] {
            return Err(("models", format!("{:?}, expected the strong and the weak model of the pair", self.models)));
        }
        Ok(())
    }
}
