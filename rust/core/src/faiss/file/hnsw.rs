//! `IndexHNSW`: a graph over vectors that another index holds.
//!
//! Node `i` is on the levels `0..levels[i]`. Its neighbors on level `l` lie at `offsets[i] + cum[l] .. offsets[i] + cum[l + 1]`; unused
//! places hold -1. A search follows neighbors on one level, so each of them must be on that level itself.

use super::{
    Check, Header, codes,
    reader::{Reader, ensure},
};

/// More than FAISS draws at random for any number of vectors in memory.
const MAX_LEVELS: usize = 64;
/// Places for neighbors of one node, and nodes that a search keeps.
const MAX_NEIGHBORS: i32 = 1 << 16;

pub(super) fn graph(reader: &mut Reader<'_>, kind: [u8; 4]) -> Check<Header> {
    let header = Header::read(reader)?;
    let probabilities: Vec<f64> = reader.any_vector("level probabilities")?;
    let places: Vec<i32> = reader.any_vector("neighbors of a level")?;
    let rises = places.first() == Some(&0) && places.is_sorted();
    ensure(rises && places.len() <= MAX_LEVELS && places.iter().all(|&end| end <= MAX_NEIGHBORS), || {
        format!("neighbors of a level end at {places:?}, expected rising numbers from 0 to {MAX_NEIGHBORS}")
    })?;
    ensure(probabilities.len() < MAX_LEVELS, || format!("{} levels", probabilities.len()))?;
    let levels: Vec<i32> = reader.vector("levels", header.count)?;
    if let Some(level) = levels.iter().find(|&&level| level < 1 || level as usize >= places.len()) {
        return Err(format!("a vector on {level} levels, expected 1..{}", places.len()));
    }
    let offsets: Vec<u64> = reader.vector("offsets", header.count + 1)?;
    let mut end = 0u64;
    for (node, (&offset, place)) in offsets.iter().zip(levels.iter().map(Some).chain([None])).enumerate() {
        ensure(offset == end, || format!("offset {node} is {offset}, expected {end}"))?;
        end += place.map_or(0, |&level| places[level as usize] as u64);
    }
    let neighbors: Vec<i32> = reader.vector("neighbors", end as usize)?;
    check_neighbors(&neighbors, &levels, &places)?;
    let (entry, top, build, search) = (reader.i32()?, reader.i32()?, reader.i32()?, reader.i32()?);
    // A field that FAISS writes and ignores.
    reader.i32()?;
    let highest = levels.iter().max().copied();
    let enters = match highest {
        Some(levels_of_highest) => {
            top == levels_of_highest - 1
                && usize::try_from(entry).ok().and_then(|entry| levels.get(entry)) == Some(&levels_of_highest)
        }
        None => (entry, top) == (-1, -1),
    };
    ensure(enters, || format!("the search starts at vector {entry} on level {top}, which it is not on"))?;
    ensure((1..=MAX_NEIGHBORS).contains(&build) && (1..=MAX_NEIGHBORS).contains(&search), || {
        format!("efConstruction {build} and efSearch {search}, expected 1..={MAX_NEIGHBORS}")
    })?;
    let stored = match (kind, reader.kind()?) {
        (_, [b'I', b'x', b'F', b'I' | b'2']) if &kind == b"IHNf" => codes::flat(reader)?,
        (_, [b'I', b'x', b'S', b'Q']) if &kind == b"IHNs" => codes::scalar(reader)?,
        (_, other) => return Err(format!("its vectors are of the kind \"{}\"", other.escape_ascii())),
    };
    ensure(stored == header, || format!("its vectors are {stored:?}, expected {header:?}"))?;
    Ok(header)
}

fn check_neighbors(neighbors: &[i32], levels: &[i32], places: &[i32]) -> Check {
    let mut rest = neighbors;
    for (node, &level) in levels.iter().enumerate() {
        for (level, ends) in places.windows(2).take(level as usize).enumerate() {
            let (own, after) = rest.split_at((ends[1] - ends[0]) as usize);
            rest = after;
            let is_there = |&neighbor: &i32| {
                neighbor == -1
                    || usize::try_from(neighbor)
                        .ok()
                        .and_then(|neighbor| levels.get(neighbor))
                        .is_some_and(|&levels| levels as usize > level)
            };
            if let Some(wrong) = own.iter().find(|&neighbor| !is_there(neighbor)) {
                return Err(format!("vector {node} has the neighbor {wrong} on level {level}, where there is none"));
            }
        }
    }
    Ok(())
}
