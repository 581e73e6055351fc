//! What a pool is made of, as `pool.toml` and `turnout.Pool` say it. Numbers are checked where they are read.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::{
    limits::{Capabilities, Limits},
    objective::Objective,
};

/// A pool of models, their prices and limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// Currency of all prices; for people.
    #[serde(default = "dollars")]
    pub currency: String,
    /// Used where a call names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Used where a call names none, field by field.
    #[serde(default)]
    pub limits: Limits,
    /// Used where no model is feasible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Models by name, in the order of the file.
    #[serde(deserialize_with = "each_once", serialize_with = "pairs")]
    pub models: Vec<(String, ModelSpec)>,
}

/// The model that serves a request for which no model is feasible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Its name.
    pub model: String,
}

/// One model. Prices are per million tokens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSpec {
    /// Success is that of this model of the artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// File with the model's profile, as `turnout profile` writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Chance that an answer is good, the same for every prompt.
    #[serde(deserialize_with = "share", skip_serializing_if = "Option::is_none")]
    pub success: Option<f64>,
    /// Price of an input token that is not cached.
    #[serde(deserialize_with = "amount", skip_serializing_if = "Option::is_none")]
    pub input_price: Option<f64>,
    /// Price of a cached input token; by default that of one that is not cached.
    #[serde(deserialize_with = "amount", skip_serializing_if = "Option::is_none")]
    pub cached_input_price: Option<f64>,
    /// Price of an output token.
    #[serde(deserialize_with = "amount", skip_serializing_if = "Option::is_none")]
    pub output_price: Option<f64>,
    /// Tokens of input and output together, at most.
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Tokens of output, at most.
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// The model's tokens of one token of the artifact's tokenizer.
    #[serde(deserialize_with = "positive", skip_serializing_if = "Option::is_none")]
    pub token_ratio: Option<f64>,
    /// Mean output tokens of an answer, in place of the profile's.
    #[serde(deserialize_with = "positive", skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<f64>,
    /// What it serves beyond text; absent: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Words for `allow_tags` and `deny_tags`.
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Measured latency of a whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Latency>,
    /// Output tokens a second.
    #[serde(deserialize_with = "positive", skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Milliseconds before the first output token.
    #[serde(deserialize_with = "amount", skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// Grams of CO2e for a million tokens.
    #[serde(deserialize_with = "amount", skip_serializing_if = "Option::is_none")]
    pub co2_grams: Option<f64>,
    /// Requests a minute, at most; counted by the caller that sends them.
    #[serde(deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// Reasoning efforts by name. Each is a candidate `model:effort`; its fields replace the model's.
    #[serde(deserialize_with = "each_once", serialize_with = "pairs", skip_serializing_if = "Vec::is_empty")]
    pub efforts: Vec<(String, ModelSpec)>,
}

/// Milliseconds of a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Median.
    #[serde(default, deserialize_with = "amount", skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// 95th percentile.
    #[serde(deserialize_with = "one_amount")]
    pub p95: f64,
}

impl ModelSpec {
    /// The fields of an effort, with the model's where it has none of its own.
    pub(super) fn with(&self, model: &Self) -> Self {
        let (own, base) = (self.clone(), model.clone());
        let has_source = own.like.is_some() || own.profile.is_some() || own.success.is_some();
        let source = if has_source { &own } else { &base };
        Self {
            like: source.like.clone(),
            profile: source.profile.clone(),
            success: source.success,
            input_price: own.input_price.or(base.input_price),
            cached_input_price: own.cached_input_price.or(base.cached_input_price),
            output_price: own.output_price.or(base.output_price),
            context_window: own.context_window.or(base.context_window),
            max_output: own.max_output.or(base.max_output),
            token_ratio: own.token_ratio.or(base.token_ratio),
            output_tokens: own.output_tokens.or(base.output_tokens),
            capabilities: own.capabilities.or(base.capabilities),
            region: own.region.or(base.region),
            tags: own.tags.or(base.tags),
            latency_ms: own.latency_ms.or(base.latency_ms),
            tokens_per_second: own.tokens_per_second.or(base.tokens_per_second),
            first_token_ms: own.first_token_ms.or(base.first_token_ms),
            co2_grams: own.co2_grams.or(base.co2_grams),
            quota: own.quota.or(base.quota),
            efforts: Vec::new(),
        }
    }
}

