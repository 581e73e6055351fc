//! Long prompts of which the beginning and the end are kept: a question may stand before a document or after it.
//!
//! Performance notes: the middle is never tokenized. The end is read from a place where the text may be split with the same ids on
//! both sides, and from further back, in doubling steps, until there are enough of them.

use super::{BYTES_PER_TOKEN, PromptTokenizer, cut_at_space, fast::Outcome, guarded};
use crate::error::{Error, Result};

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
        if self.encode_ends_fast(ends, text, ids) == Outcome::Done {
            return Ok(());
        }
        let words = self.words_of_ends(ends, text)?;
        ids.clear();
        ids.extend_from_slice(&ends.before);
        ids.extend_from_slice(&words);
        ids.extend_from_slice(&ends.after);
        Ok(())
    }

    fn encode_ends_fast(&self, ends: &Ends, text: &str, ids: &mut Vec<u32>) -> Outcome {
        let Some(fast) = &self.fast else { return Outcome::StandAside };
        ids.clear();
        ids.extend_from_slice(&ends.before);
        let (start, whole) = (ids.len(), ids.len() + ends.content());
        if fast.append(text, whole + 1, ids) == Outcome::StandAside {
            return Outcome::StandAside;
        }
        if ids.len() > whole {
            let end_of_head = start + ends.head;
            let mut length = ends.tail * BYTES_PER_TOKEN;
            loop {
                ids.truncate(end_of_head);
                let suffix = self.suffix(text, length);
                if fast.append(suffix, usize::MAX, ids) == Outcome::StandAside {
                    return Outcome::StandAside;
                }
                let found = ids.len() - end_of_head;
                if found >= ends.tail || suffix.len() == text.len() {
                    ids.drain(end_of_head..end_of_head + found.saturating_sub(ends.tail));
                    break;
                }
                length = suffix.len() * 2;
            }
        }
        ids.extend_from_slice(&ends.after);
        Outcome::Done
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
        if !self.may_cut || text.len() <= length {
            return text;
        }
        let last = text.floor_char_boundary(text.len() - length);
        let splits = |c: char| c == ' ' || c == '\n' || self.fast.as_ref().is_some_and(|fast| fast.splits_before(c));
        let first = text[last..].chars().next().filter(|&c| splits(c)).map(|_| last);
        let start = first.or_else(|| text[..last].char_indices().rev().find(|&(_, c)| splits(c)).map(|(at, _)| at));
        &text[start.unwrap_or(0)..]
    }
}
