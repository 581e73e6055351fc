//! Ids of [`PromptTokenizer`] equal those of the `tokenizers` crate with truncation: for any text, for every Unicode scalar, for
//! texts far beyond the token limit and for variants of a BERT tokenizer that the fast path must know or stand aside for.
//!
//! `cargo test --release --test tokenize -- --ignored` goes over all of Unicode instead of a sample.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokenizers::{Tokenizer, TruncationParams};
use turnout_core::{ShortPrompts, Truncation, tokenize::PromptTokenizer};
use unicode_normalization::UnicodeNormalization;

/// Our tokenizer beside the crate's, made from the same file.
struct Beside {
    ours: PromptTokenizer,
    truth: Tokenizer,
}

impl Beside {
    fn new(tokenizer: &Value, max_tokens: usize) -> Self {
        let json = tokenizer.to_string().into_bytes();
        let mut truth = Tokenizer::from_bytes(&json).unwrap();
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        truth.with_padding(None).with_truncation(Some(truncation)).unwrap();
        Self {
            ours: PromptTokenizer::new(Path::new("tokenizer.json"), json.as_slice(), max_tokens, None).unwrap(),
            truth,
        }
    }

    /// The ids of `text` and what the crate says they should be.
    fn ids(&self, text: &str) -> (Vec<u32>, Vec<u32>) {
        // What lies in the buffer before must not matter.
        let mut ids = vec![u32::MAX; 3];
        self.ours.encode(text, &mut ids).unwrap();
        (ids, self.truth.encode_fast(text, true).unwrap().get_ids().to_vec())
    }

    fn check(&self, text: &str) {
        let (found, expected) = self.ids(text);
        assert_eq!(found, expected, "{:?} ({} bytes)", text.chars().take(60).collect::<String>(), text.len());
    }
}

/// `models/tiny/tokenizer.json` over another vocabulary: [`Characters`](char) alone and continuing, and some longer pieces.
fn tokenizer(characters: impl IntoIterator<Item = char>) -> Value {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut pieces: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from).to_vec();
    let words =
        "the of and what prove naive cafe international internationalization straße über ångström ελληνικά привет";
    pieces.extend(words.split(' ').map(String::from));
    pieces.extend(
        ["ing", "ization", "ed", "ﬃ", "ωω", "ωωω", "ии", "12345678", "123456789", "ᄀᄀ", "日本"]
            .map(|s| format!("##{s}")),
    );
    // The longest word there is, one character more, and words that differ in their last byte only.
    pieces.extend([100, 101].map(|n| "z".repeat(n)));
    pieces.extend(["", "a", "b"].map(|end| format!("##{}{end}", "y".repeat(16))));
    pieces.extend(["𝒳".repeat(100), "𝒳".repeat(101)]);
    let known: BTreeSet<String> = pieces.iter().cloned().collect();
    let closed: BTreeSet<char> = characters.into_iter().flat_map(forms).filter(|c| !c.is_whitespace()).collect();
    let alone = closed.iter().map(|c| c.to_string()).filter(|piece| !known.contains(piece));
    pieces.extend(alone.chain(closed.iter().map(|c| format!("##{c}"))));
    let vocab: Map<String, Value> = pieces.into_iter().enumerate().map(|(id, piece)| (piece, json!(id))).collect();
    tokenizer["model"]["vocab"] = Value::Object(vocab);
    tokenizer
}

/// A character and everything that a normalizer may turn it into, so that a wrong normal form is a wrong id and not one `[UNK]`
/// in place of another.
fn forms(c: char) -> impl Iterator<Item = char> {
    let decomposed = std::iter::once(c).nfd();
    std::iter::once(c)
        .chain(c.to_lowercase())
        .chain(decomposed.flat_map(|d| std::iter::once(d).chain(d.to_lowercase())))
}

