"""A refinement happens once, at the picture's own size, on what all passes come to; a protocol is without it."""

import numpy as np
import pytest
from PIL import Image

from kzoo.crf import DenseCRF
from kzoo.data import Dataset, Labels, Sample
from kzoo.inference import evaluate, freeze, predict_logits, predict_mask
from kzoo.inference.protocols import MMSegmentation, PyTorchEncoding, predict_by_protocol
from kzoo.models import FCN

ARGS = {"spatial_weight": 2.0, "bilateral_weight": 2.0, "bilateral_sigma_rgb": 40.0, "iterations": 2}
PROTOCOLS = (PyTorchEncoding(base_size=32, crop_size=32, scales=(1.0,)), MMSegmentation(frame=(32, 24), flip=True))


@pytest.fixture(scope="module")
def refined(tiny_backbone):
    """A network with a refinement."""
    model = FCN(4, backbone=tiny_backbone, filters=8, aux=False, refine="dense", refine_args=ARGS)
    model.classifier.kernel.assign(5 * model.classifier.kernel)
    return model


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype("uint8")


class Recorder:
    """A refinement that notes what it is called with and turns the classes around."""

    def __init__(self):
        self.calls = []

    def __call__(self, logits, images):
        self.calls.append((np.asarray(logits), np.asarray(images)))
        return logits[..., ::-1]


@pytest.mark.parametrize(
    "options", [{}, {"scales": (0.5, 1.0, 1.5), "flip": True}, {"window": (16, 20)}, {"scales": (0.5,), "window": 16}]
)
def test_once_at_the_end_at_the_pictures_size(network, picture, options):
    recorder = Recorder()
    before = predict_logits(network, picture, **options)
    after = predict_logits(network, picture, **options, refinement=recorder)
    ((logits, images),) = recorder.calls
    np.testing.assert_array_equal(logits, before[np.newaxis])
    np.testing.assert_array_equal(images, picture[np.newaxis])
    np.testing.assert_array_equal(after, before[..., ::-1])
    np.testing.assert_array_equal(predict_mask(network, picture, **options, refinement=recorder), after.argmax(-1))


def test_a_refinement_that_is_none(network, picture):
    with pytest.raises(ValueError, match=r"a layer such as kzoo.crf.DenseCRF\(\). Received: 'dense'"):
        predict_mask(network, picture, refinement="dense")


def test_the_networks_own_by_default(refined, picture):
    passes = {"scales": (0.75, 1.0), "flip": True}
    for options in ({}, passes):
        alone = predict_logits(refined, picture, **options, refinement=None)
        expected = np.asarray(DenseCRF(**ARGS)(alone[np.newaxis], picture[np.newaxis])[0])
        assert np.abs(expected - alone).max() > 0.1
        np.testing.assert_allclose(predict_logits(refined, picture, **options), expected, rtol=1e-4, atol=1e-4)
    unrefined = refined(picture[np.newaxis], refine=False)
    np.testing.assert_allclose(predict_logits(refined, picture, refinement=None), unrefined[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(freeze(refined)(picture[np.newaxis]), refined(picture[np.newaxis]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(freeze(refined).unrefined(picture[np.newaxis]), unrefined, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_is_the_networks_alone_unless_refined(refined, picture, protocol):
    scores = protocol.scores(refined, picture)
    if isinstance(protocol, MMSegmentation):  # 24x32 fits the frame: the picture and its mirror image, as they are
        passes = predict_logits(refined, picture, flip=True, refinement=None)
        np.testing.assert_allclose(scores, np.exp(passes), atol=1e-4)
    np.testing.assert_array_equal(predict_by_protocol(refined, picture, protocol), scores.argmax(-1))
    recorder = Recorder()
    turned = predict_by_protocol(refined, picture, protocol, recorder)
    np.testing.assert_array_equal(turned, scores[..., ::-1].argmax(-1))
    ((logits, images),) = recorder.calls
    np.testing.assert_allclose(np.exp(logits[0]), scores, rtol=1e-6)
    np.testing.assert_array_equal(images[0], picture)


def test_evaluation_notes_the_refinement(refined, picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture[..., 0] % 4).save(tmp_path / "m.png")
    labels = Labels(("a", "b", "c", "d"), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)))
    sample = Sample("a", tmp_path / "a.png", tmp_path / "m.png")
    dataset = Dataset("noise", "val", labels, (sample,), {label: label for label in range(4)})
    mask = dataset.read(0)[1]

    def correct(prediction):
        return pytest.approx(np.mean(prediction == mask))

    own, alone = evaluate(refined, dataset), evaluate(refined, dataset, refinement=None)
    assert own.pixel_accuracy == correct(predict_mask(refined, picture))
    assert alone.pixel_accuracy == correct(predict_mask(refined, picture, refinement=None))
    assert not np.array_equal(own.confusion, alone.confusion)
    noted = own.protocol["refinement"]
    assert noted["class"] == "DenseCRF" and {key: noted[key] for key in ARGS} == ARGS
    assert "refinement" not in alone.protocol
    published, recorder = evaluate(refined, dataset, protocol=PROTOCOLS[1]), Recorder()
    assert "refinement" not in published.protocol
    assert published.pixel_accuracy == correct(predict_by_protocol(refined, picture, PROTOCOLS[1]))
    asked = evaluate(refined, dataset, protocol=PROTOCOLS[1], refinement=recorder)
    assert asked.protocol["refinement"] == {"class": "Recorder"}
    assert len(recorder.calls) == 1
