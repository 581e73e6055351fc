//! Just enough of the ONNX file format to recognize the graphs that the core runs natively, and to refuse what no engine should see.
//!
//! A general protobuf library would decode every message of a hostile file into structs many times its size before anything
//! could be checked. This reader borrows from the file, stops at small limits, and keeps nothing it does not need.

mod bounds;
mod graph;
mod parse;
mod tensor;
mod vocabulary;
mod wire;

pub use graph::{Attribute, Axis, Graph, Node, Port};
pub use tensor::{DataFile, DataType, Tensor};
