//! How many tokens a request has.
//!
//! A prompt that the router reads whole has the tokens that it reads. Of a longer text, windows are tokenized and the rest is taken
//! to be like them. `docs/pools.md` has the measured error.

use crate::{error::Result, tokenize::PromptTokenizer};

/// By this the estimate of input tokens is multiplied before it is compared with a context window.
pub const TOKEN_MARGIN: f64 = 2.0;
/// Windows of a long text that are tokenized.
const WINDOWS: usize = 8;
/// Bytes of a window.
const WINDOW_BYTES: usize = 1024;
/// WordPiece takes a word of more than 100 characters for one unknown token. Models split such words, as base64 or long numbers, into
/// pieces of about so many bytes.
const BYTES_PER_PIECE: f64 = 2.5;
const LONG_WORD: usize = 100;

/// Tokens of a text of which the router has read `read` tokens, which are all if `is_whole`.
pub(super) fn tokens(
    tokenizer: &PromptTokenizer,
    text: &str,
    (read, is_whole): (usize, bool),
    ids: &mut Vec<u32>,
) -> Result<f64> {
    if is_whole { Ok(read as f64 + long_words(text)) } else { estimate(tokenizer, text, ids) }
}

/// Tokens of a text that may be long.
pub(super) fn estimate(tokenizer: &PromptTokenizer, text: &str, ids: &mut Vec<u32>) -> Result<f64> {
    if text.len() <= WINDOWS * WINDOW_BYTES {
        return Ok(tokenizer.count(text, ids)? as f64 + long_words(text));
    }
    let (mut found, mut bytes) = (0.0, 0);
    for window in 0..WINDOWS {
        let start = (text.len() - WINDOW_BYTES) / (WINDOWS - 1) * window;
        let (start, end) = (text.floor_char_boundary(start), text.floor_char_boundary(start + WINDOW_BYTES));
        let part = &text[start..end];
        found += tokenizer.count(part, ids)? as f64 + long_words(part);
        bytes += part.len();
    }
    Ok(found * text.len() as f64 / bytes.max(1) as f64)
}

/// Tokens of words that are too long for the vocabulary, beyond the one that each has.
fn long_words(text: &str) -> f64 {
    if text.len() <= LONG_WORD {
        return 0.0;
    }
    let words = text.as_bytes().split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| word.len() > LONG_WORD);
    words.map(|word| word.len() as f64 / BYTES_PER_PIECE - 1.0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_beyond_the_vocabularys_limit_count_more() {
        assert_eq!(long_words(&format!("{} a-b {}", "x".repeat(100), "中".repeat(200))), 0.0);
        assert_eq!(long_words(&format!("{} {}", "x".repeat(250), "7".repeat(500))), 99.0 + 199.0);
    }
}
