//! What BERT's normalizer and pre-tokenizer do to one character.
//!
//! Every result comes from the `tokenizers` crate, once per character, and is cached; nothing here has its own rules about
//! Unicode. What the crate does to a text is what it does to its characters one by one, with one exception: canonical reordering
//! of combining marks. Marks that survive normalization are therefore [`Class::Unsure`].

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    normalizers::bert::BertNormalizer, pre_tokenizers::bert::BertPreTokenizer,
};
use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

/// What a character means to the splitting of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Continues a word with the bytes of its normal form.
    Word,
    /// Ends a word.
    Space,
    /// Disappears; the word goes on.
    Drop,
    /// Ends a word and is one itself: punctuation and Chinese characters.
    Alone,
    /// Might depend on its neighbors, or begins a special token.
    Unsure,
}

const MAX_BYTES: usize = 11;

/// Class and normal form of one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Character {
    pub(super) class: Class,
    /// Characters in the normal form.
    pub(super) count: u8,
    length: u8,
    bytes: [u8; MAX_BYTES],
}

impl Character {
    /// UTF-8 of the normal form.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn of(class: Class) -> Self {
        Self { class, count: 0, length: 0, bytes: [0; MAX_BYTES] }
    }

    /// As two numbers, the second of which is not zero.
    fn pack(self) -> [u64; 2] {
        let mut bytes = [0; 16];
        bytes[..MAX_BYTES].copy_from_slice(&self.bytes);
        bytes[11..].copy_from_slice(&[self.length, self.count, self.class as u8, 0, 1]);
        let (low, high) = bytes.split_at(8);
        [low, high].map(|half| half.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn unpack([low, high]: [u64; 2]) -> Self {
        let (low, high) = (low.to_le_bytes(), high.to_le_bytes());
        let mut bytes = [0; MAX_BYTES];
        bytes[..8].copy_from_slice(&low);
        bytes[8..].copy_from_slice(&high[..3]);
        let class = match high[5] {
            0 => Class::Word,
            1 => Class::Space,
            2 => Class::Drop,
            3 => Class::Alone,
            _ => Class::Unsure,
        };
        Self { class, count: high[4], length: high[3], bytes }
    }
}

/// Remembers the answers.
///
/// A cell is two plain atomics and no `OnceLock`: a process that forks while another thread fills a `OnceLock` waits in the child
/// for that thread for ever. Threads that ask at once all write the same answer. The table is 18 MB of zeros that the system
/// provides page by page, as they are touched.
pub(super) struct Characters {
    normalizer: BertNormalizer,
    cells: Vec<[AtomicU64; 2]>,
}

impl fmt::Debug for Characters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Characters").field("normalizer", &self.normalizer).finish_non_exhaustive()
    }
}

impl Characters {
    pub(super) fn new(normalizer: BertNormalizer) -> Self {
        Self { normalizer, cells: bytemuck::zeroed_vec(u32::from(char::MAX) as usize + 1) }
    }

    #[inline]
    pub(super) fn get(&self, c: char) -> Character {
        let [low, high] = &self.cells[u32::from(c) as usize];
        // The second half is written last and is zero until then.
        match high.load(Ordering::Acquire) {
            0 => self.fill(c),
            known => Character::unpack([low.load(Ordering::Relaxed), known]),
        }
    }

    #[cold]
    fn fill(&self, c: char) -> Character {
        let character = self.ask(c);
        let ([low, high], packed) = (&self.cells[u32::from(c) as usize], character.pack());
        low.store(packed[0], Ordering::Relaxed);
        high.store(packed[1], Ordering::Release);
        character
    }

    fn ask(&self, c: char) -> Character {
        let mut normalized = NormalizedString::from(c.to_string());
        if self.normalizer.normalize(&mut normalized).is_err() {
            return Character::of(Class::Unsure);
        }
        let normal = normalized.get();
        let word = normal.trim_matches(' ');
        let survives_reordering = |d: char| canonical_combining_class(d) != 0 && word.nfd().any(|kept| kept == d);
        if word.len() > MAX_BYTES || std::iter::once(c).nfd().any(survives_reordering) {
            return Character::of(Class::Unsure);
        }
        let class = match (word, normal) {
            ("", "") => return Character::of(Class::Drop),
            ("", _) => return Character::of(Class::Space),
            _ => classify(word, word.len() < normal.len()),
        };
        let mut character = Character::of(class);
        character.bytes[..word.len()].copy_from_slice(word.as_bytes());
        character.length = word.len() as u8;
        character.count = word.chars().count() as u8;
        character
    }
}

/// Class of a normal form that is not empty, by how the pre-tokenizer splits it from letters on both sides.
fn classify(word: &str, spaced: bool) -> Class {
    let pieces = |text: String| {
        let mut text = PreTokenizedString::from(text);
        BertPreTokenizer.pre_tokenize(&mut text).ok()?;
        let pieces = text.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        Some(pieces.into_iter().map(|(piece, _, _)| piece.to_owned()).collect::<Vec<_>>())
    };
    match pieces(format!("a{word}a")) {
        Some(split) if split.len() == 1 && !spaced => Class::Word,
        Some(split) if split.len() == 1 => Class::Alone,
        Some(split) if split == ["a", word, "a"] => Class::Alone,
        // A character that the splitter takes for white space although the normalizer left it alone.
        Some(split) if split == ["a", "a"] => Class::Space,
        _ => Class::Unsure,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_character_survives_packing(class in 0u8..5, count in 0u8..12, bytes in prop::collection::vec(any::<u8>(), 0..=11)) {
            let class = [Class::Word, Class::Space, Class::Drop, Class::Alone, Class::Unsure][usize::from(class)];
            let mut character = Character { count, length: bytes.len() as u8, ..Character::of(class) };
            character.bytes[..bytes.len()].copy_from_slice(&bytes);
            prop_assert_ne!(character.pack()[1], 0);
            prop_assert_eq!(Character::unpack(character.pack()), character);
        }
    }
}
