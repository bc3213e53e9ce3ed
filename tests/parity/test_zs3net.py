"""kzoo's ZS3Net from a final file of its authors' layout: DeepLab v3+ with a classifier of all classes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")

from kzoo.convert import CheckpointError, kept_layers, read_checkpoint, set_weights, zs3  # noqa: E402
from kzoo.models.zero_shot import ZS3Net  # noqa: E402
from tests.parity import deeplab, torch_deeplab  # noqa: E402
from tests.parity.deeplab import NUM_CLASSES, difference, pictures  # noqa: E402
from tests.parity.test_deeplab_v3plus import checkpoint, normalised  # noqa: E402

SIZE = (129, 147)


def test_from_a_final_file(tmp_path):
    """Every tensor of the file is used; what it has not stays."""
    network = deeplab.random_network(torch_deeplab.DeepLabV3Plus(NUM_CLASSES, 50))
    args = {"backbone": "resnet50", "backbone_args": {"multi_grid": [1, 2, 4]}, "embedding_size": 5}
    model = ZS3Net(NUM_CLASSES, unseen=[10, 14], **args)
    model.set_embeddings(np.random.default_rng(0).normal(size=(NUM_CLASSES, 5)))
    own = [*model.generator.weights, model.embeddings]
    before = [np.array(weight) for weight in own]
    path = tmp_path / "deeplab_pascal_voc_02_unseen_GMMN_final.pth.tar"
    deeplab.load(model, checkpoint(network), zs3.DEEPLAB_V3PLUS, path)
    for weight, same in zip(own, before, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert kept_layers(model, zs3.DEEPLAB_V3PLUS) == ("embeddings", "generator/linear_1", "generator/linear_2")
    images = pictures(*SIZE).astype("float32")
    with torch.no_grad():
        expected = network(normalised(images).float())
    assert difference(model(images), expected) < 1e-4
    kernel = np.array(model.classifier.kernel)
    model.classifier.kernel.assign(kernel[..., [*range(10), 14, 11, 12, 13, 10, *range(15, NUM_CLASSES)]])
    assert difference(model(images), expected) > 1e-2
    tensors = read_checkpoint(path)
    with pytest.raises(CheckpointError, match="nothing sets classifier/bias"):
        set_weights(model, {k: v for k, v in tensors.items() if "pred_conv.bias" not in k}, zs3.DEEPLAB_V3PLUS, "a")
    with pytest.raises(CheckpointError, match=r"classifier/bias\) has shape \(21,\) in Keras' order, expected \(60,\)"):
        set_weights(ZS3Net(60, unseen=[10], **args), tensors, zs3.DEEPLAB_V3PLUS, "a")