/// Latin, Greek, Cyrillic, Devanagari, Thai, Hangul, kana, Chinese, punctuation, symbols, emoji.
fn common_characters() -> impl Iterator<Item = char> {
    let ranges = [
        ('!', '\u{52f}'),
        ('\u{5be}', '\u{5f4}'),
        ('\u{900}', '\u{97f}'),
        ('\u{e00}', '\u{e7f}'),
        ('\u{1100}', '\u{11ff}'),
        ('\u{1e00}', '\u{206f}'),
        ('\u{20a0}', '\u{20ff}'),
        ('\u{1b44}', '\u{1b44}'),
        ('\u{2100}', '\u{218f}'),
        ('\u{3000}', '\u{30ff}'),
        ('\u{4e00}', '\u{4eff}'),
        ('\u{ac00}', '\u{acff}'),
        ('\u{fb00}', '\u{fb06}'),
        ('\u{ff00}', '\u{ff65}'),
        ('\u{1d15e}', '\u{1d172}'),
        ('\u{1d400}', '\u{1d4ff}'),
        ('\u{1f300}', '\u{1f64f}'),
    ];
    ranges.into_iter().flat_map(|(first, last)| first..=last)
}

fn added(id: u32, content: &str, flags: &[&str]) -> Value {
    let is = |flag| flags.contains(&flag);
    json!({"id": id, "content": content, "single_word": is("single_word"), "lstrip": is("lstrip"), "rstrip": is("rstrip"),
           "normalized": is("normalized"), "special": is("special")})
}

/// Changes some keys of a part of the file.
fn with(base: &Value, part: &str, changes: Value) -> Value {
    let mut tokenizer = base.clone();
    match changes {
        Value::Object(changes) if tokenizer[part].is_object() => {
            changes.into_iter().for_each(|(key, value)| tokenizer[part][key] = value);
        }
        whole => tokenizer[part] = whole,
    }
    tokenizer
}

fn with_added(base: &Value, tokens: &[Value]) -> Value {
    let mut list = base["added_tokens"].as_array().unwrap().clone();
    list.extend_from_slice(tokens);
    with(base, "added_tokens", Value::Array(list))
}

fn template() -> Value {
    let special = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
    let token = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [token("[CLS]"), text("A"), token("[SEP]")],
        "pair": [token("[CLS]"), text("A"), token("[SEP]"), text("B"), token("[SEP]")],
        "special_tokens": {"[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3)},
    })
}

/// As Llama 3 has it.
fn byte_level_and_template() -> Value {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    json!({"type": "Sequence", "processors": [byte_level, template()]})
}

fn variants() -> Vec<(&'static str, Value)> {
    let base = tokenizer(common_characters());
    let n = base["model"]["vocab"].as_object().unwrap().len() as u32;
    let normalizer = |changes| with(&base, "normalizer", changes);
    let truncation = json!({"direction": "Left", "max_length": 3, "strategy": "OnlySecond", "stride": 1});
    let padding = json!({"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 0,
                         "pad_type_id": 0, "pad_token": "[PAD]"});
    vec![
        ("uncased", base.clone()),
        ("cased", normalizer(json!({"lowercase": false, "strip_accents": false}))),
        ("cased, accents by default", normalizer(json!({"lowercase": false}))),
        ("uncased with accents", normalizer(json!({"strip_accents": false}))),
        ("cased without accents", normalizer(json!({"lowercase": false, "strip_accents": true}))),
        ("unclean", normalizer(json!({"clean_text": false}))),
        ("unclean, cased", normalizer(json!({"clean_text": false, "lowercase": false}))),
        ("Chinese in words", normalizer(json!({"handle_chinese_chars": false}))),
        (
            "nothing normalized",
            normalizer(json!({"clean_text": false, "handle_chinese_chars": false, "lowercase": false})),
        ),
        ("template", with(&base, "post_processor", template())),
        ("byte level and template", with(&base, "post_processor", byte_level_and_template())),
        (
            "BERT processor",
            with(&base, "post_processor", json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]})),
        ),
        ("another prefix", with(&base, "model", json!({"continuing_subword_prefix": "@@"}))),
        ("no prefix", with(&base, "model", json!({"continuing_subword_prefix": ""}))),
        ("short words", with(&base, "model", json!({"max_input_chars_per_word": 5}))),
        ("other unknown", with(&base, "model", json!({"unk_token": "the"}))),
        ("its own truncation", with(&with(&base, "truncation", truncation), "padding", padding)),
        ("lower case and no more", with(&base, "normalizer", json!({"type": "Lowercase", "clean_text": null}))),
        ("split at white space", with(&base, "pre_tokenizer", json!({"type": "Whitespace"}))),
        ("nothing split", with(&base, "pre_tokenizer", Value::Null)),
        ("added: normalized", with_added(&base, &[added(n, "Prove", &["normalized"])])),
        ("added: normalized to nothing", with_added(&base, &[added(n, "x\u{301}", &["normalized"])])),
        ("added: with a space", with_added(&base, &[added(n, "[of the]", &[])])),
        ("added: with a line feed", with_added(&base, &[added(n, "[x\ny]", &[])])),
        (
            "added: with other white space",
            with_added(&base, &[added(n, "[x\u{3000}y]", &[]), added(n + 1, "[x\ty]", &[])]),
        ),
        ("added: begins with a space", with_added(&base, &[added(n, " [x]", &[])])),
        ("added: begins with a letter", with_added(&base, &[added(n, "what[", &[])])),
        ("added: Chinese", with_added(&base, &[added(n, "中文", &[]), added(n + 1, "中", &[])])),
        ("added: a combining mark", with_added(&base, &[added(n, "\u{301}", &[])])),
        (
            "added: a control character",
            with_added(&base, &[added(n, "\u{1}", &[]), added(n + 1, "\u{200b}\u{200b}", &[])]),
        ),
        (
            "added: overlapping",
            with_added(&base, &[added(n, "<a", &[]), added(n + 1, "<a>b", &[]), added(n + 2, ">", &[])]),
        ),
        ("added: strips left", with_added(&base, &[added(n, "[x]", &["lstrip"])])),
        ("added: strips right", with_added(&base, &[added(n, "[x]", &["rstrip", "special"])])),
        ("added: whole words only", with_added(&base, &[added(n, "[x]", &["single_word"])])),
        ("added: not special", with_added(&base, &[added(n, "<|end|>", &[])])),
        ("added: known word", with_added(&base, &[added(7, "[PAD]", &["special"]), added(9, "!", &[])])),
        ("added: none", with(&base, "added_tokens", json!([]))),
    ]
}

