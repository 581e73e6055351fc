//! Short prompts without what their writer did not mean: "Hello", "hello!" and "hello" get the same ids.

use std::borrow::Cow;

/// Words of a prompt to which the rule applies, at most. Spaces, tabs, line feeds and carriage returns separate words.
const MAX_WORDS: usize = 3;
/// Bytes of such a prompt, at most: longer ones hold words that are none.
const MAX_BYTES: usize = 128;
const SPACES: [char; 4] = [' ', '\t', '\n', '\r'];
/// Punctuation of sentences. Signs that carry meaning at the end of a word (`C++`, `C#`, `5%`, `f()`, `a/`, `Answer:`) are
/// not in it.
const PUNCTUATION: [char; 24] = [
    '.', ',', '!', '?', ';', '\'', '"', '…', '“', '”', '„', '‘', '’', '«', '»', '¡', '¿', '、', '。', '！', '？', '，',
    '；', '．',
];

/// The plain form of a prompt of at most three words: without punctuation at its ends, in lower case. `None` where the rule does not
/// apply or changes nothing. A prompt of punctuation alone keeps it.
pub(super) fn plain(prompt: &str) -> Option<Cow<'_, str>> {
    if prompt.len() > MAX_BYTES || has_more_words(prompt.as_bytes()) {
        return None;
    }
    let kept = prompt.trim_matches(|c| SPACES.contains(&c) || PUNCTUATION.contains(&c));
    if kept.is_empty() {
        return None;
    }
    if kept.chars().any(may_have_case) {
        return Some(Cow::Owned(kept.to_lowercase()));
    }
    (kept.len() < prompt.len()).then_some(Cow::Borrowed(kept))
}

/// False only for characters that are their own lower case: of ASCII, and those of Chinese and Japanese.
fn may_have_case(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_uppercase() } else { !('\u{3000}'..='\u{9fff}').contains(&c) }
}

/// Whether there are more than [`MAX_WORDS`] words. Most prompts leave here, after some twenty bytes.
fn has_more_words(bytes: &[u8]) -> bool {
    let (mut words, mut inside) = (0, false);
    for byte in bytes {
        let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        words += usize::from(!is_space && !inside);
        if words > MAX_WORDS {
            return true;
        }
        inside = !is_space;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_punctuation_at_the_ends_go_away() {
        for (prompt, expected) in [
            ("Hello", "hello"),
            (" hello! ", "hello"),
            ("«ÉCOLE»...", "école"),
            ("thank you, sir.", "thank you, sir"),
            ("C++?", "c++"),
            ("f()", "f()"),
        ] {
            assert_eq!(plain(prompt).unwrap_or(prompt.into()), expected, "{prompt}");
        }
    }

    #[test]
    fn characters_without_case_are_their_own_lower_case() {
        for c in ('\0'..=char::MAX).filter(|&c| !may_have_case(c)) {
            assert!(c.to_lowercase().eq([c]), "{c:?}");
        }
        assert_eq!(plain("天空是蓝色的?"), Some(Cow::Borrowed("天空是蓝色的")));
    }

    #[test]
    fn longer_prompts_and_punctuation_alone_stay_as_they_are() {
        for prompt in ["", "?!", "This is four words.", "hello", &"A".repeat(129)] {
            assert_eq!(plain(prompt), None, "{prompt}");
        }
    }
}
