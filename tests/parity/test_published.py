"""Checkpoints of the published layouts, loaded by name, against the PyTorch networks that they are saved from."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the references are stated in PyTorch")

import kzoo  # noqa: E402
from kzoo.convert import key_map  # noqa: E402
from kzoo.layers import Resize  # noqa: E402
from tests.parity import published_encnet, weights  # noqa: E402

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
SIZES = ((480, 480), (333, 481))

# name -> (the reference, whether the file is saved in the old format)
NETWORKS = {
    "encnet_r50_pcontext": (lambda: published_encnet.PyTorchEncodingEncNet(59, 50, lateral=True), True),
    "encnet_r101_pcontext": (lambda: published_encnet.PyTorchEncodingEncNet(59, 101, lateral=True), False),
    "encnet_r50_ade20k": (lambda: published_encnet.PyTorchEncodingEncNet(150, 50, lateral=False), False),
    "encnet_r101_ade20k": (lambda: published_encnet.PyTorchEncodingEncNet(150, 101, lateral=False), True),
    "encnet_r50c_ade20k_512x512_80k": (lambda: published_encnet.MMSegmentationEncNet(150, 50, False), False),
    "encnet_r101c_cityscapes_512x1024_80k": (lambda: published_encnet.MMSegmentationEncNet(19, 101, False), True),
    "encnet_r50c_cityscapes_769x769_40k": (lambda: published_encnet.MMSegmentationEncNet(19, 50, True), False),
}
QUICK = "encnet_r50_pcontext"
KEY_TABLES = {
    "encnet_r50_pcontext": "encnet_resnet50s_pcontext",
    "encnet_r101_pcontext": "encnet_resnet101s_pcontext",
    "encnet_r50_ade20k": "encnet_resnet50s_ade",
    "encnet_r101_ade20k": "encnet_resnet101s_ade",
}


def picture(height: int, width: int) -> np.ndarray:
    """(1, H, W, 3) in 0..255 with structure at all scales, as pictures have and noise has not."""
    rng = np.random.default_rng(height)
    total = np.zeros((height, width, 3))
    for side in (4, 16, 64):
        coarse = torch.from_numpy(rng.normal(size=(1, 3, side, side)))
        layer = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        total += layer[0].permute(1, 2, 0).numpy()
    return (255 / (1 + np.exp(-1.5 * total)))[np.newaxis].round()


def normalised(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((images - MEAN) / STD).transpose(0, 3, 1, 2).copy())


SMALL = ((97, 97), (97, 113), (97, 81), (97, 129))


def reference(name: str, sizes: tuple[tuple[int, int], ...] = SMALL) -> torch.nn.Module:
    """The network with random weights, and BatchNorm statistics of the activations that they give.

    The statistics are measured at about the sizes that the network is compared at: an encoding is a sum over pixels,
    and one of many more pixels would shut or open the gates.
    """
    network = weights.randomise(NETWORKS[name][0]())
    # Residual branches weigh less than their shortcuts, as in trained networks: else a hundred random layers multiply
    # float32's rounding, of PyTorch's own network too, to more than the bound.
    for layer_name, layer in network.named_modules():
        if layer_name.endswith(".bn3"):
            layer.weight.data *= 0.4
    published_encnet.measure_statistics(network, [normalised(picture(*size)).float() for size in sizes])
    return network


def save(network: torch.nn.Module, path: Path, legacy: bool) -> None:
    """As the two codes do: the bare weights, or among other things; here with ImageNet's classifier in the old file."""
    state: Any = network.state_dict()
    if isinstance(network, published_encnet.MMSegmentationEncNet):
        state = {"meta": {"epoch": 3, "time": "yesterday"}, "state_dict": state}
    elif legacy:
        state = {"pretrained.fc.weight": torch.zeros(1000, 2048), "pretrained.fc.bias": torch.zeros(1000), **state}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)


