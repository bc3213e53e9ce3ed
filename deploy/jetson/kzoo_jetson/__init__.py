"""Runs a network that `kzoo export --format onnx` wrote on an NVIDIA Jetson; needs NumPy and the board's TensorRT."""
