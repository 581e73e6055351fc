//! The sums over the tokens of a prompt.
//!
//! Performance notes: a row of the table is one or two cache lines, and the table is larger than the caches, so a decision costs
//! about one cache miss a token; rows are gathered in token order, which lets the processor overlap the misses. Sums of 64 columns stay
//! in registers, and each row is added once, whatever views it is in.

use multiversion::multiversion;

use super::TableEncoder;

/// Columns whose sums are kept in registers.
const COLUMNS: usize = 64;
/// Counts that are added at once.
const COUNTS: usize = 16;
/// So many numbers of 8 bits have a sum of 16 bits.
const MAX_INT16_TERMS: usize = 256;

/// Writes the mean of the rows over the tokens, with what the views add, and the bias.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn gather(table: &TableEncoder, ids: &[u32], embedding: &mut [f32]) {
    let tokens = ids.len().max(1) as f32;
    for (at, (columns, bias)) in embedding.chunks_mut(COLUMNS).zip(table.bias.chunks(COLUMNS)).enumerate() {
        let at = at * COLUMNS;
        let Some(views) = &table.views else {
            let (sums, scale) = (sum_rows(table, ids, at), 1.0 / tokens);
            columns.iter_mut().zip(sums).zip(bias).for_each(|((value, sum), bias)| *value = sum * scale + bias);
            continue;
        };
        let [(first, in_first), (last, in_last)] = views.parts(ids);
        let (end_of_first, start_of_last) = (in_first.len(), ids.len() - in_last.len());
        let (left, right) = (end_of_first.min(start_of_last), end_of_first.max(start_of_last));
        let sums = [&ids[..left], &ids[left..right], &ids[right..]].map(|part| sum_rows(table, part, at));
        // The tokens between the others are in both views or in none.
        let shared = if end_of_first > start_of_last { 1.0 } else { 0.0 };
        let root = |count: usize| 1.0 / (count.max(1) as f32).sqrt();
        let (scale, of_first, of_last) = (root(ids.len()), root(in_first.len()), root(in_last.len()));
        let gains = first.gain[at..].iter().zip(&last.gain[at..]);
        for (column, ((value, bias), (first, last))) in columns.iter_mut().zip(bias).zip(gains).enumerate() {
            let [start, middle, end] = [sums[0][column], sums[1][column], sums[2][column]];
            // In the graph's order, so that huge weights overflow here if they do there.
            let all = (start + middle + end) * scale;
            let first = (start + middle * shared) * of_first * first;
            let last = (middle * shared + end) * of_last * last;
            *value = all + first + last + bias;
        }
    }
}

/// Sums of up to [`COLUMNS`] columns of the token table over the tokens, in their order, from column `at` on.
#[inline(always)]
fn sum_rows(table: &TableEncoder, ids: &[u32], at: usize) -> [f32; COLUMNS] {
    let (dim, token_table) = (table.dim, table.token_table.as_slice());
    let width = COLUMNS.min(dim - at);
    let mut sums = [0.0; COLUMNS];
    for id in ids.iter().map(|&id| id as usize) {
        let start = id * dim + at;
        let (Some(row), Some(&scale)) = (token_table.get(start..start + width), table.row_scale.get(id)) else {
            continue;
        };
        let add = |(sum, &value): (&mut f32, &i8)| *sum += f32::from(value) * scale;
        match row.first_chunk::<COLUMNS>() {
            Some(row) => sums.iter_mut().zip(row).for_each(add),
            None => sums.iter_mut().zip(row).for_each(add),
        }
    }
    sums
}

/// Adds up the rows of the table of counts over the tokens.
pub(super) fn count<T: Copy + Into<f32>>(table: &[T], ids: &[u32], sums: &mut [f32]) {
    let width = sums.len();
    for row in ids.iter().filter_map(|&id| table.get(id as usize * width..(id as usize + 1) * width)) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value.into());
    }
}

/// As [`count`], the same numbers: sums of whole numbers are exact. Up to sixteen counts are added at once.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn count_int8(table: &[i8], ids: &[u32], sums: &mut [f32]) {
    let width = sums.len();
    if width > COUNTS {
        return count(table, ids, sums);
    }
    for ids in ids.chunks(MAX_INT16_TERMS) {
        let mut totals = [0i16; COUNTS];
        for &id in ids {
            let rows = table.get(id as usize * width..).unwrap_or_default();
            match rows.first_chunk::<COUNTS>() {
                // The numbers after the row are those of the next one, and are left out in the end.
                Some(row) => totals.iter_mut().zip(row).for_each(|(total, &value)| *total += i16::from(value)),
                None => totals.iter_mut().zip(&rows[..width.min(rows.len())]).for_each(|(t, &v)| *t += i16::from(v)),
            }
        }
        sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum += f32::from(total));
    }
}

