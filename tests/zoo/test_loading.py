from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

import kzoo
from kzoo.files import digest
from kzoo.models import create_model
from kzoo.training.run_folder import RunInfo, write_info
from kzoo.zoo import loading, open_model, registry, start_from
from kzoo.zoo.weights_io import save_weights

ARGS = {
    "backbone": "mobilenet_v2",
    "backbone_args": {"width": 0.35},
    "output_stride": 32,
    "num_codewords": 4,
    "filters": 8,
}
CLASSES = 3
LABELS = {"class_names": ["road", "sky", "car"], "palette": [[0, 0, 0], [1, 2, 3], [4, 5, 6]], "ignore_label": 255}
RECIPE = {
    "model": {"name": "encnet", "args": ARGS},
    "data": {"dataset": "camvid", "root": "camvid", "crop": [32, 32], "batch_size": 2},
    "optimizer": {"name": "sgd", "learning_rate": 0.01},
    "train": {"epochs": 1},
}


@pytest.fixture(scope="module")
def source() -> Any:
    """A network whose weights, BatchNorm statistics too, are nowhere the initial ones."""
    model = create_model("encnet", CLASSES, ARGS)
    rng = np.random.default_rng(0)
    model.set_weights([value + rng.uniform(0.1, 0.2, value.shape).astype("float32") for value in model.get_weights()])
    return model


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any) -> Path:
    """A zoo of one network with shipped weights, `tiny`, and one without, `bare`."""
    monkeypatch.setattr(registry, "CARDS", tmp_path)
    monkeypatch.setattr(loading, "WEIGHTS", tmp_path)
    file = tmp_path / "tiny.weights.h5"
    save_weights(source, file)
    card = {
        "description": "A test.",
        "architecture": {"name": "encnet", "args": ARGS},
        "dataset": "camvid",
        **LABELS,
        "input_size": [32, 32],
        "normalization": {"mean": [0, 0, 0], "std": [255, 255, 255]},
        "parameters": source.count_params(),
        "licence": {"weights": "w", "data": "d", "notice": "n"},
    }
    shipped = {
        "weights": {"file": file.name, "sha256": digest(file), "bytes": file.stat().st_size, "dtype": "float16"},
        "trained": {"config": "c", "command": "k", "seed": 0, "commit": "abc", "epochs": 3, "log": "l"},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"name": "tiny", **card, **shipped}))
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump({"name": "bare", **card}))
    return tmp_path


def assert_kept(model: Any, source: Any, fresh: int = 0) -> None:
    """All weights are the source's, as well as float16 holds them, but for `fresh` of other shapes."""
    pairs = [
        (weight, old) for weight, old in zip(model.weights, source.weights, strict=True) if weight.shape == old.shape
    ]
    assert len(model.weights) - len(pairs) == fresh
    for weight, old in pairs:
        np.testing.assert_allclose(weight, old, rtol=1e-3, atol=1e-5 * np.abs(old).max(), err_msg=weight.path)


def test_default_weights_are_the_cards(zoo: Path, source: Any) -> None:
    model = kzoo.load("tiny")
    assert_kept(model, source)
    assert model.fresh_layers == ()
    assert model.card == kzoo.get_card("tiny")
    assert model.class_names == ("road", "sky", "car")
    assert model.palette == ((0, 0, 0), (1, 2, 3), (4, 5, 6))
    assert model.input_shape == (None, None, None, 3)
    image = np.random.default_rng(1).uniform(0, 255, (1, 33, 47, 3)).astype("float32")
    logits = np.asarray(model(image))
    assert logits.shape == (1, 33, 47, CLASSES)
    expected = np.asarray(source(image))
    assert np.abs(logits - expected).max() < 5e-3 * np.abs(expected).max()


def test_other_class_count_keeps_the_rest_and_reports(zoo: Path, source: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="kzoo"):
        model = kzoo.load("tiny", num_classes=5)
    # The three layers that the number of classes shapes: both classifiers, and the class presence of the SE-loss.
    assert model.fresh_layers == ("aux_head/classifier", "classifier", "context/presence")
    assert "tiny with 5 classes in place of 3" in caplog.text
    assert "aux_head/classifier, classifier, context/presence" in caplog.text
    assert_kept(model, source, fresh=6)  # kernel and bias of each
    assert len(model.class_names) == 5
    assert model.class_names != ("road", "sky", "car")
    assert kzoo.load("tiny", num_classes=CLASSES).fresh_layers == ()


