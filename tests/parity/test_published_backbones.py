"""ImageNet checkpoints of the three published ResNet layouts, loaded by `weights="imagenet"`, against PyTorch."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the references are stated in PyTorch")

from kzoo.backbones import create  # noqa: E402
from kzoo.errors import FetchError  # noqa: E402
from kzoo.zoo import imagenet, published  # noqa: E402
from kzoo.zoo.imagenet import backbone_cards  # noqa: E402
from tests.parity import published_encnet, weights  # noqa: E402

REFERENCES = {
    "b": published_encnet.TorchvisionResNet,
    "c": published_encnet.ResNetV1c,
    "s": published_encnet.ResNetS,
}


@pytest.mark.parametrize("stem", REFERENCES)
def test_a_checkpoint_gives_the_backbone_that_it_was_saved_from(stem, tmp_path, monkeypatch):
    network = weights.randomise(REFERENCES[stem](50))
    images = np.random.default_rng(0).normal(size=(1, 65, 97, 3))
    normalised = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    published_encnet.measure_statistics(network, [normalised.float()])
    path = tmp_path / "imagenet.pth"
    torch.save({**network.state_dict(), "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, path)
    fetched = []
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(published, "fetch", lambda file, permit: fetched.append(file.filename) or path)

    # Half precision rounds what is computed with, not the conversion that the others find in the cache.
    keras.config.set_dtype_policy("bfloat16")
    half = create("resnet50", output_stride=32, weights="imagenet", stem=stem)
    keras.config.set_dtype_policy("float64")
    backbone = create("resnet50", output_stride=8, weights="imagenet", stem=stem)
    with torch.no_grad():
        expected = network.double()(normalised)
    for name, feature in zip(("c1", "c2", "c3", "c4"), expected, strict=True):
        array = feature.numpy().transpose(0, 2, 3, 1)
        found = np.asarray(backbone(images)[name])
        np.testing.assert_allclose(found, array, rtol=0, atol=1e-9 * np.ptp(array), err_msg=name)
    assert len(fetched) == 1
    by_path = create("resnet50", output_stride=32, weights=path, stem=stem)
    for weight, same, rounded in zip(backbone.weights, by_path.weights, half.weights, strict=True):
        np.testing.assert_array_equal(weight, same)
        np.testing.assert_allclose(np.asarray(rounded, "float64"), weight, rtol=2**-8)


def test_cards() -> None:
    cards = backbone_cards()
    assert sorted((card.backbone, card.stem) for card in cards) == [
        *(("resnet101", stem) for stem in "bcs"),
        *(("resnet152", stem) for stem in "bs"),
        *(("resnet50", stem) for stem in "bcs"),
    ]
    for card in cards:
        path: Path = imagenet.CARDS / f"{card.name}.yaml"
        assert path.is_file()
        assert card.source.file.checksum.split(":")[1][:8] in card.source.file.filename
        assert card.backbone in card.source.file.filename and card.backbone in card.source.file.urls[0]


def test_errors(tmp_path, monkeypatch) -> None:
    with pytest.raises(ValueError, match=r"no published ImageNet weights of resnet152 with stem 'c'"):
        create("resnet152", output_stride=32, weights="imagenet", stem="c")
    torch.save({"conv1.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "s.pth")
    with pytest.raises(ValueError, match=r"s\.pth' does not fit .* of torchvision: conv1\.0\.weight is unknown"):
        create("resnet50", output_stride=32, weights=tmp_path / "s.pth", stem="b")
    monkeypatch.setenv("KZOO_HOME", str(tmp_path))
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    with pytest.raises(FetchError, match=r"resnet50s-a75c83cf\.pth"):
        create("resnet50", output_stride=32, weights="imagenet", stem="s")
