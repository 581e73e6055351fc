//! From text to token ids.
//!
//! The `tokenizers` crate is the truth for every text. `FastWordPiece` makes the same ids for BERT-style tokenizers some fifty
//! times faster, and stands aside for any text that it is not sure of. Files of the form that shipped artifacts have are read
//! without the crate, whose tokenizer is then made for the first text that needs it.

mod characters;
mod courtesy;
mod ends;
mod fast;
mod pieces;
mod short;
mod validate;
mod vocabulary;
mod wordpiece_file;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use once_cell::race::OnceBox;
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessor, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
    TokenizerImpl, TruncationParams, models::wordpiece::WordPiece,
};

use self::{
    courtesy::Courtesy,
    ends::Ends,
    fast::{FastWordPiece, special_ids},
};
use crate::{
    artifact::{Artifact, CourtesySpec, FileBytes, ShortPrompts, TokenizerSpec, Truncation},
    error::{Error, Result},
    shared::Shared,
};

/// By the hash of the file and what the manifest says of it.
static TOKENIZERS: Shared<(String, TokenizerSpec), PromptTokenizer> = Shared::new();

/// Largest number of bytes a `tokenizer.json` may have.
const MAX_TOKENIZER_BYTES: usize = 64 << 20;
/// First guess of the text length that holds one token; prefixes grow from there.
const BYTES_PER_TOKEN: usize = 8;
/// Texts that a usable tokenizer takes: none, a letter, and characters that no vocabulary holds.
const PROBES: [&str; 3] = ["", "a", "\u{e000}\u{10ffff}"];

/// Turns a prompt into token ids, at most `max_tokens` of them, special tokens included.
#[derive(Debug)]
pub struct PromptTokenizer {
    truth: Truth,
    fast: Option<FastWordPiece>,
    max_tokens: usize,
    /// Where the end of a long prompt is kept beside its beginning.
    ends: Option<Ends>,
    short_prompts: ShortPrompts,
    courtesy: Option<Courtesy>,
    /// Whether a text may be cut at a space before it is tokenized, with the same ids as truncating afterwards.
    may_cut: bool,
    /// The largest id of the vocabulary.
    largest: u32,
}

/// The crate's tokenizer.
#[derive(Debug)]
enum Truth {
    Read(Box<Tokenizer>),
    /// Made from the file when a text first needs it, by each thread that comes at the same time. Nobody waits for another: a
    /// process that was forked meanwhile would wait for a thread that it does not have.
    Unread {
        json: FileBytes,
        made: OnceBox<std::result::Result<Box<Tokenizer>, String>>,
    },
}

impl Truth {
    fn get(&self, max_tokens: Option<usize>) -> std::result::Result<&Tokenizer, String> {
        match self {
            Self::Read(tokenizer) => Ok(tokenizer),
            Self::Unread { json, made } => {
                let make = || guarded(|| limited(read(json)?, max_tokens)).map(Box::new);
                made.get_or_init(|| Box::new(make())).as_ref().map(AsRef::as_ref).map_err(Clone::clone)
            }
        }
    }
}

