//! One unit vector a prompt, stored as float32, float16 or int8, and their dot products with queries.
//!
//! Performance notes: a scan over all rows is bound by memory, so what counts is bytes a row. Rows of int8 are multiplied with a
//! query of int16, whose rounding is some hundred times finer than that of the rows, and summed exactly in int32 (see
//! [`quantize`]). A batch takes a block of rows at a time, so that rows come from memory once for the whole group of queries.

use half::{f16, slice::HalfFloatSliceExt};
use multiversion::multiversion;

use super::int8::{TOGETHER, products};
use crate::{scorer::dot, view::View};

/// Rows that stay in the first-level cache while all queries of a group pass over them.
const BLOCK: usize = 64;

/// A matrix of unit vectors, one row a prompt.
#[derive(Debug, Clone)]
pub(crate) struct Vectors {
    dim: usize,
    rows: Rows,
}

#[derive(Debug, Clone)]
pub(super) enum Rows {
    F32(View<f32>),
    F16(View<u16>),
    I8(Int8),
}

/// Vectors of one byte a number to scan, and one more to look closer: a vector is `scale * (row + residual / 254)`.
#[derive(Debug, Clone)]
pub(super) struct Int8 {
    pub(super) rows: View<i8>,
    pub(super) scales: View<f32>,
    /// Absent where the second byte was not kept.
    pub(super) residuals: Option<View<i8>>,
    largest_scale: f32,
}

impl Int8 {
    pub(super) fn new(rows: View<i8>, scales: View<f32>, residuals: Option<View<i8>>) -> Self {
        let largest_scale = largest(scales.as_slice());
        Self { rows, scales, residuals, largest_scale }
    }
}

/// Steps of the residual in one step of the row.
const RESIDUAL_STEPS: f32 = 254.0;

impl Vectors {
    /// Rows of length `dim`; the caller has checked that they are whole.
    pub(super) fn new(dim: usize, rows: Rows) -> Self {
        Self { dim, rows }
    }

