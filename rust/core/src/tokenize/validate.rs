//! What a `tokenizer.json` may hold before the `tokenizers` crate reads it.
//!
//! The crate trusts its files. A hostile one can make it panic (a template with a second sequence, BPE merges without their
//! result, a truncated character map), ask for gigabytes (the length field of a character map), overflow the stack, which no
//! caller can catch (the trie of a Unigram model is dropped recursively, one frame a byte), or multiply every prompt (each
//! `Replace` or `ByteLevel` in a sequence by some factor). What can be caught is caught where the crate is called; the rest is
//! refused here, with limits that no tokenizer in use comes near.

use std::{cell::Cell, fmt};

use fancy_regex::Expr;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Values in one of the parts that describe steps.
const MAX_VALUES: usize = 4096;
const MAX_STEPS: usize = 32;
const MAX_GROWTH: usize = 64;
const MAX_PATTERN: usize = 2000;
const MAX_LOOK_AROUND: usize = 32;
const MAX_TOKEN_BYTES: usize = 1024;
const MAX_ADDED_TOKENS: usize = 65_536;
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

/// Bounds the time of a regular expression. Most are matched in one pass over a text, with as many steps for each character as the pattern
/// has when its bounded repeats are written out. Those with a look-around or a possessive repeat are matched by trying: what a look-around
/// holds again from each character on, and repeats inside repeats in every way in which they can share a text.
fn check_pattern(pattern: &str) -> Result<(), String> {
    // What cannot be parsed is refused by the crate.
    let Ok(tree) = Expr::parse_tree(pattern).map(|tree| tree.expr) else { return Ok(()) };
    let size = written_out(&tree);
    if size > MAX_PATTERN {
        return Err(format!(
            "a regular expression of {size} steps, with its repeats written out; at most {MAX_PATTERN}"
        ));
    }
    if !holds(&tree, &is_tried) {
        return Ok(());
    }
    let varies = |node: &Expr| matches!(node, Expr::Repeat { lo, hi, .. } if lo != hi && *hi > 1);
    let varies_within = |node: &Expr| children(node).iter().any(|part| holds(part, &varies));
    let repeats = |node: &Expr| matches!(node, Expr::Repeat { hi: 2.., .. });
    if holds(&tree, &|node| matches!(node, Expr::LookAround(..)) && written_out(node) > MAX_LOOK_AROUND) {
        Err(format!("a look-around of more than {MAX_LOOK_AROUND} steps, with its repeats written out"))
    } else if holds(&tree, &|node| repeats(node) && varies_within(node)) {
        Err("a regular expression with a look-around or the like, and a repeat of varying length inside a repeat"
            .into())
    } else if holds(&tree, &|node| is_tried(node) && !matches!(node, Expr::LookAround(..) | Expr::AtomicGroup(_))) {
        Err("a regular expression with a back reference, a condition or a call of a group".into())
    } else {
        Ok(())
    }
}

/// Steps of an expression with its bounded repeats written out.
fn written_out(node: &Expr) -> usize {
    let parts = || children(node).iter().fold(0usize, |total, part| total.saturating_add(written_out(part)));
    match node {
        Expr::Literal { val, .. } => val.chars().count(),
        Expr::Repeat { lo, hi: usize::MAX, .. } => parts().max(1).saturating_mul((*lo).max(1)),
        Expr::Repeat { hi, .. } => parts().max(1).saturating_mul((*hi).max(1)),
        _ => parts().max(1),
    }
}

/// Whether a part of the expression is of a kind. The parser bounds how deep it is nested.
fn holds(node: &Expr, is_of_kind: &dyn Fn(&Expr) -> bool) -> bool {
    is_of_kind(node) || children(node).iter().any(|part| holds(part, is_of_kind))
}

/// Whether a part is matched by trying.
fn is_tried(node: &Expr) -> bool {
    let is_one_pass = matches!(
        node,
        Expr::Empty
            | Expr::Any { .. }
            | Expr::Assertion(_)
            | Expr::Literal { .. }
            | Expr::Delegate { .. }
            | Expr::Concat(_)
            | Expr::Alt(_)
            | Expr::Group(_)
            | Expr::Repeat { .. }
    );
    !is_one_pass
}

