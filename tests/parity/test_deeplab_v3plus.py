"""kzoo's DeepLab v3+ against the PyTorch statement of it, through checkpoints of ZS3Net's layout."""

from __future__ import annotations

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")

from kzoo.backbones import resnet50  # noqa: E402
from kzoo.convert import CheckpointError, read_checkpoint, set_weights, zs3  # noqa: E402
from kzoo.models import DeepLabV3Plus  # noqa: E402
from kzoo.models.deeplab_v3plus import DeepLabV3PlusHead  # noqa: E402
from tests.parity import deeplab, torch_deeplab  # noqa: E402
from tests.parity.deeplab import NUM_CLASSES, difference, pictures, to_torch  # noqa: E402

# Maps of 9 x 10 and more at stride 16: the last dilation of the multi-grid reaches other features.
SIZES = ((129, 147), (134, 144))
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def normalised(images: np.ndarray) -> torch.Tensor:
    return to_torch((images - MEAN) / STD)


@pytest.fixture(scope="module")
def network():
    return deeplab.random_network(torch_deeplab.DeepLabV3Plus(NUM_CLASSES, 50)).double()


@pytest.fixture(scope="module")
def expected(network):
    with torch.no_grad():
        return {size: network(normalised(pictures(*size))) for size in SIZES}


@pytest.fixture(scope="module")
def model(network):
    keras.config.set_dtype_policy("float64")
    model = DeepLabV3Plus(NUM_CLASSES, backbone="resnet50")
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    set_weights(model, state, zs3.DEEPLAB_V3PLUS, "memory")
    return model


@pytest.mark.parametrize("size", SIZES)
def test_equals_torch(model, expected, size):
    assert difference(model(pictures(*size)), expected[size]) < 1e-9


@pytest.mark.parametrize("block", [0, 1, 2])
def test_without_multi_grid_the_bound_breaks(model, expected, block, monkeypatch):
    usual = (1, 1) if block == 0 else (2, 2)
    monkeypatch.setattr(model.backbone.get_layer(f"layer4_{block}_conv2"), "dilation_rate", usual)
    assert difference(model(pictures(*SIZES[0])), expected[SIZES[0]]) > 1e-4


class TorchHead(torch.nn.Module):
    def __init__(self, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.aspp = torch_deeplab.PooledASPP(5, 4, rates)
        self.decoder = torch_deeplab.Decoder(3, 4, 1)

    def forward(self, c4: torch.Tensor, c1: torch.Tensor) -> torch.Tensor:
        return self.decoder.features(self.aspp(c4), c1)


@pytest.mark.parametrize("rates", [(6, 12, 18), (12, 24, 36)], ids=["output stride 16", "output stride 8"])
def test_every_rate_of_the_head(rates):
    """On a map that is larger than the largest rate, with and without the decoder."""
    keras.config.set_dtype_policy("float64")
    rng = np.random.default_rng(0)
    c4, c1 = rng.normal(size=(2, rates[2] + 3, rates[2] + 2, 5)), rng.normal(size=(2, 67, 78, 3))
    features = {"c1": c1, "c4": c4}
    reference = deeplab.random_network(TorchHead(rates)).double()
    state = {name: tensor.numpy() for name, tensor in reference.state_dict().items() if "pred_conv" not in name}
    head = DeepLabV3PlusHead(4, rates, name="head")
    set_weights(deeplab.head_in_float64(head, features), state, zs3.DEEPLAB_V3PLUS, "memory")
    with torch.no_grad():
        expected = reference(to_torch(c4), to_torch(c1))
        assert difference(head(features), expected) < 1e-12
        pyramid = DeepLabV3PlusHead(4, rates, low_level=None, name="head")
        state = {name: array for name, array in state.items() if name.startswith("aspp")}
        set_weights(deeplab.head_in_float64(pyramid, {"c4": c4}), state, zs3.DEEPLAB_V3PLUS, "memory")
        assert difference(pyramid(features), reference.aspp(to_torch(c4))) < 1e-12
    first, second = (head.branches[index].conv for index in (2, 3))
    first.dilation_rate, second.dilation_rate = second.dilation_rate, first.dilation_rate
    assert difference(head(features), expected) > 1e-3


def checkpoint(network: torch.nn.Module) -> dict:
    """As ZS3Net's trainer saves it, after a step of its optimizer."""
    classifier = network.decoder.pred_conv
    optimizer = torch.optim.SGD([{"params": classifier.parameters(), "lr": 0.07}], lr=0.007, momentum=0.9)
    classifier.weight.grad, classifier.bias.grad = torch.zeros_like(classifier.weight), torch.zeros(NUM_CLASSES)
    optimizer.step()
    return {
        "epoch": 20,
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best_pred": np.float64(0.5),
    }


def test_the_published_network_from_a_file(tmp_path):
    """ResNet-101 in float32 from a `.pth.tar`, every tensor of which is used."""
    network = deeplab.random_network(torch_deeplab.DeepLabV3Plus(NUM_CLASSES, 101))
    model = DeepLabV3Plus(NUM_CLASSES)
    assert deeplab.of_model(model) == deeplab.parameters(network)
    pyramid = 256 * (2 * 2048 + 3 * 9 * 2048 + 5 * 256 + 2 * 6)
    decoder = 48 * (256 + 2) + 256 * 9 * (256 + 48 + 256) + 2 * 2 * 256
    learned = 44_549_160 - 2_049_000 + pyramid + decoder + (256 + 1) * NUM_CLASSES
    assert deeplab.of_model(model) == (learned, 105_344 + 2 * (6 * 256 + 48 + 2 * 256))
    path = tmp_path / "deeplab_pretrained_pascal_voc_02_unseen.pth.tar"
    deeplab.load(model, checkpoint(network), zs3.DEEPLAB_V3PLUS, path)
    images = pictures(*SIZES[1]).astype("float32")
    with torch.no_grad():
        assert difference(model(images), network(normalised(images).float())) < 1e-4
    tensors = read_checkpoint(path)
    del tensors["aspp.global_avg_pool.2.running_var"]
    with pytest.raises(CheckpointError, match="nothing sets head/pooled/bn/moving_variance"):
        set_weights(model, tensors, zs3.DEEPLAB_V3PLUS, str(path))
    with pytest.raises(CheckpointError, match=r"aspp\.aspp5\.bn\.weight is unknown"):
        set_weights(model, {**tensors, "aspp.aspp5.bn.weight": np.zeros(256, "f4")}, zs3.DEEPLAB_V3PLUS, str(path))


def test_its_imagenet_backbone(network, tmp_path):
    """As ZS3Net has it: torchvision's layout behind `module.`, in a `.pth.tar`."""
    path = tmp_path / "resnet_backbone_pretrained_imagenet_wo_pascalvoc.pth.tar"
    state = {f"module.{name}": tensor for name, tensor in network.backbone.state_dict().items()}
    torch.save({"state_dict": {**state, "module.fc.weight": torch.zeros(1000, 2048)}}, path)
    backbone = resnet50(output_stride=16, multi_grid=[1, 2, 4], weights=path)
    kernel = network.backbone.layer4[2].conv2.weight.numpy(force=True).transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(backbone.get_layer("layer4_2_conv2").kernel, kernel.astype("float32"))
