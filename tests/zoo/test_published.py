"""From a card with a published checkpoint to a network: fetched, converted, cached, checked."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="checkpoints are written by PyTorch")

import kzoo  # noqa: E402
from kzoo.cli import main  # noqa: E402
from kzoo.convert import SOURCES, KeyMap  # noqa: E402
from kzoo.errors import FetchError  # noqa: E402
from kzoo.models import Segmenter, create_model  # noqa: E402
from kzoo.zoo import published, registry  # noqa: E402

ARGS = {"backbone": "mobilenet_v2", "backbone_args": {"width": 0.35}, "output_stride": 32, "filters": 8}
LABELS = {"class_names": ["road", "sky", "car"], "palette": [[0, 0, 0], [1, 2, 3], [4, 5, 6]], "ignore_label": 255}
TORCH_NAMES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
TORCH_NAMES |= {"moving_mean": "running_mean", "moving_variance": "running_var"}


def module(path: str) -> str:
    return path.rpartition("/")[0].removeprefix("fcn/").replace("/", ".")


@pytest.fixture(scope="module")
def source() -> Segmenter:
    """A network whose weights are nowhere the initial ones."""
    model = create_model("fcn", 3, {**ARGS, "name": "fcn"})
    rng = np.random.default_rng(0)
    model.set_weights([value + rng.uniform(0.1, 0.2, value.shape).astype("float32") for value in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def checkpoint(source: Segmenter) -> bytes:
    """The network as a PyTorch file of a layout of the test's own."""
    state = {}
    for weight in source.weights:
        array = np.asarray(weight)
        if weight.path.endswith("/kernel"):
            array = array.transpose(3, 2, 0, 1)
        state[f"{module(weight.path)}.{TORCH_NAMES[weight.path.rpartition('/')[2]]}"] = torch.from_numpy(array.copy())
    stream = io.BytesIO()
    torch.save({"state_dict": state}, stream)
    return stream.getvalue()


