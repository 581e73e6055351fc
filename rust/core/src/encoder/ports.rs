//! Inputs and outputs that a graph must have to be run natively, with types and shapes: ONNX Runtime holds a run to them.

use crate::onnx::{Axis, DataType, Graph, Port};

/// Size of one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Size {
    /// One row a prompt.
    Prompts,
    /// One column a token.
    Tokens,
    /// As many as the weights have.
    Of(usize),
}

/// Name, element type and shape.
pub(crate) type Wanted<'w> = (&'w str, DataType, &'w [Size]);

/// Token ids or the mask over them.
pub(crate) const TOKENS: &[Size] = &[Size::Prompts, Size::Tokens];

/// Checks the inputs, by name only: their shapes need the weights.
pub(crate) fn check_inputs(graph: &Graph<'_>, names: &[&str]) -> Result<(), String> {
    let found: Vec<&str> = graph.inputs.iter().map(|port| port.name).collect();
    if found == names { Ok(()) } else { Err(format!("graph inputs are {found:?}")) }
}

/// Checks all inputs and outputs. Every name of an axis must stand for one thing.
pub(crate) fn check_ports(graph: &Graph<'_>, inputs: &[Wanted<'_>], outputs: &[Wanted<'_>]) -> Result<(), String> {
    let mut names: [Option<&str>; 2] = [None; 2];
    for (what, found, wanted) in [("inputs", &graph.inputs, inputs), ("outputs", &graph.outputs, outputs)] {
        if found.len() != wanted.len() {
            let names: Vec<&str> = found.iter().map(|port| port.name).collect();
            return Err(format!("graph {what} are {names:?}"));
        }
        for (port, wanted) in found.iter().zip(wanted) {
            if !fits(port, wanted, &mut names) {
                return Err(format!("graph {what}: {port:?}, expected {wanted:?}"));
            }
        }
    }
    match names {
        [Some(prompts), Some(tokens)] if prompts == tokens => Err(format!("{prompts:?} counts prompts and tokens")),
        _ => Ok(()),
    }
}

fn fits<'a>(port: &Port<'a>, &(name, data_type, sizes): &Wanted<'_>, names: &mut [Option<&'a str>; 2]) -> bool {
    let Some(axes) = &port.axes else { return false };
    let mut axis_fits = |(axis, size): (&Axis<'a>, &Size)| match (*axis, *size) {
        (Axis::Size(found), Size::Of(expected)) => usize::try_from(found) == Ok(expected),
        (Axis::Name(found), Size::Prompts) => !found.is_empty() && *names[0].get_or_insert(found) == found,
        (Axis::Name(found), Size::Tokens) => !found.is_empty() && *names[1].get_or_insert(found) == found,
        _ => false,
    };
    port.name == name
        && port.data_type == data_type
        && axes.len() == sizes.len()
        && axes.iter().zip(sizes).all(&mut axis_fits)
}
