//! What a `tokenizer.json` may hold before the `tokenizers` crate reads it.
//!
//! The crate trusts its files. A hostile one can make it panic (a template with a second sequence, BPE merges without their
//! result, a truncated character map), ask for gigabytes (the length field of a character map), overflow the stack, which no
//! caller can catch (the trie of a Unigram model is dropped recursively, one frame a byte), or multiply every prompt (each
//! `Replace` or `ByteLevel` in a sequence by some factor). What can be caught is caught where the crate is called; the rest is
//! refused here, with limits that no tokenizer in use comes near.

mod bounded;
mod patterns;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

pub(super) use self::bounded::MAX_ADDED_TOKENS;
use self::{
    bounded::{AddedTokens, Part, Vocabulary},
    patterns::check_pattern,
};

const MAX_STEPS: usize = 32;
const MAX_GROWTH: usize = 64;
const MAX_WORD_CHARS: u64 = 256;
const MAX_AFFIX_BYTES: usize = 64;

/// The field at fault and what is wrong with it.
type Fault = (&'static str, String);

/// Says what is wrong with the file, if anything. The crate may still refuse it.
pub(super) fn validate(json: &[u8]) -> Result<(), Fault> {
    let file: File = serde_json::from_slice(json).map_err(|error| ("json", error.to_string()))?;
    let mut growth = 1;
    for (field, part) in [("normalizer", &file.normalizer.0), ("pre_tokenizer", &file.pre_tokenizer.0)] {
        check_steps(part, &mut growth).map_err(|message| (field, message))?;
    }
    check_post_processor(&file.post_processor.0).map_err(|message| ("post_processor", message))?;
    let model = &file.model;
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if affixes.into_iter().flatten().any(|affix| affix.len() > MAX_AFFIX_BYTES) {
        return Err(("model", format!("a prefix or suffix of more than {MAX_AFFIX_BYTES} bytes")));
    }
    // The crate cuts the prefix off pieces that may not have it, and takes the rest for UTF-8 unchecked.
    if model.merges.is_some() && model.continuing_subword_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty()) {
        return Err(("model.continuing_subword_prefix", "present beside merges, expected none".into()));
    }
    match model.max_input_chars_per_word {
        Some(chars) if chars > MAX_WORD_CHARS => {
            Err(("model.max_input_chars_per_word", format!("{chars}, expected at most {MAX_WORD_CHARS}")))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    normalizer: Part,
    #[serde(default)]
    pre_tokenizer: Part,
    #[serde(default)]
    post_processor: Part,
    #[serde(default, rename = "decoder")]
    _decoder: Part,
    #[serde(default, rename = "added_tokens")]
    _added_tokens: AddedTokens,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "vocab")]
    _vocab: Vocabulary,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    max_input_chars_per_word: Option<u64>,
    merges: Option<IgnoredAny>,
}

/// Every object of a part in turn.
fn walk(part: &Value, visit: &mut impl FnMut(&Map<String, Value>) -> Result<(), String>) -> Result<(), String> {
    match part {
        Value::Object(object) => {
            visit(object)?;
            object.values().try_for_each(|value| walk(value, visit))
        }
        Value::Array(values) => values.iter().try_for_each(|value| walk(value, visit)),
        _ => Ok(()),
    }
}

/// Normalizers and pre-tokenizers: few of them, and together they must not make a text much longer.
fn check_steps(part: &Value, growth: &mut usize) -> Result<(), String> {
    let mut steps = 0;
    walk(part, &mut |step| {
        let text = |field| step.get(field).and_then(Value::as_str);
        steps += 1;
        *growth = growth.saturating_mul(match (text("content"), text("prepend"), text("precompiled_charsmap")) {
            (Some(content), _, _) => replacement_growth(step.get("pattern"), content),
            (_, Some(prepended), _) => 1 + prepended.len(),
            (_, _, Some(map)) => check_character_map(map)?,
            _ if text("type") == Some("ByteLevel") => 2,
            _ => 1,
        });
        if let Some(pattern) = step.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str) {
            check_pattern(pattern)?;
        }
        match () {
            () if steps > MAX_STEPS => Err(format!("more than {MAX_STEPS} objects")),
            () if *growth > MAX_GROWTH => Err(format!("makes texts more than {MAX_GROWTH} times as long")),
            () if step.get("length").and_then(Value::as_u64) == Some(0) => Err("pieces of length 0".into()),
            () => Ok(()),
        }
    })
}

/// How much longer a text may get where `pattern` is replaced by `content`; a regular expression may match nothing, everywhere.
fn replacement_growth(pattern: Option<&Value>, content: &str) -> usize {
    match pattern.and_then(|pattern| pattern.get("String")).and_then(Value::as_str) {
        Some(pattern) if !pattern.is_empty() => content.len().div_ceil(pattern.len()).max(1),
        _ => 1 + content.len(),
    }
}

