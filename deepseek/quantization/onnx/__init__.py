"""Models as ONNX programs: quantized by ONNX Runtime's library, held to the same gates."""
