//! WordPiece for BERT-style tokenizers, id for id equal to the `tokenizers` crate, or it stands aside.
//!
//! Performance notes: one pass over the bytes, no allocation, and no work beyond the token limit. ASCII letters and digits are taken
//! eight at a time, other ASCII goes through a table; other characters through [`Characters`], which remembers what the crate says of
//! each. A whole word is one probe of a hash table in most cases.

use std::collections::HashMap;

use tokenizers::{
    AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer, normalizers::BertNormalizer,
};

use super::{
    characters::{Character, Characters, Class},
    pieces::{CONTINUATION, Kind, MAX_WORD_BYTES, PieceTable, WordBuffer},
};
use crate::artifact::FileBytes;

/// BERT's longest word; a longer one is unknown as a whole.
pub(super) const MAX_WORD_CHARS: usize = 100;

/// What a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Ascii {
    Word,
    Space,
    Drop,
    Alone,
    Unsure,
}

/// A recognized BERT tokenizer.
#[derive(Debug)]
pub(super) struct FastWordPiece {
    /// Bytes with their normal form; all that are not ASCII are unsure.
    bytes: [(Ascii, u8); 256],
    /// What sets every letter of eight to lower case.
    to_lower: u64,
    characters: Characters,
    pieces: PieceTable,
    unknown: u32,
    /// Texts that the crate takes for one token wherever they stand, longest first, with their ids.
    special: Vec<(String, u32)>,
    begins_special: [bool; 256],
    special_is_ascii: bool,
    before: Vec<u32>,
    after: Vec<u32>,
    max_words: usize,
}

/// What a fast path is made of, besides the pieces of the vocabulary.
pub(super) struct Parts {
    pub(super) normalizer: BertNormalizer,
    /// Id of words that no pieces cover.
    pub(super) unknown: u32,
    /// Texts that are one token wherever they stand, with their ids.
    pub(super) special: Vec<(String, u32)>,
    /// Ids before and after those of every text.
    pub(super) before: Vec<u32>,
    pub(super) after: Vec<u32>,
    pub(super) max_tokens: usize,
}

impl FastWordPiece {
    /// The fast path for `truth`, whose model has the given vocabulary, or nothing if any part of it is not what this file knows.
    pub(super) fn recognize(truth: &Tokenizer, vocab: &HashMap<String, u32>, max_tokens: usize) -> Option<Self> {
        let (Some(NormalizerWrapper::BertNormalizer(normalizer)), Some(PreTokenizerWrapper::BertPreTokenizer(_))) =
            (truth.get_normalizer(), truth.get_pre_tokenizer())
        else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = truth.get_model() else { return None };
        let unknown = *vocab.get(&model.unk_token)?;
        if model.continuing_subword_prefix != CONTINUATION || model.max_input_chars_per_word != MAX_WORD_CHARS {
            return None;
        }
        let added = truth.get_added_vocabulary().get_added_tokens_decoder();
        let plain = |token: &AddedToken| !(token.normalized || token.lstrip || token.rstrip || token.single_word);
        if !added.values().all(plain) {
            return None;
        }
        let letter = vocab.keys().find(|piece| piece.len() == 1 && piece.as_bytes()[0].is_ascii_lowercase())?;
        let (before, after) = special_ids(truth, letter)?;
        let special = added.iter().map(|(&id, token)| (token.content.clone(), id)).collect();
        let parts = Parts { normalizer: *normalizer, unknown, special, before, after, max_tokens };
        let mut pieces = PieceTable::new(FileBytes::default(), vocab.len());
        vocab.iter().all(|(piece, &id)| pieces.insert_text(piece.as_bytes(), id)).then(|| Self::new(parts, pieces))?
    }

    /// The fast path of these parts; nothing if one of them is not what this file knows.
    pub(super) fn new(parts: Parts, pieces: PieceTable) -> Option<Self> {
        let Parts { normalizer, unknown, mut special, before, after, max_tokens } = parts;
        // Runs of letters and of spaces are skipped without a look for special tokens.
        let begins_well =
            |text: &str| text.bytes().next().is_some_and(|b| !b.is_ascii_alphanumeric() && !b.is_ascii_whitespace());
        if !special.iter().all(|(text, _)| begins_well(text)) {
            return None;
        }
        special.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let max_words = max_tokens.checked_sub(before.len() + after.len())?;
        let mut begins_special = [false; 256];
        special.iter().for_each(|(text, _)| begins_special[usize::from(text.as_bytes()[0])] = true);
        let characters = Characters::new(normalizer);
        let bytes = std::array::from_fn(|byte| ascii_class(&characters, byte as u8, begins_special[byte]));
        let to_lower = if bytes[usize::from(b'A')].1 == b'a' { EIGHT_SPACES } else { 0 };
        // What `letters_in` takes for granted. Without cleaning, control characters are parts of words as well.
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric();
        if !(0..=u8::MAX).filter(is_letter).all(|b| bytes[usize::from(b)] == (Ascii::Word, b | to_lower as u8)) {
            return None;
        }
        let special_is_ascii = special.iter().all(|(text, _)| text.is_ascii());
        Some(Self {
            special_is_ascii,
            bytes,
            to_lower,
            characters,
            pieces,
            unknown,
            special,
            begins_special,
            before,
            after,
            max_words,
        })
    }

