"""What every network does: logits at the picture's size, all heads' losses in `fit`, files, clones, precision."""

import keras
import numpy as np
import pytest

from kzoo import backbones
from kzoo.backbones import Backbone, Preprocessing
from kzoo.losses import cross_entropy, semantic_encoding_loss
from kzoo.models import FCN, EncNet, segmenter

SMALL = {"backbone": "mobilenet_v2", "output_stride": 16, "backbone_args": {"width": 0.35}, "filters": 16}


def build(name="encnet", **kwargs):
    if name == "fcn":
        return FCN(3, **SMALL, **kwargs)
    return EncNet(3, **SMALL, num_codewords=4, **kwargs)


def with_statistics(model):
    """Moves BatchNorm away from mean 0 and variance 1, which hide faults."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "moving_mean" in weight.path:
            weight.assign(rng.normal(0, 0.3, weight.shape))
        elif "moving_variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return with_statistics(build(lateral=["c1", "c2"], lateral_filters=8, separable=True))


@pytest.fixture
def pictures():
    return np.random.default_rng(1).uniform(0, 255, (2, 45, 61, 3)).astype("float32")


@pytest.fixture
def masks():
    masks = np.random.default_rng(2).integers(0, 3, (2, 45, 61)).astype("uint8")
    masks[0, :30] = 255
    return masks


def test_logits_at_the_size_of_the_picture(model, pictures):
    logits = model(pictures)
    assert logits.shape == (2, 45, 61, 3)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert model(pictures[:, :33, :40]).shape == (2, 33, 40, 3)


def test_call_equals_predict_and_moves_no_weight(model, pictures):
    before = [np.asarray(weight).copy() for weight in model.weights]
    np.testing.assert_allclose(model(pictures), model.predict(pictures, verbose=0), rtol=1e-4, atol=1e-5)
    for weight, kept in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_all_heads_when_training(model, pictures):
    heads = model(pictures, training=True)
    assert {name: tuple(head.shape) for name, head in heads.items()} == {
        "logits": (2, 45, 61, 3),
        "aux": (2, 45, 61, 3),
        "se_logits": (2, 3),
    }


def test_loss_weighs_all_heads(pictures, masks):
    model = build(se_weight=0.3, aux_weight=0.4, class_weights=[1, 2, 3])
    model.compile(optimizer="sgd")
    heads = model(pictures, training=True)
    parts = [cross_entropy(masks, heads[name], class_weights=[1, 2, 3]) for name in ("logits", "aux")]
    want = parts[0] + 0.4 * parts[1] + 0.3 * semantic_encoding_loss(masks, heads["se_logits"])
    np.testing.assert_allclose(model.compute_loss(pictures, masks, heads), want, rtol=1e-6)


def test_every_loss_leaves_the_ignored_pixels_out(pictures, masks):
    """An ignore label of its own, one that is a class to the losses' default: the same as that of 255."""
    model = build(ignore_label=2, dropout=0.0)
    heads = model(pictures, training=True)
    model.compile(optimizer="sgd")
    got = model.compute_loss(pictures, np.where(masks == 255, 2, masks), heads)
    ignored = np.where(masks == 2, 255, masks)
    parts = [cross_entropy(ignored, heads[name]) for name in ("logits", "aux")]
    want = parts[0] + 0.2 * parts[1] + 0.2 * semantic_encoding_loss(ignored, heads["se_logits"])
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_layers_own_losses_are_added_and_shared_by_the_replicas(pictures, masks, monkeypatch):
    model = build()
    model.compile(optimizer="sgd")
    heads = model(pictures, training=True)
    plain = float(model.compute_loss(pictures, masks, heads))
    model.classifier.kernel.regularizer = keras.regularizers.L2(0.5)
    asked = 0.5 * float(np.square(model.classifier.kernel).sum())
    np.testing.assert_allclose(model.compute_loss(pictures, masks, heads), plain + asked, rtol=1e-5)
    monkeypatch.setattr(segmenter, "replica_count", lambda: 2)
    np.testing.assert_allclose(model.compute_loss(pictures, masks, heads), plain + asked / 2, rtol=1e-5)


