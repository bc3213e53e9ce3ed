"""kzoo's DeepLab v1 against the PyTorch statement of it, and `.caffemodel` files of its published layout."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")

from torch.nn import functional  # noqa: E402

import kzoo  # noqa: E402
from kzoo.cli import main  # noqa: E402
from kzoo.convert.deeplab_caffe import set_large_fov  # noqa: E402
from kzoo.layers import LargeFOV  # noqa: E402
from kzoo.models import DeepLabV1  # noqa: E402
from tests.convert.caffe_writer import caffemodel  # noqa: E402
from tests.parity import torch_deeplab_v1, weights  # noqa: E402

BGR_MEAN = np.array([104.008, 116.669, 122.675])
# Sides of 8 k + 1, whose corners are kept, and sides where Caffe's pools round up.
SIZES = ((65, 81), (58, 76))
CARDS = {False: "deeplab_largefov_vgg16_voc", True: "deeplab_msc_vgg16_voc"}


@functools.cache
def reference(multi_scale: bool) -> torch.nn.Module:
    """The network in float64 with random weights, those of the branches small: else nothing else would show."""
    network = weights.randomise(torch_deeplab_v1.DeepLab(multi_scale=multi_scale))
    for name, parameter in network.named_parameters():
        if "_ms." in name:
            parameter.data *= 0.2
        elif name.startswith("conv"):
            parameter.data *= 1.15  # as He's, about
    return network.double().eval()


def pictures(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).uniform(0, 255, (1, height, width, 3))


def bgr(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((images[..., ::-1] - BGR_MEAN).transpose(0, 3, 1, 2).copy())


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def difference(actual, expected: torch.Tensor) -> float:
    """The largest, in parts of the range."""
    array = to_numpy(expected)
    assert tuple(actual.shape) == array.shape
    return float(np.abs(np.asarray(actual) - array).max() / np.ptp(array))


@functools.cache
def float64_model(multi_scale: bool) -> DeepLabV1:
    keras.config.set_dtype_policy("float64")
    model = DeepLabV1(21, multi_scale=multi_scale, dropout=0.0, name="net")
    weights.copy(reference(multi_scale), model, lambda name: torch_deeplab_v1.keras_path(name, "net"))
    return model


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("multi_scale", [False, True], ids=["LargeFOV", "MSc"])
def test_equals_torch_in_both_modes(multi_scale, size):
    network, model, images = reference(multi_scale), float64_model(multi_scale), pictures(*size)
    labels = np.random.default_rng(0).integers(0, 21, (1, *size))
    labels[:, :20] = 255
    with torch.no_grad():
        expected, coarse = network(bgr(images)), network.training_logits(bgr(images))
    assert coarse.shape[2:] == (9, 11)
    logits, training = model(images), model(images, training=True)["logits"]
    assert difference(logits, expected) < 1e-9
    assert difference(training, coarse) < 1e-9
    # The branches and the deep network weigh alike.
    assert not multi_scale or 0.05 < network.features(bgr(images))["fc8"].std() / coarse.std() < 0.95
    if size == SIZES[0]:
        np.testing.assert_allclose(training, logits[:, ::8, ::8], rtol=0, atol=1e-9 * np.ptp(logits))
        model.compile(optimizer="sgd")
        loss = functional.cross_entropy(coarse, torch.from_numpy(labels[:, ::8, ::8].copy()), ignore_index=255)
        found = model.compute_loss(images, labels, {"logits": training})
        np.testing.assert_allclose(float(found), loss.item(), rtol=1e-9)


def state(network: torch.nn.Module) -> dict[str, list[np.ndarray]]:
    return {
        name: [layer.weight.detach().float().numpy(), layer.bias.detach().float().numpy()]
        for name, layer in network.named_modules()
        if isinstance(layer, torch.nn.Conv2d)
    }


@pytest.mark.parametrize("multi_scale", [False, True], ids=["LargeFOV", "MSc"])
def test_a_caffemodel_gives_the_network_by_its_name(multi_scale, tmp_path):
    """In the old form, as they were released, and the new one; float32."""
    path = tmp_path / "train2_iter_8000.caffemodel"
    path.write_bytes(caffemodel(state(reference(multi_scale)), old=multi_scale))
    model = kzoo.load(CARDS[multi_scale], weights=path)
    for size in SIZES:
        images = pictures(*size)
        with torch.no_grad():
            expected = reference(multi_scale)(bgr(images))
        assert difference(model(images.astype("float32"), refine=False), expected) < 1e-4


def test_the_command_converts_it(tmp_path, capsys):
    layers = state(reference(False))
    path, output = tmp_path / "a.caffemodel", tmp_path / "a.weights.h5"
    path.write_bytes(caffemodel(layers, old=True))
    assert main(["convert", str(path), "--to", CARDS[False], "-o", str(output)]) == 0
    assert f"kzoo.load('{CARDS[False]}'" in capsys.readouterr().out
    model = kzoo.load(CARDS[False], weights=output)
    np.testing.assert_array_equal(model.classifier.kernel, layers["fc8_voc12"][0].transpose(2, 3, 1, 0))


def built_head(**arguments) -> LargeFOV:
    head = LargeFOV(**arguments)
    head.build((None, None, None, 512))
    return head


def test_the_published_start_gives_backbone_fc6_and_fc7(tmp_path):
    layers = state(reference(False))
    del layers["fc8_voc12"]
    path = tmp_path / "vgg16_20M.caffemodel"
    path.write_bytes(caffemodel(layers, old=True))
    model = DeepLabV1(3, backbone_weights=path)
    np.testing.assert_array_equal(
        model.backbone.get_layer("block5_conv3").kernel, layers["conv5_3"][0].transpose(2, 3, 1, 0)
    )
    for layer in (model.large_fov.fc6, model.large_fov.fc7):
        np.testing.assert_array_equal(layer.kernel, layers[layer.name][0].transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(layer.bias, layers[layer.name][1])
    refused = r"vgg16_20M.* does not fit the head: fc6\.{} has shape {} in Keras' order, expected {}\."
    with pytest.raises(ValueError, match=refused.format("bias", r"\(1024,\)", r"\(16,\)")):
        DeepLabV1(3, backbone_weights=path, filters=16)
    with pytest.raises(ValueError, match=refused.format("bias", r"\(1024,\)", "None")):
        set_large_fov(built_head(batchnorm=True), str(path))
    with pytest.raises(ValueError, match=refused.format("weight", r"\(3, 3, 512, 1024\)", r"\(4, 4, 512, 1024\)")):
        set_large_fov(built_head(kernel_size=4), str(path))
    head = built_head()
    path.write_bytes(caffemodel({name: [*layers[name][:1], np.full(1024, np.nan, "f4")] for name in ("fc6", "fc7")}))
    with pytest.raises(ValueError, match=r"fc6\.bias holds NaN"):
        set_large_fov(head, str(path))
    assert not np.any(head.fc6.bias)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fc7": None}, "nothing sets large_fov/fc7/kernel"),
        ({"pool1_ms": [np.zeros((21, 128, 1, 1), "f4")]}, "pool1_ms.weight is unknown"),
        ({"fc8_voc12": [np.zeros((20, 1024, 1, 1), "f4"), np.zeros(20, "f4")]}, r"\(1, 1, 1024, 20\)"),
        ({"conv1_1": [np.zeros((64, 3, 3, 3), "f4"), np.full(64, np.nan, "f4")]}, "NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_named(change, words, tmp_path):
    path = tmp_path / "a.caffemodel"
    layers = {name: arrays for name, arrays in {**state(reference(False)), **change}.items() if arrays}
    path.write_bytes(caffemodel(layers))
    with pytest.raises(kzoo.convert.CheckpointError, match=words):
        kzoo.load(CARDS[False], weights=path)


FAULTS = {
    "pool's padding": [("block2_pad", "padding", ((0, 1), (0, 1)))],
    "means without padding": [("average_pad", "padding", ((0, 0), (0, 0))), ("average_pool", "padding", "same")],
    "pool": [("block1_pool", "pool_size", (2, 2))],
    "dilation": [("block5_conv2", "dilation_rate", (1, 1))],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_break_the_bound(fault, monkeypatch):
    network, model, images = reference(False), float64_model(False), pictures(*SIZES[1])
    for layer, attribute, value in FAULTS[fault]:
        monkeypatch.setattr(model.backbone.get_layer(layer), attribute, value)
    with torch.no_grad():
        assert difference(model(images), network(bgr(images))) > 1e-3
