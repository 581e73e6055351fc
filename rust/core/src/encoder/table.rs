//! The static embedding graph, run natively: gather rows of a quantised table, mean, add counting features, activate.
//!
//! ```text
//! mean      = sum over tokens of token_table[id] * row_scale[id] / max(tokens, 1)        [dim]
//! features  = ln(1 + relu(sum over tokens of count_table[id]))                           [counts]
//! embedding = activation(mean + features * feature_weight + bias)                        [dim]
//! ```
//!
//! Performance notes: a row of the table is one or two cache lines, and the table is larger than the caches, so a decision costs
//! about one cache miss a token; rows are gathered in token order, which lets the processor overlap the misses. A call into ONNX
//! Runtime for the same graph costs 14 to 23 us before any arithmetic.

use std::sync::Arc;

use multiversion::multiversion;

use super::{activation::Activation, pattern::Pattern, ports::check_inputs};
use crate::{
    onnx::{Attribute, Graph},
    shared::Shared,
};

/// By the hash of the graph's file.
static TABLES: Shared<String, TableEncoder> = Shared::new();

/// A recognised static embedding graph.
#[derive(Debug)]
pub struct TableEncoder {
    dim: usize,
    counts: usize,
    vocabulary: usize,
    token_table: Arc<[i8]>,
    row_scale: Vec<f32>,
    count_table: Vec<f32>,
    feature_weight: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
}

impl TableEncoder {
    /// Recognises the encoder at the start of a graph with exactly these inputs and leaves `pattern` behind it. Routers of one file,
    /// known by its hash, share the encoder.
    ///
    /// # Errors
    /// The first difference from the expected graph, in words. That is no defect of the file: ONNX Runtime may still run it.
    pub(crate) fn recognize(
        graph: &Graph<'_>,
        inputs: &[&str],
        pattern: &mut Pattern<'_, '_>,
        sha256: &str,
    ) -> Result<Arc<Self>, String> {
        check_inputs(graph, inputs)?;
        let float = [("to", Attribute::Int(1))];
        let sum = [("keepdims", Attribute::Int(0))];
        let quantised = pattern.expect("Gather", &["token_table", "input_ids"], &[])?;
        let unscaled = pattern.expect("Cast", &[quantised], &float)?;
        let scale = pattern.expect("Gather", &["row_scale", "input_ids"], &[])?;
        let rows = pattern.expect("Mul", &[unscaled, scale], &[])?;
        let mask = pattern.expect("Cast", &["attention_mask"], &float)?;
        let mask_column = pattern.expect("Unsqueeze", &[mask, "last_axis"], &[])?;
        let masked = pattern.expect("Mul", &[rows, mask_column], &[])?;
        let total = pattern.expect("ReduceSum", &[masked, "token_axis"], &sum)?;
        let tokens = pattern.expect("ReduceSum", &[mask, "token_axis"], &[])?;
        let divisor = pattern.expect("Max", &[tokens, "one"], &[])?;
        let mean = pattern.expect("Div", &[total, divisor], &[])?;
        let counted = pattern.expect("Gather", &["count_table", "input_ids"], &[])?;
        let masked_counts = pattern.expect("Mul", &[counted, mask_column], &[])?;
        let counts = pattern.expect("ReduceSum", &[masked_counts, "token_axis"], &sum)?;
        let positive = pattern.expect("Relu", &[counts], &[])?;
        let plus_one = pattern.expect("Add", &[positive, "one"], &[])?;
        let features = pattern.expect("Log", &[plus_one], &[])?;
        let projected = pattern.expect("Gemm", &[features, "feature_weight", "bias"], &[])?;
        let mut embedding = pattern.expect("Add", &[mean, projected], &[])?;
        let activation = match pattern.peek() {
            Some("Relu") => Activation::Relu,
            Some("Tanh") => Activation::Tanh,
            Some("Gelu") => Activation::Gelu,
            _ => Activation::Identity,
        };
        if activation != Activation::Identity {
            let tanh_form = [("approximate", Attribute::Text(b"tanh"))];
            let attributes = if activation == Activation::Gelu { &tanh_form[..] } else { &[] };
            embedding = pattern.expect(pattern.peek().unwrap_or_default(), &[embedding], attributes)?;
        }
        if embedding != "embedding" {
            return Err(format!("the encoder ends in {embedding:?}, expected \"embedding\""));
        }
        for (name, axis) in [("last_axis", 2), ("token_axis", 1)] {
            if graph.tensor(name)?.integers()? != [axis] {
                return Err(format!("tensor {name:?} is not [{axis}]"));
            }
        }
        if graph.tensor("one")?.floats()? != [1.0] {
            return Err("tensor \"one\" is not 1".into());
        }
        TABLES.get_or_make(sha256.to_owned(), || Self::from_tensors(graph, activation))
    }