    /// Writes the ids of `text` into `ids`, special tokens included; nothing if some might differ from the crate's.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Option<()> {
        ids.clear();
        ids.extend_from_slice(&self.before);
        let full = ids.len() + self.max_words;
        self.append(text, 0, full, ids)?;
        ids.truncate(full);
        ids.extend_from_slice(&self.after);
        Some(())
    }

    /// Whether a text may be cut at a space before it is tokenized: no special token has one inside.
    pub(super) fn may_cut(&self) -> bool {
        !self.special.iter().any(|(text, _)| text.contains([' ', '\n']))
    }

    /// Appends the ids of `text` from `at` on, without special tokens around it, until `ids` has `full` of them; the last word may go
    /// beyond. Returns where it ended and a later call may go on; nothing if some ids might differ from the crate's.
    #[inline]
    pub(super) fn append(&self, text: &str, at: usize, full: usize, ids: &mut Vec<u32>) -> Option<usize> {
        Scan { fast: self, word: WordBuffer::new(), chars: 0, ids, full }.run(text, at)
    }

    /// The tokens before and after any text.
    pub(super) fn around(&self) -> (Vec<u32>, Vec<u32>) {
        (self.before.clone(), self.after.clone())
    }

    /// Whether a text may be split before a character, with the same ids on both sides: one that is always a word of its own, where no
    /// special token could contain it.
    pub(super) fn splits_before(&self, c: char) -> bool {
        !c.is_ascii() && self.special_is_ascii && self.characters.get(c).class == Class::Alone
    }

    /// Length and id of the longest special token that stands at `at`.
    fn special_at(&self, text: &str, at: usize) -> Option<(usize, u32)> {
        let rest = &text.as_bytes()[at..];
        let (special, id) = self.special.iter().find(|(special, _)| rest.starts_with(special.as_bytes()))?;
        Some((special.len(), *id))
    }
}

fn ascii_class(characters: &Characters, byte: u8, begins_special: bool) -> (Ascii, u8) {
    if !byte.is_ascii() {
        return (Ascii::Unsure, 0);
    }
    let character = characters.get(char::from(byte));
    let class = match (character.class, character.bytes()) {
        _ if begins_special => Ascii::Unsure,
        (Class::Word, &[_]) => Ascii::Word,
        (Class::Alone, &[_]) => Ascii::Alone,
        (Class::Space, _) => Ascii::Space,
        (Class::Drop, _) => Ascii::Drop,
        _ => Ascii::Unsure,
    };
    (class, character.bytes().first().copied().unwrap_or_default())
}

/// The ids that the post-processor puts before and after the words of any text, found by asking it for those of a word.
pub(super) fn special_ids(truth: &Tokenizer, word: &str) -> Option<(Vec<u32>, Vec<u32>)> {
    let ids = |text: &str| truth.encode_fast(text, true).ok().map(|encoding| encoding.get_ids().to_vec());
    let words = |text: &str| truth.encode_fast(text, false).ok().map(|encoding| encoding.get_ids().to_vec());
    let (around, inside, alone) = (ids(word)?, words(word)?, ids("")?);
    let at = (0..=around.len().checked_sub(inside.len())?).find(|&at| around[at..].starts_with(&inside))?;
    let (before, after) = (around[..at].to_vec(), around[at + inside.len()..].to_vec());
    ([before.as_slice(), &after].concat() == alone).then_some((before, after))
}

/// Number of bytes at the start that satisfy `is`, thirty-two at a time. Callers go on byte by byte from there.
fn run_length(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let blocks =
        bytes.as_chunks::<32>().0.iter().take_while(|block| block.iter().fold(true, |all, &byte| all & is(byte)));
    blocks.count() * 32
}

/// Eight bytes of 1, of 128 and of a space.
const EIGHT_ONES: u64 = u64::MAX / 255;
const EIGHT_TOPS: u64 = EIGHT_ONES << 7;
const EIGHT_SPACES: u64 = EIGHT_ONES << 5;

/// Number of ASCII letters and digits before the first other of eight bytes.
#[inline(always)]
fn letters_in(eight: u64) -> usize {
    // Sets the top bit of bytes from a bound on, none of which has it.
    let from = |bytes: u64, bound: u8| bytes + EIGHT_ONES * u64::from(128 - bound);
    let ascii = eight & !EIGHT_TOPS;
    let lower = ascii | EIGHT_SPACES;
    let letters = from(lower, b'a') & !from(lower, b'z' + 1);
    let digits = from(ascii, b'0') & !from(ascii, b'9' + 1);
    let others = !(letters | digits) | eight;
    ((others & EIGHT_TOPS).trailing_zeros() / 8) as usize
}

