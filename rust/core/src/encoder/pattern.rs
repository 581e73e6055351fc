//! Matches the nodes of a graph against an expected sequence, value by value.

use crate::onnx::{Attribute, Graph, Node};

/// Walks over the nodes in order; each `expect` consumes one and returns the name of the value it makes.
#[derive(Debug)]
pub(crate) struct Pattern<'g, 'a> {
    graph: &'g Graph<'a>,
    next: usize,
}

impl<'g, 'a> Pattern<'g, 'a> {
    pub(crate) fn new(graph: &'g Graph<'a>) -> Self {
        Self { graph, next: 0 }
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
        let node = self.graph.nodes.get(at).ok_or_else(|| format!("the graph ends before node {at}, expected {op}"))?;
        if node.op != op || !node.domain.is_empty() || node.inputs != inputs || node.outputs.len() != 1 {
            return Err(format!("node {at} is {}, expected {op}({})", describe(node), inputs.join(", ")));
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
        Ok(node.outputs[0])
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), String> {
        match self.graph.nodes.get(self.next) {
            None => Ok(()),
            Some(node) => Err(format!("node {} is {}, expected the end", self.next, describe(node))),
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
