//! Matches the nodes of a graph against an expected sequence, value by value.

use std::collections::HashSet;

use crate::onnx::{Attribute, DataType, Graph, Node, Port};

/// Versions of the standard operators in which those of native graphs mean the same.
const OPSETS: std::ops::RangeInclusive<i64> = 20..=21;

/// Walks over the nodes in order; each `expect` consumes one and returns the name of the value it makes.
#[derive(Debug)]
pub(crate) struct Pattern<'g, 'a> {
    graph: &'g Graph<'a>,
    next: usize,
    used: HashSet<&'g str>,
}

impl<'g, 'a> Pattern<'g, 'a> {
    /// Starts before the first node.
    ///
    /// # Errors
    /// What the file holds that no native graph does.
    pub(crate) fn new(graph: &'g Graph<'a>) -> Result<Self, String> {
        if let Some(what) = &graph.foreign {
            return Err(what.clone());
        }
        if !OPSETS.contains(&graph.opset) {
            return Err(format!("it uses version {} of the standard operators, expected {OPSETS:?}", graph.opset));
        }
        let mut names = HashSet::new();
        let made = graph.nodes.iter().flat_map(|node| node.outputs.iter().copied());
        let given = graph.inputs.iter().map(|port| port.name).chain(graph.tensors.iter().map(|tensor| tensor.name));
        match given.chain(made).find(|name| name.is_empty() || !names.insert(*name)) {
            Some(name) => Err(format!("two values of the name {name:?}, or one without a name")),
            None => Ok(Self { graph, next: 0, used: HashSet::new() }),
        }
    }

    /// The operator of the next node, if there is one.
    pub(crate) fn peek(&self) -> Option<&'a str> {
        self.graph.nodes.get(self.next).map(|node| node.op)
    }

    /// The next node must be `op` over exactly these inputs with exactly these attributes.
    pub(crate) fn expect(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Result<&'a str, String> {
        let at = self.next;
        let graph: &'g Graph<'a> = self.graph;
        let node = graph.nodes.get(at).ok_or_else(|| format!("the graph ends before node {at}, expected {op}"))?;
        if node.op != op || !node.domain.is_empty() || node.inputs != inputs || node.outputs.len() != 1 {
            return Err(format!("node {at} is {}, expected {op}({})", describe(node), inputs.join(", ")));
        }
        let twice = |(at, (name, _)): (usize, &(&str, Attribute<'_>))| {
            node.attributes[..at].iter().any(|(other, _)| other == name)
        };
        if node.attributes.iter().enumerate().any(twice) {
            return Err(format!("node {at} ({op}) has an attribute twice"));
        }
        let has = |(name, value): &(&str, Attribute<'_>)| node.attributes.iter().any(|found| found == &(*name, *value));
        if let Some((name, value)) = attributes.iter().find(|attribute| !has(attribute)) {
            return Err(format!("node {at} ({op}) has not the attribute {name} = {value:?}"));
        }
        let known = |name: &str| attributes.iter().any(|(expected, _)| *expected == name);
        if let Some((name, _)) =
            node.attributes.iter().find(|(name, value)| !known(name) && !is_default(op, name, *value))
        {
            return Err(format!("node {at} ({op}) has the attribute {name}, which changes what it computes"));
        }
        self.next += 1;
        self.used.extend(node.inputs.iter().copied());
        Ok(node.outputs[0])
    }

    /// Whether a stated type is that of the value: ONNX Runtime refuses a graph where it is not.
    fn is_right(&self, hint: &Port<'_>) -> bool {
        if let Some(given) = self.graph.inputs.iter().find(|given| given.name == hint.name) {
            return hint.data_type == given.data_type;
        }
        let maker = self.graph.nodes.iter().find(|node| node.outputs.contains(&hint.name));
        maker.is_some_and(|node| {
            let kept = node.op == "Gather" && node.inputs.first() == Some(&"token_table");
            hint.data_type == if kept { DataType::I8 } else { DataType::F32 }
        })
    }

    /// Nothing may follow, and every weight must have been read.
    pub(crate) fn end(&self) -> Result<(), String> {
        if let Some(node) = self.graph.nodes.get(self.next) {
            return Err(format!("node {} is {}, expected the end", self.next, describe(node)));
        }
        if let Some(hint) = self.graph.hints.iter().find(|hint| !self.is_right(hint)) {
            return Err(format!("it says of a value that it is {hint:?}"));
        }
        match self.graph.tensors.iter().find(|tensor| !self.used.contains(tensor.name)) {
            Some(tensor) => Err(format!("no node reads tensor {:?}", tensor.name)),
            None => Ok(()),
        }
    }
}

fn describe(node: &Node<'_>) -> String {
    format!("{}({}) with {} outputs", node.op, node.inputs.join(", "), node.outputs.len())
}

/// Attributes that exporters write out although they hold the operator's default.
fn is_default(op: &str, name: &str, value: Attribute<'_>) -> bool {
    match (op, name) {
        ("Gather", "axis") | ("Gemm", "transA" | "transB") | ("ReduceSum", "noop_with_empty_axes") => {
            value == Attribute::Int(0)
        }
        ("ReduceSum", "keepdims") | ("Cast", "saturate") => value == Attribute::Int(1),
        ("Gemm", "alpha" | "beta") => value == Attribute::Float(1.0),
        _ => false,
    }
}
