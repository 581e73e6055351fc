//! An artifact folder that a test may damage, with sizes and hashes kept right so that the damage is reached.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use turnout_core::{
    Error, Result, Router, RouterConfig,
    onnx::{Attribute, Axis, DataType, Graph},
};

/// `models/tiny` of the repository.
pub fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny")
}

/// A copy of `models/tiny`.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        // In memory where the system has a place for that: thousands of small files on a busy disk take minutes.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let copy = Self(tempfile::tempdir_in(place).unwrap());
        for name in ["router.json", "model.onnx", "tokenizer.json"] {
            copy.write(name, &std::fs::read(tiny().join(name)).unwrap());
        }
        copy
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    /// Writes a file and nothing else: hashes no longer fit.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&self.read("router.json")).unwrap()
    }

    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        change(&mut manifest);
        self.write("router.json", manifest.to_string().as_bytes());
    }

    /// Replaces a listed file and corrects its entry in the manifest.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes);
        let entry = json!({"bytes": bytes.len(), "sha256": hex::encode(Sha256::digest(bytes))});
        self.edit(|manifest| manifest["files"][name] = entry);
    }

    pub fn edit_tokenizer(&self, change: impl FnOnce(&mut Value)) {
        let mut tokenizer = serde_json::from_slice(&self.read("tokenizer.json")).unwrap();
        change(&mut tokenizer);
        self.replace("tokenizer.json", tokenizer.to_string().as_bytes());
    }

    pub fn edit_graph(&self, change: impl FnOnce(&mut Graph<'_>)) {
        let bytes = self.read("model.onnx");
        let mut graph = Graph::parse(&bytes).unwrap();
        change(&mut graph);
        self.replace("model.onnx", &encode(&graph));
    }

    pub fn open(&self) -> Result<Router> {
        Router::open(self.path(), &RouterConfig::default())
    }

    /// File name, field and message of the artifact error that opening gives.
    #[track_caller]
    pub fn refused(&self) -> (String, String, String) {
        match self.open() {
            Err(Error::Artifact { path, field, message, .. }) => {
                (path.file_name().unwrap().to_string_lossy().into_owned(), field, message)
            }
            Err(other) => panic!("refused, but not as an artifact: {other:?}"),
            Ok(_) => panic!("opened"),
        }
    }
}

/// A serialized `ModelProto` with this graph.
pub fn encode(graph: &Graph<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    for node in &graph.nodes {
        let mut bytes = Vec::new();
        node.inputs.iter().for_each(|name| field(&mut bytes, 1, name.as_bytes()));
        node.outputs.iter().for_each(|name| field(&mut bytes, 2, name.as_bytes()));
        field(&mut bytes, 4, node.op.as_bytes());
        field(&mut bytes, 7, node.domain.as_bytes());
        for (name, value) in &node.attributes {
            let mut attribute = Vec::new();
            field(&mut attribute, 1, name.as_bytes());
            match value {
                Attribute::Int(value) => {
                    integer(&mut attribute, 3, *value);
                    integer(&mut attribute, 20, 2);
                }
                Attribute::Float(value) => {
                    varint(&mut attribute, 2 << 3 | 5);
                    attribute.extend(value.to_le_bytes());
                    integer(&mut attribute, 20, 1);
                }
                Attribute::Text(text) => {
                    field(&mut attribute, 4, text);
                    integer(&mut attribute, 20, 3);
                }
                Attribute::Other => {}
            }
            field(&mut bytes, 5, &attribute);
        }
        field(&mut message, 1, &bytes);
    }
    for tensor in &graph.tensors {
        let mut bytes = Vec::new();
        tensor.dims.iter().for_each(|&dim| integer(&mut bytes, 1, dim));
        integer(&mut bytes, 2, number_of(tensor.data_type));
        field(&mut bytes, 8, tensor.name.as_bytes());
        field(&mut bytes, 9, tensor.raw);
        if tensor.external {
            integer(&mut bytes, 14, 1);
        }
        field(&mut message, 5, &bytes);
    }
    for (number, ports) in [(11, &graph.inputs), (12, &graph.outputs)] {
        for port in ports {
            let mut bytes = Vec::new();
            field(&mut bytes, 1, port.name.as_bytes());
            let (mut tensor, mut kind) = (vec![], vec![]);
            integer(&mut tensor, 1, number_of(port.data_type));
            if let Some(axes) = &port.axes {
                field(&mut tensor, 2, &shape(axes));
            }
            field(&mut kind, 1, &tensor);
            field(&mut bytes, 2, &kind);
            field(&mut message, number, &bytes);
        }
    }
    let (mut model, mut operators) = (Vec::new(), Vec::new());
    integer(&mut operators, 2, graph.opset);
    integer(&mut model, 1, 9);
    field(&mut model, 8, &operators);
    field(&mut model, 7, &message);
    model
}

fn number_of(data_type: DataType) -> i64 {
    match data_type {
        DataType::F32 => 1,
        DataType::I8 => 3,
        DataType::I64 => 7,
        DataType::Other(number) => number,
    }
}

fn shape(axes: &[Axis<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for axis in axes {
        let mut dim = Vec::new();
        match axis {
            Axis::Size(size) => integer(&mut dim, 1, *size),
            Axis::Name(name) => field(&mut dim, 2, name.as_bytes()),
            Axis::Unknown => {}
        }
        field(&mut bytes, 1, &dim);
    }
    bytes
}

/// A length-delimited field.
pub fn field(into: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(into, number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// An integer field.
pub fn integer(into: &mut Vec<u8>, number: u64, value: i64) {
    varint(into, number << 3);
    varint(into, value as u64);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}
