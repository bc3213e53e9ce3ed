"""The inference graph: the model's answers, nothing left to fold, and never stale."""

import collections
import gc
import weakref

import keras
import numpy as np
import pytest

from kzoo.inference import fold, freeze
from kzoo.layers import BatchNormalization
from kzoo.models import DeepLabV2, DeepLabV3Plus, EncNet

to_numpy = keras.ops.convert_to_numpy


def shake(model):
    """Gives batch normalisation scales, shifts and statistics that change something."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "variance" in weight.path or "gamma" in weight.path:
            weight.assign(rng.uniform(0.5, 2, weight.shape))
        elif "mean" in weight.path or "beta" in weight.path:
            weight.assign(rng.normal(0, 0.2, weight.shape))
    return model


def small_network(dilation=2, padding="same", classes=4):
    """Plain, depthwise (multiplier 2) and dilated convolutions, each with batch normalisation; a shared feature."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(
        keras.layers.Rescaling(1 / 127.5, -1)(images)
    )
    x = keras.layers.ReLU(6)(BatchNormalization()(x))
    atrous = {"dilation_rate": dilation, "padding": padding, "use_bias": False}
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, **atrous)(x)
    # Nothing between this normalisation and the dilated convolution that reads it, as in an inverted bottleneck.
    x = BatchNormalization()(x)
    x = BatchNormalization()(keras.layers.Conv2D(16, 3, **atrous)(x))
    read_twice = keras.layers.Conv2D(8, 1, use_bias=False)(
        x
    )  # its normalised form is not all that is read of it: must stay
    x = keras.layers.Concatenate()([read_twice, BatchNormalization()(read_twice)])
    return shake(keras.Model(images, keras.layers.Conv2D(classes, 1)(x)))


def pictures(*shape):
    return np.random.default_rng(0).uniform(0, 255, (*shape, 3)).astype("float32")


def operations(frozen):
    """How many of each operation the graph that runs holds."""
    return collections.Counter(node.op for node in frozen.function.graph.as_graph_def().node)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_the_models_answers_at_any_size(dilation, padding):
    model = small_network(dilation, padding)
    for shape in ((1, 33, 33), (2, 48, 40), (1, 37, 50)):
        images = pictures(*shape)
        np.testing.assert_allclose(freeze(model)(images), model(images, training=False), rtol=1e-4, atol=1e-4)
    left = operations(freeze(model))
    assert left["FusedBatchNormV3"] == 1  # the feature that is read twice
    assert left["SpaceToBatchND"] == 0
    assert left["ReadVariableOp"] == 0


def test_where_depthwise_convolutions_cannot_dilate(monkeypatch):
    monkeypatch.setattr(fold, "_depthwise_kernel_can_dilate", lambda dtype: False)
    model, images = small_network(), pictures(1, 33, 41)
    np.testing.assert_allclose(freeze(model)(images), model(images, training=False), rtol=1e-4, atol=1e-4)
    left = operations(freeze(model))
    assert (left["FusedBatchNormV3"], left["SpaceToBatchND"]) == (1, 1)


def test_float64():
    keras.config.set_dtype_policy("float64")
    model, images = small_network(), pictures(1, 33, 41)
    logits = freeze(model)(images)
    assert logits.dtype == "float64"
    np.testing.assert_allclose(logits, model(images, training=False), rtol=1e-10, atol=1e-10)


def test_a_dilated_feature_that_is_read_twice(monkeypatch):
    monkeypatch.setattr(fold, "_depthwise_kernel_can_dilate", lambda dtype: False)
    images = keras.Input((None, None, 3))
    x = keras.layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", use_bias=False)(images)
    model = shake(keras.Model(images, keras.layers.Concatenate()([x, BatchNormalization()(x)])))
    np.testing.assert_allclose(freeze(model)(pictures(1, 9, 9)), model(pictures(1, 9, 9)), rtol=1e-4, atol=1e-3)


def test_a_convolution_that_only_looks_dilated_stays():
    rate, crops = np.array([2, 2]), np.array([[0, 1], [0, 0]])
    paddings = np.array([[2, 3], [2, 2]])
    assert fold._padding((3, 3), rate, paddings, rate, crops) == b"SAME"
    assert fold._padding((3, 3), rate, crops, rate, crops) == b"VALID"
    assert fold._padding((3, 3), rate, paddings + 1, rate, crops) is None
    assert fold._padding((3, 3), rate, paddings, rate + 1, crops) is None
    assert fold._padding((3, 3), rate, paddings, rate, crops + 1) is None


