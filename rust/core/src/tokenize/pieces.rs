//! A hash table from the bytes of a WordPiece to its id, built for probing many lengths of one word.
//!
//! Performance notes: most pieces have at most eight bytes and are compared as one 64-bit number with no second look; longer ones
//! are found by a hash of their bytes and compared with the stored text. Words lie in a [`WordBuffer`] whose padding lets eight
//! bytes be loaded at any offset. A general hash map over strings took about three times as long for a probe.

/// Bytes that may be stored for one word: 100 characters of 4 bytes.
pub(super) const MAX_WORD_BYTES: usize = 400;

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

#[derive(Debug, Clone, Copy)]
struct Slot {
    key: u64,
    id: u32,
    /// Length in bytes; 0 marks an empty slot.
    length: u32,
    /// Where the text of a long piece begins.
    start: u32,
}

const EMPTY: Slot = Slot { key: 0, id: 0, length: 0, start: 0 };

/// Pieces of one kind: those that begin a word, or those that continue one.
#[derive(Debug)]
pub(super) struct PieceTable {
    slots: Vec<Slot>,
    mask: usize,
    text: Vec<u8>,
    longest: usize,
}

impl PieceTable {
    /// Builds the table; pieces longer than any word are left out. Nothing if a piece occurs twice.
    pub(super) fn new<'a>(pieces: impl Iterator<Item = (&'a str, u32)> + Clone) -> Option<Self> {
        let size = (pieces.clone().count() * 2).next_power_of_two().max(16);
        let mut table = Self { slots: vec![EMPTY; size], mask: size - 1, text: Vec::new(), longest: 0 };
        let mut word = WordBuffer::new();
        for (piece, id) in pieces.filter(|(piece, _)| !piece.is_empty() && piece.len() <= MAX_WORD_BYTES) {
            word.clear();
            word.extend(piece.as_bytes());
            let key = key_of(&word, 0, piece.len());
            let mut at = mix(key) as usize & table.mask;
            while table.slots[at].length != 0 {
                let slot = &table.slots[at];
                if slot.key == key && table.text_of(slot) == piece.as_bytes() {
                    return None;
                }
                at = (at + 1) & table.mask;
            }
            table.slots[at] = Slot { key, id, length: piece.len() as u32, start: table.text.len() as u32 };
            table.text.extend_from_slice(piece.as_bytes());
            table.longest = table.longest.max(piece.len());
        }
        Some(table)
    }

    /// The id of `word[start..end]`.
    #[inline]
    fn get(&self, word: &WordBuffer, start: usize, end: usize) -> Option<u32> {
        let key = key_of(word, start, end);
        let length = (end - start) as u32;
        let mut at = mix(key) as usize & self.mask;
        loop {
            let slot = &self.slots[at];
            if slot.length == 0 {
                return None;
            }
            if slot.key == key
                && slot.length == length
                && (length <= 8 || self.text_of(slot) == &word.bytes[start..end])
            {
                return Some(slot.id);
            }
            at = (at + 1) & self.mask;
        }
    }

    fn text_of(&self, slot: &Slot) -> &[u8] {
        &self.text[slot.start as usize..(slot.start + slot.length) as usize]
    }

    /// The longest piece at the start of `word[start..]`: its id and where it ends.
    #[inline]
    pub(super) fn longest_match(&self, word: &WordBuffer, start: usize) -> Option<(u32, usize)> {
        let mut end = word.length.min(start + self.longest);
        while end > start {
            if word.is_boundary(end)
                && let Some(id) = self.get(word, start, end)
            {
                return Some((id, end));
            }
            end -= 1;
        }
        None
    }
}

#[inline(always)]
fn key_of(word: &WordBuffer, start: usize, end: usize) -> u64 {
    let length = end - start;
    if length <= 8 {
        return low_bytes(word.word_at(start), length);
    }
    let mut key = length as u64;
    let mut at = start;
    while at < end {
        key = mix(key ^ low_bytes(word.word_at(at), end - at));
        at += 8;
    }
    key
}
