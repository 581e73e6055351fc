//! Just enough of the ONNX file format to recognise the graphs that the core runs natively.
//!
//! A general protobuf library would decode every message of a hostile file into structs many times its size before anything
//! could be checked. This reader borrows from the file, stops at small limits, and keeps nothing it does not need.

mod graph;
mod wire;

pub use graph::{Attribute, DataFile, DataType, Graph, Node, Tensor};
