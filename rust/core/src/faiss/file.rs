//! Checks an index file before FAISS reads it.
//!
//! FAISS trusts its files: a wrong size, id or neighbor in one is an access beyond the end of a buffer at load or at search. So only
//! the kinds below are read, and every field that FAISS uses as a size, an offset or a number of a vector is checked first.

mod codes;
mod hnsw;
mod ivf;
mod reader;

use reader::{Reader, ensure};

type Check<T = ()> = Result<T, String>;

/// What is read, for messages.
const KINDS: &str = "Flat, SQ, PQ, HNSW with Flat or SQ, and IVF (over Flat or HNSW) with Flat, SQ or PQ";

/// The fields with which every index starts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Header {
    dim: usize,
    count: usize,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Check<Self> {
        let (dim, count) = (reader.i32()?, reader.i64()?);
        // Two fields that FAISS writes and ignores.
        reader.take(16)?;
        let (is_trained, metric) = (reader.flag()?, reader.i32()?);
        ensure((1..=16_384).contains(&dim), || format!("vectors of length {dim}, expected 1..=16384"))?;
        ensure(count >= 0, || format!("{count} vectors"))?;
        ensure(is_trained, || "is not trained".into())?;
        ensure((0..=1).contains(&metric), || format!("metric {metric}, expected 0 (inner product) or 1 (L2)"))?;
        Ok(Self { dim: dim as usize, count: count as usize })
    }
}

/// Checks a whole file, as `faiss.write_index` writes it.
///
/// # Errors
/// What is wrong with it, or that its kind is not one of those that are checked.
pub(super) fn check(bytes: &[u8]) -> Check {
    let mut reader = Reader::new(bytes);
    match &reader.kind()? {
        b"IxFI" | b"IxF2" => drop(codes::flat(&mut reader)?),
        b"IxSQ" => drop(codes::scalar(&mut reader)?),
        b"IxPq" => codes::product(&mut reader)?,
        b"IHNf" => drop(hnsw::graph(&mut reader, *b"IHNf")?),
        b"IHNs" => drop(hnsw::graph(&mut reader, *b"IHNs")?),
        kind @ (b"IwFl" | b"IwSq" | b"IwPQ") => ivf::lists(&mut reader, *kind)?,
        other => {
            let kind = other.escape_ascii();
            return Err(format!(
                "is of the kind \"{kind}\", expected one of: {KINDS}; other kinds can be passed as live indexes"
            ));
        }
    }
    reader.end()
}
