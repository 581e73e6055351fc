//! Any bytes are a graph, or refused; what is read of a graph lies within the bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnout_core::onnx::Graph;

fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = Graph::parse(bytes) else { return };
    for tensor in &graph.tensors {
        assert!(tensor.dims.iter().all(|&dim| dim >= 0));
        let elements: u128 = tensor.dims.iter().map(|&dim| dim as u128).product();
        if let Ok(values) = tensor.floats() {
            assert_eq!(values.len() as u128, elements);
            assert!(values.iter().all(|value| value.is_finite()));
        }
        if let Ok(values) = tensor.int8() {
            assert_eq!(values.len() as u128, elements);
        }
        if let Ok(values) = tensor.integers() {
            assert_eq!(values.len() as u128, elements);
        }
        assert!(graph.tensor(tensor.name).is_ok());
    }
});