    /// int8 rows of float rows, without residuals.
    #[cfg(any(feature = "faiss", test))]
    pub(super) fn quantized(dim: usize, values: &[f32]) -> Self {
        let (mut rows, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
        for vector in values.chunks_exact(dim) {
            let scale = largest_size(vector) / 127.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            rows.extend(vector.iter().map(|value| (value * inverse).round() as i8));
            scales.push(scale);
        }
        Self::new(dim, Rows::I8(Int8::new(rows.into(), scales.into(), None)))
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        match &self.rows {
            Rows::F32(rows) => rows.as_slice().len() / self.dim,
            Rows::F16(rows) => rows.as_slice().len() / self.dim,
            Rows::I8(int8) => int8.scales.as_slice().len(),
        }
    }

    /// Bytes that a scan reads.
    pub(crate) fn bytes(&self) -> usize {
        let width = match &self.rows {
            Rows::F32(_) => 4,
            Rows::F16(_) => 2,
            Rows::I8(_) => 1,
        };
        self.len() * self.dim * width
    }

    /// One row as float32.
    pub(crate) fn row(&self, row: usize) -> Vec<f32> {
        let range = row * self.dim..(row + 1) * self.dim;
        match &self.rows {
            Rows::F32(rows) => rows.as_slice()[range].to_vec(),
            Rows::F16(rows) => rows.as_slice()[range].iter().map(|&bits| f16::from_bits(bits).to_f32()).collect(),
            Rows::I8(int8) => {
                let scale = int8.scales.as_slice()[row];
                let mut vector: Vec<f32> =
                    int8.rows.as_slice()[range.clone()].iter().map(|&value| f32::from(value)).collect();
                if let Some(residuals) = &int8.residuals {
                    let steps = residuals.as_slice()[range].iter().map(|&value| f32::from(value) / RESIDUAL_STEPS);
                    vector.iter_mut().zip(steps).for_each(|(value, step)| *value += step);
                }
                vector.iter_mut().for_each(|value| *value *= scale);
                vector
            }
        }
    }

    /// The first row that is no vector of length 1 or 0, with room for rounding.
    pub(super) fn not_finite(&self) -> Option<usize> {
        const MOST: f32 = 1.01;
        let within = |length: f32| length <= MOST;
        let all = |values: &[f32]| within(dot(values, values));
        match &self.rows {
            Rows::F32(rows) => rows.as_slice().chunks_exact(self.dim).position(|row| !all(row)),
            Rows::F16(_) => (0..self.len()).find(|&row| !all(&self.row(row))),
            Rows::I8(Int8 { rows, scales, .. }) => {
                rows.as_slice().chunks_exact(self.dim).zip(scales.as_slice()).position(|(row, &scale)| {
                    let squares: i32 = row.iter().map(|&value| i32::from(value) * i32::from(value)).sum();
                    !within(squares as f32 * scale * scale)
                })
            }
        }
    }

    /// Dot product of one row with a query, as close as the storage allows.
    pub(crate) fn similarity(&self, row: usize, query: &Query) -> f32 {
        let range = row * self.dim..(row + 1) * self.dim;
        match &self.rows {
            Rows::F32(rows) => dot(&rows.as_slice()[range], &query.exact),
            Rows::F16(_) => dot(&self.row(row), &query.exact),
            Rows::I8(int8) => {
                let coarse = sum_of_products(&int8.rows.as_slice()[range.clone()], &query.rounded) as f32;
                let fine = int8
                    .residuals
                    .as_ref()
                    .map_or(0, |values| sum_of_products(&values.as_slice()[range], &query.rounded));
                (coarse + fine as f32 / RESIDUAL_STEPS) * (int8.scales.as_slice()[row] * query.scale)
            }
        }
    }

    /// Looks closer at the rows that a [`scan`](Self::scan) found nearest: the largest similarity bends all weights.
    pub(super) fn refine(&self, query: &Query, similarities: &mut [f32]) {
        let Rows::I8(int8) = &self.rows else { return };
        if int8.residuals.is_none() {
            return;
        }
        // Rounding a unit vector's numbers to whole steps moves a similarity by 0.3 steps (standard deviation).
        let most = largest(similarities);
        if most == f32::NEG_INFINITY {
            return;
        }
        let least = most - 2.0 * int8.largest_scale;
        for (block, similarities) in similarities.chunks_mut(BLOCK).enumerate() {
            if largest(similarities) < least {
                continue;
            }
            for (place, similarity) in similarities.iter_mut().enumerate() {
                if *similarity >= least {
                    *similarity = self.similarity(block * BLOCK + place, query);
                }
            }
        }
    }

    /// Dot products of every row with every query; `similarities[q]` has one place a row.
    pub(crate) fn scan(&self, queries: &[Query], similarities: &mut [&mut [f32]]) {
        let mut start = 0;
        let mut floats = vec![0.0; if matches!(self.rows, Rows::F16(_)) { BLOCK * self.dim } else { 0 }];
        // One query alone gains nothing from blocks.
        let block = if queries.len() == 1 && floats.is_empty() { self.len().max(1) } else { BLOCK };
        while start < self.len() {
            let end = self.len().min(start + block);
            let range = start * self.dim..end * self.dim;
            match &self.rows {
                Rows::F32(rows) => scan_floats(&rows.as_slice()[range], queries, similarities, start..end),
                Rows::F16(rows) => {
                    let halves: &[f16] = bytemuck::cast_slice(&rows.as_slice()[range]);
                    let floats = &mut floats[..halves.len()];
                    halves.convert_to_f32_slice(floats);
                    scan_floats(floats, queries, similarities, start..end);
                }
                Rows::I8(int8) => {
                    let (rows, scales) = (&int8.rows.as_slice()[range], &int8.scales.as_slice()[start..end]);
                    let mut groups = queries.chunks(TOGETHER).zip(similarities.chunks_mut(TOGETHER));
                    for (queries, places) in &mut groups {
                        match (queries, places) {
                            ([a, b, c, d], [w, x, y, z]) => {
                                let places =
                                    [&mut w[start..end], &mut x[start..end], &mut y[start..end], &mut z[start..end]];
                                scan_int8_together(rows, scales, [a, b, c, d], places);
                            }
                            (queries, places) => {
                                for (query, places) in queries.iter().zip(places) {
                                    scan_int8(rows, scales, query, &mut places[start..end]);
                                }
                            }
                        }
                    }
                }
            }
            start = end;
        }
    }
}

fn scan_floats(rows: &[f32], queries: &[Query], similarities: &mut [&mut [f32]], places: std::ops::Range<usize>) {
    for (query, similarities) in queries.iter().zip(similarities) {
        let dim = query.exact.len();
        for (row, place) in rows.chunks_exact(dim).zip(&mut similarities[places.clone()]) {
            *place = dot(row, &query.exact);
        }
    }
}

/// A unit vector to compare with, ready for every storage.
#[derive(Debug)]
pub(crate) struct Query {
    exact: Vec<f32>,
    rounded: Vec<i16>,
    scale: f32,
}

impl Query {
    /// Scales an embedding to unit length; `None` where it has none, or where its length is no number.
    pub(crate) fn new(embedding: &[f32]) -> Option<Self> {
        let length = embedding.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if length == 0.0 || !length.is_finite() {
            return None;
        }
        let exact: Vec<f32> = embedding.iter().map(|&value| (f64::from(value) / length) as f32).collect();
        let (rounded, scale) = quantize(&exact);
        Some(Self { exact, rounded, scale })
    }