/// Texts that some tokenizer somewhere gets wrong.
const ODD: &[&str] = &[
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{3000}",
    "\u{200b}",
    "\u{feff}",
    "\u{a0}",
    "\u{1680}",
    "\u{202f}",
    "\u{180e}",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\u{b}",
    "\u{c}",
    "\u{0}",
    "\u{1}",
    "\u{7f}",
    "\u{1c}",
    "\u{fffd}",
    "\u{ad}",
    "\u{200d}",
    "\u{2060}",
    "\u{301}",
    "\u{327}",
    "\u{323}",
    "\u{345}",
    "\u{344}",
    "\u{30a}",
    "\u{5b0}",
    "\u{64b}",
    "\u{94d}",
    "\u{1d165}",
    "\u{1d16d}",
    "\u{302e}",
    "\u{1b44}",
    "\u{1d15e}",
    "İ",
    "ı",
    "ß",
    "ẞ",
    "ﬃ",
    "ŉ",
    "ǰ",
    "ΐ",
    "Σ",
    "ς",
    "ΑΣ",
    "Å",
    "Å",
    "é",
    "e\u{301}",
    "q\u{307}\u{323}",
    "q\u{323}\u{307}",
    "ệ",
    "ǅ",
    "ſ",
    "K",
    "한",
    "글",
    "한국어",
    "\u{1112}\u{1161}\u{11ab}",
    "가",
    "각",
    "中",
    "文",
    "中文",
    "日本語",
    "\u{20000}",
    "豈",
    "ら゛",
    "が",
    "か\u{3099}",
    "𝒳",
    "😀",
    "👩‍👩‍👧",
    "🇩🇪",
    "ａ",
    "！",
    "，",
    "ก",
    "ำ",
    "กำ",
    "कि",
    "क्",
    "־",
    "،",
    "‿",
    "…",
    "—",
    "„",
    "´",
    "`",
    "¨",
    "$",
    "^",
    "+",
    "₿",
    "½",
    "²",
    "Ⅷ",
    "\u{e000}",
    "\u{d7ff}",
    "\u{10ffff}",
    "\u{378}",
    "[SEP]",
    "[UNK]",
    "[CLS",
    "[sep]",
    "[PAD]",
    "##ing",
    "[x]",
    " [x] ",
    "[x\ny]",
    "[x\ty]",
    "[of the]",
    "<a>b",
    "<a",
    "<a>",
    ">",
    "<|end|>",
    "Prove",
    "what[",
    "what",
    "[",
    "[[SEP]]",
    "zzzzzzzzzz",
    "internationalization",
    "12345678",
    "123456789",
    "yyyyyyyyyyyyyyyya",
];

