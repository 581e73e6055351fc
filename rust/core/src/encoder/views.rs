//! What the first and the last tokens of a prompt add to the sum over all of them.
//!
//! ```text
//! view = gain * sum over its tokens of token_table[id] * row_scale[id] / sqrt(max(how many, 1))       [dim]
//! ```

use super::pattern::Pattern;
use crate::onnx::{Attribute, Graph};

/// The limit on tokens of an artifact.
const MAX_TOKENS: f32 = 8192.0;
/// Beyond this, whether a sum overflows depends on the order of its terms.
const MAX_GAIN: f32 = 1e6;

/// The first or the last tokens.
#[derive(Debug)]
pub(super) struct Part {
    /// How many tokens at most.
    pub(super) tokens: usize,
    /// Weights of the numbers of a row, `[dim]`.
    pub(super) gain: Vec<f32>,
}

/// Both views.
#[derive(Debug)]
pub(super) struct Views {
    pub(super) first: Part,
    pub(super) last: Part,
}

impl Views {
    /// Whether the graph has them.
    pub(super) fn are_in(graph: &Graph<'_>) -> bool {
        graph.tensors.iter().any(|tensor| tensor.name == "first_gain")
    }

    /// Recognizes the nodes between the sum over all tokens and the counting features; returns the sum of all three.
    ///
    /// # Errors
    /// The first difference from the expected graph, in words.
    pub(super) fn recognize<'a>(
        pattern: &mut Pattern<'_, 'a>,
        rows: &'a str,
        mask: &'a str,
        tokens: &'a str,
        all: &'a str,
    ) -> Result<&'a str, String> {
        let position = pattern.expect("CumSum", &[mask, "scan_axis"], &[])?;
        let first = pattern.expect("LessOrEqual", &[position, "first_tokens"], &[])?;
        let sum = view(pattern, [rows, mask, first, "first_gain", all])?;
        let before = pattern.expect("Sub", &[tokens, "last_tokens"], &[])?;
        let last = pattern.expect("Greater", &[position, before], &[])?;
        view(pattern, [rows, mask, last, "last_gain", sum])
    }

    /// Reads the constants of the graph of an encoder with `dim` numbers.
    ///
    /// # Errors
    /// A constant that is missing or outside its limits.
    pub(super) fn from_tensors(graph: &Graph<'_>, dim: usize) -> Result<Self, String> {
        let axis = graph.tensor("scan_axis")?;
        if !axis.dims.is_empty() || axis.integers()? != [1] {
            return Err("tensor \"scan_axis\" is not the scalar 1".into());
        }
        let read = |tokens: &str, name: &str| {
            let gain = row(graph, name, dim)?;
            if let Some(found) = gain.iter().find(|gain| gain.abs() > MAX_GAIN) {
                return Err(format!("tensor {name:?} holds {found}, expected numbers up to {MAX_GAIN:e}"));
            }
            Ok(Part { tokens: count(graph, tokens)?, gain })
        };
        Ok(Self { first: read("first_tokens", "first_gain")?, last: read("last_tokens", "last_gain")? })
    }

    /// Each view with its part of the tokens of a prompt.
    pub(super) fn parts<'i>(&self, ids: &'i [u32]) -> [(&Part, &'i [u32]); 2] {
        let first = ids.len().min(self.first.tokens);
        let last = ids.len().min(self.last.tokens);
        [(&self.first, &ids[..first]), (&self.last, &ids[ids.len() - last..])]
    }
}

/// Adds a view to `sum`.
fn view<'a>(pattern: &mut Pattern<'_, 'a>, [rows, mask, seen, gain, sum]: [&str; 5]) -> Result<&'a str, String> {
    let seen = pattern.expect("Cast", &[seen], &[("to", Attribute::Int(1))])?;
    let seen = pattern.expect("Mul", &[mask, seen], &[])?;
    let column = pattern.expect("Unsqueeze", &[seen, "last_axis"], &[])?;
    let masked = pattern.expect("Mul", &[rows, column], &[])?;
    let total = pattern.expect("ReduceSum", &[masked, "token_axis"], &[("keepdims", Attribute::Int(0))])?;
    let number = pattern.expect("ReduceSum", &[seen, "token_axis"], &[])?;
    let divisor = pattern.expect("Max", &[number, "one"], &[])?;
    let root = pattern.expect("Sqrt", &[divisor], &[])?;
    let normal = pattern.expect("Div", &[total, root], &[])?;
    let weighted = pattern.expect("Mul", &[normal, gain], &[])?;
    pattern.expect("Add", &[sum, weighted], &[])
}

fn row(graph: &Graph<'_>, name: &str, dim: usize) -> Result<Vec<f32>, String> {
    let tensor = graph.tensor(name)?;
    if tensor.dims != [dim as i64] {
        return Err(format!("tensor {name:?} has the shape {:?}, expected [{dim}]", tensor.dims));
    }
    tensor.floats()
}

fn count(graph: &Graph<'_>, name: &str) -> Result<usize, String> {
    match row(graph, name, 1)?[..] {
        [value] if (1.0..=MAX_TOKENS).contains(&value) && value.fract() == 0.0 => Ok(value as usize),
        ref found => Err(format!("tensor {name:?} is {found:?}, expected a whole number from 1 to {MAX_TOKENS}")),
    }
}