def heads(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """All heads of the loaded network in inference mode."""
    features = model.backbone(model.preprocessing(images))
    x, presence = model.context(model.feature_head(features))
    resize = Resize(align_corners=model.align_corners, dtype=model.classifier.compute_dtype)
    outputs = {
        "logits": model(images),
        "aux": resize(model.aux_head(features["c3"]), images),
        "se_logits": presence,
    }
    np.testing.assert_array_equal(outputs["logits"], resize(model.classifier(x), images))
    return {key: np.asarray(value) for key, value in outputs.items()}


def differences(model: Any, network: torch.nn.Module, images: np.ndarray, dtype: Any) -> dict[str, float]:
    """The largest difference of each head, in parts of the head's range."""
    with torch.no_grad():
        expected = network.to(dtype)(normalised(images).to(dtype))
    actual = heads(model, images.astype("float64" if dtype == torch.float64 else "float32"))
    found = {}
    for head, tensor in expected.items():
        array = tensor.numpy().transpose(0, 2, 3, 1) if tensor.ndim == 4 else tensor.numpy()
        assert actual[head].shape == array.shape
        found[head] = float(np.abs(actual[head] - array).max() / np.ptp(array))
    return found


CASES = [
    pytest.param(QUICK, ((160, 160), (97, 141)), id=f"{QUICK}-small"),
    *(pytest.param(name, SIZES, id=name, marks=pytest.mark.long) for name in NETWORKS),
]


@pytest.mark.parametrize(("name", "sizes"), CASES)
@pytest.mark.parametrize(("policy", "bound"), [("float64", 1e-9), ("float32", 1e-4)])
def test_a_checkpoint_gives_the_network_that_it_was_saved_from(name, sizes, policy, bound, tmp_path):
    network = reference(name, (*sizes, *((height - 9, width) for height, width in sizes)))
    gates: list[torch.Tensor] = []
    network.get_submodule(gate_layer(network)).register_forward_hook(lambda *call: gates.append(call[-1].sigmoid()))
    path = tmp_path / "checkpoint.pth"
    save(network, path, legacy=NETWORKS[name][1])
    keras.config.set_dtype_policy(policy)
    model = kzoo.load(name, weights=path)
    for height, width in sizes:
        images = picture(height, width)
        found = differences(model, network, images, getattr(torch, policy))
        assert max(found.values()) < bound, found
    # The context takes part: gates are neither all alike nor shut or open.
    assert len(gates) == len(sizes)
    for gate in gates:
        assert gate.std() > 0.05 and ((gate > 0.05) & (gate < 0.95)).float().mean() > 0.9


def gate_layer(network: torch.nn.Module) -> str:
    mm = isinstance(network, published_encnet.MMSegmentationEncNet)
    return "decode_head.enc_module.fc.0" if mm else "head.encmodule.fc.0"


@pytest.mark.parametrize("name", KEY_TABLES)
def test_the_reference_has_the_published_keys_and_shapes(name, kzoo_data):
    table = kzoo_data.parent / "reference" / "keys" / f"{KEY_TABLES[name]}.tsv"
    if not table.is_file():
        pytest.skip(f"needs the table of the published keys: no {table}")
    with table.open() as file:
        published = dict(csv.reader(file, delimiter="\t"))
    with torch.device("meta"):
        state = NETWORKS[name][0]().state_dict()
    own = {key: "x".join(map(str, value.shape)) for key, value in state.items() if "num_batches_tracked" not in key}
    assert own == published


@pytest.mark.parametrize("fault", ["same padding", "swapped laterals", "half-pixel"])
def test_planted_faults_break_the_bound(fault, tmp_path, monkeypatch):
    network = reference(QUICK)
    path = tmp_path / "checkpoint.pth"
    save(network, path, legacy=False)
    keras.config.set_dtype_policy("float64")
    options: dict[str, Any] = {}
    if fault == "half-pixel":
        options["align_corners"] = False
    elif fault == "swapped laterals":
        swapped = {"head.connect.0": "feature_head/connect_c3", "head.connect.1": "feature_head/connect_c2"}
        # c2 and c3 differ in width: their 1x1 kernels cannot be swapped, the BatchNorms behind them can.
        original = key_map.KeyMap.layer

        def layer(self: Any, module: str) -> str | None:
            stem, _, last = module.rpartition(".")
            return f"{swapped[stem]}/bn" if stem in swapped and last == "1" else original(self, module)

        monkeypatch.setattr(key_map.KeyMap, "layer", layer)
    model = kzoo.load(QUICK, weights=path, **options)
    if fault == "same padding":
        padding = model.backbone.get_layer("stem_conv1_pad")
        padding.padding = ((0, 1), (0, 1))
    found = differences(model, network, picture(160, 160), torch.float64)
    assert found["logits"] > 1e-4, found
