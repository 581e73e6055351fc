//! Prompts without greetings, polite words and labels at their ends: "Please help me with this: 2 + 2? Thank you!" is read as "2 + 2?".

use crate::artifact::CourtesySpec;

/// Tokens of a phrase, at most: matching takes as many steps for each phrase with the same first token.
const MAX_PHRASE_TOKENS: usize = 16;

/// Phrases that carry no content at either end of a prompt, as token ids.
#[derive(Debug)]
pub(super) struct Courtesy {
    opening: Phrases,
    /// From the last id to the first.
    closing: Phrases,
    /// Number of special tokens before and after the words of any prompt.
    around: (usize, usize),
}

impl Courtesy {
    /// The phrases of a manifest. `ids_of` gives the token ids of a text without special tokens, or says why it has none of its own.
    ///
    /// # Errors
    /// A message that names the phrase.
    pub(super) fn new(
        spec: &CourtesySpec,
        around: (usize, usize),
        mut ids_of: impl FnMut(&str) -> std::result::Result<Vec<u32>, String>,
    ) -> std::result::Result<Self, String> {
        let mut side = |phrases: &[String], fillers: &[String], reversed: bool| {
            let mut all = Vec::with_capacity(phrases.len() + fillers.len());
            for (texts, is_filler) in [(phrases, false), (fillers, true)] {
                for text in texts {
                    let mut ids = ids_of(text)?;
                    if ids.is_empty() {
                        return Err(format!("{text:?} has no tokens"));
                    }
                    if ids.len() > MAX_PHRASE_TOKENS {
                        return Err(format!("{text:?} has {} tokens, expected at most {MAX_PHRASE_TOKENS}", ids.len()));
                    }
                    if reversed {
                        ids.reverse();
                    }
                    all.push(Phrase { ids, is_filler });
                }
            }
            Ok(Phrases::new(all))
        };
        Ok(Self {
            opening: side(&spec.openings, &spec.opening_fillers, false)?,
            closing: side(&spec.closings, &spec.closing_fillers, true)?,
            around,
        })
    }

    /// Removes what the ends of a prompt hold of the phrases. A prompt of nothing else is kept.
    #[inline]
    pub(super) fn trim(&self, ids: &mut Vec<u32>) {
        let (before, after) = self.around;
        let end = ids.len().saturating_sub(after);
        let Some(words) = ids.get(before..end) else { return };
        let front = self.opening.reach(words.len(), |at| words[at]);
        let back = self.closing.reach(words.len(), |at| words[words.len() - 1 - at]);
        if (front, back) == (0, 0) || front + back >= words.len() {
            return;
        }
        ids.drain(end - back..end);
        ids.drain(before..before + front);
    }
}

#[derive(Debug)]
struct Phrase {
    ids: Vec<u32>,
    /// Whether it only connects phrases: fillers alone are kept.
    is_filler: bool,
}

#[derive(Debug)]
struct Phrases {
    /// Sorted by the first id; of those with the same one, the longest first.
    phrases: Vec<Phrase>,
    /// The bits of their first ids: most prompts begin with no phrase, and end after one look at these.
    first_ids: [u64; FILTER_BITS as usize / 64],
}

const FILTER_BITS: u32 = 4096;

/// Place and bit of an id in the filter.
#[inline(always)]
fn bit_of(id: u32) -> (usize, u64) {
    ((id % FILTER_BITS / 64) as usize, 1 << (id % 64))
}

impl Phrases {
    fn new(mut phrases: Vec<Phrase>) -> Self {
        phrases.sort_by(|a, b| {
            a.ids[0].cmp(&b.ids[0]).then(b.ids.len().cmp(&a.ids.len())).then(a.is_filler.cmp(&b.is_filler))
        });
        let mut first_ids = [0; FILTER_BITS as usize / 64];
        for (word, bit) in phrases.iter().map(|phrase| bit_of(phrase.ids[0])) {
            first_ids[word] |= bit;
        }
        Self { phrases, first_ids }
    }

    /// How many of `count` ids from the start, read by `id_at`, end with the last phrase of an unbroken run of phrases and fillers.
    #[inline]
    fn reach(&self, count: usize, id_at: impl Fn(usize) -> u32) -> usize {
        let (mut at, mut reached) = (0, 0);
        while at < count {
            let first = id_at(at);
            let (word, bit) = bit_of(first);
            if self.first_ids[word] & bit == 0 {
                break;
            }
            let start = self.phrases.partition_point(|phrase| phrase.ids[0] < first);
            let found = self.phrases[start..].iter().take_while(|phrase| phrase.ids[0] == first).find(|phrase| {
                phrase.ids.len() <= count - at
                    && phrase.ids.iter().enumerate().all(|(step, &id)| id == id_at(at + step))
            });
            let Some(phrase) = found else { break };
            at += phrase.ids.len();
            if !phrase.is_filler {
                reached = at;
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One id a word: its position in this list.
    const WORDS: &[&str] = &["[", "]", "hi", "please", "help", "me", ":", "thank", "you", "!", "sum", "of", "two"];

    fn ids(text: &str) -> std::result::Result<Vec<u32>, String> {
        let id = |word: &str| WORDS.iter().position(|known| *known == word).map(|at| at as u32);
        text.split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| id(word).ok_or(format!("{word:?} is unknown")))
            .collect()
    }

    fn courtesy() -> Courtesy {
        let texts = |list: &[&str]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let spec = CourtesySpec {
            openings: texts(&["hi", "please", ":", "!"]),
            opening_fillers: texts(&["help", "me"]),
            closings: texts(&["thank you", "please"]),
            closing_fillers: texts(&["!"]),
        };
        Courtesy::new(&spec, (1, 1), ids).unwrap()
    }

    #[test]
    fn runs_at_the_ends_are_cut_up_to_their_last_phrase() {
        for (text, expected) in [
            ("[ please help me : sum of two ]", "[ sum of two ]"),
            ("[ please help me sum two ]", "[ help me sum two ]"),
            ("[ help me sum two ]", "[ help me sum two ]"),
            ("[ hi ! please sum two please thank you ! ]", "[ sum two ]"),
            ("[ sum two thank ! ]", "[ sum two thank ! ]"),
            ("[ sum two ! ]", "[ sum two ! ]"),
            ("[ sum please two ]", "[ sum please two ]"),
        ] {
            let mut found = ids(text).unwrap();
            courtesy().trim(&mut found);
            assert_eq!(found, ids(expected).unwrap(), "{text}");
        }
    }

    #[test]
    fn a_prompt_of_nothing_else_is_kept() {
        for text in ["[ ]", "[ please ]", "[ hi ! please help me : ]", "[ hi ! thank you ! ]", "[", ""] {
            let mut found = ids(text).unwrap();
            courtesy().trim(&mut found);
            assert_eq!(found, ids(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn phrases_without_tokens_or_with_many_are_refused() {
        let spec = CourtesySpec { openings: vec![" ".into()], ..CourtesySpec::default() };
        assert!(Courtesy::new(&spec, (0, 0), ids).unwrap_err().contains("has no tokens"));
        let spec = CourtesySpec { closings: vec!["sum ".repeat(17)], ..CourtesySpec::default() };
        assert!(Courtesy::new(&spec, (0, 0), ids).unwrap_err().contains("has 17 tokens, expected at most 16"));
    }
}