fn fragment() -> impl Strategy<Value = String> {
    let words =
        "The of and what PROVE prove cafe naïve straße International yyyyyyyyyyyyyyyyyb 123456789 ωωωω".split(' ');
    let long = prop::sample::select(vec![98usize, 99, 100, 101, 102, 200]);
    let letter = prop::sample::select(vec!["a", "z", "Z", "é", "e\u{301}", "İ", "ﬃ", "한", "𝒳", "ω", "\u{1}a", "中"]);
    prop_oneof![
        4 => prop::sample::select(words.map(String::from).collect::<Vec<_>>()),
        4 => prop::sample::select(ODD).prop_map(String::from),
        4 => prop::sample::select(vec![" ", "  ", "\n", " \t "]).prop_map(String::from),
        3 => "[ -~]{1,12}",
        2 => any::<char>().prop_map(String::from),
        2 => prop::sample::select(common_characters().collect::<Vec<_>>()).prop_map(String::from),
        1 => "[\\PC]{1,6}",
        1 => (long, letter).prop_map(|(count, letter)| letter.repeat(count)),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::collection::vec(fragment(), 0..24).prop_map(|fragments| fragments.concat()),
        1 => any::<String>(),
        1 => "[ -~]{0,400}",
    ]
}

static UNCASED: LazyLock<[Beside; 2]> = LazyLock::new(|| {
    let base = tokenizer(common_characters());
    [Beside::new(&base, 64), Beside::new(&with(&base, "post_processor", template()), 12)]
});
static VARIANTS: LazyLock<Vec<(&str, Beside)>> =
    LazyLock::new(|| variants().into_iter().map(|(name, tokenizer)| (name, Beside::new(&tokenizer, 24))).collect());

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ids_of_any_text_are_those_of_the_crate(text in text()) {
        for beside in UNCASED.iter() {
            let (found, expected) = beside.ids(&text);
            prop_assert_eq!(found, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ids_are_those_of_the_crate_for_every_variant_of_the_tokenizer(text in text()) {
        for (name, beside) in VARIANTS.iter() {
            let (found, expected) = beside.ids(&text);
            prop_assert_eq!(found, expected, "{}", name);
        }
    }

    #[test]
    fn a_text_cut_before_tokenizing_has_the_ids_of_the_whole_text(
        fragments in prop::collection::vec(fragment(), 1..8), repeat in 1usize..200, end in fragment(),
    ) {
        let text = fragments.concat().repeat(repeat) + &end;
        for beside in UNCASED.iter().chain(VARIANTS.iter().map(|(_, beside)| beside)) {
            let expected = beside.truth.encode_fast(text.as_str(), true).unwrap().get_ids().to_vec();
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            beside.ours.encode(&text, &mut fast).unwrap();
            beside.ours.encode_slowly(&text, &mut slow).unwrap();
            prop_assert_eq!(&fast, &expected);
            prop_assert_eq!(&slow, &expected);
        }
    }
}

/// A tokenizer that keeps the beginning and the end of a long text, beside the crate's without truncation.
struct Ends {
    ours: PromptTokenizer,
    truth: Tokenizer,
    max_tokens: usize,
}

impl Ends {
    fn new(tokenizer: &Value, max_tokens: usize) -> Self {
        let json = tokenizer.to_string().into_bytes();
        let mut truth = Tokenizer::from_bytes(&json).unwrap();
        truth.with_padding(None).with_truncation(None).unwrap();
        let ours = PromptTokenizer::new(Path::new("tokenizer.json"), json.as_slice(), max_tokens, None).unwrap();
        Self { ours: ours.with_rules(ShortPrompts::AsWritten, Truncation::HeadTail).unwrap(), truth, max_tokens }
    }

    /// The ids of `text`, and those that the crate's ids of the whole text say they should be.
    fn ids(&self, text: &str) -> (Vec<u32>, Vec<u32>) {
        let mut found = vec![u32::MAX; 3];
        self.ours.encode(text, &mut found).unwrap();
        let ids = |text: &str, special| self.truth.encode_fast(text, special).unwrap().get_ids().to_vec();
        let around = ids("", true);
        // The template puts one token before a text and one after it.
        let before = around.len() / 2;
        let content = self.max_tokens - around.len();
        let mut words = ids(text, false);
        if words.len() > content {
            words.drain(content.div_ceil(2)..words.len() - content / 2);
        }
        (found, [&around[..before], &words, &around[before..]].concat())
    }
}

static ENDS: LazyLock<Vec<Ends>> = LazyLock::new(|| {
    let base = tokenizer(common_characters());
    let spaced = with_added(&base, &[added(900, "two words", &[])]);
    [
        (&base, 64),
        (&base, 7),
        (&with(&base, "post_processor", template()), 12),
        (&with(&base, "post_processor", byte_level_and_template()), 16),
        (&spaced, 9),
    ]
    .into_iter()
    .map(|(tokenizer, max_tokens)| Ends::new(tokenizer, max_tokens))
    .collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn beginning_and_end_are_those_of_the_whole_text(
        start in text(), fragments in prop::collection::vec(fragment(), 0..8), repeat in 0usize..60, end in text(),
    ) {
        let text = start + &fragments.concat().repeat(repeat) + &end;
        for (row, ends) in ENDS.iter().enumerate() {
            let (found, expected) = ends.ids(&text);
            prop_assert_eq!(found, expected, "tokenizer {}", row);
        }
    }
}

#[test]
fn beginning_and_end_of_a_megabyte_are_those_of_the_whole_text() {
    let ends = Ends::new(&tokenizer(common_characters()), 512);
    for (name, text) in long_texts() {
        let (found, expected) = ends.ids(&text);
        assert!(found == expected, "{name}");
    }
}

/// The middle is not tokenized: as for [`a_megabyte_costs_what_its_first_tokens_cost`].
#[test]
fn the_middle_of_a_megabyte_costs_nothing() {
    let base = tokenizer(common_characters());
    let cased = with(&base, "normalizer", json!({"lowercase": false, "strip_accents": false}));
    for (tokenizer, unit) in [(&base, "what is the sum ? "), (&base, "中文"), (&cased, "a\u{301} ")] {
        let ours = Ends::new(tokenizer, 64).ours;
        let (short, long) = (unit.repeat(8192 / unit.len()), unit.repeat((1 << 20) / unit.len()));
        let mut ids = Vec::new();
        let of_short = fastest(20, || ours.encode(&short, &mut ids).unwrap());
        let of_long = fastest(20, || ours.encode(&long, &mut ids).unwrap());
        assert!(of_long < of_short * 10, "{unit:?}: {of_long:?} for a megabyte, {of_short:?} for 8 KB");
    }
}

#[test]
fn short_prompts_lose_case_and_punctuation_only_where_that_is_declared() {
    let json = with(&tokenizer('!'..='~'), "normalizer", json!({"lowercase": false})).to_string().into_bytes();
    let open = |rule| {
        PromptTokenizer::new(Path::new("tokenizer.json"), json.as_slice(), 16, None)
            .unwrap()
            .with_rules(rule, Truncation::Head)
            .unwrap()
    };
    let ids = |tokenizer: &PromptTokenizer, text: &str| {
        let mut ids = Vec::new();
        tokenizer.encode(text, &mut ids).unwrap();
        ids
    };
    let (plain, written) = (open(ShortPrompts::Plain), open(ShortPrompts::AsWritten));
    for text in ["Prove", "prove!", " PROVE. "] {
        assert_eq!(ids(&plain, text), ids(&written, "prove"), "{text}");
        assert_ne!(ids(&written, text), ids(&written, "prove"), "{text}");
    }
    let four = "What is the of?";
    assert_eq!(ids(&plain, four), ids(&written, four));
}

#[test]
fn odd_texts_have_the_ids_of_the_crate_alone_and_in_pairs() {
    for (_, beside) in VARIANTS.iter() {
        ODD.iter().for_each(|odd| beside.check(odd));
    }
    for (first, second) in ODD.iter().flat_map(|first| ODD.iter().map(move |second| (first, second))) {
        UNCASED[0].check(&format!("{first}{second}"));
        UNCASED[0].check(&format!("a{first}b{second}c {first} {second}"));
    }
}

/// The cut falls inside an added token, after as many tokens as the limit.
#[test]
fn a_text_is_never_cut_inside_an_added_token() {
    let base = tokenizer(common_characters());
    for content in ["[x\ny]", "[x y]", "[x\ty]", "[x\u{3000}y]"] {
        let beside = Beside::new(&with_added(&base, &[added(9999, content, &[])]), 24);
        let before = "a ".repeat(23);
        for dropped in 130..200 {
            let text = format!("{before}{}{content} b", "\u{1}".repeat(dropped));
            let mut slow = Vec::new();
            beside.ours.encode_slowly(&text, &mut slow).unwrap();
            assert_eq!(slow, beside.ids(&text).1, "{content:?} after {dropped} characters");
        }
    }
}

#[test]
fn every_variant_in_question_is_known_or_stands_aside() {
    let fast: Vec<&str> =
        VARIANTS.iter().filter(|(_, beside)| beside.ours.has_fast_path()).map(|(name, _)| *name).collect();
    for expected in ["uncased", "cased", "unclean", "Chinese in words", "template", "BERT processor", "added: none"] {
        assert!(fast.contains(&expected), "{expected} has no fast path");
    }
    for slow in ["another prefix", "short words", "lower case and no more", "nothing split", "added: normalized"] {
        assert!(!fast.contains(&slow), "{slow} has a fast path");
    }
}

#[test]
fn words_around_the_length_limit_have_the_ids_of_the_crate() {
    let letters = ["z", "Z", "a", "é", "e\u{301}", "İ", "ﬃ", "ŉ", "한", "𝒳", "\u{1}z", "z\u{200b}", "ω", "Å"];
    for (letter, other) in letters.iter().flat_map(|a| letters.iter().map(move |b| (a, b))) {
        for count in 97..=103 {
            let word = letter.repeat(count - 1) + other;
            for text in [&word, &format!("x {word} y"), &format!("({word})"), &format!("{word}[SEP]{word}")] {
                UNCASED[0].check(text);
            }
        }
    }
}

#[test]
fn tiny_token_limits_have_the_ids_of_the_crate() {
    let base = tokenizer('!'..='~');
    let special = with(&base, "post_processor", template());
    let texts = [
        "",
        " ",
        "a",
        "a b",
        "a b c d",
        "é",
        "[SEP]",
        "[SEP] a [SEP]",
        "zq",
        "a!b",
        "\u{301}",
        "中文",
        "ab cd ef gh ij",
    ];
    for (tokenizer, limits) in [(&base, 1..=4), (&special, 2..=5)] {
        for max_tokens in limits {
            let beside = Beside::new(tokenizer, max_tokens);
            texts.iter().for_each(|text| beside.check(text));
        }
    }
}

#[test]
fn a_limit_below_the_special_tokens_is_refused() {
    let json = with(&tokenizer('!'..='~'), "post_processor", template()).to_string().into_bytes();
    let error = PromptTokenizer::new(Path::new("tokenizer.json"), json.as_slice(), 1, None).unwrap_err().to_string();
    assert!(error.contains("max_tokens") && error.contains('2'), "{error}");
}

/// Every `step`-th scalar alone, inside a word and between spaces. The vocabulary tells all of them apart; it is made anew for each
/// share of Unicode, which keeps it in the caches.
fn check_scalars(tokenizer: impl Fn(Vec<char>) -> Value + Sync, step: usize) {
    let scalars: Vec<char> = ('\0'..=char::MAX).step_by(step).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(share) = scalars.chunks(1 << 14).nth(next.fetch_add(1, Ordering::Relaxed)) {
            let beside = Beside::new(&tokenizer(share.iter().copied().chain('a'..='z').collect()), 16);
            assert!(beside.ours.has_fast_path());
            for c in share {
                beside.check(&format!("a{c}b {c} c"));
                beside.check(&c.to_string());
            }
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(work)));
    });
}

