"""The published evaluation protocols against a statement of each in PyTorch, on a small network."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the protocols are stated in PyTorch")
from torch.nn import functional as F  # noqa: E402

from kzoo.inference.protocols import MMSegmentation, PyTorchEncoding, predict_by_protocol  # noqa: E402
from kzoo.metrics import ConfusionMatrix  # noqa: E402

NUM_CLASSES = 4
MEAN, STD = 120.0, 60.0


@pytest.fixture(scope="module")
def networks():
    """The same network for pictures 0..255 in Keras, and for normalised pictures in PyTorch.

    A 5x5 convolution with zero padding sees where a picture, a window or the black around them ends; that zero is the
    normalised one shows whether padding happens before or after normalisation.
    """
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(0, 0.15, (5, 5, 3, NUM_CLASSES)), rng.normal(0, 1, NUM_CLASSES)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / STD, -MEAN / STD)(inputs)
    convolution = keras.layers.Conv2D(NUM_CLASSES, 5, padding="same")
    model = keras.Model(inputs, convolution(x))
    convolution.set_weights([kernel, bias])
    weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1).astype("float32"))

    def network(normalised: torch.Tensor) -> torch.Tensor:
        return F.conv2d(normalised, weight, torch.from_numpy(bias.astype("float32")), padding=2)

    return model, network


def picture(height: int, width: int) -> np.ndarray:
    """Smooth enough for scaling to keep what it shows."""
    coarse = np.random.default_rng(height).uniform(0, 255, (1, 3, 7, 9)).astype("float32")
    fine = F.interpolate(torch.from_numpy(coarse), (height, width), mode="bicubic").clamp(0, 255).round()
    return fine[0].permute(1, 2, 0).numpy().astype("uint8")


def to_torch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype("float32")).permute(2, 0, 1)[None]


def encoding_statement(network, image, base, crop, scales, flip):
    """PyTorch-Encoding: normalised picture, everything on tensors (1, C, H, W)."""
    x = (to_torch(image) - MEAN) / STD
    black = (0.0 - MEAN) / STD
    _, _, h, w = x.shape

    def resize(t, height, width):
        return F.interpolate(t, (height, width), mode="bilinear", align_corners=True)

    def fill(t):
        return F.pad(t, (0, max(crop - t.shape[3], 0), 0, max(crop - t.shape[2], 0)), value=black)

    def infer(t):
        out = network(t).double()
        if flip:
            out = out + network(t.flip(3)).double().flip(3)
        return out.exp()

    scores = torch.zeros(1, NUM_CLASSES, h, w, dtype=torch.float64)
    stride = int(crop * 2.0 / 3.0)
    for scale in scales:
        long_size = math.ceil(base * scale)
        if h > w:
            height, width = long_size, int(1.0 * w * long_size / h + 0.5)
        else:
            height, width = int(1.0 * h * long_size / w + 0.5), long_size
        current = resize(x, height, width)
        if long_size <= crop:
            out = infer(fill(current))[:, :, :height, :width]
        else:
            padded = fill(current) if min(height, width) < crop else current
            ph, pw = padded.shape[2:]
            out = torch.zeros(1, NUM_CLASSES, ph, pw, dtype=torch.float64)
            norm = torch.zeros(1, 1, ph, pw, dtype=torch.float64)
            for i in range(math.ceil((ph - crop) / stride) + 1):
                for j in range(math.ceil((pw - crop) / stride) + 1):
                    h0, w0 = i * stride, j * stride
                    h1, w1 = min(h0 + crop, ph), min(w0 + crop, pw)
                    part = infer(fill(padded[:, :, h0:h1, w0:w1]))
                    out[:, :, h0:h1, w0:w1] += part[:, :, : h1 - h0, : w1 - w0]
                    norm[:, :, h0:h1, w0:w1] += 1
            out = (out / norm)[:, :, :height, :width]
        scores += resize(out, h, w)
    return scores[0].permute(1, 2, 0).numpy()


def mmseg_statement(network, image, frame, window, stride, scales, flip, align_corners):
    """MMSegmentation: the mean of the softmaxes over scales and mirror images."""
    h, w = image.shape[:2]
    outputs = []
    for scale in scales:
        long_edge, short_edge = int(frame[0] * scale), int(frame[1] * scale)
        factor = min(long_edge / max(h, w), short_edge / min(h, w))
        size = int(h * factor + 0.5), int(w * factor + 0.5)
        resized = F.interpolate(to_torch(image).double(), size, mode="bilinear", align_corners=False)
        x = (torch.floor(resized + 0.500001).float() - MEAN) / STD
        for mirrored in (False, True)[: 1 + flip]:
            t = x.flip(3) if mirrored else x
            if window is None:
                logits = network(t)
            else:
                height, width = size
                logits = torch.zeros(1, NUM_CLASSES, height, width)
                count = torch.zeros(1, 1, height, width)
                for i in range(max(height - window + stride - 1, 0) // stride + 1):
                    for j in range(max(width - window + stride - 1, 0) // stride + 1):
                        y2, x2 = min(i * stride + window, height), min(j * stride + window, width)
                        y1, x1 = max(y2 - window, 0), max(x2 - window, 0)
                        logits[:, :, y1:y2, x1:x2] += network(t[:, :, y1:y2, x1:x2])
                        count[:, :, y1:y2, x1:x2] += 1
                logits = logits / count
            logits = F.interpolate(logits.double(), (h, w), mode="bilinear", align_corners=align_corners)
            probabilities = logits.softmax(1)
            outputs.append(probabilities.flip(3) if mirrored else probabilities)
    return torch.stack(outputs).mean(0)[0].permute(1, 2, 0).numpy()


def assert_scores(actual: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5 of a pixel's largest score."""
    assert actual.shape == expected.shape
    assert (np.abs(actual - expected) / expected.max(-1, keepdims=True)).max() < 1e-5