@pytest.mark.parametrize("name", ["encnet", "fcn"])
def test_dropout_before_every_classifier_when_training(name, pictures):
    model = build(name, dropout=0.5)
    once, again = model(pictures, training=True), model(pictures, training=True)
    for head in ("logits", "aux"):
        assert np.abs(np.asarray(once[head]) - np.asarray(again[head])).max() > 1e-3, head
    np.testing.assert_array_equal(model(pictures), model(pictures))


def test_fit_reports_each_loss_and_learns(pictures, masks):
    masks[:] = np.where(masks == 255, 255, 1)
    model = build(dropout=0.0)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    history = model.fit(pictures, masks, batch_size=2, epochs=8, verbose=0).history
    assert set(history) == {"loss", "ce_loss", "aux_loss", "se_loss"}
    total = [history["ce_loss"][0], 0.2 * history["aux_loss"][0], 0.2 * history["se_loss"][0]]
    np.testing.assert_allclose(history["loss"][0], sum(total), rtol=1e-5)
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_a_compiled_loss_takes_the_place_of_all(pictures, masks):
    model = build()
    model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255))
    assert set(model.fit(pictures, masks, verbose=0).history) == {"loss"}


def test_metrics_see_the_logits(pictures, masks):
    from kzoo.metrics import MeanIoU

    model = build()
    model.compile(optimizer="sgd", metrics=[MeanIoU(3)])
    history = model.fit(pictures, masks, validation_data=(pictures, masks), verbose=0).history
    assert {name for name in history if name.startswith("val_")} == {"val_loss", "val_miou", "val_ce_loss"}
    assert "miou" in history


def test_predict_joins_the_batches_of_one_execution(pictures):
    model = build()
    model.compile(optimizer="sgd", steps_per_execution=2)
    logits = model.predict(pictures, batch_size=1, verbose=0)
    np.testing.assert_allclose(logits, model(pictures), rtol=1e-4, atol=1e-5)


def test_frozen_parts_of_the_backbone_stay_and_the_rest_trains(pictures, masks):
    model = build()
    model.freeze_backbone("c2", batchnorm=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    before = {weight.path: np.asarray(weight) for weight in model.weights}
    model.fit(pictures, masks, verbose=0)
    moved = {path for path, value in before.items() if not np.array_equal(value, _weight(model, path))}
    last = model.backbone.output["c2"]._keras_history.operation
    behind = {layer.name for layer in model.backbone.layers[model.backbone.layers.index(last) + 1 :]}
    for weight in model.backbone.weights:
        layer = weight.path.split("/")[-2]
        trained = layer in behind and not isinstance(model.backbone.get_layer(layer), keras.layers.BatchNormalization)
        assert (weight.path in moved) == trained, weight.path
    assert any("classifier" in path for path in moved)
    with pytest.raises(ValueError, match="Unknown feature 'c9'"):
        model.freeze_backbone("c9")


def _weight(model, path):
    return np.asarray(next(weight for weight in model.weights if weight.path == path))


@pytest.mark.parametrize("network", [EncNet, FCN])
def test_config_holds_every_argument(network):
    arguments = {
        **SMALL,
        **{"lateral": ["c1"], "lateral_filters": 8, "separable": True, "aux": False, "dropout": 0.3, "name": "mine"},
        **{"align_corners": False, "ignore_label": 7, "class_weights": [1.0, 2.0, 3.0]},
        **{"aux_weight": 0.4, "se_weight": 0.3},
    }
    if network is EncNet:
        arguments |= {"projection": False, "reduction": "sum", "gate": "product", "stage3_context": True}
        arguments |= {"num_codewords": 4}
    config = network(3, **arguments).get_config()
    for key, value in arguments.items():
        assert config[key] == value, key
    assert network.from_config(config).get_config() == config


def test_keras_file_and_clone(model, pictures, tmp_path):
    model.class_names, model.palette = ("a", "b", "c"), ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(pictures), model(pictures), rtol=1e-5, atol=1e-6)
    assert (again.class_names, again.palette) == (model.class_names, model.palette)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(clone(pictures), model(pictures), rtol=1e-5, atol=1e-6)


