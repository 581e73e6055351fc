//! `IndexIVF`: vectors in lists, by the nearest centroid.

use super::{
    Check, Header, codes, hnsw,
    reader::{Reader, ensure},
};

pub(super) fn lists(reader: &mut Reader<'_>, kind: [u8; 4]) -> Check {
    let header = Header::read(reader)?;
    let count = reader.size("number of lists", header.count.max(1))?;
    let searched = reader.size("nprobe", u32::MAX as usize)?;
    ensure(count > 0 && searched > 0, || format!("{count} lists, of which {searched} are searched"))?;
    let centroids = match reader.kind()? {
        [b'I', b'x', b'F', b'I' | b'2'] => codes::flat(reader)?,
        [b'I', b'H', b'N', b'f'] => hnsw::graph(reader, *b"IHNf")?,
        other => {
            return Err(format!("its centroids are of the kind \"{}\", expected Flat or HNSW", other.escape_ascii()));
        }
    };
    ensure(centroids == Header { count, ..header }, || {
        format!("its centroids are {centroids:?}, expected {count} of length {}", header.dim)
    })?;
    let direct_map = (reader.flag()?, reader.any_vector::<i64>("direct map")?.len());
    ensure(direct_map == (false, 0), || "it has a direct map, expected none".into())?;
    let code_size = match &kind {
        b"IwSq" => {
            let code_size = codes::scalar_quantizer(reader, header.dim)?;
            codes::same("code size", reader, code_size)?;
            reader.flag()?;
            code_size
        }
        b"IwPQ" => {
            reader.flag()?;
            let stated = reader.size("code size", header.dim)?;
            let code_size = codes::product_quantizer(reader, header.dim)?;
            ensure(stated == code_size, || format!("code size is {stated}, expected {code_size}"))?;
            code_size
        }
        _ => header.dim * size_of::<f32>(),
    };
    inverted(reader, header, count, code_size, &kind == b"IwFl")
}

/// `ArrayInvertedLists`: every vector in exactly one list.
fn inverted(reader: &mut Reader<'_>, header: Header, lists: usize, code_size: usize, floats: bool) -> Check {
    let kind = reader.kind()?;
    ensure(&kind == b"ilar", || format!("its lists are of the kind \"{}\", expected arrays", kind.escape_ascii()))?;
    codes::same("number of lists", reader, lists)?;
    codes::same("code size of the lists", reader, code_size)?;
    let mut sizes = vec![0u64; lists];
    match &reader.kind()? {
        b"full" => sizes = reader.vector("sizes of lists", lists)?,
        b"sprs" => {
            let pairs: Vec<u64> = reader.any_vector("sizes of lists")?;
            for pair in pairs.chunks(2) {
                let place = usize::try_from(pair[0]).ok().and_then(|list| sizes.get_mut(list));
                let (Some(place), [_, size]) = (place, pair) else {
                    return Err(format!("the size of list {}, there are {lists}", pair[0]));
                };
                *place = *size;
            }
        }
        other => return Err(format!("sizes of lists are stored as \"{}\"", other.escape_ascii())),
    }
    let total = sizes.iter().try_fold(0u64, |total, &size| total.checked_add(size));
    ensure(total == Some(header.count as u64), || {
        format!("its lists hold {total:?} vectors, expected {}", header.count)
    })?;
    ensure(header.count <= reader.left() / size_of::<i64>(), || {
        format!("{} vectors, more than the file holds", header.count)
    })?;
    let mut seen = vec![false; header.count];
    for size in sizes {
        let codes = reader.take(size as usize * code_size)?;
        if floats && codes.chunks_exact(4).any(|bytes| !bytemuck::pod_read_unaligned::<f32>(bytes).is_finite()) {
            return Err("its lists hold a number that is not finite".into());
        }
        for id in reader.elements::<i64>(size as usize)? {
            let place = usize::try_from(id).ok().and_then(|id| seen.get_mut(id));
            let is_new = place.is_some_and(|seen| !std::mem::replace(seen, true));
            ensure(is_new, || format!("its lists hold the id {id}, expected each of 0..{} once", header.count))?;
        }
    }
    Ok(())
}
