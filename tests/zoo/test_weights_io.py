from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from kzoo.zoo.weights_io import load_weights, save_weights


def network(classes: int = 3, width: int = 4) -> keras.Model:
    """A functional body in a subclassed network, as the zoo's are."""

    class Network(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="network")
            inputs = keras.Input((None, None, 3))
            x = keras.layers.Conv2D(width, 3, name="stem")(inputs)
            x = keras.layers.BatchNormalization(name="norm")(x)
            self.body = keras.Model(inputs, x)
            self.classifier = keras.layers.Conv2D(classes, 1, name="classifier")

        def call(self, inputs):
            return self.classifier(self.body(inputs))

    model = Network()
    model(np.zeros((1, 8, 8, 3), "float32"))
    rng = np.random.default_rng(classes)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) * 1e-3 for weight in model.get_weights()])
    return model


def by_path(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: weight.numpy() for weight in model.weights}


def dtypes(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda key, item: found.update({key: str(item.dtype)}) if isinstance(item, h5py.Dataset) else None
        )
    return found


def test_float16_round_trip(tmp_path: Path) -> None:
    source, target = network(), network()
    target.set_weights([np.zeros_like(weight) for weight in target.get_weights()])
    path = tmp_path / "n.weights.h5"
    save_weights(source, path)
    assert load_weights(target, path) == ()
    for key, value in by_path(source).items():
        read = by_path(target)[key]
        assert read.dtype == np.float32
        if value.ndim == 1:
            np.testing.assert_array_equal(read, value)
        else:
            np.testing.assert_allclose(read, value, rtol=1e-3)
            assert np.any(read != value)
    assert dtypes(path)["classifier/vars/0"] == "float16"
    assert dtypes(path)["classifier/vars/1"] == "float32"


def test_plain_keras_reads_it_too(tmp_path: Path) -> None:
    source, target = network(), network()
    save_weights(source, tmp_path / "n.weights.h5", dtype="float32")
    target.set_weights([np.zeros_like(weight) for weight in target.get_weights()])
    target.load_weights(tmp_path / "n.weights.h5")
    for key, value in by_path(source).items():
        np.testing.assert_array_equal(by_path(target)[key], value)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.0, 0.3], "float16"),
        ([7e4, 1.0], "float32"),  # beyond float16's largest
        ([3e-6, 1e-6], "float32"),  # all so small that float16 has few digits left
        ([1.0, 3e-8], "float16"),  # a tiny value beside a large one does not show
        ([1e-3, 5.99e-6], "float32"),  # a small value that does show, and would be off by more than 1e-3
    ],
)
def test_what_float16_cannot_hold_stays_float32(tmp_path: Path, values: list[float], dtype: str) -> None:
    model = network()
    kernel = np.full(model.classifier.kernel.shape, values[0], "float32")
    kernel[..., 0] = values[1]
    model.classifier.kernel.assign(kernel)
    save_weights(model, tmp_path / "n.weights.h5")
    assert dtypes(tmp_path / "n.weights.h5")["classifier/vars/0"] == dtype


def test_depthwise_kernels_stay_float32(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.DepthwiseConv2D(3), keras.layers.Conv2D(4, 1)])
    save_weights(model, tmp_path / "n.weights.h5")
    kernels = [dtype for key, dtype in dtypes(tmp_path / "n.weights.h5").items() if key.endswith("vars/0")]
    assert sorted(kernels) == ["float16", "float32"]


def test_the_optimizer_is_left_out_and_passed_over(tmp_path: Path) -> None:
    model = network()
    model.compile("adam", "mse")
    model.fit(np.ones((2, 8, 8, 3)), np.ones((2, 6, 6, 3)), verbose=0)
    model.save_weights(tmp_path / "keras.weights.h5")
    assert any(key.startswith("optimizer/") for key in dtypes(tmp_path / "keras.weights.h5"))
    assert load_weights(network(), tmp_path / "keras.weights.h5") == ()
    assert load_weights(model, tmp_path / "keras.weights.h5") == ()
    save_weights(model, tmp_path / "n.weights.h5")
    assert not any(key.startswith("optimizer") for key in dtypes(tmp_path / "n.weights.h5"))


def test_only_what_may_be_fresh_stays_fresh(tmp_path: Path) -> None:
    source, target = network(classes=3), network(classes=5)
    save_weights(source, tmp_path / "n.weights.h5")
    before = by_path(target)
    asked: set[tuple] = set()

    def may_be_fresh(layer: str, in_file: tuple, in_model: tuple) -> bool:
        asked.add((layer, in_file, in_model))
        return True

    assert load_weights(target, tmp_path / "n.weights.h5", may_be_fresh) == ("classifier",)
    assert asked == {("classifier", (1, 1, 4, 3), (1, 1, 4, 5)), ("classifier", (3,), (5,))}
    after, saved = by_path(target), by_path(source)
    for key, value in after.items():
        if "classifier" in key:
            np.testing.assert_array_equal(value, before[key])
        else:
            np.testing.assert_allclose(value, saved[key], rtol=1e-3)


def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "n.weights.h5"
    save_weights(network(classes=3), path)
    target = network(classes=5)
    before = by_path(target)
    with pytest.raises(
        ValueError, match=r"'classifier' \(weight 0\) has shape \(1, 1, 4, 5\), in the file \(1, 1, 4, 3"
    ):
        load_weights(target, path)
    with pytest.raises(
        ValueError, match=r"'body/norm' \(weight 0\) has shape .*; and 3 more. Expected a file of the same"
    ):
        load_weights(network(width=6), path, lambda layer, in_file, in_model: len(in_file) == 4 and in_model[-1] == 5)
    with h5py.File(path, "r+") as file:
        del file["classifier/vars/1"]
        file["extra/vars/0"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"missing in the file: 'classifier' .*unknown to the network: 'extra'"):
        load_weights(target, path, lambda layer, in_file, in_model: True)
    for key, value in by_path(target).items():
        np.testing.assert_array_equal(value, before[key])


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(FileNotFoundError, match=r"No weights file at '.*absent.weights.h5'"):
        load_weights(model, tmp_path / "absent.weights.h5")
    with pytest.raises(ValueError, match=r"Weights files end in `.weights.h5`. Received: '.*model.pth'"):
        load_weights(model, tmp_path / "model.pth")
    (tmp_path / "text.weights.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match=r"text.weights.h5' is not a readable HDF5 file"):
        load_weights(model, tmp_path / "text.weights.h5")


def test_bad_weights_are_not_written(tmp_path: Path) -> None:
    model = network()
    model.classifier.bias.assign([0.0, np.nan, 0.0])
    with pytest.raises(ValueError, match="The weights of 'classifier' are not all finite"):
        save_weights(model, tmp_path / "n.weights.h5")
    with pytest.raises(ValueError, match=r"dtype must be 'float16' or 'float32'. Received: dtype='int8'"):
        save_weights(model, tmp_path / "n.weights.h5", dtype="int8")
    assert list(tmp_path.iterdir()) == []


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.weights.h5", "b.weights.h5"):  # two networks, whose unnamed layers Keras numbers differently
        save_weights(network(), tmp_path / name)
    assert (tmp_path / "a.weights.h5").read_bytes() == (tmp_path / "b.weights.h5").read_bytes()
