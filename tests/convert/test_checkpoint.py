"""A checkpoint's kind is told by its content, not by its name."""

import h5py
import numpy as np
import pytest

from kzoo.convert import CheckpointError, read_checkpoint


def test_keras_files_are_known_by_their_first_bytes(tmp_path):
    path = tmp_path / "weights.pth"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"fc"]
        file.create_group("fc").attrs["weight_names"] = [b"fc/bias:0"]
        file["fc/fc/bias:0"] = np.arange(3.0)
    np.testing.assert_array_equal(read_checkpoint(path)["fc/fc/bias:0"], [0, 1, 2])
    with pytest.raises(CheckpointError, match="holds more than 8 bytes"):
        read_checkpoint(path, max_bytes=8)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_checkpoint(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("neither")
    with pytest.raises(CheckpointError, match=r"text\.h5"):
        read_checkpoint(tmp_path / "text.h5")
