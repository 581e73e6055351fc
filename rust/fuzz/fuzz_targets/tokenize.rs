//! Ids of any prompt equal those of the `tokenizers` crate.

#![no_main]

use std::{
    path::Path,
    sync::LazyLock,
};

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tokenizers::{Tokenizer, TruncationParams};
use turnout_core::tokenize::PromptTokenizer;

const MAX_TOKENS: usize = 32;

/// Ours and the crate's, uncased and cased, over all of Latin, Greek and Cyrillic and a few others.
static TOKENIZERS: LazyLock<Vec<(PromptTokenizer, Tokenizer)>> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny/tokenizer.json");
    let mut uncased: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let vocab = uncased["model"]["vocab"].as_object_mut().unwrap();
    let others = ('\u{300}'..='\u{36f}').chain('\u{1100}'..='\u{11ff}').chain('\u{3040}'..='\u{30ff}');
    for c in ('!'..='\u{52f}').chain('\u{1e00}'..='\u{1fff}').chain('\u{4e00}'..='\u{4eff}').chain(others) {
        for piece in [c.to_string(), format!("##{c}")] {
            let id = vocab.len();
            vocab.entry(piece).or_insert(json!(id));
        }
    }
    let mut cased = uncased.clone();
    cased["normalizer"]["lowercase"] = json!(false);
    cased["normalizer"]["strip_accents"] = json!(false);
    let both = [uncased, cased].map(|tokenizer| {
        let json = tokenizer.to_string().into_bytes();
        let mut truth = Tokenizer::from_bytes(&json).unwrap();
        let truncation = TruncationParams { max_length: MAX_TOKENS, ..TruncationParams::default() };
        truth.with_truncation(Some(truncation)).unwrap();
        (PromptTokenizer::new(Path::new("tokenizer.json"), json.as_slice(), MAX_TOKENS, None).unwrap(), truth)
    });
    both.into()
});

fuzz_target!(|prompt: &str| {
    for (ours, truth) in TOKENIZERS.iter() {
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        ours.encode(prompt, &mut fast).unwrap();
        ours.encode_slowly(prompt, &mut slow).unwrap();
        let expected = truth.encode_fast(prompt, true).unwrap();
        assert_eq!(fast, expected.get_ids());
        assert_eq!(slow, expected.get_ids());
    }
});