fn cased(characters: Vec<char>) -> Value {
    with(&tokenizer(characters), "normalizer", json!({"lowercase": false, "strip_accents": false, "clean_text": false}))
}

#[test]
fn a_sample_of_unicode_has_the_ids_of_the_crate() {
    check_scalars(tokenizer, 61);
    check_scalars(cased, 127);
}

#[test]
#[ignore = "all of Unicode, twice: half a minute in release"]
fn all_of_unicode_has_the_ids_of_the_crate() {
    check_scalars(tokenizer, 1);
    check_scalars(cased, 1);
}

/// A megabyte of this and that.
fn long_texts() -> Vec<(&'static str, String)> {
    let fill = |unit: &str| unit.repeat((1 << 20) / unit.len());
    vec![
        ("one word", fill("a")),
        ("words", fill("what is the sum of two even numbers ? ")),
        ("spaces", fill(" ")),
        ("spaces and a word", fill(" ") + "what"),
        ("line feeds", fill("\n")),
        ("ideographic spaces", fill("\u{3000}")),
        ("Chinese", fill("中文")),
        ("Hangul", fill("한글")),
        ("emoji", fill("😀")),
        ("punctuation", fill("!?")),
        ("a special token at the end", fill("abc ") + "[SEP]"),
        ("a special token after a long word", fill("a") + "[SEP]"),
        ("a special token after dropped characters", fill("\u{200b}") + "[SEP]"),
        ("special tokens", fill("[SEP]")),
        ("almost special tokens", fill("[SEP")),
        ("control characters", fill("\u{1}") + "a"),
        ("combining marks", fill("a\u{301}")),
        ("combining marks only", fill("\u{301}\u{323}")),
        ("combining marks and spaces", fill("a\u{301} ")),
        ("marks that stay", fill("क\u{94d}\u{930}")),
        ("marks that stay, and spaces", fill("क\u{94d}\u{930} ")),
    ]
}

