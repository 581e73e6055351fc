//! A hash table from the bytes of a WordPiece to its id, built for probing many lengths of one word.
//!
//! Performance notes: the key of a piece is one 64-bit number. Up to seven bytes it holds them all, so equal keys are equal pieces;
//! longer pieces are found by a hash of their bytes and compared with the stored text. Keys lie apart from ids, because most probes
//! find nothing and need no id. Words lie in a [`WordBuffer`] whose padding lets eight bytes be loaded at any offset. A general hash
//! map over strings took about three times as long for a probe. One table for both kinds of piece, filled while the file is read,
//! takes a third of the memory of two that are made afterwards: at load, touching fresh memory costs more than hashing.

use std::{borrow::Cow, hint::black_box};

/// Bytes that may be stored for one word: 100 characters of 4 bytes.
pub(super) const MAX_WORD_BYTES: usize = 400;
/// Prefix of pieces that continue a word.
pub(super) const CONTINUATION: &str = "##";
/// Pieces of so many bytes fit into a key.
const KEY_BYTES: usize = 7;

/// A word under construction, padded so that eight bytes can be read anywhere in it.
#[derive(Debug)]
pub(super) struct WordBuffer {
    bytes: [u8; MAX_WORD_BYTES + 16],
    length: usize,
}

impl WordBuffer {
    pub(super) fn new() -> Self {
        Self { bytes: [0; MAX_WORD_BYTES + 16], length: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Adds one byte; the caller keeps the word below [`MAX_WORD_BYTES`].
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Whether a character starts at `at`, or the word ends there.
    fn is_boundary(&self, at: usize) -> bool {
        at == self.length || self.bytes[at] & 0xc0 != 0x80
    }

    fn word_at(&self, at: usize) -> u64 {
        let mut eight = [0u8; 8];
        eight.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    }
}

fn low_bytes(value: u64, count: usize) -> u64 {
    if count >= 8 { value } else { value & ((1u64 << (8 * count)) - 1) }
}

fn mix(value: u64) -> u64 {
    let product = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product >> 64) as u64 ^ product as u64
}

/// Where in a word a piece stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Initial,
    Continuing,
}

/// A piece of more than [`KEY_BYTES`].
#[derive(Debug, Clone, Copy)]
struct Long {
    id: u32,
    start: u32,
    length: u32,
}

/// Pieces with their ids.
#[derive(Debug)]
pub(super) struct PieceTable {
    /// Key of the piece in each slot; 0 where there is none. A power of two, and never more than half of them taken.
    keys: Vec<u64>,
    /// Id of the piece in each slot; of a long one, its index in `long`.
    values: Vec<u32>,
    pieces: usize,
    long: Vec<Long>,
    text: Vec<u8>,
    /// Bytes of the longest piece of each kind.
    longest: [usize; 2],
}

impl PieceTable {
    /// An empty table with room for so many pieces; it grows beyond.
    pub(super) fn with_capacity(pieces: usize) -> Self {
        let size = (pieces * 2).next_power_of_two().max(16);
        let (long, text) = (Vec::with_capacity(pieces / 2), Vec::with_capacity(pieces * 5));
        Self { keys: vec![0; size], values: vec![0; size], pieces: 0, long, text, longest: [0; 2] }
    }

