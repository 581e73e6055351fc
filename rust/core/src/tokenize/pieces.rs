//! A hash table from the bytes of a WordPiece to its id, built for probing many lengths of one word.
//!
//! Performance notes: a slot is one number of 64 bits: where the text of the piece starts in the file, its length, kind and a part of its
//! hash, its id. Most probes find nothing and end at one slot; the rest of the text is compared only where 16 bits agree. The text of a
//! piece stays in the file's memory. Fresh memory is what costs most at load (some 2 us for a page of 4 KiB), and this table takes a third
//! of the memory of one that holds keys, ids and text. Words lie in a [`WordBuffer`] whose padding lets eight bytes be loaded at any
//! offset. A general hash map over strings took about three times as long for a probe.

use std::hint::black_box;

use crate::artifact::FileBytes;

/// Bytes that may be stored for one word: 100 characters of 4 bytes.
pub(super) const MAX_WORD_BYTES: usize = 400;
/// Prefix of pieces that continue a word.
pub(super) const CONTINUATION: &str = "##";
/// Widths of the parts of a slot, from the lowest bit on; the start of the text has the others.
const ID_BITS: u32 = 22;
const LABEL_BITS: u32 = LENGTH_BITS + 1 + TAG_BITS;
/// Parts of a label, from the lowest bit on: the length, one bit for the kind, a part of the hash.
const LENGTH_BITS: u32 = 9;
const TAG_BITS: u32 = 6;
/// Slots that are looked at for one piece. Only a vocabulary that is made for it needs more: each of its pieces would look at all others.
const MAX_PROBES: usize = 512;

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

    /// Adds the first `count` of eight bytes; the caller keeps the word below [`MAX_WORD_BYTES`].
    #[inline(always)]
    pub(super) fn push_eight(&mut self, eight: u64, count: usize) {
        self.bytes[self.length..self.length + 8].copy_from_slice(&eight.to_le_bytes());
        self.length += count;
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

/// What a piece is looked up by.
#[derive(Debug, Clone, Copy)]
struct Key {
    /// Its lowest bits are the first slot.
    hash: u64,
    /// The length, the kind and a part of the hash.
    label: u64,
}

impl Key {
    /// `word_at` gives eight bytes of the piece from an offset on; those after its end do not count.
    #[inline(always)]
    fn of(kind: Kind, length: usize, word_at: impl Fn(usize) -> u64) -> Self {
        let start = (kind as u64) << LENGTH_BITS | length as u64;
        let add = |hash, at| mix(hash ^ low_bytes(word_at(at), length - at)).wrapping_add(start);
        let mut hash = add(start.rotate_right(10), 0);
        let mut at = 8;
        while at < length {
            (hash, at) = (add(hash, at), at + 8);
        }
        Self { hash, label: hash >> (64 - TAG_BITS) << (LENGTH_BITS + 1) | start }
    }

    #[inline(always)]
    fn of_piece(kind: Kind, piece: &[u8]) -> Self {
        Self::of(kind, piece.len(), |at| first_eight(&piece[at..]))
    }
}

/// A piece on its way into a table: the hash of its key, and its slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    hash: u64,
    slot: u64,
}

impl Entry {
    fn label(slot: u64) -> u64 {
        (slot >> ID_BITS) & ((1 << LABEL_BITS) - 1)
    }

    fn id(slot: u64) -> u32 {
        (slot & ((1 << ID_BITS) - 1)) as u32
    }

    fn start(slot: u64) -> usize {
        (slot >> (ID_BITS + LABEL_BITS)) as usize
    }
}

/// Pieces with their ids.
#[derive(Debug)]
pub(super) struct PieceTable {
    /// 0 where there is no piece. A power of two, and never more than half of them taken.
    slots: Vec<u64>,
    pieces: usize,
    /// Holds the texts of most pieces.
    file: FileBytes,
    /// Texts that the file does not hold as they are, for it escapes some of their characters; their starts count on from the file's end.
    others: Vec<u8>,
    /// Bytes of the longest piece of each kind.
    longest: [usize; 2],
}

