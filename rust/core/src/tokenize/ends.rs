//! Long prompts of which the beginning and the end are kept: a question may stand before a document or after it.
//!
//! Performance notes: the middle is never tokenized, and nothing twice. The end is read in parts, from the last one on, each from a place
//! where the text may be split with the same ids on both sides, until there are enough of them or they reach the beginning.

use super::{BYTES_PER_TOKEN, PromptTokenizer, cut_at_space, fast::FastWordPiece, guarded};
use crate::error::{Error, Result};

/// First guess of the text length that holds one token, where a wrong guess costs little.
const FIRST_BYTES_PER_TOKEN: usize = 5;

/// How many tokens are kept at either end, and what stands around them.
#[derive(Debug)]
pub(super) struct Ends {
    before: Vec<u32>,
    after: Vec<u32>,
    head: usize,
    tail: usize,
}

impl Ends {
    /// The halves of what the limit leaves beside `around`, the tokens before and after any text.
    pub(super) fn new(around: Option<(Vec<u32>, Vec<u32>)>, max_tokens: usize) -> std::result::Result<Self, String> {
        let (before, after) = around.ok_or(
            "the post-processor does not put the same tokens around every text, which truncation \"head_tail\" needs",
        )?;
        let content = max_tokens.saturating_sub(before.len() + after.len());
        Ok(Self { before, after, head: content.div_ceil(2), tail: content / 2 })
    }

    /// Number of tokens before and after any text.
    pub(super) fn around(&self) -> (usize, usize) {
        (self.before.len(), self.after.len())
    }

    /// Tokens of a text that is kept whole, at most.
    fn content(&self) -> usize {
        self.head + self.tail
    }
}

impl PromptTokenizer {
    pub(super) fn encode_ends(&self, ends: &Ends, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(fast) = &self.fast
            && self.encode_ends_fast(fast, ends, text, ids).is_some()
        {
            return Ok(());
        }
        let words = self.words_of_ends(ends, text)?;
        ids.clear();
        ids.extend_from_slice(&ends.before);
        ids.extend_from_slice(&words);
        ids.extend_from_slice(&ends.after);
        Ok(())
    }

    /// Nothing if some ids might differ from the crate's.
    fn encode_ends_fast(&self, fast: &FastWordPiece, ends: &Ends, text: &str, ids: &mut Vec<u32>) -> Option<()> {
        ids.clear();
        ids.extend_from_slice(&ends.before);
        let (end_of_head, whole) = (ids.len() + ends.head, ids.len() + ends.content());
        let read = fast.append(text, 0, end_of_head, ids)?;
        let (middle, mut unread, mut length) = (ids.len(), text.len(), ends.tail * FIRST_BYTES_PER_TOKEN);
        while unread > read && ids.len() - middle < ends.tail {
            let start = read + self.split(&text[read..unread], length);
            let old = ids.len() - middle;
            fast.append(&text[..unread], start, usize::MAX, ids)?;
            ids[middle..].rotate_left(old);
            (unread, length) = (start, length * 2);
        }
        if ids.len() > whole {
            ids.drain(end_of_head..ids.len() - ends.tail);
        }
        ids.extend_from_slice(&ends.after);
        Some(())
    }

    /// The crate's ids of the beginning and the end, or of the whole text where it is short enough.
    fn words_of_ends(&self, ends: &Ends, text: &str) -> Result<Vec<u32>> {
        let mut length = (ends.content() + 1) * BYTES_PER_TOKEN;
        let mut words = loop {
            let prefix = if self.may_cut { cut_at_space(text, length) } else { text };
            let mut words = self.words(prefix)?;
            if prefix.len() == text.len() {
                if words.len() > ends.content() {
                    words.drain(ends.head..words.len() - ends.tail);
                }
                return Ok(words);
            }
            if words.len() > ends.content() {
                break words;
            }
            length = prefix.len() * 2;
        };
        words.truncate(ends.head);
        let mut length = ends.tail * BYTES_PER_TOKEN;
        loop {
            let suffix = self.suffix(text, length);
            let tail = self.words(suffix)?;
            if tail.len() >= ends.tail || suffix.len() == text.len() {
                words.extend_from_slice(&tail[tail.len().saturating_sub(ends.tail)..]);
                return Ok(words);
            }
            length = suffix.len() * 2;
        }
    }

    pub(super) fn words(&self, text: &str) -> Result<Vec<u32>> {
        let truth = self.truth()?;
        let encoding = guarded(|| truth.encode_fast(text, false))
            .map_err(|message| Error::inference(format!("the tokenizer refused the prompt: {message}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The shortest suffix of at least `length` bytes that begins where the text may be split; the whole text if there is none.
    fn suffix<'a>(&self, text: &'a str, length: usize) -> &'a str {
        &text[self.split(text, length)..]
    }

    /// Where that suffix begins.
    fn split(&self, text: &str, length: usize) -> usize {
        if !self.may_cut || text.len() <= length {
            return 0;
        }
        let last = text.floor_char_boundary(text.len() - length);
        let splits = |c: char| c == ' ' || c == '\n' || self.fast.as_ref().is_some_and(|fast| fast.splits_before(c));
        let first = text[last..].chars().next().filter(|&c| splits(c)).map(|_| last);
        first.or_else(|| text[..last].char_indices().rev().find(|&(_, c)| splits(c)).map(|(at, _)| at)).unwrap_or(0)
    }
}