    fn from_tensors(graph: &Graph<'_>, activation: Activation) -> Result<Self, String> {
        let table = graph.tensor("token_table")?;
        let (vocabulary, dim) = matrix("token_table", &table.dims)?;
        let count_table = graph.tensor("count_table")?;
        let (_, counts) = matrix("count_table", &count_table.dims)?;
        let (v, d, f) = (vocabulary as i64, dim as i64, counts as i64);
        let shapes: [(&str, &[i64]); 5] = [
            ("token_table", &[v, d]),
            ("row_scale", &[v, 1]),
            ("count_table", &[v, f]),
            ("feature_weight", &[f, d]),
            ("bias", &[d]),
        ];
        for (name, expected) in shapes {
            let found = &graph.tensor(name)?.dims;
            if found != expected {
                return Err(format!("tensor {name:?} has the shape {found:?}, expected {expected:?}"));
            }
        }
        Ok(Self {
            dim,
            counts,
            vocabulary,
            token_table: table.int8()?.into(),
            row_scale: graph.tensor("row_scale")?.floats()?,
            count_table: count_table.floats()?,
            feature_weight: graph.tensor("feature_weight")?.floats()?,
            bias: graph.tensor("bias")?.floats()?,
            activation,
        })
    }

    /// Length of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of token ids the table knows.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Writes the embedding of one prompt into `embedding` (length [`dim`](Self::dim)). Ids beyond the vocabulary count as absent;
    /// opening the artifact has made sure that the tokenizer makes none.
    pub fn encode(&self, ids: &[u32], embedding: &mut [f32]) {
        let mut sums = [0.0f32; MAX_COUNTS];
        let sums = &mut sums[..self.counts];
        embedding.fill(0.0);
        gather(self, ids, embedding, sums);
        // `ln(1 + x)` of the standard library keeps relative precision near zero, which nobody needs here, at four times the cost.
        sums.iter_mut().for_each(|sum| *sum = (1.0 + sum.max(0.0)).ln());
        finish(self, 1.0 / ids.len().max(1) as f32, sums, embedding);
        self.activation.apply(embedding);
    }
}

/// More counting features than any graph here has; they live on the stack.
const MAX_COUNTS: usize = 64;

fn matrix(name: &str, dims: &[i64]) -> Result<(usize, usize), String> {
    match *dims {
        [rows @ 1..=10_000_000, columns @ 1..=16_384] if name != "count_table" || columns <= MAX_COUNTS as i64 => {
            Ok((rows as usize, columns as usize))
        }
        _ => Err(format!("tensor {name:?} has the shape {dims:?}, expected a matrix of moderate size")),
    }
}

/// Adds up the rows of both tables over the tokens.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
fn gather(table: &TableEncoder, ids: &[u32], embedding: &mut [f32], counts: &mut [f32]) {
    let (dim, width) = (embedding.len(), counts.len());
    for id in ids.iter().map(|&id| id as usize) {
        let (Some(row), Some(count_row), Some(&scale)) = (
            table.token_table.get(id * dim..(id + 1) * dim),
            table.count_table.get(id * width..(id + 1) * width),
            table.row_scale.get(id),
        ) else {
            continue;
        };
        embedding.iter_mut().zip(row).for_each(|(total, &value)| *total += f32::from(value) * scale);
        counts.iter_mut().zip(count_row).for_each(|(total, &value)| *total += value);
    }
}

/// From the sum of rows to the mean, plus bias and weighted features.
#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
fn finish(table: &TableEncoder, scale: f32, features: &[f32], embedding: &mut [f32]) {
    embedding.iter_mut().zip(&table.bias).for_each(|(value, bias)| *value = *value * scale + bias);
    for (&feature, weights) in features.iter().zip(table.feature_weight.chunks_exact(embedding.len())) {
        // Most kinds of token are absent from most prompts.
        if feature > 0.0 {
            embedding.iter_mut().zip(weights).for_each(|(value, &weight)| *value += feature * weight);
        }
    }
}