#[test]
fn a_megabyte_has_the_ids_of_the_crate() {
    let base = tokenizer(common_characters());
    let uncased = Beside::new(&base, 512);
    let cased = Beside::new(&with(&base, "normalizer", json!({"lowercase": false, "strip_accents": false})), 512);
    let texts = long_texts();
    std::thread::scope(|scope| {
        scope.spawn(|| texts.iter().for_each(|(_, text)| uncased.check(text)));
        scope.spawn(|| texts.iter().filter(|(name, _)| name.contains("mark")).for_each(|(_, text)| cased.check(text)));
    });
}

fn fastest<T>(runs: usize, mut work: impl FnMut() -> T) -> Duration {
    let timed = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..runs).map(timed).min().unwrap()
}

/// The work is bounded by the token limit. Tenfold leaves room for a noisy machine: unbounded work would be a hundredfold.
#[test]
fn a_megabyte_costs_what_its_first_tokens_cost() {
    let base = tokenizer(common_characters());
    let cased = with(&base, "normalizer", json!({"lowercase": false, "strip_accents": false}));
    for (tokenizer, unit) in [(&base, "what is the sum ? "), (&base, "中文"), (&base, "[SEP]"), (&cased, "a\u{301} ")]
    {
        let ours = Beside::new(tokenizer, 64).ours;
        let (short, long) = (unit.repeat(8192 / unit.len()), unit.repeat((1 << 20) / unit.len()));
        let mut ids = Vec::new();
        let of_short = fastest(20, || ours.encode(&short, &mut ids).unwrap());
        let of_long = fastest(20, || ours.encode(&long, &mut ids).unwrap());
        assert!(of_long < of_short * 10, "{unit:?}: {of_long:?} for a megabyte, {of_short:?} for 8 KB");
    }
}

#[test]
fn a_file_of_the_shipped_form_has_no_more_added_tokens_than_any_other() {
    let mut file = tokenizer(common_characters());
    for part in ["truncation", "padding", "post_processor", "decoder"] {
        file[part] = Value::Null;
    }
    let unknown = file["model"]["unk_token"].as_str().unwrap().to_owned();
    let id = file["model"]["vocab"][&unknown].as_u64().unwrap() as u32;
    file["added_tokens"] = vec![added(id, &unknown, &["special"]); 65_537].into();
    let error = PromptTokenizer::new(Path::new("tokenizer.json"), file.to_string().as_bytes(), 16, None).unwrap_err();
    assert!(error.to_string().contains("more than 65536 added tokens"), "{error}");
}