    /// Adds pieces as the vocabulary has them; false if one is there already. Those that no word can hold are left out: longer than any
    /// word, or nothing but the prefix. A piece with the prefix begins no word: BERT makes a word of its own of every `#`.
    pub(super) fn insert_all(&mut self, pieces: &[(Cow<'_, str>, u32)]) -> bool {
        let keys: Vec<u64> = pieces.iter().map(|(piece, _)| key_of_piece(kind_of(piece))).collect();
        // Loads that do not wait for one another, as those of one insertion after the other do: most are cache misses.
        black_box(keys.iter().fold(0, |all, &key| all ^ self.keys[self.first_slot(key)]));
        pieces.iter().zip(keys).all(|((piece, id), key)| self.insert(key, piece, *id))
    }

    fn insert(&mut self, key: u64, piece: &str, id: u32) -> bool {
        let (kind, piece) = kind_of(piece);
        if piece.is_empty() || piece.len() > MAX_WORD_BYTES {
            return true;
        }
        if (self.pieces + 1) * 2 > self.keys.len() {
            self.grow();
        }
        let Err(slot) = self.find(key, piece.as_bytes()) else { return false };
        self.keys[slot] = key;
        self.values[slot] = id;
        if piece.len() > KEY_BYTES {
            self.values[slot] = self.long.len() as u32;
            self.long.push(Long { id, start: self.text.len() as u32, length: piece.len() as u32 });
            self.text.extend_from_slice(piece.as_bytes());
        }
        self.pieces += 1;
        let longest = &mut self.longest[kind as usize];
        *longest = piece.len().max(*longest);
        true
    }

    /// The id of a piece as the vocabulary has it.
    pub(super) fn id_of(&self, piece: &str) -> Option<u32> {
        let kind_and_piece = kind_of(piece);
        self.find(key_of_piece(kind_and_piece), kind_and_piece.1.as_bytes()).ok()
    }

    fn grow(&mut self) {
        let size = self.keys.len() * 2;
        let keys = std::mem::replace(&mut self.keys, vec![0; size]);
        let values = std::mem::replace(&mut self.values, vec![0; size]);
        for (key, value) in keys.into_iter().zip(values).filter(|&(key, _)| key != 0) {
            let mut slot = self.first_slot(key);
            while self.keys[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            (self.keys[slot], self.values[slot]) = (key, value);
        }
    }

    #[inline(always)]
    fn first_slot(&self, key: u64) -> usize {
        mix(key) as usize & (self.keys.len() - 1)
    }

    /// The id of a piece with that key and these bytes, or the free slot where it belongs.
    #[inline(always)]
    fn find(&self, key: u64, piece: &[u8]) -> Result<u32, usize> {
        let mut slot = self.first_slot(key);
        loop {
            let found = self.keys[slot];
            if found == 0 {
                return Err(slot);
            }
            if found == key {
                let value = self.values[slot];
                if piece.len() <= KEY_BYTES {
                    return Ok(value);
                }
                let Long { id, start, length } = self.long[value as usize];
                if &self.text[start as usize..(start + length) as usize] == piece {
                    return Ok(id);
                }
            }
            slot = (slot + 1) & (self.keys.len() - 1);
        }
    }

    /// The longest piece at the start of `word[start..]`: its id and where it ends.
    #[inline]
    pub(super) fn longest_match(&self, kind: Kind, word: &WordBuffer, start: usize) -> Option<(u32, usize)> {
        let mut end = word.length.min(start + self.longest[kind as usize]);
        while end > start {
            if word.is_boundary(end)
                && let key = key_of(kind, end - start, |at| word.word_at(start + at))
                && let Ok(id) = self.find(key, &word.bytes[start..end])
            {
                return Some((id, end));
            }
            end -= 1;
        }
        None
    }
}

fn kind_of(piece: &str) -> (Kind, &str) {
    match piece.strip_prefix(CONTINUATION) {
        Some(rest) => (Kind::Continuing, rest),
        None => (Kind::Initial, piece),
    }
}

/// Bytes of a piece, or a hash of more than [`KEY_BYTES`]; above them its kind and the number of bytes, which is never 0.
/// `word_at` gives eight bytes of it from an offset on; those after its end do not count.
#[inline(always)]
fn key_of(kind: Kind, length: usize, word_at: impl Fn(usize) -> u64) -> u64 {
    let top = ((kind as u64) << 4 | length.min(KEY_BYTES + 1) as u64) << (8 * KEY_BYTES);
    if length <= KEY_BYTES {
        return top | low_bytes(word_at(0), length);
    }
    let hash = (0..length).step_by(8).fold(length as u64, |hash, at| mix(hash ^ low_bytes(word_at(at), length - at)));
    top | low_bytes(hash, KEY_BYTES)
}

fn key_of_piece((kind, piece): (Kind, &str)) -> u64 {
    key_of(kind, piece.len(), |at| first_eight(&piece.as_bytes()[at..]))
}

/// The first eight bytes; zeros after the end, without a copy of a length that the processor cannot foresee.
fn first_eight(bytes: &[u8]) -> u64 {
    let four = |at: usize| bytes[at..].first_chunk().map_or(0, |four| u64::from(u32::from_le_bytes(*four)));
    match bytes.len() {
        0 => 0,
        length @ 1..4 => [0, length / 2, length - 1].iter().fold(0, |all, &at| all | u64::from(bytes[at]) << (8 * at)),
        length @ 4..8 => four(0) | four(length - 4) << (8 * (length - 4)),
        _ => four(0) | four(4) << 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut PieceTable, pieces: &[(&str, u32)]) -> bool {
        let pieces: Vec<_> = pieces.iter().map(|&(piece, id)| (Cow::Borrowed(piece), id)).collect();
        table.insert_all(&pieces)
    }

    fn longest(table: &PieceTable, kind: Kind, text: &str) -> Option<(u32, usize)> {
        let mut word = WordBuffer::new();
        word.extend(text.as_bytes());
        table.longest_match(kind, &word, 0)
    }

    #[test]
    fn pieces_of_every_length_are_found_in_a_table_that_grew() {
        let piece = |id: u32| format!("{}{id}", "x".repeat(id as usize % 20));
        let mut table = PieceTable::with_capacity(0);
        for id in 0..3000 {
            assert!(insert(&mut table, &[(&piece(id), 2 * id), (&format!("##{}", piece(id)), 2 * id + 1)]));
        }
        for id in 0..3000 {
            let end = piece(id).len();
            assert_eq!(longest(&table, Kind::Initial, &piece(id)), Some((2 * id, end)));
            assert_eq!(longest(&table, Kind::Continuing, &piece(id)), Some((2 * id + 1, end)));
            assert_eq!(table.id_of(&format!("##{}", piece(id))), Some(2 * id + 1));
            assert!(!insert(&mut table, &[(&piece(id), 0)]));
        }
        assert_eq!(table.id_of("y"), None);
    }

    #[test]
    fn a_piece_is_not_one_with_zero_bytes_behind_it() {
        let mut table = PieceTable::with_capacity(2);
        assert!(insert(&mut table, &[("a", 1), ("a\0", 2), ("\0", 3)]));
        assert_eq!(["a", "a\0", "\0", "\0\0"].map(|piece| table.id_of(piece)), [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn pieces_that_no_word_can_hold_are_left_out() {
        let mut table = PieceTable::with_capacity(2);
        assert!(insert(&mut table, &[("", 1), ("##", 2), (&"a".repeat(MAX_WORD_BYTES + 1), 3)]));
        assert_eq!(table.pieces, 0);
    }
}
