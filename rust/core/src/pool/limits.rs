//! What a request may ask of a model, and the limits that a pool or a call sets.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spec::{Words, is_amount};

/// What a model may serve beyond text.
pub const CAPABILITIES: [&str; 5] = ["images", "audio", "files", "tools", "json"];

/// Some of [`CAPABILITIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Words", into = "Vec<&'static str>")]
pub struct Capabilities(u8);

impl Capabilities {
    /// The capabilities of these names, or what is wrong with one of them.
    ///
    /// # Errors
    /// A message, for a name that is not one of [`CAPABILITIES`].
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let bit = |name: &str| {
            let at = CAPABILITIES.iter().position(|known| *known == name);
            at.map(|at| 1 << at).ok_or_else(|| format!("{name:?}, expected some of {}", CAPABILITIES.join(", ")))
        };
        names.into_iter().try_fold(0, |bits, name| Ok(bits | bit(name)?)).map(Self)
    }

    /// Those of `self` that `other` lacks.
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        CAPABILITIES.iter().enumerate().filter(|(at, _)| self.0 >> at & 1 == 1).map(|(_, name)| *name).collect()
    }
}

impl TryFrom<Words> for Capabilities {
    type Error = String;

    fn try_from(Words(names): Words) -> Result<Self, String> {
        Self::new(names.iter().map(String::as_str))
    }
}

impl From<Capabilities> for Vec<&'static str> {
    fn from(capabilities: Capabilities) -> Self {
        capabilities.names()
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(", "))
    }
}

/// Limits on the models that may serve a request. A call's own replace the pool's, field by field.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// No price of the model, input or output, exceeds it.
    #[serde(deserialize_with = "super::spec::amount", skip_serializing_if = "Option::is_none")]
    pub max_price: Option<f64>,
    /// The model's p95 latency does not exceed it.
    #[serde(deserialize_with = "super::spec::amount", skip_serializing_if = "Option::is_none")]
    pub max_latency_ms: Option<f64>,
    /// The model has one of these tags.
    #[serde(deserialize_with = "super::spec::words", skip_serializing_if = "Option::is_none")]
    pub allow_tags: Option<Vec<String>>,
    /// The model has none of these tags.
    #[serde(deserialize_with = "super::spec::words", skip_serializing_if = "Option::is_none")]
    pub deny_tags: Option<Vec<String>>,
    /// The model runs in one of these regions.
    #[serde(deserialize_with = "super::spec::words", skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<String>>,
}

impl Limits {
    /// The first field that cannot be a limit, with a message.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        for (field, value) in [("max_price", self.max_price), ("max_latency_ms", self.max_latency_ms)] {
            if let Some(value) = value.filter(|value| !is_amount(*value)) {
                return Err((field, format!("{field} is {value}, expected a finite number of 0 or more")));
            }
        }
        Ok(())
    }

    /// The limits of a call over those of the pool.
    pub(super) fn over(&self, pool: &Self) -> Self {
        Self {
            max_price: self.max_price.or(pool.max_price),
            max_latency_ms: self.max_latency_ms.or(pool.max_latency_ms),
            allow_tags: self.allow_tags.clone().or_else(|| pool.allow_tags.clone()),
            deny_tags: self.deny_tags.clone().or_else(|| pool.deny_tags.clone()),
            regions: self.regions.clone().or_else(|| pool.regions.clone()),
        }
    }
}
