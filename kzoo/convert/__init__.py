"""Readers of foreign checkpoints. They need no framework that wrote one, and run nothing that a file says."""

from kzoo.convert.errors import CheckpointError
from kzoo.convert.keras_h5 import read_keras_h5
from kzoo.convert.torch_file import read_torch, state_dict
from kzoo.convert.zip_reader import extract_member

__all__ = ["CheckpointError", "extract_member", "read_keras_h5", "read_torch", "state_dict"]
