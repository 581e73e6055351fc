//! Nodes, initializers, inputs and outputs of an ONNX graph, borrowed from the file.

use super::wire::{Fields, Value, push_integers};

/// No native graph is larger; a larger one is left to ONNX Runtime.
const MAX_NODES: usize = 256;
const MAX_TENSORS: usize = 256;
const MAX_EDGES: usize = 16;
const MAX_RANK: usize = 8;
/// Graphs inside the attributes of a node (loops, conditions) inside of each other.
const MAX_DEPTH: usize = 8;

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

/// 16-bit float.
const FLOAT16: DataType = DataType::Other(10);

impl DataType {
    /// Bytes of an element in raw data, where they are whole.
    fn bytes(self) -> Option<usize> {
        match self {
            Self::I8 | Self::Other(2 | 9) => Some(1),
            Self::Other(4 | 5 | 10 | 16) => Some(2),
            Self::F32 | Self::Other(6 | 12) => Some(4),
            Self::I64 | Self::Other(11 | 13) => Some(8),
            Self::Other(_) => None,
        }
    }
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
    /// Whether the elements are stored one by one, in a field of their type.
    pub typed: bool,
    /// Whether the elements lie in another file.
    pub external: bool,
    /// Where in which file, as `location`, `offset` and `length`; empty where the file does not say.
    pub place: [&'a str; 3],
}

/// A file beside the graph that may hold elements of its tensors.
#[derive(Debug, Clone, Copy)]
pub struct DataFile<'a> {
    /// Plain name.
    pub name: &'a str,
    /// Length in bytes.
    pub bytes: u64,
}

impl Tensor<'_> {
    /// Number of elements of a shape without negative or overflowing sizes.
    fn elements(&self) -> Result<usize, String> {
        self.dims
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?))
            .ok_or_else(|| format!("tensor {:?} has the shape {:?}", self.name, self.dims))
    }

    /// Says what no engine could make sense of: elements outside of the file, an impossible shape, more or fewer bytes than the
    /// shape has, weights that are not numbers. Infinite numbers pass where all others are zero: such tensors mask attention.
    fn check_defects(&self, files: &[DataFile<'_>]) -> Result<(), String> {
        if self.external {
            return self.check_place(files);
        }
        let elements = self.elements()?;
        if let Some(element_bytes) = self.data_type.bytes()
            && (!self.typed || !self.raw.is_empty())
        {
            self.check(self.data_type, element_bytes)?;
        }
        if self.data_type != DataType::F32 || elements == 0 {
            return Ok(());
        }
        let mut values = self.raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        match values.clone().position(|value| !value.is_finite()) {
            Some(at) if !values.clone().all(|value| value == 0.0 || value == f32::NEG_INFINITY) => {
                let found = values.nth(at).unwrap_or(f32::NAN);
                Err(format!("tensor {:?} holds {found} at element {at}, expected finite numbers", self.name))
            }
            _ => Ok(()),
        }
    }

    /// Elements in another file must lie inside one that the manifest lists.
    fn check_place(&self, files: &[DataFile<'_>]) -> Result<(), String> {
        let [location, offset, length] = self.place;
        let Some(file) = files.iter().find(|file| file.name == location) else {
            return Err(format!(
                "tensor {:?} keeps its elements in another file, {location:?}, which is not listed",
                self.name
            ));
        };
        let number = |text: &str| text.parse::<u64>().ok();
        let offset = if offset.is_empty() { Some(0) } else { number(offset) };
        let expected = self.data_type.bytes().and_then(|bytes| self.elements().ok()?.checked_mul(bytes));
        match (offset, number(length), expected) {
            (Some(offset), Some(length), Some(expected))
                if length == expected as u64 && offset.checked_add(length).is_some_and(|end| end <= file.bytes) =>
            {
                Ok(())
            }
            _ => Err(format!(
                "tensor {:?} of shape {:?} lies at {:?} of the {} bytes of {location:?}",
                self.name, self.dims, self.place, file.bytes
            )),
        }
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
    /// What the file holds more of than any native graph. The surplus is checked and not kept.
    pub beyond: Option<&'static str>,
    /// Whether some weight is a 16-bit float.
    pub float16: bool,
}

impl<'a> Graph<'a> {
    /// Reads the graph of an ONNX file (a serialised `ModelProto`).
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
        let mut parser = Parser { files, beyond: None, float16: false };
        let mut graph = None;
        for field in Fields::new(model) {
            match field? {
                (7, _) if graph.is_some() => return Err("two graphs in the file".into()),
                (7, value) => graph = Some(parser.graph(value.bytes()?, 0)?),
                (25, value) => parser.function(value.bytes()?)?,
                _ => {}
            }
        }
        let graph = graph.ok_or_else(|| "no graph in the file".to_string())?;
        Ok(Self { beyond: parser.beyond, float16: parser.float16, ..graph })
    }

    /// The weight of that name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor<'a>, String> {
        self.tensors.iter().find(|tensor| tensor.name == name).ok_or_else(|| format!("no tensor {name:?}"))
    }
}

