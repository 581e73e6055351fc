//! Nodes, initializers, inputs and outputs of an ONNX graph, borrowed from the file.

use super::wire::{Fields, Value, push_integers};

/// No native graph is larger; a larger one is left to ONNX Runtime.
const MAX_NODES: usize = 256;
const MAX_TENSORS: usize = 256;
const MAX_EDGES: usize = 16;
const MAX_RANK: usize = 8;

/// Element types that native graphs hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// 32-bit float.
    F32,
    /// 8-bit signed integer.
    I8,
    /// 64-bit signed integer.
    I64,
    /// Anything else, by its ONNX number.
    Other(i64),
}

/// A weight of the graph.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// Name by which nodes refer to it.
    pub name: &'a str,
    /// Shape.
    pub dims: Vec<i64>,
    /// Element type.
    pub data_type: DataType,
    /// Little-endian elements; empty where the file stores them in another way.
    pub raw: &'a [u8],
}

impl Tensor<'_> {
    /// Number of elements of a shape without negative or overflowing sizes.
    fn elements(&self) -> Result<usize, String> {
        self.dims
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?))
            .ok_or_else(|| format!("tensor {:?} has the shape {:?}", self.name, self.dims))
    }

    fn check(&self, data_type: DataType, element_bytes: usize) -> Result<(), String> {
        if self.data_type != data_type {
            return Err(format!("tensor {:?} is {:?}, expected {data_type:?}", self.name, self.data_type));
        }
        let expected = self.elements()?.checked_mul(element_bytes);
        if expected != Some(self.raw.len()) {
            return Err(format!(
                "tensor {:?} of shape {:?} holds {} bytes of raw data, expected {expected:?}",
                self.name,
                self.dims,
                self.raw.len()
            ));
        }
        Ok(())
    }

    /// The elements as finite floats.
    pub fn floats(&self) -> Result<Vec<f32>, String> {
        self.check(DataType::F32, 4)?;
        let values: Vec<f32> = self.raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => {
                Err(format!("tensor {:?} holds {} at element {at}, expected finite numbers", self.name, values[at]))
            }
        }
    }

    /// The elements as bytes.
    pub fn int8(&self) -> Result<&[i8], String> {
        self.check(DataType::I8, 1)?;
        Ok(bytemuck::cast_slice(self.raw))
    }

    /// The elements as 64-bit integers.
    pub fn integers(&self) -> Result<Vec<i64>, String> {
        self.check(DataType::I64, 8)?;
        Ok(self.raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
    }
}

/// Value of a node's attribute; other kinds are not used by native graphs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
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
    pub attributes: Vec<(&'a str, Attribute)>,
}

/// The parts of a graph that recognition needs.
#[derive(Debug, Clone, Default)]
pub struct Graph<'a> {
    /// Operations in execution order.
    pub nodes: Vec<Node<'a>>,
    /// Weights.
    pub tensors: Vec<Tensor<'a>>,
    /// Names of the graph's inputs.
    pub inputs: Vec<&'a str>,
    /// Names of the graph's outputs.
    pub outputs: Vec<&'a str>,
}

impl<'a> Graph<'a> {
    /// Reads the graph of an ONNX file (a serialised `ModelProto`).
    pub fn parse(model: &'a [u8]) -> Result<Self, String> {
        let mut graph = None;
        for field in Fields::new(model) {
            if let (7, value) = field? {
                graph = Some(Self::parse_graph(value.bytes()?)?);
            }
        }
        graph.ok_or_else(|| "no graph in the file".to_string())
    }

    /// The weight of that name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor<'a>, String> {
        self.tensors.iter().find(|tensor| tensor.name == name).ok_or_else(|| format!("no tensor {name:?}"))
    }

    fn parse_graph(message: &'a [u8]) -> Result<Self, String> {
        let mut graph = Self::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => push(&mut graph.nodes, parse_node(value.bytes()?)?, MAX_NODES, "nodes")?,
                (5, value) => push(&mut graph.tensors, parse_tensor(value.bytes()?)?, MAX_TENSORS, "tensors")?,
                (11, value) => push(&mut graph.inputs, parse_name(value.bytes()?)?, MAX_EDGES, "graph inputs")?,
                (12, value) => push(&mut graph.outputs, parse_name(value.bytes()?)?, MAX_EDGES, "graph outputs")?,
                _ => {}
            }
        }
        Ok(graph)
    }
}

fn push<T>(list: &mut Vec<T>, item: T, limit: usize, what: &str) -> Result<(), String> {
    if list.len() == limit {
        return Err(format!("more than {limit} {what}"));
    }
    list.push(item);
    Ok(())
}

/// The name of a `ValueInfoProto`.
fn parse_name(message: &[u8]) -> Result<&str, String> {
    for field in Fields::new(message) {
        if let (1, value) = field? {
            return value.text();
        }
    }
    Ok("")
}

fn parse_node(message: &[u8]) -> Result<Node<'_>, String> {
    let mut node = Node { op: "", domain: "", inputs: vec![], outputs: vec![], attributes: vec![] };
    for field in Fields::new(message) {
        match field? {
            (1, value) => push(&mut node.inputs, value.text()?, MAX_EDGES, "node inputs")?,
            (2, value) => push(&mut node.outputs, value.text()?, MAX_EDGES, "node outputs")?,
            (4, value) => node.op = value.text()?,
            (5, value) => push(&mut node.attributes, parse_attribute(value.bytes()?)?, MAX_EDGES, "attributes")?,
            (7, value) => node.domain = value.text()?,
            _ => {}
        }
    }
    Ok(node)
}

fn parse_attribute(message: &[u8]) -> Result<(&str, Attribute), String> {
    let (mut name, mut attribute) = ("", Attribute::Other);
    for field in Fields::new(message) {
        match field? {
            (1, value) => name = value.text()?,
            (2, Value::Fixed32(bytes)) => attribute = Attribute::Float(f32::from_le_bytes(bytes)),
            (3, value) => attribute = Attribute::Int(value.integer()?),
            _ => {}
        }
    }
    Ok((name, attribute))
}

fn parse_tensor(message: &[u8]) -> Result<Tensor<'_>, String> {
    let mut tensor = Tensor { name: "", dims: vec![], data_type: DataType::Other(0), raw: &[] };
    for field in Fields::new(message) {
        match field? {
            (1, value) => push_integers(value, &mut tensor.dims, MAX_RANK)?,
            (2, value) => {
                tensor.data_type = match value.integer()? {
                    1 => DataType::F32,
                    3 => DataType::I8,
                    7 => DataType::I64,
                    other => DataType::Other(other),
                }
            }
            (8, value) => tensor.name = value.text()?,
            (9, value) => tensor.raw = value.bytes()?,
            _ => {}
        }
    }
    Ok(tensor)
}