def test_fresh_and_own_weights(zoo: Path, source: Any, tmp_path: Path) -> None:
    fresh = kzoo.load("bare", weights=None, num_classes=5)
    assert fresh.num_classes == 5
    own = tmp_path / "own.weights.h5"
    save_weights(fresh, own, dtype="float32")
    model = kzoo.load("tiny", weights=own, num_classes=5)
    assert model.fresh_layers == ()
    for weight, expected in zip(model.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    with pytest.raises(ValueError, match=r"own.weights.h5' does not fit the network"):
        kzoo.load("tiny", weights=own)
    # The file has 5 classes where the card has 3: no reason to leave anything fresh for 4.
    with pytest.raises(ValueError, match=r"own.weights.h5' does not fit the network"):
        kzoo.load("tiny", weights=own, num_classes=4)


def test_arguments_in_place_of_the_cards(zoo: Path, source: Any) -> None:
    model = kzoo.load("tiny", output_stride=16, input_shape=(64, None, 3))
    assert model.backbone.strides["c4"] == 16
    assert model.input_shape == (None, 64, None, 3)
    assert_kept(model, source)
    with pytest.raises(ValueError, match=r"does not fit the network .*'context/encoding' \(weight 0\) has shape"):
        kzoo.load("tiny", num_codewords=8)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("tinny", {}, "Unknown model 'tinny'. Did you mean 'tiny'"),
        (
            "bare",
            {},
            "'bare' has no weights. Pass weights=None for a fresh network or weights='FILE.weights.h5'",
        ),
        ("tiny", {"num_codeword": 4}, "EncNet has no argument 'num_codeword'. Did you mean 'num_codewords'"),
        ("tiny", {"backbone": "mobilenet"}, "Unknown backbone 'mobilenet'. Did you mean 'mobilenet_v2'"),
        ("tiny", {"num_classes": 0}, "num_classes must be a positive integer. Received: num_classes=0"),
        ("tiny", {"num_classes": 256}, "num_classes can be at most 255: masks have 8 bits. Received: num_classes=256"),
        ("tiny", {"num_classes": True}, "num_classes must be a positive integer. Received: num_classes=True"),
        (
            "tiny",
            {"input_shape": (64, 64)},
            "input_shape must be (height, width, 3), RGB last. Received: input_shape=(64, 64)",
        ),
        ("tiny", {"input_shape": (64, 64, 1)}, "input_shape must be (height, width, 3), RGB last"),
        ("tiny", {"input_shape": (8, 64, 3)}, "input_shape must be (height, width, 3), height and width at least 16"),
        (
            "tiny",
            {"weights": "model.pth"},
            "Weights of 'tiny' are read from `.weights.h5` files; its card names no other source.",
        ),
    ],
)
def test_errors(zoo: Path, name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        kzoo.load(name, **arguments)
    assert str(error.value).startswith(message)


def test_a_damaged_file_is_refused(zoo: Path) -> None:
    file = zoo / "tiny.weights.h5"
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"The weights file '.*tiny.weights.h5' of 'tiny' is damaged .* SHA-256 is"):
        kzoo.load("tiny")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"The weights of 'tiny' are not there: '.*tiny.weights.h5'"):
        kzoo.load("tiny")


def test_open_model_takes_runs_and_names(zoo: Path, source: Any, tmp_path: Path) -> None:
    assert open_model("tiny").card.name == "tiny"
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(FileNotFoundError, match=r"run' is no run folder of `kzoo train`"):
        open_model(run)
    (run / "config.yaml").write_text(yaml.safe_dump(RECIPE))
    write_info(run, RunInfo("k", "abc", tuple(LABELS["class_names"]), ((0, 0, 0), (1, 2, 3), (4, 5, 6)), 254))
    with pytest.raises(FileNotFoundError, match=r"has no weights yet: neither best.weights.h5 nor last.weights.h5"):
        open_model(run)
    fresh = create_model("encnet", CLASSES, ARGS)
    fresh.save_weights(run / "last.weights.h5")
    assert_kept(open_model(run), fresh)
    source.save_weights(run / "best.weights.h5")
    model = open_model(str(run))
    assert_kept(model, source)
    assert (model.class_names, model.ignore_label) == (("road", "sky", "car"), 254)
    assert model.palette == ((0, 0, 0), (1, 2, 3), (4, 5, 6))
    assert model.trained_size == (32, 32)  # the recipe's crop
    with pytest.raises(ValueError, match=r"Unknown model or run folder 'tinny'. Did you mean 'tiny'"):
        open_model("tinny")


@pytest.mark.parametrize("name", ["mine.pth", "mine.weights.h5", "absent.pth"])
def test_a_file_of_weights_is_no_network(tmp_path: Path, source: Any, name: str) -> None:
    path = tmp_path / name
    if "absent" not in name:
        path.write_bytes(b"weights")
    words = f"{name}' does not say which network .*`kzoo convert FILE.pth --to NAME -o FILE.weights.h5`.*`init: FILE"
    with pytest.raises(ValueError, match=words):
        open_model(path)
    if path.suffix == ".pth":
        with pytest.raises(ValueError, match=words):
            start_from(source, str(path))


def test_only_the_classes_may_differ_from_a_file(zoo: Path, tmp_path: Path) -> None:
    # A number of codewords is no number of classes, even where they are the same number.
    path = tmp_path / "three.weights.h5"
    save_weights(create_model("encnet", CLASSES, {**ARGS, "num_codewords": CLASSES}), path)
    assert len(start_from(create_model("encnet", 8, {**ARGS, "num_codewords": CLASSES}), str(path))) == 3
    with pytest.raises(ValueError, match=r"'context/encoding' \(weight 0\) has shape \(8, 8\), in the file \(3, 8\)"):
        start_from(create_model("encnet", 8, {**ARGS, "num_codewords": 8}), str(path))
    with pytest.raises(ValueError, match=r"'context/encoding' \(weight 0\) has shape \(5, 8\), in the file \(3, 8\)"):
        kzoo.load("tiny", weights=path, num_classes=5, num_codewords=5)


def test_open_model_takes_saved_networks(source: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.keras"
    with pytest.raises(FileNotFoundError, match=r"No file '.*mine.keras'"):
        open_model(path)
    source.class_names = ("road", "sky", "car")
    source.save(path)
    model = open_model(path)
    assert_kept(model, source)
    assert model.class_names == ("road", "sky", "car")
    other = create_model("encnet", CLASSES, ARGS)
    assert start_from(other, str(path)) == ()
    assert_kept(other, source)
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(ValueError, match=r"mine.keras' holds a Sequential; expected a segmentation network"):
        open_model(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"mine.keras' is damaged, or not what model.save\(\)"):
        open_model(path)


def test_unknown_architecture() -> None:
    with pytest.raises(ValueError, match=r"Unknown architecture 'encnett'. Did you mean 'encnet'"):
        create_model("encnett", 3, {})
