//! The one form of `tokenizer.json` that is read without the `tokenizers` crate: uncased or cased BERT WordPiece, as shipped artifacts
//! have it.
//!
//! The crate takes some 30 ms for a vocabulary of 30,000 pieces; this takes about one. Every field must be present and known, or the
//! crate reads the file, with its own checks and errors.

use std::borrow::Cow;

use serde::Deserialize;
use tokenizers::normalizers::BertNormalizer;

use super::{
    fast::{FastWordPiece, MAX_WORD_CHARS, Parts},
    pieces::CONTINUATION,
    validate::MAX_ADDED_TOKENS,
    vocabulary::{Vocabulary, cut_out},
};
use crate::artifact::FileBytes;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(rename = "version")]
    _version: Version,
    truncation: Option<Never>,
    padding: Option<Never>,
    #[serde(borrow)]
    added_tokens: Vec<Added<'a>>,
    normalizer: Normalizer,
    #[serde(rename = "pre_tokenizer")]
    _pre_tokenizer: PreTokenizer,
    post_processor: Option<Never>,
    decoder: Option<Never>,
    #[serde(borrow)]
    model: Model<'a>,
}

/// A part that must be `null`.
#[derive(Deserialize)]
enum Never {}

#[derive(Deserialize)]
enum Version {
    #[serde(rename = "1.0")]
    One,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added<'a> {
    id: u32,
    special: bool,
    #[serde(borrow)]
    content: Cow<'a, str>,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Normalizer {
    BertNormalizer { clean_text: bool, handle_chinese_chars: bool, strip_accents: Option<bool>, lowercase: bool },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreTokenizer {
    #[serde(rename = "type")]
    _type: PreTokenizerType,
}

#[derive(Deserialize)]
enum PreTokenizerType {
    BertPreTokenizer,
}

#[derive(Deserialize)]
enum ModelType {
    WordPiece,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model<'a> {
    #[serde(rename = "type")]
    _type: ModelType,
    #[serde(borrow)]
    unk_token: Cow<'a, str>,
    #[serde(borrow)]
    continuing_subword_prefix: Cow<'a, str>,
    max_input_chars_per_word: usize,
    #[serde(rename = "vocab")]
    _vocab: CutOut,
}

/// What [`cut_out`] leaves of the vocabulary.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CutOut {}

/// The tokenizer of a file of this form, and its largest id; nothing if any part of the file is of another form.
pub(super) fn read(json: &FileBytes, max_tokens: usize) -> Option<(FastWordPiece, u32)> {
    // No object but the model may have the field, so it is the model's vocabulary that was cut out.
    let (Vocabulary { pieces, largest }, rest) = cut_out(json)?;
    let file: File<'_> = serde_json::from_str(&rest).ok()?;
    let nulls = [file.truncation, file.padding, file.post_processor, file.decoder];
    let model = file.model;
    let is_bert = model.continuing_subword_prefix == CONTINUATION && model.max_input_chars_per_word == MAX_WORD_CHARS;
    // With more added tokens the general path refuses the file.
    if nulls.iter().any(Option::is_some) || !is_bert || file.added_tokens.len() > MAX_ADDED_TOKENS {
        return None;
    }
    let plain =
        |token: &Added<'_>| token.special && !(token.normalized || token.lstrip || token.rstrip || token.single_word);
    // The crate gives an added token outside the vocabulary an id of its own counting.
    if !file.added_tokens.iter().all(|token| plain(token) && pieces.id_of(&token.content) == Some(token.id)) {
        return None;
    }
    let Normalizer::BertNormalizer { clean_text, handle_chinese_chars, strip_accents, lowercase } = file.normalizer;
    let parts = Parts {
        normalizer: BertNormalizer::new(clean_text, handle_chinese_chars, strip_accents, lowercase),
        unknown: pieces.id_of(&model.unk_token)?,
        special: file.added_tokens.iter().map(|token| (token.content.to_string(), token.id)).collect(),
        before: vec![],
        after: vec![],
        max_tokens,
    };
    Some((FastWordPiece::new(parts, pieces)?, largest))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn file() -> Value {
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [{"id": 0, "special": true, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false}],
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null, "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                "vocab": {"[UNK]": 0, "a": 1, "##b": 2}},
        })
    }

    fn is_read(change: impl FnOnce(&mut Value)) -> bool {
        let mut file = file();
        change(&mut file);
        read(&FileBytes::from(file.to_string().as_bytes()), 8).is_some()
    }

    #[test]
    fn the_shipped_form_is_read() {
        let (fast, largest) = read(&FileBytes::from(file().to_string().as_bytes()), 8).unwrap();
        assert_eq!(largest, 2);
        let mut ids = vec![];
        fast.encode("ab A x", &mut ids);
        assert_eq!(ids, [1, 2, 1, 0]);
    }

    #[test]
    fn every_other_form_is_left_to_the_crate() {
        assert!(is_read(|_| {}));
        let part =
            |pointer: &'static str, value: Value| is_read(move |file| *file.pointer_mut(pointer).unwrap() = value);
        assert!(!part("/version", json!("2.0")));
        assert!(!part("/truncation", json!({"max_length": 3})));
        assert!(!part("/post_processor", json!({"type": "BertProcessing", "sep": ["a", 1], "cls": ["a", 1]})));
        assert!(!part("/decoder", json!({"type": "WordPiece", "prefix": "##", "cleanup": true})));
        assert!(!part("/normalizer/lowercase", json!(1)));
        assert!(!part("/pre_tokenizer/type", json!("Whitespace")));
        assert!(!part("/model/type", json!("BPE")));
        assert!(!part("/model/unk_token", json!("[unk]")));
        assert!(!part("/model/max_input_chars_per_word", json!(99)));
        assert!(!part("/model/vocab", json!({"[UNK]": 0, "a": 0})));
        assert!(!part("/model/vocab", json!({"[UNK]": 0, "a": 9})));
        assert!(!part("/model/vocab", json!({"[UNK]": -1})));
        assert!(!part("/added_tokens/0/id", json!(1)));
        assert!(!part("/added_tokens/0/normalized", json!(true)));
        assert!(!part("/added_tokens/0/content", json!("new")));
        assert!(!is_read(|file| file["extra"] = json!(null)));
        assert!(!is_read(|file| file["model"]["fuse_unk"] = json!(true)));
        assert!(!part("/pre_tokenizer", json!({"type": "BertPreTokenizer", "vocab": {"[UNK]": 0}})));
        assert!(!is_read(|file| {
            file["pre_tokenizer"]["vocab"] = json!({"[UNK]": 0});
            file["model"]["vocab"] = json!({});
        }));
        let twice = file().to_string().replace("\"a\":1", "\"a\":1,\"a\":3");
        assert!(read(&FileBytes::from(twice.as_bytes()), 8).is_none());
    }
}