# Crop 48, step 32: at base 52 one pass for the scales up to 0.75, windows from 1.0 on, the last of which are cut short.
@pytest.mark.parametrize(("height", "width"), [(41, 61), (61, 41), (50, 50), (12, 70)])
@pytest.mark.parametrize("flip", [True, False])
def test_pytorch_encoding(networks, height, width, flip):
    model, network = networks
    image = picture(height, width)
    protocol = PyTorchEncoding(base_size=52, crop_size=48, flip=flip)
    expected = encoding_statement(network, image, 52, 48, protocol.scales, flip)
    assert_scores(protocol.scores(model, image), expected)
    np.testing.assert_array_equal(predict_by_protocol(model, image, protocol), expected.argmax(-1))


@pytest.mark.parametrize(("height", "width"), [(41, 61), (64, 40), (33, 90)])
@pytest.mark.parametrize(("window", "stride", "align_corners"), [(None, None, False), (32, 21, True), (100, 60, False)])
@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((0.5, 0.75, 1.25), True)])
def test_mmsegmentation(networks, height, width, window, stride, align_corners, scales, flip):
    model, network = networks
    image = picture(height, width)
    options = {"window": window, "stride": stride, "scales": scales, "flip": flip, "align_corners": align_corners}
    protocol = MMSegmentation(frame=(96, 48), **options)
    expected = mmseg_statement(network, image, (96, 48), **options)
    assert_scores(protocol.scores(model, image), expected)
    np.testing.assert_array_equal(predict_by_protocol(model, image, protocol), expected.argmax(-1))


def test_windows_need_a_stride():
    with pytest.raises(ValueError, match=r"both window and stride. Got window=769, stride=None"):
        MMSegmentation((2049, 1025), window=769)


def test_large_logits_do_not_overflow():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
    image = np.zeros((20, 20, 3), "uint8")
    image[..., 1] = 255
    scores = PyTorchEncoding(base_size=20, crop_size=24).scores(model, image)
    assert np.isfinite(scores).all() and (scores.argmax(-1) == 1).all()


def test_ignored_pixels_count_in_neither_area():
    """Both codes take them out of the predicted area too, and sum both areas over all pictures."""
    rng = np.random.default_rng(3)
    metric = ConfusionMatrix(NUM_CLASSES)
    areas = np.zeros((2, NUM_CLASSES))
    for _ in range(3):
        mask, predicted = (rng.integers(0, NUM_CLASSES, (1, 20, 30)) for _ in range(2))
        mask[rng.random(mask.shape) < 0.3] = 255
        metric.update_state(mask, np.eye(NUM_CLASSES)[predicted])
        seen = np.where(mask == 255, -1, predicted)
        for index in range(NUM_CLASSES):
            both = np.sum((seen == index) & (mask == index))
            areas[:, index] += both, np.sum(seen == index) + np.sum(mask == index) - both
    np.testing.assert_allclose(np.asarray(metric.iou()), areas[0] / areas[1], rtol=1e-6)
