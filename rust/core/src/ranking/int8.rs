//! Rows of int8 times queries of int16.
//!
//! Performance notes: a row of 256 numbers is 16 multiplications of 16 numbers each, and what remains is waiting for memory.
//! Several queries at once share the loading and widening of the row. Compilers turn the plain loop into 32-bit multiplications, which
//! take several times as long, so AVX2 is written out; elsewhere the plain loop serves.

/// Queries multiplied with a row at once.
pub(super) const TOGETHER: usize = 4;

/// Sums of products of every row with each query: `put(row, sums)`. Rows are as long as the queries.
pub(super) fn products<const N: usize>(rows: &[i8], queries: [&[i16]; N], put: impl FnMut(usize, [i32; N])) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::products(rows, queries, put) };
    }
    plain(rows, queries, put);
}

fn plain<const N: usize>(rows: &[i8], queries: [&[i16]; N], mut put: impl FnMut(usize, [i32; N])) {
    let dim = queries.first().map_or(1, |query| query.len()).max(1);
    for (place, row) in rows.chunks_exact(dim).enumerate() {
        put(place, queries.map(|query| row.iter().zip(query).map(|(&x, &q)| i32::from(x) * i32::from(q)).sum()));
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_add_epi32, _mm_loadu_si128, _mm_storeu_si128, _mm256_add_epi32, _mm256_castsi256_si128,
        _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_hadd_epi32, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_setzero_si256,
    };

    /// Numbers in one register of int16.
    const LANES: usize = 16;

    /// Rows are taken two at a time where there are several queries: each part of a query then serves twice.
    #[target_feature(enable = "avx2")]
    pub(super) fn products<const N: usize>(rows: &[i8], queries: [&[i16]; N], mut put: impl FnMut(usize, [i32; N])) {
        let dim = queries.first().map_or(1, |query| query.len()).max(1);
        let mut row = 0;
        if N > 1 {
            for pair in rows.chunks_exact(2 * dim) {
                let [first, second] = sums(pair.split_at(dim).into(), queries);
                put(row, first);
                put(row + 1, second);
                row += 2;
            }
        }
        for alone in rows[row * dim..].chunks_exact(dim) {
            let [only] = sums([alone], queries);
            put(row, only);
            row += 1;
        }
    }

    /// Sums of products of `M` rows with `N` queries, all of one length.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums<const M: usize, const N: usize>(rows: [&[i8]; M], queries: [&[i16]; N]) -> [[i32; N]; M] {
        let dim = queries.first().map_or(0, |query| query.len());
        assert!(rows.iter().all(|row| row.len() == dim) && queries.iter().all(|query| query.len() == dim));
        let whole = dim - dim % LANES;
        let mut sums = [[_mm256_setzero_si256(); N]; M];
        let mut start = 0;
        while start < whole {
            // SAFETY: `start + LANES <= whole <= dim`, the length of every row and query.
            unsafe {
                let numbers = rows.map(|row| _mm256_cvtepi8_epi16(_mm_loadu_si128(row.as_ptr().add(start).cast())));
                for at in 0..N {
                    let factors = _mm256_loadu_si256(queries[at].as_ptr().add(start).cast());
                    for (sums, numbers) in sums.iter_mut().zip(numbers) {
                        sums[at] = _mm256_add_epi32(sums[at], _mm256_madd_epi16(numbers, factors));
                    }
                }
            }
            start += LANES;
        }
        let mut row = 0;
        sums.map(|sums| {
            let mut totals = totals(sums);
            for (total, query) in totals.iter_mut().zip(&queries) {
                let rest = rows[row][whole..].iter().zip(&query[whole..]);
                *total += rest.map(|(&x, &q)| i32::from(x) * i32::from(q)).sum::<i32>();
            }
            row += 1;
            totals
        })
    }

    /// The sum of the lanes of each register; four registers are added up together.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn totals<const N: usize>(sums: [__m256i; N]) -> [i32; N] {
        let mut totals = [0; N];
        for (sums, totals) in sums.chunks(4).zip(totals.chunks_mut(4)) {
            let of = |at: usize| sums.get(at).copied().unwrap_or(_mm256_setzero_si256());
            let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(of(0), of(1)), _mm256_hadd_epi32(of(2), of(3)));
            let all = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
            let mut lanes = [0i32; 4];
            // SAFETY: four numbers of 32 bits are one register.
            unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), all) };
            totals.copy_from_slice(&lanes[..totals.len()]);
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_way_gives_the_same_sums(
            dim in 1usize..100, seed in prop::collection::vec(any::<i8>(), 400), factors in prop::collection::vec(any::<i16>(), 400),
        ) {
            let rows = &seed[..seed.len() - seed.len() % dim];
            let query = |at: usize| &factors[at * dim % 300..][..dim];
            let queries = [query(0), query(1), query(2), query(3)];
            let (mut fast, mut slow) = (vec![], vec![]);
            products(rows, queries, |place, sums| fast.push((place, sums)));
            plain(rows, queries, |place, sums| slow.push((place, sums)));
            prop_assert_eq!(&fast, &slow);
            products(rows, [queries[2]], |place, [sum]| assert_eq!(sum, slow[place].1[2]));
        }
    }
}