    /// The unit vector.
    pub(crate) fn exact(&self) -> &[f32] {
        &self.exact
    }
}

/// Rounds a query to integers so large that `dim` products with an int8 each (at most 128) cannot leave the range of int32.
fn quantize(query: &[f32]) -> (Vec<i16>, f32) {
    let most = (f64::from(i32::MAX) / (128.0 * query.len() as f64)).min(f64::from(i16::MAX)) as f32;
    let scale = largest_size(query) / most.floor();
    (query.iter().map(|value| (value / scale).round() as i16).collect(), scale)
}

fn largest_size(vector: &[f32]) -> f32 {
    vector.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

/// The largest of many numbers.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn largest(values: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (most, &value) in most.iter_mut().zip(chunk) {
            *most = if value > *most { value } else { *most };
        }
    }
    most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &value| most.max(value))
}

fn sum_of_products(row: &[i8], query: &[i16]) -> i32 {
    let mut total = 0;
    products(row, [query], |_, [sum]| total = sum);
    total
}

fn scan_int8(rows: &[i8], scales: &[f32], query: &Query, similarities: &mut [f32]) {
    products(rows, [&query.rounded], |place, [sum]| similarities[place] = sum as f32 * (scales[place] * query.scale));
}

fn scan_int8_together(
    rows: &[i8],
    scales: &[f32],
    queries: [&Query; TOGETHER],
    mut similarities: [&mut [f32]; TOGETHER],
) {
    let units = queries.map(|query| query.scale);
    products(rows, queries.map(|query| &query.rounded[..]), |place, sums| {
        for ((sum, unit), similarities) in sums.iter().zip(units).zip(&mut similarities) {
            similarities[place] = *sum as f32 * (scales[place] * unit);
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn similarities(vectors: &Vectors, queries: &[Query]) -> Vec<Vec<f32>> {
        let mut places = vec![vec![0.0; vectors.len()]; queries.len()];
        let mut slices: Vec<&mut [f32]> = places.iter_mut().map(Vec::as_mut_slice).collect();
        vectors.scan(queries, &mut slices);
        places
    }

    fn unit(values: &[f32]) -> Vec<f32> {
        Query::new(values).map_or_else(|| vec![0.0; values.len()], |query| query.exact)
    }

    proptest! {
        #[test]
        fn every_storage_agrees_with_the_dot_product_alone_and_in_groups(
            dim in 1usize..70, count in 1usize..130, seed in prop::collection::vec(-1f32..1.0, 300), asked in 1usize..10,
        ) {
            let mut numbers = seed.iter().copied().cycle().enumerate().map(|(at, value)| value + (at % 7) as f32 * 0.01);
            let mut take = || unit(&(&mut numbers).take(dim).collect::<Vec<f32>>());
            let rows: Vec<f32> = (0..count).flat_map(|_| take()).collect();
            let queries: Vec<Query> = (0..asked).filter_map(|_| Query::new(&take())).collect();
            let halves: Vec<u16> = rows.iter().map(|&value| f16::from_f32(value).to_bits()).collect();
            let stored = [
                (Vectors::new(dim, Rows::F32(rows.clone().into())), 1e-6),
                (Vectors::new(dim, Rows::F16(halves.into())), 1e-3),
                (Vectors::quantized(dim, &rows), 6e-3 * (dim as f32).sqrt()),
            ];
            for (vectors, tolerance) in stored {
                let found = similarities(&vectors, &queries);
                for (query, found) in queries.iter().zip(found) {
                    for (row, similarity) in found.into_iter().enumerate() {
                        let truth = dot(&rows[row * dim..(row + 1) * dim], &query.exact);
                        prop_assert!((similarity - truth).abs() <= tolerance, "{similarity} {truth} {tolerance}");
                        prop_assert!((similarity - vectors.similarity(row, query)).abs() < 1e-6);
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_products_stay_in_range() {
        for dim in [1, 516, 517, 16_384] {
            let ones = unit(&vec![1.0; dim]);
            let query = Query::new(&ones).unwrap();
            let similarity = Vectors::quantized(dim, &ones).similarity(0, &query);
            assert!((similarity - 1.0).abs() < 1e-3, "{dim}: {similarity}");
        }
    }

    #[test]
    fn rows_of_the_lowest_byte_stay_in_range() {
        for dim in [516, 517, 4096] {
            let scale = 1.0 / (128.0 * (dim as f32).sqrt());
            let rows = Int8::new(vec![-128i8; dim].into(), vec![scale].into(), Some(vec![-128i8; dim].into()));
            let vectors = Vectors::new(dim, Rows::I8(rows));
            let query = Query::new(&vec![1.0; dim]).unwrap();
            assert!((similarities(&vectors, std::slice::from_ref(&query))[0][0] + 1.0).abs() < 1e-3, "{dim}");
            assert!((vectors.similarity(0, &query) + 1.0).abs() < 1e-2, "{dim}");
        }
    }

    #[test]
    fn a_query_without_a_length_is_none() {
        assert!(Query::new(&[0.0, 0.0]).is_none() && Query::new(&[f32::NAN, 1.0]).is_none());
        assert!(Query::new(&[f32::MAX, f32::MAX]).is_some());
    }
}