/// Adds the weighted features.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn add_features(table: &TableEncoder, features: &[f32], embedding: &mut [f32]) {
    for (&feature, weights) in features.iter().zip(table.feature_weight.chunks_exact(embedding.len())) {
        // Most kinds of token are absent from most prompts.
        if feature > 0.0 {
            embedding.iter_mut().zip(weights).for_each(|(value, &weight)| *value += feature * weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoder::{
        activation::Activation,
        table::Counts,
        views::{Part, Views},
    };

    /// Numbers that look random; never zero.
    fn numbers(count: usize, salt: u32) -> impl Iterator<Item = f32> {
        (0..count as u32).map(move |at| ((at ^ salt).wrapping_mul(0x9e37_79b9) >> 8) as f32 / (1 << 24) as f32 - 0.3)
    }

    fn encoder(dim: usize, counts: usize, vocabulary: usize, tokens: Option<[usize; 2]>) -> TableEncoder {
        let part = |tokens, salt| Part { tokens, gain: numbers(dim, salt).collect() };
        let bytes = |count, salt| numbers(count, salt).map(|value| (value * 254.0) as i8).collect::<Vec<_>>();
        TableEncoder {
            dim,
            counts,
            vocabulary,
            token_table: bytes(vocabulary * dim, 1).into(),
            row_scale: numbers(vocabulary, 2).collect(),
            count_table: Counts::Int8(bytes(vocabulary * counts, 3).into()),
            feature_weight: numbers(counts * dim, 4).collect(),
            bias: numbers(dim, 5).collect(),
            activation: Activation::Identity,
            views: tokens.map(|[first, last]| Views { first: part(first, 6), last: part(last, 7) }),
        }
    }

    /// Column of the sum of the rows, of their mean with what the views add and the bias.
    fn expected(table: &TableEncoder, ids: &[u32], column: usize) -> f64 {
        let value = |&id: &u32| {
            let at = id as usize;
            let row = table.token_table.as_slice().get(at * table.dim + column);
            row.map_or(0.0, |&value| f64::from(value) * f64::from(table.row_scale[at]))
        };
        let sum = |ids: &[u32]| ids.iter().map(value).sum::<f64>();
        let count = |ids: &[u32]| ids.len().max(1) as f64;
        let all = match &table.views {
            None => sum(ids) / count(ids),
            Some(views) => {
                let part =
                    |(part, seen): (&Part, &[u32])| sum(seen) / count(seen).sqrt() * f64::from(part.gain[column]);
                sum(ids) / count(ids).sqrt() + views.parts(ids).map(part).iter().sum::<f64>()
            }
        };
        all + f64::from(table.bias[column])
    }

    proptest! {
        #[test]
        fn rows_are_added_once_whatever_views_they_are_in(
            dim in prop_oneof![Just(64usize), Just(128), 1..200usize],
            views in prop::option::of(prop::array::uniform2(1..12usize)),
            ids in prop::collection::vec(0..41u32, 0..30),
        ) {
            // The largest id has no row.
            let table = encoder(dim, 1, 40, views);
            let mut embedding = vec![f32::NAN; dim];
            gather(&table, &ids, &mut embedding);
            for (column, &found) in embedding.iter().enumerate() {
                let expected = expected(&table, &ids, column);
                prop_assert!((f64::from(found) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} {expected}");
            }
        }

        #[test]
        fn counts_are_the_same_sixteen_at_once_and_one_by_one(
            width in 1..=20usize, ids in prop::collection::vec(0..8u32, 0..20), times in 1..80usize,
        ) {
            let table = encoder(1, width, 7, None);
            let Counts::Int8(counts) = &table.count_table else { unreachable!("it was made so") };
            let ids = ids.repeat(times);
            let (mut found, mut expected) = (vec![0.0; width], vec![0.0; width]);
            count_int8(counts.as_slice(), &ids, &mut found);
            count(counts.as_slice(), &ids, &mut expected);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        for value in [i8::MIN, i8::MAX] {
            let mut found = [0.0; 16];
            count_int8(&[value; 32], &[1; 1000], &mut found);
            assert_eq!(found, [f32::from(value) * 1000.0; 16]);
        }
    }
}
