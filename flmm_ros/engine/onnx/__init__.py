"""The trained heads in ONNX Runtime: exported, kept, opened, checked. See docs/onnx.md."""