@pytest.fixture
def card(
    tmp_path: Path, home: Path, server: Any, source: Segmenter, checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The card `tiny` of a zoo of its own, whose checkpoint the server has; write it with `publish`."""
    layers = {module(weight.path): weight.path.rpartition("/")[0].removeprefix("fcn/") for weight in source.weights}
    monkeypatch.setitem(SOURCES, "test", KeyMap("a test", tuple(layers.items())))
    monkeypatch.setattr(registry, "CARDS", tmp_path / "cards")
    digest = hashlib.sha256(checkpoint).hexdigest()
    file = {"filename": "tiny.pth", "urls": [server.serve("/tiny.pth", checkpoint)], "checksum": f"sha256:{digest}"}
    return {
        "name": "tiny",
        "description": "A test.",
        "architecture": {"name": "fcn", "args": ARGS},
        "dataset": "camvid",
        **LABELS,
        "input_size": [32, 32],
        "normalization": {"mean": [0, 0, 0], "std": [255, 255, 255]},
        "parameters": source.count_params(),
        "source": {"file": {**file, "bytes": len(checkpoint)}, "converter": "test", "checked": "never"},
        "published": [{"model": "tiny", "split": "val", "metrics": {"miou": 0.5}, "source": "a paper"}],
        "licence": {"weights": "w", "data": "d", "notice": "n"},
    }


def publish(card: dict[str, Any]) -> None:
    registry.CARDS.mkdir(exist_ok=True)
    (registry.CARDS / "tiny.yaml").write_text(yaml.safe_dump(card))


def assert_same(model: Segmenter, source: Segmenter) -> None:
    for weight, expected in zip(model.weights, source.weights, strict=True):
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)


def test_fetched_once_and_converted_once(
    card: dict[str, Any], home: Path, server: Any, source: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(card)
    home.mkdir()
    (home / ".partial-x1y2-tiny.tiny.weights.h5").write_bytes(b"from a process that was killed")
    (home / ".partial-x1y2-other.tiny.weights.h5").write_bytes(b"another's")
    first = kzoo.load("tiny")
    assert_same(first, source)
    assert [path.name for path in home.glob(".partial-*")] == [".partial-x1y2-other.tiny.weights.h5"]
    assert first.class_names == ("road", "sky", "car") and first.fresh_layers == ()
    assert sorted(path.name for path in home.glob("tiny*")) == ["tiny.pth", "tiny.tiny.json", "tiny.tiny.weights.h5"]
    # The second time the conversion alone is read: not even the checkpoint is needed.
    (home / "tiny.pth").unlink()
    monkeypatch.setattr(published, "load_checkpoint", lambda *_: pytest.fail("converted again"))
    assert_same(kzoo.load("tiny"), source)
    assert server.asked() == ["/tiny.pth"]


@pytest.mark.parametrize("harm", ["damaged", "cut short", "gone", "another checkpoint", "another conversion"])
def test_a_conversion_that_does_not_match_is_made_anew(
    card: dict[str, Any], home: Path, source: Segmenter, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(card)
    kzoo.load("tiny")
    converted, note = home / "tiny.tiny.weights.h5", home / "tiny.tiny.json"
    content = converted.read_bytes()
    if harm == "damaged":
        converted.write_bytes(content[:-100] + bytes(100))
    elif harm == "cut short":
        converted.write_bytes(content[:1000])
    elif harm == "gone":
        converted.unlink()
    elif harm == "another checkpoint":
        note.write_text(note.read_text().replace(card["source"]["file"]["checksum"], "sha256:" + "0" * 64))
    else:
        monkeypatch.setattr(published, "CONVERSION", published.CONVERSION + 1)
    made = []
    load_checkpoint = published.load_checkpoint
    monkeypatch.setattr(published, "load_checkpoint", lambda *args: (made.append(args), load_checkpoint(*args)))
    assert_same(kzoo.load("tiny"), source)
    assert len(made) == 1
    kzoo.load("tiny")
    assert len(made) == 1


def test_what_no_file_of_a_layout_has_is_fresh_and_said_to_be(
    card: dict[str, Any], source: Segmenter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    modules = SOURCES["test"].modules
    monkeypatch.setitem(SOURCES, "test", KeyMap("a test", modules, ("classifier.*",), kept=("classifier/*",)))
    publish(card)
    with caplog.at_level(logging.WARNING):
        first = kzoo.load("tiny")
    assert first.fresh_layers == ("classifier",) and "fresh, to be trained: classifier" in caplog.text
    again = kzoo.load("tiny")  # from the conversion: the same network
    assert again.fresh_layers == ("classifier",)
    for weight, same, other in zip(first.weights, again.weights, source.weights, strict=True):
        np.testing.assert_array_equal(weight, same)
        unset = weight.path.endswith(("/classifier/kernel", "/classifier/bias")) and "aux_head" not in weight.path
        assert np.array_equal(weight, other) != unset, weight.path
    assert kzoo.load("tiny", num_classes=7).fresh_layers == ("aux_head/classifier", "classifier")


def test_another_number_of_classes(card: dict[str, Any], source: Segmenter, caplog: pytest.LogCaptureFixture) -> None:
    publish(card)
    with caplog.at_level(logging.WARNING):
        model = kzoo.load("tiny", num_classes=7)
    assert model.fresh_layers == ("aux_head/classifier", "classifier") and "classifier" in caplog.text
    for weight, expected in zip(model.weights, source.weights, strict=True):
        if "classifier" not in weight.path:
            np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("cached", [False, True])
def test_other_arguments_than_the_cards(card: dict[str, Any], home: Path, source: Segmenter, cached: bool) -> None:
    publish(card)
    if cached:
        kzoo.load("tiny")
    words = r"'tiny' has another architecture.*: its feature_head/conv5/conv/kernel has shape .* 8\), expected .* 16\)"
    with pytest.raises(ValueError, match=words):
        kzoo.load("tiny", filters=16)
    if not cached:
        (home / "tiny.tiny.json").unlink()
    model = kzoo.load("tiny", num_classes=7, aux=False)
    assert model.fresh_layers == ("classifier",)
    by_path = {weight.path.removeprefix("fcn/"): weight for weight in source.weights}
    for weight in model.weights:
        if "classifier" not in weight.path:
            np.testing.assert_array_equal(weight, by_path[weight.path.removeprefix(f"{model.name}/")])
    assert_same(kzoo.load("tiny"), source)  # the conversion is the card's own network


def test_half_precision_rounds_no_later_load(card: dict[str, Any], server: Any, source: Segmenter) -> None:
    publish(card)
    keras.config.set_dtype_policy("bfloat16")
    half = [kzoo.load("tiny"), kzoo.load("tiny")]  # the second from the cache
    assert keras.config.dtype_policy().name == "bfloat16"
    keras.config.set_dtype_policy("float32")
    assert_same(kzoo.load("tiny"), source)
    assert server.asked() == ["/tiny.pth"]
    for model in half:
        assert model.backbone.weights[0].dtype == "bfloat16"
        for weight, expected in zip(model.weights, source.weights, strict=True):
            np.testing.assert_allclose(np.asarray(weight, "float32"), expected, rtol=2**-8, err_msg=weight.path)


def test_a_checkpoint_by_its_path(card: dict[str, Any], tmp_path: Path, source: Segmenter, checkpoint: bytes) -> None:
    publish(card)
    path = tmp_path / "mine.pth"
    path.write_bytes(checkpoint)
    assert_same(kzoo.load("tiny", weights=path), source)
    without = kzoo.load("tiny", weights=path, aux=False)
    np.testing.assert_array_equal(without.classifier.kernel, source.classifier.kernel)
    with pytest.raises(ValueError, match=r"mine\.pth' does not fit .*feature_head"):  # it may be of the arguments
        kzoo.load("tiny", weights=path, filters=16)
    path.write_bytes(checkpoint[: len(checkpoint) // 2])
    with pytest.raises(ValueError, match=r"mine\.pth"):
        kzoo.load("tiny", weights=path)
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        kzoo.load("tiny", weights=tmp_path / "absent.pth")


def test_a_file_that_cannot_be_had(card: dict[str, Any], server: Any) -> None:
    card["source"]["file"]["urls"] = [server.url + "/elsewhere.pth"]
    publish(card)
    with pytest.raises(FetchError, match=r"elsewhere\.pth.*404") as caught:
        kzoo.load("tiny")
    for word in ("tiny.pth", card["source"]["file"]["checksum"], "KZOO_MIRROR", "weights="):
        assert word in str(caught.value)


def test_a_checkpoint_much_larger_than_the_card_says_is_refused(
    card: dict[str, Any], tmp_path: Path, checkpoint: bytes
) -> None:
    card["source"]["file"]["bytes"] = len(checkpoint) // 3
    publish(card)
    path = tmp_path / "mine.pth"
    path.write_bytes(checkpoint)
    with pytest.raises(ValueError, match=r"mine\.pth.*, the limit\. Save the weights alone, .* or read it with kzoo"):
        kzoo.load("tiny", weights=path)


def test_convert_checks_its_arguments_first(card: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    publish(card)
    assert main(["convert", "absent.pth", "--to", "tiny", "-o", "mine.h5"]) == 2
    assert "end in `.weights.h5`. Received: 'mine.h5'" in capsys.readouterr().err


def test_convert_and_info(
    card: dict[str, Any], tmp_path: Path, source: Segmenter, checkpoint: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(card)
    assert main(["info", "tiny"]) == 0
    out = capsys.readouterr().out
    for fact in ("tiny.pth, published, sha256:", "address checked: never", "cache         absent", "miou 50.0% (val)"):
        assert fact in out
    assert "a paper; not measured by kzoo" in out and "converted:" not in out
    path = tmp_path / "mine.pth"
    path.write_bytes(checkpoint)
    assert main(["convert", str(path), "--to", "tiny", "-o", str(tmp_path / "mine.weights.h5")]) == 0
    assert_same(kzoo.load("tiny", weights=tmp_path / "mine.weights.h5"), source)
    kzoo.load("tiny")
    capsys.readouterr()
    assert main(["info", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "cache         verified" in out and re.search(r"converted: .*tiny.tiny.weights.h5\n", out)
    assert main(["list"]) == 0
    assert "50.0% val published" in capsys.readouterr().out
