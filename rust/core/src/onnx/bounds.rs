//! What a graph would make ONNX Runtime do before or during a run: functions that multiply, loops, tensors made from a few bytes.
//!
//! ONNX Runtime inlines every call of a function when it loads a model (some 0.5 ms each), runs a `Loop` as often as the file says,
//! and makes a tensor of any size from its shape. The sizes here are far beyond those of networks that exporters write.

use std::collections::HashMap;

/// Calls of functions, and nodes that they become.
const MAX_CALLS: u64 = 4096;
const MAX_INLINED: u64 = 1 << 16;
/// Elements of a tensor that is made from a constant shape.
const MAX_MADE: u64 = 1 << 26;
/// Constants that are kept to look at.
const MAX_CONSTANTS: usize = 65_536;

/// Operators that run a graph as often as a value says.
const LOOPS: [&str; 7] = ["Loop", "Scan", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"];

/// Domain, name and overload of a function.
pub(super) type Name<'a> = (&'a str, &'a str, &'a str);

/// Nodes of a graph or a function, those of graphs in their attributes included.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    nodes: u64,
    calls: HashMap<Name<'a>, u64>,
}

/// Everything that was read of a model so far.
#[derive(Debug, Default)]
pub(super) struct Bounds<'a> {
    /// Of the graph, or of the function that is being read.
    body: Body<'a>,
    functions: HashMap<Name<'a>, Body<'a>>,
    constants: HashMap<&'a str, Vec<i64>>,
    /// Operators with a constant shape, and the name of that.
    makers: Vec<(&'a str, &'a str)>,
}

impl<'a> Bounds<'a> {
    /// Notes a node, with the attributes that are lists of a few integers.
    pub(super) fn node(
        &mut self,
        name: Name<'a>,
        inputs: &[&'a str],
        attributes: &[(&'a str, Vec<i64>)],
    ) -> Result<(), String> {
        let (_, op, _) = name;
        if LOOPS.contains(&op) {
            return Err(format!("holds the operator {op}, whose run has no bound; export the network without it"));
        }
        let shape = match op {
            "ConstantOfShape" => Some(0),
            "Expand" | "Tile" | "Range" | "OneHot" => Some(1),
            "Resize" => Some(3),
            _ => None,
        };
        if let Some(shape) = shape.and_then(|place: usize| inputs.get(place)) {
            self.makers.push((op, shape));
        }
        if let Some((_, shape)) = attributes.iter().find(|(name, _)| op.starts_with("Random") && *name == "shape") {
            check_made(op, shape)?;
        }
        self.body.nodes += 1;
        *self.body.calls.entry(name).or_default() += 1;
        Ok(())
    }

    /// Notes the integers of a constant, which may be a shape. Of two of one name, in graphs inside each other, the larger counts.
    pub(super) fn constant(&mut self, name: &'a str, values: Vec<i64>) {
        if values.is_empty() || self.constants.len() >= MAX_CONSTANTS {
            return;
        }
        let kept = self.constants.entry(name).or_default();
        if elements(&values) >= elements(kept) {
            *kept = values;
        }
    }

    /// Ends a function: what was noted since the last one is its body.
    pub(super) fn end_function(&mut self, name: Name<'a>) -> Result<(), String> {
        let body = std::mem::take(&mut self.body);
        match self.functions.insert(name, body) {
            None => Ok(()),
            Some(_) => Err(format!("two functions {:?}", name.1)),
        }
    }

    /// Puts the body of the graph aside while a function is read, or back.
    pub(super) fn swap_body(&mut self, body: &mut Body<'a>) {
        std::mem::swap(&mut self.body, body);
    }

    /// Checks what the whole model does.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut sizes = HashMap::new();
        let (calls, nodes) = self.inlined(&self.body, &mut sizes)?;
        if calls > MAX_CALLS || nodes - self.body.nodes > MAX_INLINED {
            return Err(format!(
                "its functions become {nodes} nodes by {calls} calls, expected at most {MAX_INLINED} by {MAX_CALLS}"
            ));
        }
        for (op, name) in &self.makers {
            self.constants.get(name).map_or(Ok(()), |shape| check_made(op, shape))?;
        }
        Ok(())
    }

    /// Calls and nodes of a body with all functions in place. `None` in `sizes` is a function that is being looked at.
    fn inlined(
        &self,
        body: &Body<'a>,
        sizes: &mut HashMap<Name<'a>, Option<(u64, u64)>>,
    ) -> Result<(u64, u64), String> {
        let (mut calls, mut nodes) = (0u64, body.nodes);
        for (&name, &times) in &body.calls {
            let Some(called) = self.functions.get(&name) else { continue };
            let (own_calls, own_nodes) = match sizes.get(&name) {
                Some(Some(size)) => *size,
                Some(None) => return Err(format!("the function {:?} calls itself", name.1)),
                None => {
                    if sizes.len() > MAX_CALLS as usize {
                        return Err(format!("more than {MAX_CALLS} functions"));
                    }
                    sizes.insert(name, None);
                    let size = self.inlined(called, sizes)?;
                    sizes.insert(name, Some(size));
                    size
                }
            };
            calls = calls.saturating_add(times.saturating_mul(own_calls.saturating_add(1)));
            nodes = nodes.saturating_add(times.saturating_mul(own_nodes));
        }
        Ok((calls, nodes))
    }
}

fn check_made(op: &str, shape: &[i64]) -> Result<(), String> {
    if elements(shape) <= MAX_MADE {
        return Ok(());
    }
    Err(format!("{op} makes a tensor of the shape {shape:?}, expected at most {MAX_MADE} elements"))
}

/// Elements of a shape; sizes that an operator takes from its input (0, -1) count as one.
fn elements(shape: &[i64]) -> u64 {
    shape.iter().fold(1u64, |product, &size| product.saturating_mul(size.max(1) as u64))
}
