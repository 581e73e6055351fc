//! The static embedding graph, run natively: gather rows of a quantized table, mean, add counting features, activate.
//!
//! ```text
//! mean      = sum over tokens of token_table[id] * row_scale[id] / max(tokens, 1)        [dim]
//! features  = ln(1 + relu(sum over tokens of count_table[id]))                           [counts]
//! embedding = activation(mean + features * feature_weight + bias)                        [dim]
//! ```
//!
//! A graph with [`Views`] divides by the square root of the number of tokens in place of the number, so that a sum of independent
//! rows has the same spread at every length, and adds what the first and the last tokens say.
//!
//! Performance notes: a call into ONNX Runtime for the same graph costs 14 to 23 us before any arithmetic. Tables of int8 are used where
//! they lie in the file: copying them took as long as reading it.

mod sums;

use std::sync::Arc;

use super::{activation::Activation, pattern::Pattern, ports::check_inputs, views::Views};
use crate::{
    artifact::FileBytes,
    onnx::{Attribute, DataType, Graph},
    shared::Shared,
    view::View,
};

/// By the hash of the graph's file.
static TABLES: Shared<String, TableEncoder> = Shared::new();

/// A recognized static embedding graph.
#[derive(Debug)]
pub struct TableEncoder {
    dim: usize,
    counts: usize,
    vocabulary: usize,
    token_table: View<i8>,
    row_scale: Vec<f32>,
    count_table: Counts,
    feature_weight: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
    views: Option<Views>,
}

/// What each token counts, `[vocabulary, counts]`.
#[derive(Debug)]
enum Counts {
    Int8(View<i8>),
    Float(Vec<f32>),
}

impl TableEncoder {
    /// Recognizes the encoder at the start of a graph with exactly these inputs and leaves `pattern` behind it. `file` holds the graph;
    /// routers of one file, identified by its hash, share the encoder.
    ///
    /// # Errors
    /// The first difference from the expected graph, in words. That is no defect of the file: ONNX Runtime may still run it.
    pub(crate) fn recognize(
        (file, sha256): (&FileBytes, &str),
        graph: &Graph<'_>,
        inputs: &[&str],
        pattern: &mut Pattern<'_, '_>,
    ) -> Result<Arc<Self>, String> {
        check_inputs(graph, inputs)?;
        let float = [("to", Attribute::Int(1))];
        let sum = [("keepdims", Attribute::Int(0))];
        let quantized = pattern.expect("Gather", &["token_table", "input_ids"], &[])?;
        let unscaled = pattern.expect("Cast", &[quantized], &float)?;
        let scale = pattern.expect("Gather", &["row_scale", "input_ids"], &[])?;
        let rows = pattern.expect("Mul", &[unscaled, scale], &[])?;
        let mask = pattern.expect("Cast", &["attention_mask"], &float)?;
        let mask_column = pattern.expect("Unsqueeze", &[mask, "last_axis"], &[])?;
        let masked = pattern.expect("Mul", &[rows, mask_column], &[])?;
        let total = pattern.expect("ReduceSum", &[masked, "token_axis"], &sum)?;
        let tokens = pattern.expect("ReduceSum", &[mask, "token_axis"], &[])?;
        let mut divisor = pattern.expect("Max", &[tokens, "one"], &[])?;
        let has_views = Views::are_in(graph);
        if has_views {
            divisor = pattern.expect("Sqrt", &[divisor], &[])?;
        }
        let mut mean = pattern.expect("Div", &[total, divisor], &[])?;
        if has_views {
            mean = Views::recognize(pattern, rows, mask, tokens, mean)?;
        }
        let mut counted = pattern.expect("Gather", &["count_table", "input_ids"], &[])?;
        if graph.tensor("count_table")?.data_type == DataType::I8 {
            counted = pattern.expect("Cast", &[counted], &float)?;
        }
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
        TABLES.get_or_make(sha256.to_owned(), || Self::from_tensors(file, graph, activation, has_views))
    }

    fn from_tensors(
        file: &FileBytes,
        graph: &Graph<'_>,
        activation: Activation,
        has_views: bool,
    ) -> Result<Self, String> {
        let table = graph.tensor("token_table")?;
        let (_, dim) = matrix("token_table", &table.dims)?;
        let count_table = graph.tensor("count_table")?;
        let (vocabulary, counts) = matrix("count_table", &count_table.dims)?;
        let views = has_views.then(|| Views::from_tensors(graph, dim)).transpose()?;
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
        let row_scale = graph.tensor("row_scale")?.floats()?;
        // The graph multiplies the rows outside of a view by zero, which gives NaN for infinite ones.
        if has_views && row_scale.iter().any(|scale| scale.abs() > MAX_SCALE) {
            return Err(format!("tensor \"row_scale\" holds numbers beyond {MAX_SCALE:e}"));
        }
        Ok(Self {
            dim,
            counts,
            vocabulary,
            token_table: View::of_part(file, table.int8()?)?,
            row_scale,
            count_table: match count_table.data_type {
                DataType::I8 => Counts::Int8(View::of_part(file, count_table.int8()?)?),
                _ => Counts::Float(count_table.floats()?),
            },
            feature_weight: graph.tensor("feature_weight")?.floats()?,
            bias: graph.tensor("bias")?.floats()?,
            activation,
            views,
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
        let mut counts = [0.0f32; MAX_COUNTS];
        let counts = &mut counts[..self.counts];
        match &self.count_table {
            Counts::Int8(table) => sums::count_int8(table.as_slice(), ids, counts),
            Counts::Float(table) => sums::count(table, ids, counts),
        }
        // `ln(1 + x)` of the standard library keeps relative precision near zero, which nobody needs here, at four times the cost.
        counts.iter_mut().for_each(|sum| *sum = (1.0 + sum.max(0.0)).ln());
        sums::gather(self, ids, embedding);
        sums::add_features(self, counts, embedding);
        self.activation.apply(embedding);
    }
}

/// More counting features than any graph here has; they live on the stack.
const MAX_COUNTS: usize = 64;
/// 127 times this is finite.
const MAX_SCALE: f32 = 1e30;

fn matrix(name: &str, dims: &[i64]) -> Result<(usize, usize), String> {
    match *dims {
        [rows @ 1..=10_000_000, columns @ 1..=16_384] if name != "count_table" || columns <= MAX_COUNTS as i64 => {
            Ok((rows as usize, columns as usize))
        }
        _ => Err(format!("tensor {name:?} has the shape {dims:?}, expected a matrix of moderate size")),
    }
}
