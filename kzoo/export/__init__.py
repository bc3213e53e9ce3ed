"""Exported networks: ONNX, LiteRT, SavedModel, each with a sidecar that says what it is."""
