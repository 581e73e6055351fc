//! Parts of a `tokenizer.json`, read with limits on their size.

use std::{cell::Cell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Values in one of the parts that describe steps.
const MAX_VALUES: usize = 4096;
const MAX_TOKEN_BYTES: usize = 1024;
pub(in crate::tokenize) const MAX_ADDED_TOKENS: usize = 65_536;

/// A part of the file as JSON with at most [`MAX_VALUES`] values: a `Value` may take thirty times the room of its text.
#[derive(Default)]
pub(super) struct Part(pub(super) Value);

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
pub(super) struct Vocabulary;

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

/// Tokens beside the vocabulary, not too many.
#[derive(Default)]
pub(super) struct AddedTokens;

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