/// SentencePiece's character map: the length of a trie in bytes, the trie, and replacements that end in zero bytes. Returns the
/// length of the longest replacement.
fn check_character_map(base64: &str) -> Result<usize, String> {
    let bytes = decode_base64(base64).ok_or("the character map is not base64")?;
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or("the character map is empty")?;
    let trie_bytes = u32::from_le_bytes(*length) as usize / 4 * 4;
    if trie_bytes == 0 || trie_bytes > rest.len() {
        return Err(format!("the character map holds {} bytes, but claims a trie of {trie_bytes}", rest.len()));
    }
    let longest = rest[trie_bytes..].split(|&byte| byte == 0).map(<[u8]>::len).max().unwrap_or(0);
    Ok(longest.max(1))
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// Post-processors: few of them, and a template must hold its text once.
fn check_post_processor(part: &Value) -> Result<(), String> {
    let mut steps = 0;
    walk(part, &mut |step| {
        if let Some(single) = step.get("single") {
            steps += 1;
            let pieces = single.as_array().ok_or("a template is not a list of pieces")?;
            let texts: Vec<&Value> = pieces.iter().filter_map(|piece| piece.get("Sequence")).collect();
            if texts.len() != 1 || texts[0].get("id").and_then(Value::as_str) != Some("A") {
                return Err(format!("a template with {} texts, expected text A and nothing else", texts.len()));
            }
        }
        if steps > MAX_STEPS { Err(format!("more than {MAX_STEPS} templates")) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(part: &str, value: Value) -> Option<String> {
        let mut file = json!({"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a"}, "added_tokens": []});
        file[part] = value;
        validate(file.to_string().as_bytes()).err().map(|(field, message)| format!("{field}: {message}"))
    }

    #[test]
    fn steps_of_tokenizers_in_use_pass() {
        let replace = |pattern, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
        let llama = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(json!({"String": " "}), "▁")]});
        let albert = json!({"type": "Sequence", "normalizers": [replace(json!({"String": "``"}), "\""), {"type": "NFKD"}, {"type": "Lowercase"}]});
        let xlm =
            json!({"type": "Sequence", "normalizers": [{"type": "Strip"}, replace(json!({"Regex": " {2,}"}), "▁")]});
        let qwen = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\p{L}+"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        ]});
        for (part, value) in
            [("normalizer", llama), ("normalizer", albert), ("normalizer", xlm), ("pre_tokenizer", qwen)]
        {
            assert_eq!(fault(part, value), None);
        }
        assert_eq!(fault("normalizer", Value::Null), None);
    }

    #[test]
    fn steps_that_multiply_a_text_are_refused() {
        let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        let nothing = json!({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "a".repeat(64)});
        let byte_level = json!({"type": "ByteLevel"});
        for steps in
            [vec![double.clone(); 7], vec![nothing], vec![byte_level; 7], vec![json!({"prepend": "a".repeat(64)})]]
        {
            let refused = fault("normalizer", json!({"type": "Sequence", "normalizers": steps})).unwrap();
            assert!(refused.contains("times as long"), "{refused}");
        }
        assert_eq!(fault("normalizer", json!({"type": "Sequence", "normalizers": vec![double; 6]})), None);
        let many = vec![json!({"type": "Lowercase"}); 40];
        assert!(fault("normalizer", json!({"type": "Sequence", "normalizers": many})).unwrap().contains("objects"));
        let huge = json!({"type": "Lowercase", "x": vec![0; 5000]});
        assert!(fault("normalizer", huge).unwrap().contains("values"));
    }

    #[test]
    fn a_hostile_pattern_is_refused_in_every_step() {
        let split = json!({"type": "Split", "pattern": {"Regex": "a{2001}"}});
        for part in [split.clone(), json!({"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, split]})] {
            assert!(
                fault("pre_tokenizer", part).unwrap().contains("pre_tokenizer: a regular expression of 2001 steps")
            );
        }
    }

    #[test]
    fn character_maps_with_a_false_length_or_long_replacements_are_refused() {
        let map = |bytes: &[u8]| {
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let mut bits = bytes.iter().flat_map(|b| (0..8).rev().map(move |at| b >> at & 1)).collect::<Vec<u8>>();
            bits.resize(bits.len().div_ceil(6) * 6, 0);
            let digit =
                |six: &[u8]| char::from(digits[six.iter().fold(0, |value, bit| value << 1 | usize::from(*bit))]);
            json!({"type": "Precompiled", "precompiled_charsmap": bits.chunks(6).map(digit).collect::<String>()})
        };
        assert_eq!(fault("normalizer", map(b"\x04\0\0\0\0\0\0\0abc\0de\0")), None);
        for bad in [&b""[..], b"\x04\0", b"\0\0\0\0abc\0", b"\xff\xff\xff\xffabcd"] {
            assert!(fault("normalizer", map(bad)).unwrap().contains("character map"));
        }
        let long = [&b"\x04\0\0\0\0\0\0\0"[..], &[b'a'; 65]].concat();
        assert!(fault("normalizer", map(&long)).unwrap().contains("times as long"));
    }

    #[test]
    fn templates_hold_the_text_once() {
        let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let template =
            |single: Value| json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}});
        assert_eq!(fault("post_processor", template(json!([text("A")]))), None);
        for bad in [json!([]), json!([text("A"), text("A")]), json!([text("B")]), json!("$A")] {
            assert!(fault("post_processor", template(bad)).unwrap().contains("template"));
        }
    }

    #[test]
    fn models_with_long_tokens_prefixes_or_words_are_refused() {
        let long = "a".repeat(1025);
        for (model, expected) in [
            (json!({"vocab": {long.clone(): 0}}), "a token of 1025 bytes"),
            (json!({"vocab": [[long.clone(), 0.5]]}), "a token of 1025 bytes"),
            (json!({"vocab": {}, "continuing_subword_prefix": long}), "prefix or suffix"),
            (json!({"vocab": {}, "merges": [], "continuing_subword_prefix": "##"}), "beside merges"),
            (json!({"vocab": {}, "max_input_chars_per_word": 1000}), "at most 256"),
            (json!({}), "missing field `vocab`"),
        ] {
            let refused = fault("model", model).unwrap();
            assert!(refused.contains(expected), "{refused}");
        }
        assert!(fault("added_tokens", json!([{"content": "a".repeat(1025)}])).unwrap().contains("a token of"));
    }
}