/// One pass over one text.
struct Scan<'a> {
    fast: &'a FastWordPiece,
    word: WordBuffer,
    /// Characters of the word; past [`MAX_WORD_CHARS`] its bytes are no longer kept.
    chars: usize,
    ids: &'a mut Vec<u32>,
    full: usize,
}

impl Scan<'_> {
    fn run(&mut self, text: &str, mut at: usize) -> Option<usize> {
        let fast = self.fast;
        let bytes = text.as_bytes();
        while at < bytes.len() && self.ids.len() < self.full {
            let byte = bytes[at];
            let (class, lower) = fast.bytes[usize::from(byte)];
            match class {
                Ascii::Word => {
                    at = self.letters(bytes, at);
                    continue;
                }
                Ascii::Space => {
                    self.end_word();
                    if bytes.get(at + 1) == Some(&b' ') {
                        at += run_length(&bytes[at + 1..], |byte| byte == b' ');
                    }
                }
                Ascii::Drop => {}
                Ascii::Alone => self.alone(&[lower]),
                Ascii::Unsure => {
                    if fast.begins_special[usize::from(byte)]
                        && let Some((length, id)) = fast.special_at(text, at)
                    {
                        self.end_word();
                        self.ids.push(id);
                        at += length;
                        continue;
                    }
                    let Some(c) = text[at..].chars().next() else { break };
                    if !self.wide(&fast.characters.get(c)) {
                        return None;
                    }
                    at += c.len_utf8();
                    continue;
                }
            }
            at += 1;
        }
        self.end_word();
        Some(at)
    }

    /// Takes the ASCII characters of a word from `at` on, and returns where they end.
    #[inline(always)]
    fn letters(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while self.chars + 8 <= MAX_WORD_CHARS
            && let Some(eight) = bytes[at..].first_chunk()
        {
            let eight = u64::from_le_bytes(*eight);
            let count = letters_in(eight);
            self.word.push_eight(eight | self.fast.to_lower, count);
            self.chars += count;
            at += count;
            if count < 8 {
                break;
            }
        }
        while let Some(&byte) = bytes.get(at)
            && let (Ascii::Word, lower) = self.fast.bytes[usize::from(byte)]
        {
            if self.chars >= MAX_WORD_CHARS {
                // Nothing more of this word matters but where it ends.
                self.chars += 1;
                return at + 1 + run_length(&bytes[at + 1..], |byte| byte.is_ascii_alphanumeric());
            }
            self.word.push(lower);
            self.chars += 1;
            at += 1;
        }
        at
    }

    /// Takes a character with a normal form; false if it is unsure.
    fn wide(&mut self, character: &Character) -> bool {
        match character.class {
            Class::Word => {
                self.chars += usize::from(character.count);
                if self.chars <= MAX_WORD_CHARS && self.word.len() + character.bytes().len() <= MAX_WORD_BYTES {
                    self.word.extend(character.bytes());
                }
            }
            Class::Space => self.end_word(),
            Class::Drop => {}
            Class::Alone => self.alone(character.bytes()),
            Class::Unsure => return false,
        }
        true
    }

    fn alone(&mut self, bytes: &[u8]) {
        self.end_word();
        self.word.extend(bytes);
        self.chars = 1;
        self.end_word();
    }

    #[inline(always)]
    fn end_word(&mut self) {
        if self.chars == 0 {
            return;
        }
        if self.chars > MAX_WORD_CHARS {
            self.ids.push(self.fast.unknown);
        } else {
            self.pieces();
        }
        self.word.clear();
        self.chars = 0;
    }

    /// Greedy longest match from the left; a word with a part that no piece covers is unknown as a whole.
    fn pieces(&mut self) {
        let first = self.ids.len();
        let mut kind = Kind::Initial;
        let mut start = 0;
        while start < self.word.len() {
            let Some((id, end)) = self.fast.pieces.longest_match(kind, &self.word, start) else {
                self.ids.truncate(first);
                self.ids.push(self.fast.unknown);
                return;
            };
            self.ids.push(id);
            start = end;
            kind = Kind::Continuing;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn letters_and_digits_are_counted_up_to_the_first_other_byte(bytes in prop::array::uniform8(prop_oneof!["[a-zA-Z0-9]", "[/:@`{\\[\\x00]"].prop_map(|s| s.as_bytes()[0])), at in 0usize..8, byte: u8) {
            let mut bytes = bytes;
            bytes[at] = byte;
            let expected = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            prop_assert_eq!(letters_in(u64::from_le_bytes(bytes)), expected);
        }
    }
}