fn dollars() -> String {
    "USD".into()
}

/// Whether a number can be a price, a limit or a time.
pub(super) fn is_amount(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A number that is checked, or none.
fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &str,
    is_right: impl Fn(f64) -> bool,
) -> Result<Option<f64>, D::Error> {
    let Some(Number(value)) = Option::deserialize(deserializer)? else { return Ok(None) };
    if value.is_finite() && is_right(value) {
        return Ok(Some(value));
    }
    Err(de::Error::custom(format!("{value}, expected {expected}")))
}

/// A number, or none, as the use requires.
pub(super) fn any_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Number(value)| value))
}

pub(super) fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    checked(deserializer, "a finite number of 0 or more", is_amount)
}

fn one_amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    amount(deserializer)?.ok_or_else(|| de::Error::custom("none, expected a finite number of 0 or more"))
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    checked(deserializer, "a finite number above 0", |value| value > 0.0)
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    checked(deserializer, "a number in 0..=1", |value| (0.0..=1.0).contains(&value))
}

/// Tokens or requests: 1 or more, and no more than an exact float holds.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    const MOST: i64 = 1 << 53;
    match Option::deserialize(deserializer)? {
        None => Ok(None),
        Some(Whole(value)) if (1..=MOST).contains(&value) => Ok(Some(value as u64)),
        Some(Whole(value)) => Err(de::Error::custom(format!("{value}, expected a whole number from 1 to 2^53"))),
    }
}

/// A number as it is written. Deserializers of other languages would take a truth value for one.
struct Number(f64);

/// A whole number, likewise.
struct Whole(i64);

struct Numbers;

impl Visitor<'_> for Numbers {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }
}

struct Wholes;

impl Visitor<'_> for Wholes {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of at most 64 bits")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Numbers).map(Self)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Wholes).map(Self)
    }
}

/// Words of a list, none of them empty. Deserializers of other languages would take a text for a list of its letters.
pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Option::deserialize(deserializer).map(|found| found.map(|Words(words)| words))
}

pub(super) struct Words(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of words")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element::<String>()? {
                    if word.is_empty() {
                        return Err(de::Error::custom("an empty text, expected words"));
                    }
                    words.push(word);
                }
                Ok(words)
            }
        }
        deserializer.deserialize_any(List).map(Self)
    }
}

/// Models by name from a table, or from a list of pairs, which may name one twice; that is an error.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, ModelSpec)>, D::Error> {
    struct Models;
    impl<'de> Visitor<'de> for Models {
        type Value = Vec<(String, ModelSpec)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("tables by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut found, mut names) = (Vec::new(), HashSet::new());
            while let Some((name, model)) = map.next_entry::<String, ModelSpec>()? {
                add(&mut found, &mut names, name, model)?;
            }
            Ok(found)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let (mut found, mut names) = (Vec::new(), HashSet::new());
            while let Some((name, model)) = list.next_element::<(String, ModelSpec)>()? {
                add(&mut found, &mut names, name, model)?;
            }
            Ok(found)
        }
    }
    deserializer.deserialize_any(Models)
}

fn add<E: de::Error>(
    found: &mut Vec<(String, ModelSpec)>,
    names: &mut HashSet<String>,
    name: String,
    model: ModelSpec,
) -> Result<(), E> {
    if !names.insert(name.clone()) {
        return Err(E::custom(format!("duplicate name {name:?}")));
    }
    found.push((name, model));
    Ok(())
}

fn pairs<S: Serializer>(models: &[(String, ModelSpec)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(models.iter().map(|(name, model)| (name, model)))
}