/// Reads messages and remembers what there is too much of.
struct Parser<'f> {
    files: &'f [DataFile<'f>],
    beyond: Option<&'static str>,
    float16: bool,
}

impl Parser<'_> {
    fn push<T>(&mut self, list: &mut Vec<T>, item: T, limit: usize, what: &'static str) {
        if list.len() < limit {
            list.push(item);
        } else {
            self.beyond = Some(what);
        }
    }

    fn graph<'a>(&mut self, message: &'a [u8], depth: usize) -> Result<Graph<'a>, String> {
        if depth > MAX_DEPTH {
            return Err(format!("graphs inside of graphs, more than {MAX_DEPTH} deep"));
        }
        let mut graph = Graph::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => {
                    let node = self.node(value.bytes()?, depth)?;
                    self.push(&mut graph.nodes, node, MAX_NODES, "nodes");
                }
                (5, value) => {
                    let tensor = parse_tensor(value.bytes()?, self.files)?;
                    self.float16 |= tensor.data_type == FLOAT16;
                    self.push(&mut graph.tensors, tensor, MAX_TENSORS, "tensors");
                }
                (11, value) => self.push(&mut graph.inputs, parse_name(value.bytes()?)?, MAX_EDGES, "graph inputs"),
                (12, value) => self.push(&mut graph.outputs, parse_name(value.bytes()?)?, MAX_EDGES, "graph outputs"),
                (15, value) => parse_sparse_tensor(value.bytes()?)?,
                _ => {}
            }
        }
        Ok(graph)
    }

    /// A function of the model; native graphs call none, but its nodes may hold tensors.
    fn function(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields::new(message) {
            if let (7, value) = field? {
                self.node(value.bytes()?, 0)?;
            }
        }
        Ok(())
    }

    fn node<'a>(&mut self, message: &'a [u8], depth: usize) -> Result<Node<'a>, String> {
        let mut node = Node { op: "", domain: "", inputs: vec![], outputs: vec![], attributes: vec![] };
        for field in Fields::new(message) {
            match field? {
                (1, value) => self.push(&mut node.inputs, value.text()?, MAX_EDGES, "node inputs"),
                (2, value) => self.push(&mut node.outputs, value.text()?, MAX_EDGES, "node outputs"),
                (4, value) => node.op = value.text()?,
                (5, value) => {
                    let attribute = self.attribute(value.bytes()?, depth)?;
                    self.push(&mut node.attributes, attribute, MAX_EDGES, "attributes");
                }
                (7, value) => node.domain = value.text()?,
                _ => {}
            }
        }
        Ok(node)
    }

    fn attribute<'a>(&mut self, message: &'a [u8], depth: usize) -> Result<(&'a str, Attribute<'a>), String> {
        let (mut name, mut attribute) = ("", Attribute::Other);
        for field in Fields::new(message) {
            match field? {
                (1, value) => name = value.text()?,
                (2, Value::Fixed32(bytes)) => attribute = Attribute::Float(f32::from_le_bytes(bytes)),
                (3, value) => attribute = Attribute::Int(value.integer()?),
                (4, value) => attribute = Attribute::Text(value.bytes()?),
                (5 | 10, value) => self.float16 |= parse_tensor(value.bytes()?, self.files)?.data_type == FLOAT16,
                (6 | 11, value) => drop(self.graph(value.bytes()?, depth + 1)?),
                (22 | 23, value) => parse_sparse_tensor(value.bytes()?)?,
                _ => {}
            }
        }
        Ok((name, attribute))
    }
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

/// Values and indices of a `SparseTensorProto`.
fn parse_sparse_tensor(message: &[u8]) -> Result<(), String> {
    for field in Fields::new(message) {
        if let (1 | 2, value) = field? {
            parse_tensor(value.bytes()?, &[])?;
        }
    }
    Ok(())
}

fn parse_tensor<'a>(message: &'a [u8], files: &[DataFile<'_>]) -> Result<Tensor<'a>, String> {
    let mut tensor = Tensor {
        name: "",
        dims: vec![],
        data_type: DataType::Other(0),
        raw: &[],
        typed: false,
        external: false,
        place: [""; 3],
    };
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
            (4..=7 | 10 | 11, _) => tensor.typed = true,
            (13, value) => {
                tensor.external = true;
                parse_place(value.bytes()?, &mut tensor.place)?;
            }
            (14, value) => tensor.external |= value.integer()? != 0,
            _ => {}
        }
    }
    tensor.check_defects(files)?;
    Ok(tensor)
}

/// One key and value of where elements lie.
fn parse_place<'a>(message: &'a [u8], place: &mut [&'a str; 3]) -> Result<(), String> {
    let (mut key, mut text) = ("", "");
    for field in Fields::new(message) {
        match field? {
            (1, value) => key = value.text()?,
            (2, value) => text = value.text()?,
            _ => {}
        }
    }
    if let Some(at) = ["location", "offset", "length"].iter().position(|name| *name == key) {
        place[at] = text;
    }
    Ok(())
}
