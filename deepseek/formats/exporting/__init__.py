"""A model as an ONNX program: its inputs, the export, and its outputs held against torch's."""
