//! What BERT's normaliser and pre-tokenizer do to one character.
//!
//! Every answer is asked of the `tokenizers` crate, once per character, and remembered; nothing here has its own opinion about
//! Unicode. What the crate does to a text is what it does to its characters one by one, with one exception: canonical reordering
//! of combining marks. Marks that survive normalisation are therefore [`Class::Unsure`].

use std::sync::OnceLock;

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
    /// Might depend on its neighbours, or begins a special token.
    Unsure,
}

const MAX_BYTES: usize = 11;

/// Class and normal form of one character.
#[derive(Debug, Clone, Copy)]
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
}

type Page = [OnceLock<Character>; 256];

/// Remembers the answers, a page of 256 code points at a time.
#[derive(Debug)]
pub(super) struct Characters {
    normalizer: BertNormalizer,
    pages: Vec<OnceLock<Box<Page>>>,
}

impl Characters {
    pub(super) fn new(normalizer: BertNormalizer) -> Self {
        let pages = (0..=u32::from(char::MAX) >> 8).map(|_| OnceLock::new()).collect();
        Self { normalizer, pages }
    }

    pub(super) fn get(&self, c: char) -> &Character {
        let code = u32::from(c) as usize;
        let page = self.pages[code >> 8].get_or_init(|| Box::new([const { OnceLock::new() }; 256]));
        page[code & 0xff].get_or_init(|| self.ask(c))
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
        // A character that the splitter takes for white space although the normaliser left it alone.
        Some(split) if split == ["a", "a"] => Class::Space,
        _ => Class::Unsure,
    }
}