fn children(node: &Expr) -> Vec<&Expr> {
    match node {
        Expr::Concat(parts) | Expr::Alt(parts) => parts.iter().collect(),
        Expr::Group(part) | Expr::AtomicGroup(part) | Expr::LookAround(part, _) | Expr::Repeat { child: part, .. } => {
            vec![part]
        }
        Expr::Conditional { condition, true_branch, false_branch } => vec![condition, true_branch, false_branch],
        _ => vec![],
    }
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

/// A part of the file as JSON with at most [`MAX_VALUES`] values: a `Value` may take thirty times the room of its text.
#[derive(Default)]
struct Part(Value);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Counted(&Cell::new(MAX_VALUES)).deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct Counted<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left =
            self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom(format!("more than {MAX_VALUES} values")))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.insert(key.clone(), map.next_value_seed(self)?).is_some() {
                return Err(A::Error::custom(format!("duplicate key {key:?}")));
            }
        }
        Ok(Value::Object(object))
    }
}

/// Text of a token, of moderate length.
struct Token;

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Token;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the text of a token")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Token, E> {
                if text.len() > MAX_TOKEN_BYTES {
                    return Err(E::custom(format!(
                        "a token of {} bytes, expected at most {MAX_TOKEN_BYTES}",
                        text.len()
                    )));
                }
                Ok(Token)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Tokens with ids (a map) or with scores (a list of pairs).
struct Vocabulary;

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                while map.next_entry::<Token, IgnoredAny>()?.is_some() {}
                Ok(Vocabulary)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vocabulary, A::Error> {
                while sequence.next_element::<(Token, f64)>()?.is_some() {}
                Ok(Vocabulary)
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

#[derive(Default)]
struct AddedTokens;

impl<'de> Deserialize<'de> for AddedTokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Added {
            #[serde(rename = "content")]
            _content: Token,
        }
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = AddedTokens;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of added tokens")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<AddedTokens, A::Error> {
                let mut count = 0;
                while sequence.next_element::<Added>()?.is_some() {
                    count += 1;
                    if count > MAX_ADDED_TOKENS {
                        return Err(A::Error::custom(format!("more than {MAX_ADDED_TOKENS} added tokens")));
                    }
                }
                Ok(AddedTokens)
            }
        }
        deserializer.deserialize_seq(List)
    }
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
    fn bounded_repeats_inside_each_other_multiply() {
        let size = |pattern: &str| written_out(&Expr::parse_tree(pattern).unwrap().expr);
        assert_eq!(size("abc"), 3);
        assert_eq!(size("a{3}(bc){1,10}"), 23);
        assert_eq!(size("((a{1,100}){1,100}){1,100}"), 1_000_000);
        assert!(
            size(
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+"
            ) < 120
        );
        assert_eq!(size("(((((a){999999}){999999}){999999}){999999}){999999}"), usize::MAX);
    }

    #[test]
    fn patterns_that_are_tried_over_and_over_are_refused() {
        let split = |pattern: &str| fault("pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": pattern}}));
        for (hostile, reason) in [
            ("(?=(?:a{0,43}){0,43}b)a", "a look-around of more than 32 steps"),
            ("(?<!a{1,100})b", "a look-around of more than 32 steps"),
            ("(?:a*)*(?!b)", "a repeat of varying length inside a repeat"),
            ("(?:a?b+){2,}(?!b)", "a repeat of varying length inside a repeat"),
            ("(?>(a+)+)b", "a repeat of varying length inside a repeat"),
            (r"(a)\1", "a back reference"),
            (r"(?<x>a|b\g<x>)", "a call of a group"),
            ("(a)?(?(1)b|c)", "a condition"),
            ("a{2001}", "of 2001 steps"),
        ] {
            let found = split(hostile).unwrap_or_default();
            assert!(found.contains(reason), "{hostile}: {found}");
        }
        // GPT-2, cl100k (with and without possessive repeats), o200k, digits in threes from the right, and what is matched in one pass.
        for known in [
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
            "(?:a{1,40}){1,40}b",
            "[(?=*)]+",
        ] {
            assert_eq!(split(known), None, "{known}");
        }
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
