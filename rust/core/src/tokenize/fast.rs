//! WordPiece for BERT-style tokenizers, id for id equal to the `tokenizers` crate, or it stands aside.
//!
//! Performance notes: one pass over the bytes, no allocation, and no work beyond the token limit. ASCII goes through a table of
//! 128 bytes; other characters through [`Characters`], which remembers what the crate says of each. A whole word is one probe of
//! a hash table in most cases.

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

/// Whether the fast path gave an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The text holds something whose tokens might differ from the crate's.
    StandAside,
}

/// What an ASCII byte is.
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
    ascii: [(Ascii, u8); 128],
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
        let ascii = std::array::from_fn(|byte| ascii_class(&characters, byte as u8, begins_special[byte]));
        let special_is_ascii = special.iter().all(|(text, _)| text.is_ascii());
        Some(Self {
            special_is_ascii,
            ascii,
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

    /// Writes the ids of `text` into `ids`, special tokens included.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Outcome {
        ids.clear();
        ids.extend_from_slice(&self.before);
        let full = ids.len() + self.max_words;
        if self.append(text, full, ids) == Outcome::StandAside {
            return Outcome::StandAside;
        }
        ids.truncate(full);
        ids.extend_from_slice(&self.after);
        Outcome::Done
    }

    /// Whether a text may be cut at a space before it is tokenized: no special token has one inside.
    pub(super) fn may_cut(&self) -> bool {
        !self.special.iter().any(|(text, _)| text.contains([' ', '\n']))
    }

    /// Appends the ids of `text`, without special tokens around it, until `ids` has `full` of them; the last word may go beyond.
    #[inline]
    pub(super) fn append(&self, text: &str, full: usize, ids: &mut Vec<u32>) -> Outcome {
        Scan { fast: self, word: WordBuffer::new(), chars: 0, ids, full }.run(text)
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
    fn run(&mut self, text: &str) -> Outcome {
        let fast = self.fast;
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() && self.ids.len() < self.full {
            let byte = bytes[at];
            let (class, lower) = fast.ascii.get(usize::from(byte)).copied().unwrap_or((Ascii::Unsure, 0));
            match class {
                Ascii::Word => {
                    at = self.letters(bytes, at);
                    continue;
                }
                Ascii::Space => {
                    self.end_word();
                    at += 1 + run_length(&bytes[at + 1..], |byte| byte == b' ');
                    continue;
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
                        return Outcome::StandAside;
                    }
                    at += c.len_utf8();
                    continue;
                }
            }
            at += 1;
        }
        self.end_word();
        Outcome::Done
    }

    /// Takes the ASCII letters and digits from `at` on, and returns where they end.
    #[inline(always)]
    fn letters(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while let Some(&byte) = bytes.get(at)
            && let Some(&(Ascii::Word, lower)) = self.fast.ascii.get(usize::from(byte))
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
