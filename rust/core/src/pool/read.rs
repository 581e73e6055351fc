//! Reads a pool from TOML, or from the values of another language. Errors name the place and the field.

use std::path::{Path, PathBuf};

use serde::Deserializer;

use super::{
    candidate::{Candidate, candidates},
    spec::PoolSpec,
};
use crate::{
    artifact::read_file,
    error::{Error, Result},
};

/// Many times the text of the largest pool.
const MAX_POOL_BYTES: u64 = 8 << 20;

impl PoolSpec {
    /// Reads and checks a `pool.toml`.
    ///
    /// # Errors
    /// [`Error::Pool`] with the file, the line and column, and the field.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = read_file(path, MAX_POOL_BYTES).map_err(|error| match error {
            Error::Artifact { path, field, message, source } => {
                Error::Pool { path: Some(path), field, message, source }
            }
            other => other,
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|error| failure(Some(path), "text", format!("expected UTF-8: {error}")))?;
        Self::parse(&text, Some(path))
    }

    /// Reads and checks the text of a `pool.toml`; `path` is for messages.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn parse(text: &str, path: Option<&Path>) -> Result<Self> {
        let deserializer = toml::Deserializer::parse(text).map_err(|error| at_place(text, path, "", &error))?;
        let spec: Self = serde_path_to_error::deserialize(deserializer)
            .map_err(|error| at_place(text, path, &field_of(error.path()), error.inner()))?;
        spec.checked(path)
    }

    /// Reads and checks the values of another language.
    ///
    /// # Errors
    /// [`Error::Pool`] with the field.
    pub fn from_values<'de, D: Deserializer<'de>>(values: D) -> Result<Self>
    where
        D::Error: std::fmt::Display,
    {
        let spec: Self = serde_path_to_error::deserialize(values)
            .map_err(|error| failure(None, field_of(error.path()), error.inner().to_string()))?;
        spec.checked(None)
    }

    fn checked(self, path: Option<&Path>) -> Result<Self> {
        self.candidates(path)?;
        Ok(self)
    }

    /// The models that may be chosen, efforts included, in order; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Pool`], where the fields do not fit together.
    pub fn candidates(&self, path: Option<&Path>) -> Result<Vec<Candidate>> {
        candidates(self).map_err(|(field, message)| failure(path, field, message))
    }
}

fn failure(path: Option<&Path>, field: impl Into<String>, message: impl Into<String>) -> Error {
    Error::Pool { path: path.map(PathBuf::from), field: field.into(), message: message.into(), source: None }
}

/// The dotted name of a field. That of the whole document is empty.
fn field_of(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    if text == "." { String::new() } else { text }
}

/// The error of a parser with its line and column, both from 1.
fn at_place(text: &str, path: Option<&Path>, field: &str, error: &toml::de::Error) -> Error {
    let place = error.span().map(|span| {
        let before = &text[..text.floor_char_boundary(span.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        format!("line {line}, column {column}: ")
    });
    failure(path, field, format!("{}{}", place.unwrap_or_default(), error.message()))
}
