//! Landmarks: points of the embedding's space whose nearness to a prompt extends its embedding.

use std::ops::Range;

use multiversion::multiversion;

use crate::{
    exponential::exp,
    scorer::{dot, inlined_dot},
};

/// Nearness `exp(-|e - z|^2 / (2 h^2))` to each point `z`, with the bandwidth `h`.
#[derive(Debug, Clone, PartialEq)]
pub struct Landmarks {
    dim: usize,
    /// `[landmarks, dim]`.
    points: Vec<f32>,
    /// Squared lengths of the points.
    squares: Vec<f32>,
    /// `1 / (2 h^2)`.
    scale: f32,
}

impl Landmarks {
    /// Landmarks at the rows of `[landmarks, dim]`; the bandwidth is more than 0.
    pub(super) fn new(dim: usize, points: Vec<f32>, bandwidth: f32) -> Self {
        let squares = points.chunks_exact(dim).map(|point| dot(point, point)).collect();
        Self { dim, points, squares, scale: 1.0 / (2.0 * bandwidth * bandwidth) }
    }

    pub(super) fn len(&self) -> usize {
        self.squares.len()
    }

    /// Writes the nearness of an embedding to some landmarks, as many as `into` has room for.
    pub(super) fn nearness(&self, range: Range<usize>, embedding: &[f32], into: &mut [f32]) {
        let points = &self.points[range.start * self.dim..range.end * self.dim];
        nearness(points, &self.squares[range], self.scale, embedding, into);
    }

    /// Whether the squares and the scale are numbers to compute with.
    pub(super) fn is_finite(&self) -> bool {
        self.scale.is_finite() && self.squares.iter().all(|square| square.is_finite())
    }
}

#[multiversion(targets("x86_64+avx2", "aarch64+neon"))]
fn nearness(points: &[f32], squares: &[f32], scale: f32, embedding: &[f32], into: &mut [f32]) {
    let own = inlined_dot(embedding, embedding);
    for ((point, square), distance) in points.chunks_exact(embedding.len()).zip(squares).zip(&mut *into) {
        *distance = own + square - 2.0 * inlined_dot(point, embedding);
    }
    for value in into {
        // Rounding may leave a little less than nothing.
        *value = exp(-value.max(0.0) * scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_falls_with_the_squared_distance() {
        let landmarks = Landmarks::new(2, vec![1.0, 1.0, 1.0, 3.0], 2.0);
        let mut found = [0.0; 2];
        landmarks.nearness(0..2, &[1.0, 1.0], &mut found);
        assert_eq!(found[0], 1.0);
        assert!((found[1] - (-0.5f32).exp()).abs() < 1e-6);
    }
}