def assert_frozen_alike(model):
    """The frozen graph answers as the network, with BatchNorm folded and dilated convolutions as single operations."""
    images = pictures(1, 65, 49)
    expected = to_numpy(model(images, training=False))
    np.testing.assert_allclose(freeze(model)(images), expected, rtol=0, atol=2e-4 * np.abs(expected).max())
    left = operations(freeze(model))
    assert left["FusedBatchNormV3"] == 0
    assert left["SpaceToBatchND"] == 0


@pytest.mark.parametrize(
    ("backbone", "arguments"),
    [("mobilenet_v2", {"width": 0.35}), ("efficientnet_b0", {}), pytest.param("resnet50", {}, marks=pytest.mark.long)],
)
def test_encnet(backbone, arguments):
    model = EncNet(5, backbone=backbone, output_stride=8, backbone_args=arguments)
    model.build((None, None, None, 3))
    shake(model)
    assert_frozen_alike(model)


@pytest.mark.parametrize(("build", "arguments"), [(DeepLabV2, {}), (DeepLabV3Plus, {"filters": 16, "separable": True})])
def test_deeplab(build, arguments):
    """Rates larger than the map, and a map of one pixel that is resized."""
    model = shake(build(5, backbone="mobilenet_v2", backbone_args={"width": 0.35}, **arguments))
    assert_frozen_alike(model)


def test_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = small_network()
    images = pictures(1, 33, 33)
    keras.config.set_dtype_policy("float32")
    exact = small_network()
    exact.set_weights(model.get_weights())
    expected = to_numpy(exact(images))
    frozen = to_numpy(freeze(model)(images)).astype("float32")
    plain = to_numpy(model(images, training=False)).astype("float32")
    # Rounding the folded kernel once is no worse than rounding kernel and normalised features.
    assert np.abs(frozen - expected).max() <= 1.5 * np.abs(plain - expected).max()
    assert operations(freeze(model))["FusedBatchNormV3"] == 1


def test_never_stale():
    model, images = small_network(), pictures(1, 33, 33)
    frozen = freeze(model)
    frozen(images)
    made = frozen.function
    frozen(images)
    assert frozen.function is made  # nothing changed, nothing is made anew

    def check():
        np.testing.assert_allclose(frozen(images), model(images, training=False), rtol=1e-4, atol=1e-4)

    kernel = model.weights[0]
    values = to_numpy(kernel).copy()
    values[0, 0, 0, 0] = np.nextafter(values[0, 0, 0, 0], 9)  # the last bit of one weight
    kernel.assign(values)
    frozen(images)
    assert frozen.function is not made
    check()
    bias = model.weights[-1]
    bias.assign([1.0, 2.0, 3.0, 4.0])
    check()
    bias.assign([1.0, 3.0, 2.0, 4.0])  # the same values in another order
    check()
    model.set_weights(small_network().get_weights())
    check()


def test_every_weight_is_in_the_fingerprint():
    model = small_network()
    frozen, seen = freeze(model), set()
    seen.add(frozen.fingerprint(model))
    for weight in model.weights:
        weight.assign(to_numpy(weight) + 0.25)
        seen.add(frozen.fingerprint(model))
    assert len(seen) == 1 + len(model.weights)


def test_after_fit():
    model, images = small_network(), pictures(2, 17, 17)
    model.compile(optimizer="sgd", loss="mse")
    before = to_numpy(freeze(model)(images))
    model.fit(images, np.ones((2, 9, 9, 4), "float32"), verbose=0)
    after = to_numpy(freeze(model)(images))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, model(images, training=False), rtol=1e-4, atol=1e-4)


def test_integers_as_pictures():
    model, images = small_network(), pictures(1, 33, 33)
    np.testing.assert_array_equal(freeze(model)(images.astype("uint8")), freeze(model)(np.floor(images)))


def test_goes_with_its_model():
    model = small_network()
    frozen, gone = freeze(model), weakref.ref(model)
    frozen(pictures(1, 17, 17))
    del model
    gc.collect()
    assert gone() is None
    with pytest.raises(ValueError, match="no longer exists"):
        frozen(pictures(1, 17, 17))


def test_only_one_output():
    images = keras.Input((None, None, 3))
    model = keras.Model(images, [images + 1, images + 2], name="twins")
    with pytest.raises(ValueError, match="'twins' returns 2 tensors"):
        freeze(model)(pictures(1, 9, 9))
