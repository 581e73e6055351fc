//! Landmarks: points of the embedding's space whose nearness to a prompt extends its embedding.

use std::ops::Range;

use multiversion::multiversion;

use crate::{
    exponential::exp,
    scorer::{dot, inlined_dot},
};

/// Nearness `exp(-|e - z|^2 / (2 h^2))` to each point `z`, with each of a few bandwidths `h`.
#[derive(Debug, Clone, PartialEq)]
pub struct Landmarks {
    dim: usize,
    /// `[points, dim]`.
    points: Vec<f32>,
    /// Squared lengths of the points.
    squares: Vec<f32>,
    /// `1 / (2 h^2)` of each bandwidth.
    scales: Vec<f32>,
}

impl Landmarks {
    /// Landmarks at the rows of `[points, dim]`; the bandwidths are more than 0.
    pub(super) fn new(dim: usize, points: Vec<f32>, bandwidths: &[f32]) -> Self {
        let squares = points.chunks_exact(dim).map(|point| dot(point, point)).collect();
        let scales = bandwidths.iter().map(|bandwidth| 1.0 / (2.0 * bandwidth * bandwidth)).collect();
        Self { dim, points, squares, scales }
    }

    pub(super) fn points(&self) -> usize {
        self.squares.len()
    }

    /// What an embedding is extended by: the nearness to all points with the first bandwidth, then with the second, and so on.
    pub(super) fn width(&self) -> usize {
        self.points() * self.scales.len()
    }

    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Writes the squared distances of an embedding to some points, as many as `into` has room for.
    pub(super) fn distances(&self, range: Range<usize>, embedding: &[f32], into: &mut [f32]) {
        let points = &self.points[range.start * self.dim..range.end * self.dim];
        distances(points, &self.squares[range], embedding, into);
    }

    /// The nearness of an embedding to all points with all bandwidths.
    pub(super) fn nearness(&self, embedding: &[f32]) -> Vec<f32> {
        let mut apart = vec![0.0; self.points()];
        self.distances(0..self.points(), embedding, &mut apart);
        let mut found = vec![0.0; self.width()];
        for (&scale, into) in self.scales.iter().zip(found.chunks_exact_mut(apart.len())) {
            nearness(&apart, scale, into);
        }
        found
    }

    /// Whether the squares and the scales are numbers to compute with.
    pub(super) fn is_finite(&self) -> bool {
        self.scales.iter().chain(&self.squares).all(|number| number.is_finite())
    }
}

#[multiversion(targets("x86_64+avx2", "aarch64+neon"))]
fn distances(points: &[f32], squares: &[f32], embedding: &[f32], into: &mut [f32]) {
    let own = inlined_dot(embedding, embedding);
    for ((point, square), distance) in points.chunks_exact(embedding.len()).zip(squares).zip(into) {
        // Rounding may leave a little less than nothing.
        *distance = (own + square - 2.0 * inlined_dot(point, embedding)).max(0.0);
    }
}

/// Nearness of squared distances at one scale.
#[multiversion(targets("x86_64+avx2", "aarch64+neon"))]
pub(super) fn nearness(distances: &[f32], scale: f32, into: &mut [f32]) {
    for (value, distance) in into.iter_mut().zip(distances) {
        *value = exp(-distance * scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_falls_with_the_squared_distance_and_rises_with_the_bandwidth() {
        let landmarks = Landmarks::new(2, vec![1.0, 1.0, 1.0, 3.0], &[2.0, 1.0]);
        let found = landmarks.nearness(&[1.0, 1.0]);
        assert_eq!((found[0], found[2]), (1.0, 1.0));
        assert!((found[1] - (-0.5f32).exp()).abs() < 1e-6);
        assert!((found[3] - (-2.0f32).exp()).abs() < 1e-6);
    }
}
