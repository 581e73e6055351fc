//! What an error of ONNX Runtime means.

use crate::{batcher::RunError, error::Error};

/// Words of ONNX Runtime, CUDA, cuBLAS, cuDNN, cuFFT and TensorRT when a device has no room left, in lower case. An arena with a limit
/// (`device_memory_bytes`) has words of its own, "Available memory of 0 is smaller than requested bytes of 1024".
const OUT_OF_MEMORY: [&str; 8] = [
    "failed to allocate memory",
    "is smaller than requested bytes of",
    "out of memory",
    "outofmemory",
    "could not be allocated",
    "_alloc_failed",
    "_allocation_failed",
    "bad_alloc",
];

fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    OUT_OF_MEMORY.iter().any(|words| message.contains(words))
}

/// An error of a run.
pub(super) fn run_error(error: ort::Error) -> RunError {
    match error.to_string() {
        message if is_out_of_memory(&message) => RunError::OutOfMemory(message),
        message => RunError::Failed(Error::inference(format!("ONNX Runtime: {message}")).caused_by(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_memory_is_known_by_its_words() {
        for message in [
            "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 17",
            "BFCArena::AllocateRawInternal Available memory of 0 is smaller than requested bytes of 97517568",
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; expr=cudaMalloc((void**)&p, size);",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
            "CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            "Error Code 2: OutOfMemory (Requested size was 17920000000 bytes.)",
            "Requested amount of GPU memory (17920000000 bytes) could not be allocated.",
            "std::bad_alloc",
        ] {
            assert!(is_out_of_memory(message), "{message}");
        }
        for message in [
            "Got invalid dimensions for input: input_ids",
            "CUDA failure 700: an illegal memory access was encountered ; GPU=0",
            "CUDA failure 900: operation not permitted when stream is capturing",
            "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED",
        ] {
            assert!(!is_out_of_memory(message), "{message}");
        }
    }
}
