//! How many token ids a graph knows: the rows of the tables in which it looks up `input_ids`.

use std::collections::HashMap;

use super::graph::Node;

/// Tables, nodes between a table and its lookup, and lookups; more of them are not looked at.
const MAX_NAMES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Vocabulary<'a> {
    rows: HashMap<&'a str, i64>,
    /// Values that hold the same rows as another: a table with its scales applied.
    same_rows: HashMap<&'a str, &'a str>,
    looked_up: Vec<&'a str>,
}

impl<'a> Vocabulary<'a> {
    pub(super) fn tensor(&mut self, name: &'a str, dims: &[i64]) {
        if let ([rows, _], true) = (dims, self.rows.len() < MAX_NAMES) {
            self.rows.insert(name, *rows);
        }
    }

    pub(super) fn node(&mut self, node: &Node<'a>) {
        let is_first_axis =
            node.attributes.iter().all(|(name, value)| *name != "axis" || *value == super::Attribute::Int(0));
        match (node.op, &node.inputs[..], &node.outputs[..]) {
            ("Gather" | "GatherBlockQuantized", [table, "input_ids", ..], _)
                if is_first_axis && self.looked_up.len() < MAX_NAMES =>
            {
                self.looked_up.push(table);
            }
            ("Cast" | "DequantizeLinear" | "Identity", [from, ..], [to]) if self.same_rows.len() < MAX_NAMES => {
                self.same_rows.insert(to, from);
            }
            _ => {}
        }
    }

    pub(super) fn rows(&self) -> Option<usize> {
        let rows = |table: &&'a str| {
            let from = self.same_rows.get(table).unwrap_or(table);
            usize::try_from(*self.rows.get(from)?).ok()
        };
        self.looked_up.iter().filter_map(rows).min()
    }
}
