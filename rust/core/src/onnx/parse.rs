//! Reads the messages of an ONNX file, and notes what native graphs do not have.
//!
//! Everything is checked, because another engine may get the file. What native graphs never hold (fields, repetitions, versions) is
//! noted as `foreign`: a graph is run natively only where ONNX Runtime would read the same from it.

use super::{
    bounds::{Body, Bounds},
    graph::{Attribute, Axis, Graph, Node, Port},
    tensor::{DataFile, DataType},
    vocabulary::Vocabulary,
    wire::{Fields, Value, push_integers},
};

/// No native graph is larger; a larger one is left to ONNX Runtime.
const MAX_NODES: usize = 256;
const MAX_TENSORS: usize = 256;
const MAX_EDGES: usize = 16;
/// Graphs inside the attributes of a node (loops, conditions) inside of each other.
const MAX_DEPTH: usize = 8;
/// Integers of an attribute that are kept.
const MAX_INTEGERS: usize = 16;
/// Versions of the file format of native graphs.
const IR_VERSIONS: std::ops::RangeInclusive<i64> = 8..=10;

/// Reads messages and remembers what there is too much of.
pub(super) struct Parser<'f, 'a> {
    pub(super) files: &'f [DataFile<'f>],
    pub(super) float16: bool,
    foreign: Option<String>,
    bounds: Bounds<'a>,
    vocabulary: Vocabulary<'a>,
}

/// Fields of one message that were read.
pub(super) struct Once {
    message: &'static str,
    seen: u32,
}

/// An attribute and, of one that holds a few integers, their values.
type Read<'a> = ((&'a str, Attribute<'a>), Vec<i64>);