impl PromptTokenizer {
    /// The tokenizer of an artifact, shared by all routers of equal files.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`with_rules`](Self::with_rules).
    pub(crate) fn of(artifact: &Artifact, spec: &TokenizerSpec) -> Result<Arc<Self>> {
        let json = artifact.file(&spec.file)?;
        let key = (artifact.manifest().files[&spec.file].sha256.clone(), spec.clone());
        TOKENIZERS.get_or_make(key, || {
            let path = artifact.path().join(&spec.file);
            Self::read(&path, json, spec.max_tokens)?
                .with_rules(spec.short_prompts, spec.truncation)
                .map_err(|message| Error::artifact(&path, "post_processor", message))?
                .with_courtesy(&spec.courtesy)
                .map_err(|message| artifact.manifest_error("tokenizer.courtesy", message))
        })
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Artifact`] if the crate refuses the file, or if some of its ids are not below `vocabulary`.
    pub fn new(path: &Path, json: impl Into<FileBytes>, max_tokens: usize, vocabulary: Option<usize>) -> Result<Self> {
        let tokenizer = Self::read(path, json.into(), max_tokens)?;
        tokenizer.check_ids(path, vocabulary)?;
        Ok(tokenizer)
    }

    fn read(path: &Path, json: FileBytes, max_tokens: usize) -> Result<Self> {
        if json.len() > MAX_TOKENIZER_BYTES {
            let message = format!("{} bytes, expected at most {MAX_TOKENIZER_BYTES}", json.len());
            return Err(Error::artifact(path, "size", message));
        }
        if let Some((fast, largest)) = wordpiece_file::read(&json, max_tokens) {
            let truth = Truth::Unread { json, made: OnceBox::new() };
            return Ok(Self::as_written(truth, Some(fast), max_tokens, largest));
        }
        validate::validate(&json).map_err(|(field, message)| Error::artifact(path, field, message))?;
        let truth = guarded(|| read(&json)).map_err(|message| Error::artifact(path, "json", message))?;
        let vocab = truth.get_vocab(false);
        let added = truth.get_added_vocabulary().get_added_tokens_decoder();
        let largest = vocab.values().chain(added.keys()).max().copied();
        let largest = largest.ok_or_else(|| Error::artifact(path, "vocab", "is empty"))?;
        // Checked here: the crate would subtract below zero.
        let special = truth.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if special > max_tokens {
            let message =
                format!("adds {special} special tokens, but the manifest's tokenizer.max_tokens is {max_tokens}");
            return Err(Error::artifact(path, "post_processor", message));
        }
        let truth = limited(truth, Some(max_tokens))
            .map_err(|error| Error::artifact(path, "post_processor", error.to_string()))?;
        check_probes(&truth, None).map_err(|message| Error::artifact(path, "model", message))?;
        let fast = FastWordPiece::recognize(&truth, &vocab, max_tokens);
        Ok(Self::as_written(Truth::Read(Box::new(truth)), fast, max_tokens, largest))
    }

    fn as_written(truth: Truth, fast: Option<FastWordPiece>, max_tokens: usize, largest: u32) -> Self {
        let may_cut = fast.as_ref().is_some_and(FastWordPiece::may_cut);
        Self {
            truth,
            fast,
            max_tokens,
            ends: None,
            short_prompts: ShortPrompts::AsWritten,
            courtesy: None,
            may_cut,
            largest,
        }
    }

    /// Whether every id has a row in a table of so many rows.
    ///
    /// # Errors
    /// [`Error::Artifact`] with the first that has none.
    pub(crate) fn check_ids(&self, path: &Path, rows: Option<usize>) -> Result<()> {
        if let Some(rows) = rows.filter(|&rows| self.largest as usize >= rows) {
            let message = format!("holds the id {}, but the graph's table has {rows} rows", self.largest);
            return Err(Error::artifact(path, "vocab", message));
        }
        match &self.truth {
            Truth::Read(truth) if rows.is_some() => {
                check_probes(truth, rows).map_err(|message| Error::artifact(path, "model", message))
            }
            _ => Ok(()),
        }
    }

    /// With the rules of a manifest for short and for long prompts.
    ///
    /// # Errors
    /// A message, where the tokens around a text cannot be told apart from the text's own, which keeping its end needs.
    pub fn with_rules(
        mut self,
        short_prompts: ShortPrompts,
        truncation: Truncation,
    ) -> std::result::Result<Self, String> {
        self.short_prompts = short_prompts;
        if truncation == Truncation::HeadTail {
            if let Truth::Read(truth) = &mut self.truth {
                truth.with_truncation(None).map_err(|error| error.to_string())?;
            }
            let around = match &self.fast {
                Some(fast) => Some(fast.around()),
                None => special_ids(self.truth().map_err(|error| error.to_string())?, "a"),
            };
            self.ends = Some(Ends::new(around, self.max_tokens)?);
        }
        Ok(self)
    }

    /// Without the phrases of a manifest at the ends of prompts, which needs [`Truncation::HeadTail`].
    ///
    /// # Errors
    /// A message, for a phrase without tokens of its own.
    pub fn with_courtesy(mut self, spec: &CourtesySpec) -> std::result::Result<Self, String> {
        if let Some(ends) = &self.ends
            && !spec.is_empty()
        {
            self.courtesy = Some(Courtesy::new(spec, ends.around(), |text| {
                let mut ids = Vec::new();
                match &self.fast {
                    Some(fast) if fast.append(text, 0, usize::MAX, &mut ids).is_some() => Ok(ids),
                    _ => self.words(text).map_err(|error| error.to_string()),
                }
            })?);
        }
        Ok(self)
    }

    /// Whether the fast path serves this tokenizer at all.
    pub fn has_fast_path(&self) -> bool {
        self.fast.is_some()
    }

    /// Writes the ids of `prompt` into `ids`, which is cleared first, and returns how many there were with its polite phrases. With fewer
    /// than [`max_tokens`](Self::max_tokens), nothing of the prompt was cut.
    ///
    /// # Errors
    /// [`Error::Inference`] for a text that the `tokenizers` crate refuses.
    pub fn encode(&self, prompt: &str, ids: &mut Vec<u32>) -> Result<usize> {
        if self.short_prompts == ShortPrompts::Plain
            && let Some(plain) = short::plain(prompt)
        {
            self.encode_text(&plain, ids)?;
        } else {
            self.encode_text(prompt, ids)?;
        }
        let found = ids.len();
        if let Some(courtesy) = &self.courtesy {
            courtesy.trim(ids);
        }
        Ok(found)
    }

    fn encode_text(&self, prompt: &str, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(ends) = &self.ends {
            return self.encode_ends(ends, prompt, ids);
        }
        if let Some(fast) = &self.fast
            && fast.encode(prompt, ids).is_some()
        {
            return Ok(());
        }
        self.encode_slowly(prompt, ids)
    }

    /// The crate's own ids. Long texts of tokenizers that split at spaces are cut to a prefix that holds enough tokens: the crate's
    /// truncation comes after all its work, and a text of 14,000 characters cut to 128 tokens takes 7 ms instead of 0.5 ms.
    pub fn encode_slowly(&self, prompt: &str, ids: &mut Vec<u32>) -> Result<()> {
        let truth = self.truth()?;
        let mut length = self.max_tokens * BYTES_PER_TOKEN;
        loop {
            let prefix = if self.may_cut { cut_at_space(prompt, length) } else { prompt };
            let encoding = guarded(|| truth.encode_fast(prefix, true))
                .map_err(|message| Error::inference(format!("the tokenizer refused the prompt: {message}")))?;
            if prefix.len() == prompt.len() || encoding.len() == self.max_tokens {
                ids.clear();
                ids.extend_from_slice(encoding.get_ids());
                return Ok(());
            }
            length = prefix.len() * 2;
        }
    }

    /// As [`encode`](Self::encode), but a text beyond the limit is an error, and nothing is cut.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] with the number of tokens.
    pub fn encode_whole(&self, text: &str, ids: &mut Vec<u32>) -> Result<usize> {
        let truth = self.truth()?;
        let encoding = guarded(|| truth.encode_fast(text, true))
            .map_err(|message| Error::inference(format!("the tokenizer refused the prompt: {message}")))?;
        let cut: usize = encoding.get_overflowing().iter().map(tokenizers::Encoding::len).sum();
        if cut > 0 {
            let (found, limit) = (encoding.len() + cut, self.max_tokens);
            let message =
                format!("the prompt is too long: {found} tokens in the words it is asked with, at most {limit}");
            return Err(Error::invalid_input("prompt", message));
        }
        ids.clear();
        ids.extend_from_slice(encoding.get_ids());
        Ok(ids.len())
    }

    /// Number of tokens of a text without the token limit and without special tokens around it; `ids` is a buffer to work in.
    pub(crate) fn count(&self, text: &str, ids: &mut Vec<u32>) -> Result<usize> {
        ids.clear();
        if let Some(fast) = &self.fast
            && fast.append(text, 0, usize::MAX, ids).is_some()
        {
            return Ok(ids.len());
        }
        let truth = self.truth()?;
        let encoding = guarded(|| truth.encode_fast(text, false))
            .map_err(|message| Error::inference(format!("the tokenizer refused the prompt: {message}")))?;
        let cut: usize = encoding.get_overflowing().iter().map(tokenizers::Encoding::len).sum();
        Ok(encoding.len() + cut)
    }

    /// Token ids of a prompt, at most.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The text of a token.
    pub fn token(&self, id: u32) -> String {
        self.truth().ok().and_then(|truth| truth.id_to_token(id)).unwrap_or_default()
    }

    fn truth(&self) -> Result<&Tokenizer> {
        self.truth
            .get(self.ends.is_none().then_some(self.max_tokens))
            .map_err(|message| Error::inference(format!("the tokenizers crate refused the tokenizer: {message}")))
    }
}

/// Calls the `tokenizers` crate. It panics on some files, when it reads them or at the first prompt that meets the defect; that is
/// no reason to take the host process along.
fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizers crate panicked".into()),
    }
}

/// A tokenizer that cuts texts at the limit, if there is one, and pads nothing.
fn limited(mut truth: Tokenizer, max_tokens: Option<usize>) -> tokenizers::Result<Tokenizer> {
    let truncation = max_tokens.map(|max_length| TruncationParams { max_length, ..TruncationParams::default() });
    truth.with_padding(None).with_truncation(truncation)?;
    Ok(truth)
}

/// A file that the crate reads may still fail at the first prompt, or make ids of special tokens that no vocabulary holds.
fn check_probes(truth: &Tokenizer, vocabulary: Option<usize>) -> std::result::Result<(), String> {
    for probe in PROBES {
        let encoding =
            guarded(|| truth.encode_fast(probe, true)).map_err(|error| format!("fails at {probe:?}: {error}"))?;
        let beyond = encoding.get_ids().iter().find(|&&id| vocabulary.is_some_and(|rows| id as usize >= rows));
        if let Some(id) = beyond {
            return Err(format!("makes the id {id} of {probe:?}, which the graph's table does not have"));
        }
    }
    Ok(())
}

/// A tokenizer of any kind. WordPiece is tried first by its own type: the crate's general reader tries every kind of model in
/// turn on a copy of the whole vocabulary, which takes three times as long.
fn read(json: &[u8]) -> tokenizers::Result<Tokenizer> {
    type WordPieceTokenizer =
        TokenizerImpl<WordPiece, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;
    match serde_json::from_slice::<WordPieceTokenizer>(json) {
        Ok(tokenizer) => Ok(tokenizer.into()),
        Err(_) => Tokenizer::from_bytes(json),
    }
}

/// The shortest prefix of at least `length` bytes that is followed by a space or a line feed; the whole text if there is none.
fn cut_at_space(text: &str, length: usize) -> &str {
    let Some(rest) = text.as_bytes().get(length..) else { return text };
    match rest.iter().position(|&byte| byte == b' ' || byte == b'\n') {
        Some(at) => &text[..length + at],
        None => text,
    }
}