def test_bfloat16_gives_float32_logits_near_the_exact_ones(model, pictures):
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = build(lateral=["c1", "c2"], lateral_filters=8, separable=True)
    half.set_weights(model.get_weights())
    logits, exact = np.asarray(half(pictures)), np.asarray(model(pictures))
    assert logits.dtype == np.float32
    assert np.abs(logits - exact).max() < 0.05 * np.ptp(exact)


def test_half_precision_does_not_round_the_picture():
    """A fifth of a grey level, less than bfloat16 has at 100, still shows once it is scaled to -1..1."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build()
    logits = [np.asarray(model(np.full((1, 33, 33, 3), grey, "float32"))) for grey in (100.0, 100.2)]
    assert np.abs(logits[0] - logits[1]).max() > 0


def test_align_corners_changes_the_resize(model, pictures):
    other = build(lateral=["c1", "c2"], lateral_filters=8, separable=True, align_corners=False)
    other.set_weights(model.get_weights())
    assert np.abs(np.asarray(other(pictures)) - np.asarray(model(pictures))).max() > 1e-3


def test_head_variables_are_all_but_the_backbones(model):
    names = {variable.path.split("/")[1] for variable in model.head_variables}
    assert names == {"feature_head", "context", "classifier", "aux_head"}
    assert len(model.head_variables) + len(model.backbone.trainable_variables) == len(model.trainable_variables)


def test_fcn_has_no_context(pictures):
    heads = build("fcn")(pictures, training=True)
    assert set(heads) == {"logits", "aux"}
    assert set(build("fcn", aux=False)(pictures, training=True)) == {"logits"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"num_classes": 2.5}, r"num_classes=2\.5"),
        ({"num_classes": 3, "backbone": "mobilenetv2"}, "Did you mean 'mobilenet_v2'"),
        ({"num_classes": 3, "output_stride": 4}, "output_stride=4"),
        ({"num_classes": 3, "lateral": ["c7"]}, "lateral feature 'c7'"),
        ({"num_classes": 3, "class_weights": [1.0]}, "Received 1 weights"),
        ({"num_classes": 3, "backbone": "mobilenet_v2", "stem": "s"}, "Only ResNets have a choice of stem"),
        ({"num_classes": 3, "backbone_weights": "nowhere.npz", "backbone": "mobilenet_v2"}, "nowhere.npz"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        EncNet(**arguments)


def test_sample_weights_are_refused(pictures, masks):
    model = build()
    model.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="take no sample_weight"):
        model.fit(pictures, masks, sample_weight=np.ones((2, 45, 61)), verbose=0)


def test_a_backbone_that_takes_bgr_sees_the_picture_so(monkeypatch):
    class Bare(segmenter.Segmenter):
        required_features = ("c1",)

        def heads(self, features, training):
            return {"logits": features["c1"]}

    def bare(*, output_stride: int, weights: str | None) -> Backbone:
        inputs = keras.Input((None, None, 3), name="image")
        order = Preprocessing((1.0,) * 3, (-1.0, -2.0, -3.0), bgr=True)
        return Backbone(inputs, {"c1": inputs}, strides={"c1": 1}, preprocessing=order, name="bare")

    monkeypatch.setitem(backbones.BACKBONES, "bare", bare)
    model = Bare(3, backbone="bare", output_stride=8)
    np.testing.assert_allclose(np.ravel(model(np.array([[[[10.0, 20.0, 30.0]]]]))), [27, 18, 9])