impl<'f, 'a> Parser<'f, 'a> {
    pub(super) fn new(files: &'f [DataFile<'f>]) -> Self {
        Self { files, float16: false, foreign: None, bounds: Bounds::default(), vocabulary: Vocabulary::default() }
    }

    pub(super) fn foreign(&mut self, what: impl FnOnce() -> String) {
        self.foreign.get_or_insert_with(what);
    }

    pub(super) fn once(&self, message: &'static str) -> Once {
        Once { message, seen: 0 }
    }

    /// Whether a field of a message is one that native graphs hold: those that are `single` at most once, those that are `repeated` as
    /// often as they like.
    pub(super) fn is_native(once: &mut Once, number: u64, single: bool, repeated: bool) -> bool {
        let bit = 1u32.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0);
        let known = repeated || (single && once.seen & bit == 0);
        once.seen |= bit;
        known
    }

    /// Notes a field that is not.
    fn known(&mut self, once: &mut Once, number: u64, single: bool, repeated: bool) {
        if !Self::is_native(once, number, single, repeated) {
            self.foreign(|| format!("{} has field {number}, or has it twice", once.message));
        }
    }

    fn push<T>(&mut self, list: &mut Vec<T>, item: T, limit: usize, what: &'static str) {
        if list.len() < limit {
            list.push(item);
        } else {
            self.foreign(|| format!("it holds more {what} than any graph that the core runs"));
        }
    }

    /// Reads a `ModelProto`.
    pub(super) fn model(mut self, message: &'a [u8]) -> Result<Graph<'a>, String> {
        let (mut once, mut graph, mut version, mut opset) = (self.once("the model"), None, 0, 0);
        for field in Fields::new(message) {
            let (number, value) = field?;
            match number {
                1 => version = value.integer()?,
                2..=4 | 6 => drop(value.bytes()?),
                5 => drop(value.integer()?),
                7 if graph.is_some() => return Err("two graphs in the file".into()),
                7 => graph = Some(self.graph(value.bytes()?, 0)?),
                8 => opset = self.opset(value.bytes()?)?,
                25 => self.function(value.bytes()?)?,
                _ => {}
            }
            self.known(&mut once, number, matches!(number, 1..=8), false);
        }
        let graph = graph.ok_or_else(|| "no graph in the file".to_string())?;
        self.bounds.check()?;
        if !IR_VERSIONS.contains(&version) {
            self.foreign(|| format!("its ir_version is {version}, expected {IR_VERSIONS:?}"));
        }
        let vocabulary = self.vocabulary.rows();
        Ok(Graph { foreign: self.foreign, float16: self.float16, opset, vocabulary, ..graph })
    }

    /// Reads an `OperatorSetIdProto`: the version of the standard operators.
    fn opset(&mut self, message: &'a [u8]) -> Result<i64, String> {
        let (mut once, mut domain, mut version) = (self.once("an operator set"), "", 0);
        for field in Fields::new(message) {
            let (number, value) = field?;
            match number {
                1 => domain = value.text()?,
                2 => version = value.integer()?,
                _ => {}
            }
            self.known(&mut once, number, matches!(number, 1 | 2), false);
        }
        if !domain.is_empty() {
            self.foreign(|| format!("it uses operators of {domain:?}"));
        }
        Ok(version)
    }

    /// Reads a `GraphProto`.
    fn graph(&mut self, message: &'a [u8], depth: usize) -> Result<Graph<'a>, String> {
        if depth > MAX_DEPTH {
            return Err(format!("graphs inside of graphs, more than {MAX_DEPTH} deep"));
        }
        let (mut once, mut graph) = (self.once("the graph"), Graph::default());
        for field in Fields::new(message) {
            let (number, value) = field?;
            match number {
                1 => {
                    let node = self.node(value.bytes()?, depth)?;
                    self.push(&mut graph.nodes, node, MAX_NODES, "nodes");
                }
                2 | 10 => drop(value.bytes()?),
                5 => {
                    let parsed = self.tensor(value.bytes()?)?;
                    self.bounds.constant(parsed.tensor.name, parsed.shape);
                    self.vocabulary.tensor(parsed.tensor.name, &parsed.tensor.dims);
                    self.push(&mut graph.tensors, parsed.tensor, MAX_TENSORS, "tensors");
                }
                11 => {
                    let port = self.port(value.bytes()?)?;
                    self.push(&mut graph.inputs, port, MAX_EDGES, "graph inputs");
                }
                12 => {
                    let port = self.port(value.bytes()?)?;
                    self.push(&mut graph.outputs, port, MAX_EDGES, "graph outputs");
                }
                13 => {
                    let port = self.port(value.bytes()?)?;
                    self.push(&mut graph.hints, port, MAX_NODES, "types of values");
                }
                15 => return Err("a sparse tensor, which may become any number of elements; store it densely".into()),
                _ => {}
            }
            self.known(&mut once, number, matches!(number, 2 | 10), matches!(number, 1 | 5 | 11..=13));
        }
        Ok(graph)
    }

    /// Reads a `FunctionProto`; native graphs call none.
    fn function(&mut self, message: &'a [u8]) -> Result<(), String> {
        let mut body = Body::default();
        self.bounds.swap_body(&mut body);
        let (mut name, mut domain, mut overload) = ("", "", "");
        for field in Fields::new(message) {
            match field? {
                (1, value) => name = value.text()?,
                (7, value) => drop(self.node(value.bytes()?, 0)?),
                (10, value) => domain = value.text()?,
                (11, value) => drop(self.attribute(value.bytes()?, 0)?),
                (13, value) => overload = value.text()?,
                _ => {}
            }
        }
        self.bounds.end_function((domain, name, overload))?;
        self.bounds.swap_body(&mut body);
        Ok(())
    }

    /// Reads a `NodeProto`.
    fn node(&mut self, message: &'a [u8], depth: usize) -> Result<Node<'a>, String> {
        let mut node = Node { op: "", domain: "", inputs: vec![], outputs: vec![], attributes: vec![] };
        let (mut once, mut overload, mut integers) = (self.once("a node"), "", vec![]);
        for field in Fields::new(message) {
            let (number, value) = field?;
            match number {
                1 => self.push(&mut node.inputs, value.text()?, MAX_EDGES, "node inputs"),
                2 => self.push(&mut node.outputs, value.text()?, MAX_EDGES, "node outputs"),
                3 | 6 => drop(value.bytes()?),
                4 => node.op = value.text()?,
                5 => {
                    let (attribute, values) = self.attribute(value.bytes()?, depth)?;
                    if !values.is_empty() {
                        integers.push((attribute.0, values));
                    }
                    self.push(&mut node.attributes, attribute, MAX_EDGES, "attributes");
                }
                7 => node.domain = value.text()?,
                8 => overload = value.text()?,
                _ => {}
            }
            self.known(&mut once, number, matches!(number, 3 | 4 | 6 | 7), matches!(number, 1 | 2 | 5));
        }
        self.bounds.node((node.domain, node.op, overload), &node.inputs, &integers)?;
        self.vocabulary.node(&node);
        if let ("Constant", Some(&name)) = (node.op, node.outputs.first()) {
            integers.into_iter().for_each(|(_, values)| self.bounds.constant(name, values));
        }
        Ok(node)
    }

    /// Reads an `AttributeProto`.
    fn attribute(&mut self, message: &'a [u8], depth: usize) -> Result<Read<'a>, String> {
        let (mut once, mut name, mut kind, mut found) = (self.once("an attribute"), "", 0, vec![]);
        let mut integers = vec![];
        for field in Fields::new(message) {
            let (number, value) = field?;
            match number {
                1 => name = value.text()?,
                2 => match value {
                    Value::Fixed32(bytes) => found.push((1, Attribute::Float(f32::from_le_bytes(bytes)))),
                    other => return Err(format!("attribute {name:?}: expected a float, found {other:?}")),
                },
                3 => found.push((2, Attribute::Int(value.integer()?))),
                4 => found.push((3, Attribute::Text(value.bytes()?))),
                5 | 10 => integers = self.tensor(value.bytes()?)?.shape,
                6 | 11 => drop(self.graph(value.bytes()?, depth + 1)?),
                8 => {
                    let mut list = vec![];
                    if push_integers(value, &mut list, MAX_INTEGERS).is_ok() && integers.len() < MAX_INTEGERS {
                        integers.extend(list);
                    }
                }
                13 => drop(value.bytes()?),
                20 => kind = value.integer()?,
                22 | 23 => return Err(format!("attribute {name:?} is a sparse tensor; store it densely")),
                _ => {}
            }
            self.known(&mut once, number, matches!(number, 1..=4 | 13 | 20), false);
        }
        let attribute = match found[..] {
            [(stated, attribute)] if stated == kind => attribute,
            _ => Attribute::Other,
        };
        Ok(((name, attribute), integers))
    }

    /// Reads a `ValueInfoProto`.
    fn port(&mut self, message: &'a [u8]) -> Result<Port<'a>, String> {
        let mut port = Port { name: "", data_type: DataType::Other(0), axes: None };
        let mut once = self.once("an input or output");
        for field in Fields::new(message) {
            let (number, value) = field?;
            match number {
                1 => port.name = value.text()?,
                2 => self.port_type(value.bytes()?, &mut port)?,
                3 => drop(value.bytes()?),
                _ => {}
            }
            self.known(&mut once, number, matches!(number, 1..=3), false);
        }
        Ok(port)
    }

    /// Reads a `TypeProto`; of one that is not a tensor nothing is kept.
    fn port_type(&mut self, message: &'a [u8], port: &mut Port<'a>) -> Result<(), String> {
        let mut once = self.once("the type of an input or output");
        for field in Fields::new(message) {
            let (number, value) = field?;
            if number == 1 {
                let mut tensor = self.once("the type of an input or output");
                for field in Fields::new(value.bytes()?) {
                    let (number, value) = field?;
                    match number {
                        1 => port.data_type = DataType::of(value.integer()?),
                        2 => port.axes = Some(self.axes(value.bytes()?)?),
                        _ => {}
                    }
                    self.known(&mut tensor, number, matches!(number, 1 | 2), false);
                }
            }
            self.known(&mut once, number, number == 1, false);
        }
        Ok(())
    }

    /// Reads a `TensorShapeProto`.
    fn axes(&mut self, message: &'a [u8]) -> Result<Vec<Axis<'a>>, String> {
        let (mut once, mut axes) = (self.once("a shape"), vec![]);
        for field in Fields::new(message) {
            let (number, value) = field?;
            if number == 1 {
                let (mut dim, mut axis) = (self.once("an axis"), Axis::Unknown);
                for field in Fields::new(value.bytes()?) {
                    let (number, value) = field?;
                    match number {
                        1 => axis = Axis::Size(value.integer()?),
                        2 => axis = Axis::Name(value.text()?),
                        _ => {}
                    }
                    // Both numbers stand for one field: an axis has a size or a name.
                    self.known(&mut dim, number.min(1), matches!(number, 1 | 2), false);
                }
                self.push(&mut axes, axis, MAX_EDGES, "axes");
            }
            self.known(&mut once, number, false, number == 1);
        }
        Ok(axes)
    }
}
