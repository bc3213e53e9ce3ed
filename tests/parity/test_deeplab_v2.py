"""kzoo's DeepLab v2 against the PyTorch statement of it, through checkpoints of the published layout."""

from __future__ import annotations

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")

from kzoo.backbones import resnet50  # noqa: E402
from kzoo.convert import CheckpointError, cagnet, set_weights  # noqa: E402
from kzoo.models import DeepLabV2  # noqa: E402
from kzoo.models.deeplab_v2 import DeepLabV2Head  # noqa: E402
from tests.parity import deeplab, torch_deeplab  # noqa: E402
from tests.parity.deeplab import NUM_CLASSES, difference, pictures, to_torch  # noqa: E402

# A side of 8 k + 1 and sides at which Caffe's pool rounds up.
SIZES = ((41, 57), (58, 44))
BGR_MEAN = np.array([104.008, 116.669, 122.675])


def bgr(images: np.ndarray) -> torch.Tensor:
    return to_torch(images[..., ::-1] - BGR_MEAN)


@pytest.fixture(scope="module")
def network():
    return deeplab.random_network(torch_deeplab.DeepLabV2(NUM_CLASSES, 50)).double()


@pytest.fixture(scope="module")
def expected(network):
    with torch.no_grad():
        return {size: network(bgr(pictures(*size))) for size in SIZES}


@pytest.fixture(scope="module")
def model(network):
    keras.config.set_dtype_policy("float64")
    model = DeepLabV2(NUM_CLASSES, backbone="resnet50")
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    set_weights(model, state, cagnet.DEEPLAB_V2, "memory")
    return model


@pytest.mark.parametrize("size", SIZES)
def test_equals_torch(model, expected, size):
    assert difference(model(pictures(*size)), expected[size]) < 1e-9


FAULTS = {
    "pool rounds down": ("stem_pool_pad", "padding", ((1, 1), (1, 1))),
    "dilation of a stage's first block": ("layer3_0_conv2", "dilation_rate", (1, 1)),
    "dilation of its others": ("layer4_2_conv2", "dilation_rate", (2, 2)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_break_the_bound(model, expected, fault, monkeypatch):
    layer, attribute, value = FAULTS[fault]
    monkeypatch.setattr(model.backbone.get_layer(layer), attribute, value)
    assert difference(model(pictures(*SIZES[1])), expected[SIZES[1]]) > 1e-4


def test_every_rate_of_the_head():
    """On a map that is larger than the largest rate."""
    keras.config.set_dtype_policy("float64")
    c4 = np.random.default_rng(0).normal(size=(2, 27, 26, 5))
    reference = deeplab.random_network(torch_deeplab.ASPP(5, 4)).double()
    head = DeepLabV2Head(4, name="head")
    state = {f"aspp.{name}": tensor.numpy() for name, tensor in reference.state_dict().items()}
    set_weights(deeplab.head_in_float64(head, {"c4": c4}), state, cagnet.DEEPLAB_V2, "memory")
    expected = reference(to_torch(c4))
    assert difference(head({"c4": c4}), expected) < 1e-12
    branches = head.aspp.branches
    branches[2].dilation_rate, branches[3].dilation_rate = (24, 24), (18, 18)
    assert difference(head({"c4": c4}), expected) > 1e-3


def test_the_published_network_from_a_file(tmp_path):
    """ResNet-101 in float32, as CaGNet's files have it, with what else is in them."""
    network = deeplab.random_network(torch_deeplab.DeepLabV2(NUM_CLASSES, 101))
    model = DeepLabV2(NUM_CLASSES)
    assert deeplab.of_model(model) == deeplab.parameters(network)
    # ResNet-101's of torchvision without its classifier, and four 3x3 convolutions with bias; two moments a channel.
    assert deeplab.of_model(model) == (44_549_160 - 2_049_000 + 4 * (9 * 2048 + 1) * NUM_CLASSES, 105_344)
    content = {f"back.scale.{name}": tensor for name, tensor in network.state_dict().items()}
    deeplab.load(model, {"state_dict": content}, cagnet.DEEPLAB_V2, tmp_path / "a.pth")
    images = pictures(*SIZES[1]).astype("float32")
    with torch.no_grad():
        assert difference(model(images), network(bgr(images).float())) < 1e-4


def test_a_backbone_alone(network, model, tmp_path):
    """From a file of the whole network, in the later version of the layout, beside weights of other kinds."""
    state = {name.replace(".proj.", ".shortcut."): tensor for name, tensor in network.state_dict().items()}
    torch.save({**state, "gen.mlp.0.weight": torch.zeros(3, 3, 1, 1)}, tmp_path / "a.pth")
    backbone = resnet50(output_stride=8, caffe=True, weights=tmp_path / "a.pth")
    for weight, same in zip(backbone.weights, model.backbone.weights, strict=True):
        np.testing.assert_array_equal(weight, np.asarray(same, "float32"))
    with pytest.raises(CheckpointError, match=r"a file of torchvision: layer1\.conv1\.conv\.weight is unknown"):
        resnet50(weights=tmp_path / "a.pth")
