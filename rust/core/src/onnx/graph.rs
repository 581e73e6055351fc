//! Nodes, initializers, inputs and outputs of an ONNX graph, borrowed from the file.

use super::{
    parse::Parser,
    tensor::{DataFile, DataType, Tensor},
};

/// Value of a node's attribute; other kinds are not used by native graphs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attribute<'a> {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// A string, as bytes.
    Text(&'a [u8]),
    /// Something else.
    Other,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// Operator, such as `Gather`.
    pub op: &'a str,
    /// Empty for the standard operators.
    pub domain: &'a str,
    /// Names of the values it reads.
    pub inputs: Vec<&'a str>,
    /// Names of the values it makes.
    pub outputs: Vec<&'a str>,
    /// Attributes in file order.
    pub attributes: Vec<(&'a str, Attribute<'a>)>,
}

/// Size of one axis of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis<'a> {
    /// Always this.
    Size(i64),
    /// Different from run to run; equal where the name is.
    Name(&'a str),
    /// Not said.
    Unknown,
}

/// An input or output of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port<'a> {
    /// Name of the value.
    pub name: &'a str,
    /// Element type; `Other(0)` where the file does not say.
    pub data_type: DataType,
    /// Its axes, where the file says.
    pub axes: Option<Vec<Axis<'a>>>,
}

/// The parts of a graph that recognition needs.
#[derive(Debug, Clone, Default)]
pub struct Graph<'a> {
    /// Operations in execution order.
    pub nodes: Vec<Node<'a>>,
    /// Weights.
    pub tensors: Vec<Tensor<'a>>,
    /// The graph's inputs.
    pub inputs: Vec<Port<'a>>,
    /// The graph's outputs.
    pub outputs: Vec<Port<'a>>,
    /// Types of values between the nodes, as the file states them.
    pub hints: Vec<Port<'a>>,
    /// The first thing about the file that no native graph has. It was checked and may not have been kept.
    pub foreign: Option<String>,
    /// Version of the standard operators; 0 where the file does not say.
    pub opset: i64,
    /// Number of token ids that `input_ids` may hold: rows of the smallest table that they are looked up in, where that is a weight.
    pub vocabulary: Option<usize>,
    /// Whether some weight is a 16-bit float.
    pub float16: bool,
}

impl<'a> Graph<'a> {
    /// Reads the graph of an ONNX file (a serialized `ModelProto`).
    ///
    /// # Errors
    /// What is wrong with the file, in words: no engine should get to see it.
    pub fn parse(model: &'a [u8]) -> Result<Self, String> {
        Self::parse_beside(model, &[])
    }

    /// As [`parse`](Self::parse), where tensors may keep their elements in these files.
    ///
    /// # Errors
    /// The same, and elements that lie elsewhere.
    pub fn parse_beside(model: &'a [u8], files: &[DataFile<'_>]) -> Result<Self, String> {
        Parser::new(files).model(model)
    }

    /// The weight of that name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor<'a>, String> {
        self.tensors.iter().find(|tensor| tensor.name == name).ok_or_else(|| format!("no tensor {name:?}"))
    }
}