impl PieceTable {
    /// An empty table with room for so many pieces, whose texts lie in a file or are [kept](Self::keep).
    pub(super) fn new(file: FileBytes, pieces: usize) -> Self {
        let size = (pieces * 2).next_power_of_two().max(16);
        // Written once from start to end: memory that is read before it is written costs two page faults.
        #[expect(
            clippy::slow_vector_initialization,
            reason = "zeros of the allocator are read before they are written"
        )]
        let slots = {
            let mut slots = Vec::with_capacity(size);
            slots.resize(size, 0);
            slots
        };
        Self { slots, pieces: 0, file, others: Vec::new(), longest: [0; 2] }
    }

    /// Keeps the text of a piece that is not in the file, and returns where it starts.
    pub(super) fn keep(&mut self, text: &[u8]) -> usize {
        self.others.extend_from_slice(text);
        self.file.len() + self.others.len() - text.len()
    }

    /// Adds a piece whose text is in no file; false as for [`insert_all`](Self::insert_all).
    pub(super) fn insert_text(&mut self, text: &[u8], id: u32) -> bool {
        let start = self.keep(text);
        self.entry(start, text.len(), id).is_some_and(|piece| self.insert(piece))
    }

    /// A piece as the vocabulary has it; nothing if its id or the place of its text is too large. A piece that no word can hold has the
    /// length zero: it is longer than any word, or nothing but the prefix. A piece with the prefix begins no word: BERT makes a word of
    /// its own of every `#`.
    #[inline(always)]
    pub(super) fn entry(&self, start: usize, length: usize, id: u32) -> Option<Entry> {
        let text = &self.text(start)[..length];
        let (kind, start, piece) = match text.strip_prefix(CONTINUATION.as_bytes()) {
            Some(piece) => (Kind::Continuing, start + CONTINUATION.len(), piece),
            None => (Kind::Initial, start, text),
        };
        let Key { hash, label } = Key::of_piece(kind, if piece.len() > MAX_WORD_BYTES { &[] } else { piece });
        let fits = id < 1 << ID_BITS && start < 1 << (64 - ID_BITS - LABEL_BITS);
        fits.then_some(Entry {
            hash,
            slot: (start as u64) << (ID_BITS + LABEL_BITS) | label << ID_BITS | u64::from(id),
        })
    }

    /// Adds pieces; false if one is there already, or if there is no room. Those without a length are left out.
    pub(super) fn insert_all(&mut self, pieces: &[Entry]) -> bool {
        // Loads that do not wait for one another, as those of one insertion after the other do: most are cache misses.
        black_box(pieces.iter().fold(0, |all, piece| all ^ self.slots[self.first_slot(piece.hash)]));
        pieces.iter().all(|&piece| self.insert(piece))
    }

    fn insert(&mut self, Entry { hash, slot }: Entry) -> bool {
        let label = Entry::label(slot);
        let (length, kind) = ((label & ((1 << LENGTH_BITS) - 1)) as usize, (label >> LENGTH_BITS & 1) as usize);
        if length == 0 {
            return true;
        }
        let text = || &self.text(Entry::start(slot))[..length];
        let Err(Some(free)) = self.find(Key { hash, label }, length, |at| first_eight(&text()[at..])) else {
            return false;
        };
        self.pieces += 1;
        // Not zero, because the length is not.
        self.slots[free] = slot;
        self.longest[kind] = length.max(self.longest[kind]);
        self.pieces * 2 <= self.slots.len()
    }

    /// The id of a piece as the vocabulary has it.
    pub(super) fn id_of(&self, piece: &str) -> Option<u32> {
        let (kind, piece) = match piece.strip_prefix(CONTINUATION) {
            Some(rest) => (Kind::Continuing, rest),
            None => (Kind::Initial, piece),
        };
        let piece = piece.as_bytes();
        let fits = piece.len() <= MAX_WORD_BYTES;
        fits.then(|| self.find(Key::of_piece(kind, piece), piece.len(), |at| first_eight(&piece[at..])).ok())?
    }

    /// The file, or the other texts, from `start` on.
    #[inline(always)]
    fn text(&self, start: usize) -> &[u8] {
        match self.file.get(start..) {
            Some(text) if !text.is_empty() => text,
            _ => &self.others[start - self.file.len()..],
        }
    }

    #[inline(always)]
    fn first_slot(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// The id of a piece of that length, or the free slot where it belongs, if one is near.
    #[inline(always)]
    fn find(&self, key: Key, length: usize, word_at: impl Fn(usize) -> u64) -> Result<u32, Option<usize>> {
        let mut at = self.first_slot(key.hash);
        for _ in 0..MAX_PROBES {
            let slot = self.slots[at];
            if slot == 0 {
                return Err(Some(at));
            }
            if Entry::label(slot) == key.label {
                let text = self.text(Entry::start(slot));
                let is_equal = |at| low_bytes(first_eight(&text[at..]) ^ word_at(at), length - at) == 0;
                let mut equal = 0;
                while equal < length && is_equal(equal) {
                    equal += 8;
                }
                if equal >= length {
                    return Ok(Entry::id(slot));
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        Err(None)
    }

    /// The longest piece at the start of `word[start..]`: its id and where it ends.
    #[inline]
    pub(super) fn longest_match(&self, kind: Kind, word: &WordBuffer, start: usize) -> Option<(u32, usize)> {
        let mut end = word.length.min(start + self.longest[kind as usize]);
        let word_at = |at| word.word_at(start + at);
        while end > start {
            if word.is_boundary(end)
                && let Ok(id) = self.find(Key::of(kind, end - start, word_at), end - start, word_at)
            {
                return Some((id, end));
            }
            end -= 1;
        }
        None
    }
}

/// The first eight bytes; zeros after the end, without a copy of a length that the processor cannot foresee.
#[inline(always)]
fn first_eight(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    let four = |at: usize| bytes[at..].first_chunk().map_or(0, |four| u64::from(u32::from_le_bytes(*four)));
    match bytes.len() {
        0 => 0,
        length @ 1..4 => [0, length / 2, length - 1].iter().fold(0, |all, &at| all | u64::from(bytes[at]) << (8 * at)),
        length => four(0) | four(length - 4) << (8 * (length - 4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of these pieces, whose texts are all kept by it.
    fn table(pieces: &[(&str, u32)]) -> Option<PieceTable> {
        let mut table = PieceTable::new(FileBytes::default(), pieces.len());
        pieces.iter().all(|&(piece, id)| table.insert_text(piece.as_bytes(), id)).then_some(table)
    }

    fn longest(table: &PieceTable, kind: Kind, text: &str) -> Option<(u32, usize)> {
        let mut word = WordBuffer::new();
        word.extend(text.as_bytes());
        table.longest_match(kind, &word, 0)
    }

    #[test]
    fn pieces_of_every_length_are_found() {
        let piece = |id: u32| format!("{}{id}", "x".repeat(id as usize % 30));
        let texts: Vec<_> = (0..3000).map(|id| [piece(id), format!("##{}", piece(id))]).collect();
        let pieces: Vec<_> = texts.iter().flatten().map(String::as_str).zip(0..).collect();
        let mut table = table(&pieces).unwrap();
        for id in 0..3000 {
            let end = piece(id).len();
            assert_eq!(longest(&table, Kind::Initial, &piece(id)), Some((2 * id, end)));
            assert_eq!(longest(&table, Kind::Continuing, &piece(id)), Some((2 * id + 1, end)));
            assert_eq!(table.id_of(&format!("##{}", piece(id))), Some(2 * id + 1));
            assert!(!table.insert_text(piece(id).as_bytes(), 0));
        }
        assert_eq!(table.id_of("y"), None);
    }

    #[test]
    fn texts_in_the_file_and_others_are_told_apart() {
        let mut table = PieceTable::new(FileBytes::from(&b"{\"ab\":0}"[..]), 2);
        let entries = [table.entry(2, 2, 0).unwrap(), table.entry(2, 1, 1).unwrap()];
        assert!(table.insert_all(&entries) && table.insert_text(b"\"", 2) && table.insert_text(b"ab\"", 3));
        assert_eq!(
            ["ab", "a", "\"", "ab\"", "b"].map(|piece| table.id_of(piece)),
            [Some(0), Some(1), Some(2), Some(3), None]
        );
    }

    #[test]
    fn a_piece_is_not_one_with_zero_bytes_behind_it() {
        let table = table(&[("a", 1), ("a\0", 2), ("\0", 3)]).unwrap();
        assert_eq!(["a", "a\0", "\0", "\0\0"].map(|piece| table.id_of(piece)), [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn pieces_that_no_word_can_hold_are_left_out() {
        let table = table(&[("", 1), ("##", 2), (&"a".repeat(MAX_WORD_BYTES + 1), 3), (&"a".repeat(2000), 4)]).unwrap();
        assert_eq!(table.pieces, 0);
        assert_eq!(table.id_of(&"a".repeat(2000)), None);
    }

    #[test]
    fn pieces_beyond_the_bounds_are_refused() {
        assert!(table(&[("a", (1 << ID_BITS) - 1)]).is_some());
        assert!(table(&[("a", 1 << ID_BITS)]).is_none());
        let mut small = PieceTable::new(FileBytes::default(), 0);
        assert!((0..8).all(|id| small.insert_text(id.to_string().as_bytes(), id)) && !small.insert_text(b"8", 8));
    }

    #[test]
    fn a_vocabulary_that_is_made_to_be_slow_is_refused() {
        let capacity = 1 << 14;
        let mut table = PieceTable::new(FileBytes::default(), capacity);
        // Pieces that belong into the same few slots, as a search over hashes finds them.
        let crowd = (0u32..).map(|number| format!("{number:x}"));
        let mut crowd = crowd
            .filter(|piece| (Key::of_piece(Kind::Initial, piece.as_bytes()).hash as usize & (2 * capacity - 1)) < 8);
        let inserted = (0..).take_while(|&id| table.insert_text(crowd.next().unwrap().as_bytes(), id)).count();
        assert!((MAX_PROBES - 8..=MAX_PROBES + 8).contains(&inserted), "{inserted}");
    }
}
