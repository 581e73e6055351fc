//! From an embedding to one score a model: the matrix factorization head.

use multiversion::multiversion;

use crate::{
    encoder::Pattern,
    onnx::{Attribute, Graph},
};

/// RouteLLM's bilinear head (arXiv 2406.18665, section 4.2, equation 4 and the text after it):
/// `score_m = w2 . (v_m * (W1 e))`, and the win rate is `sigmoid(score_strong - score_weak)`.
///
/// For a fixed pair the difference of scores is one dot product with the embedding, `(W1^T (w2 * (v_strong - v_weak))) . e`; it is
/// folded once, when the pair is chosen.
#[derive(Debug)]
pub struct MatrixFactorizationScorer {
    dim: usize,
    rank: usize,
    models: usize,
    /// `W1` transposed, `[dim, rank]`.
    projection: Vec<f32>,
    /// `w2 * v_m` in columns, `[rank, models]`.
    model_heads: Vec<f32>,
}

impl MatrixFactorizationScorer {
    /// Recognizes the head of a graph; `pattern` stands before it and must end with it.
    pub(crate) fn recognize(graph: &Graph<'_>, pattern: &mut Pattern<'_, '_>) -> Result<Self, String> {
        let projected = pattern.expect("MatMul", &["embedding", "projection"], &[])?;
        let scores = pattern.expect("MatMul", &[projected, "model_heads"], &[])?;
        let axis = [("axis", Attribute::Int(1))];
        let strong = pattern.expect("Gather", &[scores, "strong"], &axis)?;
        let weak = pattern.expect("Gather", &[scores, "weak"], &axis)?;
        let logit = pattern.expect("Sub", &[strong, weak], &[])?;
        let win_rate = pattern.expect("Sigmoid", &[logit], &[])?;
        pattern.end()?;
        if (scores, win_rate) != ("model_scores", "win_rate") {
            return Err(format!(
                "the head makes {scores:?} and {win_rate:?}, expected \"model_scores\" and \"win_rate\""
            ));
        }
        let (projection, heads) = (graph.tensor("projection")?, graph.tensor("model_heads")?);
        match (&projection.dims[..], &heads.dims[..]) {
            (&[dim @ 1..=16_384, rank @ 1..=16_384], &[same_rank, models @ 2..=4096]) if rank == same_rank => {
                Ok(Self {
                    dim: dim as usize,
                    rank: rank as usize,
                    models: models as usize,
                    projection: projection.floats()?,
                    model_heads: heads.floats()?,
                })
            }
            (projection, heads) => {
                Err(format!("projection {projection:?} and model_heads {heads:?} do not fit together"))
            }
        }
    }

    /// Length of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of models.
    pub fn models(&self) -> usize {
        self.models
    }

    /// The vector whose dot product with an embedding is the logit of a pair. Model numbers must be below [`models`](Self::models).
    pub fn fold_pair(&self, strong: usize, weak: usize) -> Vec<f32> {
        let difference: Vec<f64> = self
            .model_heads
            .chunks_exact(self.models)
            .map(|row| f64::from(row[strong]) - f64::from(row[weak]))
            .collect();
        self.projection
            .chunks_exact(self.rank)
            .map(|row| row.iter().zip(&difference).map(|(a, b)| f64::from(*a) * b).sum::<f64>() as f32)
            .collect()
    }

    /// The score of every model for one embedding.
    pub fn model_scores(&self, embedding: &[f32]) -> Vec<f32> {
        let mut projected = vec![0.0f32; self.rank];
        for (value, row) in embedding.iter().zip(self.projection.chunks_exact(self.rank)) {
            projected.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
        }
        let mut scores = vec![0.0f32; self.models];
        for (value, row) in projected.iter().zip(self.model_heads.chunks_exact(self.models)) {
            scores.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
        }
        scores
    }
}

/// Dot product in eight partial sums, so that it can be vectorized; the order of additions is the same on every machine.
#[multiversion(targets("x86_64+avx2", "aarch64+neon"))]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    inlined_dot(a, b)
}

/// The same, inside a function that has the instructions already.
#[inline(always)]
pub(crate) fn inlined_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scorer(dim: usize, rank: usize, models: usize, values: &[f32]) -> MatrixFactorizationScorer {
        let mut values = values.iter().copied().cycle();
        let mut take = |n| (&mut values).take(n).collect::<Vec<f32>>();
        MatrixFactorizationScorer { dim, rank, models, projection: take(dim * rank), model_heads: take(rank * models) }
    }

    proptest! {
        #[test]
        fn the_folded_pair_equals_the_difference_of_scores(
            values in proptest::collection::vec(-1f32..1.0, 64), embedding in proptest::collection::vec(-1f32..1.0, 12),
        ) {
            let scorer = scorer(12, 5, 4, &values);
            let scores = scorer.model_scores(&embedding);
            for (strong, weak) in [(0, 1), (1, 0), (3, 2), (2, 2)] {
                let logit = dot(&scorer.fold_pair(strong, weak), &embedding);
                prop_assert!((logit - (scores[strong] - scores[weak])).abs() < 1e-4);
            }
        }
    }
}
