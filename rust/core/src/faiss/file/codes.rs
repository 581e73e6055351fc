//! Indexes that hold one code a vector: the numbers themselves, or quantized.

use super::{
    Check, Header,
    reader::{Reader, ensure},
};

/// Largest number of bits of a product quantizer's code: beyond, its tables outgrow the vectors.
const MAX_PQ_BITS: usize = 8;

/// `IndexFlat`: the vectors as float32.
pub(super) fn flat(reader: &mut Reader<'_>) -> Check<Header> {
    let header = Header::read(reader)?;
    let numbers = header.dim.checked_mul(header.count).ok_or_else(|| format!("{} vectors", header.count))?;
    reader.floats("vectors", numbers)?;
    Ok(header)
}

/// `IndexScalarQuantizer`.
pub(super) fn scalar(reader: &mut Reader<'_>) -> Check<Header> {
    let header = Header::read(reader)?;
    let code_size = scalar_quantizer(reader, header.dim)?;
    reader.bytes("codes", code_size.checked_mul(header.count))?;
    Ok(header)
}

/// `IndexPQ`.
pub(super) fn product(reader: &mut Reader<'_>) -> Check {
    let header = Header::read(reader)?;
    let code_size = product_quantizer(reader, header.dim)?;
    reader.bytes("codes", code_size.checked_mul(header.count))?;
    let (search_type, encode_signs) = (reader.i32()?, reader.flag()?);
    // The Hamming threshold, which other types of search use.
    reader.i32()?;
    ensure(search_type == 0 && !encode_signs, || {
        format!("search type {search_type}, signs {encode_signs}, expected search type 0 without signs")
    })
}

/// `ScalarQuantizer`; returns the bytes of a code.
pub(super) fn scalar_quantizer(reader: &mut Reader<'_>, dim: usize) -> Check<usize> {
    let kind = reader.i32()?;
    // Statistics of the training, which searching does not use.
    let (range, _) = (reader.i32()?, reader.i32()?);
    ensure((0..=3).contains(&range), || format!("range statistic {range}, expected 0..=3"))?;
    let (bits, trained) = match kind {
        0 => (8, 2 * dim),
        1 => (4, 2 * dim),
        2 => (8, 2),
        3 => (4, 2),
        4 | 7 => (16, 0),
        6 => (6, 2 * dim),
        other => return Err(format!("scalar quantizer of type {other}, expected SQ4, SQ6, SQ8, SQfp16 or SQbf16")),
    };
    same("dimension of the scalar quantizer", reader, dim)?;
    let code_size = (dim * bits).div_ceil(8);
    same("code size", reader, code_size)?;
    reader.floats("ranges of the scalar quantizer", trained)?;
    Ok(code_size)
}

/// `ProductQuantizer`; returns the bytes of a code.
pub(super) fn product_quantizer(reader: &mut Reader<'_>, dim: usize) -> Check<usize> {
    same("dimension of the product quantizer", reader, dim)?;
    let (parts, bits) = (reader.size("number of subquantizers", dim)?, reader.size("bits of a code", MAX_PQ_BITS)?);
    ensure(parts > 0 && dim.is_multiple_of(parts), || {
        format!("{parts} subquantizers, expected a divisor of the dimension {dim}")
    })?;
    ensure(bits > 0, || "codes of 0 bits".into())?;
    reader.floats("centroids of the product quantizer", dim << bits)?;
    Ok((parts * bits).div_ceil(8))
}

/// The next `size_t` must be this one.
pub(super) fn same(what: &str, reader: &mut Reader<'_>, expected: usize) -> Check {
    let found = reader.size(what, usize::MAX)?;
    ensure(found == expected, || format!("{what} is {found}, expected {expected}"))
}
