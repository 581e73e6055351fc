//! WordPiece for BERT-style tokenizers, id for id equal to the `tokenizers` crate, or it stands aside.
//!
//! Performance notes: one pass over the bytes, no allocation, and no work beyond the token limit. ASCII goes through a table of
//! 128 bytes; other characters through [`Characters`], which remembers what the crate says of each. A whole word is one probe of
//! a hash table in most cases.

use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use super::{
    characters::{Character, Characters, Class},
    pieces::{MAX_WORD_BYTES, PieceTable, WordBuffer},
};

/// BERT's longest word; a longer one is unknown as a whole.
const MAX_WORD_CHARS: usize = 100;
/// Prefix of pieces that continue a word.
const CONTINUATION: &str = "##";

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

/// A recognised BERT tokenizer.
#[derive(Debug)]
pub(super) struct FastWordPiece {
    ascii: [(Ascii, u8); 128],
    characters: Characters,
    initial: PieceTable,
    continuing: PieceTable,
    unknown: u32,
    /// Texts that the crate takes for one token wherever they stand.
    special: Vec<String>,
    begins_special: [bool; 256],
    before: Vec<u32>,
    after: Vec<u32>,
    max_words: usize,
}

impl FastWordPiece {
    /// The fast path for `truth`, or nothing if any part of it is not what this file knows.
    pub(super) fn recognize(truth: &Tokenizer, max_tokens: usize) -> Option<Self> {
        let (Some(NormalizerWrapper::BertNormalizer(normalizer)), Some(PreTokenizerWrapper::BertPreTokenizer(_))) =
            (truth.get_normalizer(), truth.get_pre_tokenizer())
        else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = truth.get_model() else { return None };
        let vocab = truth.get_vocab(false);
        let unknown = *vocab.get(&model.unk_token)?;
        if model.continuing_subword_prefix != CONTINUATION || model.max_input_chars_per_word != MAX_WORD_CHARS {
            return None;
        }
        let added = truth.get_added_vocabulary().get_added_tokens_decoder();
        if added.values().any(|token| token.normalized || token.content.is_empty()) {
            return None;
        }
        let special: Vec<String> = added.values().map(|token| token.content.clone()).collect();
        let (before, after) = special_ids(truth, &vocab)?;
        let max_words = max_tokens.checked_sub(before.len() + after.len())?;
        let mut begins_special = [false; 256];
        special.iter().for_each(|text| begins_special[usize::from(text.as_bytes()[0])] = true);
        let characters = Characters::new(*normalizer);
        let ascii = std::array::from_fn(|byte| ascii_class(&characters, byte as u8, begins_special[byte]));
        let pieces = vocab.iter().map(|(piece, id)| (piece.as_str(), *id));
        let continuing = pieces.clone().filter_map(|(piece, id)| Some((piece.strip_prefix(CONTINUATION)?, id)));
        Some(Self {
            ascii,
            characters,
            initial: PieceTable::new(pieces),
            continuing: PieceTable::new(continuing),
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
        let mut scan = Scan { fast: self, word: WordBuffer::new(), chars: 0, ids, full };
        if scan.run(text) == Outcome::StandAside {
            return Outcome::StandAside;
        }
        ids.truncate(full);
        ids.extend_from_slice(&self.after);
        Outcome::Done
    }

    fn special_at(&self, text: &str, at: usize) -> bool {
        let rest = &text.as_bytes()[at..];
        self.special.iter().any(|special| rest.starts_with(special.as_bytes()))
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

/// The ids that the post-processor puts before and after the words of any text, found by asking it.
fn special_ids(truth: &Tokenizer, vocab: &std::collections::HashMap<String, u32>) -> Option<(Vec<u32>, Vec<u32>)> {
    let ids = |text: &str| truth.encode_fast(text, true).ok().map(|encoding| encoding.get_ids().to_vec());
    let words = |text: &str| truth.encode_fast(text, false).ok().map(|encoding| encoding.get_ids().to_vec());
    let letter = vocab.keys().find(|piece| piece.len() == 1 && piece.as_bytes()[0].is_ascii_lowercase())?;
    let (around, inside, alone) = (ids(letter)?, words(letter)?, ids("")?);
    let at = (0..=around.len().checked_sub(inside.len())?).find(|&at| around[at..].starts_with(&inside))?;
    let (before, after) = (around[..at].to_vec(), around[at + inside.len()..].to_vec());
    ([before.as_slice(), &after].concat() == alone).then_some((before, after))
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
        while at < bytes.len() {
            let byte = bytes[at];
            if byte >= 0x80 {
                let Some(c) = text[at..].chars().next() else { break };
                if fast.begins_special[usize::from(byte)] && fast.special_at(text, at) {
                    return Outcome::StandAside;
                }
                if !self.wide(fast.characters.get(c)) {
                    return Outcome::StandAside;
                }
                at += c.len_utf8();
            } else {
                let (class, lower) = fast.ascii[usize::from(byte)];
                match class {
                    Ascii::Word => self.letter(lower),
                    Ascii::Space => self.end_word(),
                    Ascii::Drop => {}
                    Ascii::Alone => self.alone(&[lower]),
                    Ascii::Unsure if fast.special_at(text, at) => return Outcome::StandAside,
                    Ascii::Unsure => {
                        if !self.wide(fast.characters.get(char::from(byte))) {
                            return Outcome::StandAside;
                        }
                    }
                }
                at += 1;
            }
            if self.ids.len() >= self.full {
                return Outcome::Done;
            }
        }
        self.end_word();
        Outcome::Done
    }

    #[inline(always)]
    fn letter(&mut self, byte: u8) {
        if self.chars < MAX_WORD_CHARS {
            self.word.push(byte);
        }
        self.chars += 1;
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
        let mut table = &self.fast.initial;
        let mut start = 0;
        while start < self.word.len() {
            let Some((id, end)) = table.longest_match(&self.word, start) else {
                self.ids.truncate(first);
                self.ids.push(self.fast.unknown);
                return;
            };
            self.ids.push(id);
            start = end;
            table = &self.fast.continuing;
        }
    }
}
