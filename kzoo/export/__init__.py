"""Networks as files for other runtimes: ONNX, LiteRT, SavedModel."""
