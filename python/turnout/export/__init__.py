"""Writing what the core reads: ONNX graphs and artifact folders."""
