"""The dense CRF against mean field by matrices, and at its edges."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.crf import PRESETS, DenseCRF, spatial_filter
from tests.crf.gaussians import features, gaussian, mean_field, normalize, picture, places
from tests.crf.test_lattice import matrix

SIZE = (12, 16)
WIDTHS = {"spatial_sigma": 1.5, "bilateral_sigma_xy": 8.0, "bilateral_sigma_rgb": 13.0}


def scene(classes: int = 4, names: tuple[str, ...] = ("chelsea", "astronaut")) -> tuple[np.ndarray, np.ndarray]:
    """Logits (B, H, W, C) and photographs (B, H, W, 3)."""
    logits = np.random.default_rng(0).normal(size=(len(names), *SIZE, classes)).astype("float32")
    return logits, np.stack([picture(name, *SIZE) for name in names])


def matrices(image: np.ndarray, normalization: str, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The spatial kernel of a photograph with `WIDTHS`, and the bilateral one: exactly, or as the lattice has it."""
    points = features(image, WIDTHS["bilateral_sigma_xy"], WIDTHS["bilateral_sigma_rgb"])
    spatial = gaussian(places(image) / WIDTHS["spatial_sigma"])
    bilateral = gaussian(points) if exact else matrix(points, dtype="float32").astype("float64")
    return normalize(spatial, normalization), normalize(bilateral, normalization)


@pytest.mark.parametrize("normalization", ["none", "after", "symmetric"])
def test_equals_mean_field_by_matrices(normalization):
    logits, images = scene()
    weights = (0.2, 0.1) if normalization == "none" else (2.0, 3.0)
    crf = DenseCRF(
        **WIDTHS, spatial_weight=weights[0], bilateral_weight=weights[1], iterations=3, normalization=normalization
    )
    refined = crf(logits, images)
    assert refined.shape == logits.shape and refined.dtype == "float32"
    for i in range(2):
        spatial, bilateral = matrices(images[i], normalization)
        kernel = weights[0] * spatial + weights[1] * bilateral
        expected = mean_field(logits[i].reshape(-1, 4).astype("float64"), lambda q: kernel @ q, 3)  # noqa: B023
        np.testing.assert_allclose(np.reshape(refined[i], (-1, 4)), expected, atol=1e-4)


def test_labels_agree_with_exact_gaussians():
    """96 % of them, of random logits that contradict each other everywhere."""
    logits, images = scene()
    labels = np.argmax(DenseCRF(**WIDTHS, spatial_weight=2.0, bilateral_weight=3.0)(logits, images), -1)
    for i in range(2):
        spatial, bilateral = matrices(images[i], "after", exact=True)
        unary = logits[i].reshape(-1, 4)
        exact = mean_field(unary, lambda q: (2 * spatial + 3 * bilateral) @ q, 10).argmax(-1)  # noqa: B023
        assert (exact != unary.argmax(-1)).mean() > 0.3
        assert (labels[i].ravel() == exact).mean() > 0.95


def test_spatial_filter_is_the_exact_gaussian():
    image = picture("chelsea", 9, 14)
    values = np.random.default_rng(0).normal(size=(2, 9, 14, 3))
    for sigma in (0.4, 3.0, 20.0):
        expected = gaussian(places(image) / sigma) @ values.reshape(2, -1, 3)
        np.testing.assert_allclose(np.reshape(spatial_filter(values, sigma), (2, -1, 3)), expected, atol=1e-4)


def test_graphs_of_changing_sizes_and_pictures_of_any_type():
    crf = DenseCRF(**WIDTHS, iterations=1)
    run = tf.function(
        lambda logits, images: crf(logits, images),
        input_signature=[tf.TensorSpec((None, None, None, 4)), tf.TensorSpec((None, None, None, 3))],
    )
    logits, images = scene()
    for height, width in ((12, 16), (7, 9)):
        x, y = logits[:, :height, :width], images[:, :height, :width]
        # The same logits in float64, and shapes known: another graph, the same numbers.
        np.testing.assert_allclose(run(x, y.astype("float32")), crf(x.astype("float64"), y), atol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    config = DenseCRF.from_preset(name, iterations=3).get_config()
    expected = {**PRESETS[name], "iterations": 3}
    assert {key: config[key] for key in expected} == expected


def test_published_widths():
    """DeepLab LargeFOV's published test script: bi_w 4, bi_xy_std 49, bi_rgb_std 5, pos_w 3, pos_xy_std 3."""
    largefov = PRESETS["deeplab_v1_largefov"]
    assert [largefov[key] for key in ("bilateral_weight", "bilateral_sigma_xy", "bilateral_sigma_rgb")] == [4, 49, 5]
    assert PRESETS["crf_rnn"]["bilateral_sigma_xy"] == 160 and PRESETS["crf_rnn"]["bilateral_sigma_rgb"] == 3
    assert PRESETS["pydensecrf"]["normalization"] == "symmetric" and PRESETS["pydensecrf"]["iterations"] == 5


def test_in_a_model_file(tmp_path):
    logits, images = scene()
    inputs = keras.Input((None, None, 4)), keras.Input((None, None, 3))
    model = keras.Model(inputs, DenseCRF(**WIDTHS, iterations=1)(*inputs))
    assert model.output_shape == (None, None, None, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    batch = [logits, images.astype("float32")]
    expected = DenseCRF(**WIDTHS, iterations=1)(logits, images)
    np.testing.assert_allclose(loaded.predict(batch, verbose=0), expected, atol=1e-4)


def test_half_precision_policy_computes_in_float32():
    logits, images = scene()
    expected = DenseCRF(**WIDTHS, iterations=1)(logits, images)
    keras.config.set_dtype_policy("mixed_bfloat16")
    crf = DenseCRF(**WIDTHS, iterations=1)
    refined = crf(logits, images)
    assert refined.dtype == "float32"
    np.testing.assert_array_equal(refined, expected)
    half = DenseCRF(**WIDTHS, iterations=1, dtype="mixed_bfloat16")(logits, images)
    np.testing.assert_array_equal(half, tf.cast(expected, "bfloat16"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"spatial_sigma": 0.0}, "spatial_sigma=0"),
        ({"bilateral_sigma_xy": -1}, "bilateral_sigma_xy=-1"),
        ({"bilateral_sigma_rgb": np.nan}, "bilateral_sigma_rgb=nan"),
        ({"bilateral_weight": np.inf}, "bilateral_weight=inf"),
        ({"iterations": 0}, "iterations=0"),
        ({"iterations": 2.5}, r"iterations=2\.5"),
        ({"normalization": "symetric"}, "Did you mean 'symmetric'"),
    ],
)
def test_impossible_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        DenseCRF(**arguments)


@pytest.mark.parametrize(
    ("logits", "images", "words"),
    [
        ((1, 5, 7, 3), (1, 5, 8, 3), r"(?s)same height and width.*\(1, 5, 8, 3\)"),
        ((2, 5, 7, 3), (1, 5, 7, 3), "as many logits as images"),
        ((1, 5, 7, 3), (1, 5, 7, 4), "RGB"),
        ((5, 7, 3), (5, 7, 3), r"logits \(B, H, W, C\)"),
    ],
)
def test_shapes_that_do_not_fit(logits, images, words):
    with pytest.raises(ValueError, match=words):
        DenseCRF()(np.zeros(logits, "float32"), np.zeros(images, "uint8"))


def test_nan_logits():
    logits, images = scene()
    logits[0, 3, 4, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        DenseCRF()(logits, images)


def test_unknown_preset():
    with pytest.raises(ValueError, match="Did you mean 'crf_rnn'"):
        DenseCRF.from_preset("crfrnn")
