//! From a row of a network's output to the logit of the win rate: `sigmoid(logit)` is the chance that the strong model is preferred.

use crate::artifact::{Generation, Label};

/// What the columns of a row are.
#[derive(Debug, Clone)]
pub(super) enum Head {
    /// One score a model; rows of the pair. The win rate is the sigmoid of their difference.
    Models(usize, usize),
    /// Logits of labels. The win rate is the softmax at `strong`, or the sigmoid of a single logit.
    Labels(Vec<Label>),
    /// Logits of the next token.
    Tokens(Generation),
}

/// What a generated token says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// It is a score; the logit that the score is below 4 (the first three of five score tokens).
    Score(f32),
    /// It ends the text: no score will come.
    End,
    /// It is another token, to be read on from.
    Token(u32),
}

impl Head {
    /// Name of the output that is read.
    pub(super) fn output(&self) -> &'static str {
        match self {
            Self::Models(..) => "model_scores",
            Self::Labels(_) | Self::Tokens(_) => "logits",
        }
    }
}

/// `logit_strong - ln(sum of exp of the others)`, whose sigmoid is the softmax at `strong`.
pub(super) fn logit_of_labels(labels: &[Label], row: &[f32]) -> f32 {
    let place = labels.iter().position(|label| *label == Label::Strong).unwrap_or(0);
    let others: Vec<f32> = row.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, value)| *value).collect();
    if others.is_empty() { row[place] } else { row[place] - log_sum_exp(&others) }
}

/// The greedy next token, and the score if it is one. RouteLLM reads the five score logits at the first score token; the win rate is
/// their softmax's share below 4.
pub(super) fn step(generation: &Generation, row: &[f32]) -> Step {
    if row.iter().any(|value| value.is_nan()) {
        return Step::Score(f32::NAN);
    }
    // The first of equal logits, as in every implementation of greedy search.
    let best = row.iter().enumerate().fold(0, |best, (token, value)| if *value > row[best] { token } else { best });
    let best = best as u32;
    if generation.score_tokens.contains(&best) {
        let scores = generation.score_tokens.map(|token| row[token as usize]);
        return Step::Score(log_sum_exp(&scores[..3]) - log_sum_exp(&scores[3..]));
    }
    if generation.end_tokens.contains(&best) { Step::End } else { Step::Token(best) }
}

fn log_sum_exp(values: &[f32]) -> f32 {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return largest;
    }
    largest + values.iter().map(|value| (value - largest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::sigmoid;

    fn softmax(row: &[f32]) -> Vec<f32> {
        let total: f32 = row.iter().map(|value| value.exp()).sum();
        row.iter().map(|value| value.exp() / total).collect()
    }

    #[test]
    fn labels_give_the_softmax_of_the_strong_one() {
        use Label::{Strong, Tie, Weak};
        let row = [1.5, -0.3, 0.2];
        for (labels, place) in [([Strong, Tie, Weak], 0), ([Weak, Strong, Tie], 1), ([Tie, Weak, Strong], 2)] {
            assert!((sigmoid(logit_of_labels(&labels, &row)) - softmax(&row)[place]).abs() < 1e-6);
        }
        assert!((sigmoid(logit_of_labels(&[Weak, Strong], &[0.4, 1.0])) - softmax(&[0.4, 1.0])[1]).abs() < 1e-6);
        assert_eq!(logit_of_labels(&[Strong], &[0.7]), 0.7);
        assert!(logit_of_labels(&[Strong, Weak], &[f32::NAN, 0.0]).is_nan());
    }

    fn generation() -> Generation {
        let (before, after) = (String::new(), String::new());
        Generation { before, after, score_tokens: [3, 4, 5, 6, 7], end_tokens: vec![2], max_new_tokens: 6 }
    }

    #[test]
    fn a_score_token_gives_the_share_of_the_scores_below_four() {
        let row = [0.0, 0.1, 0.2, 0.3, 0.4, 5.0, 0.6, 0.7];
        let Step::Score(logit) = step(&generation(), &row) else { panic!("token 5 is a score") };
        let expected: f32 = softmax(&row[3..]).iter().take(3).sum();
        assert!((sigmoid(logit) - expected).abs() < 1e-6);
    }

    #[test]
    fn other_tokens_go_on_and_an_end_ends() {
        assert_eq!(step(&generation(), &[0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]), Step::Token(1));
        assert_eq!(step(&generation(), &[0.0, 2.0, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0]), Step::End);
        assert_eq!(step(&generation(), &[1.0; 8]), Step::Token(0));
        assert!(matches!(step(&generation(), &[f32::NAN; 8]), Step::Score(logit) if logit.is_nan()));
    }
}
