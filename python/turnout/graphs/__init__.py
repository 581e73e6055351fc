"""ONNX graphs: writers, checkpoint reading, precisions."""
