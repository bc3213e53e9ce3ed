"""The network of a recipe: frozen parts, class weights, BatchNorm with measured statistics."""

import numpy as np
import pytest

import kzoo
from kzoo.backbones import create, unfold_batch_normalization
from kzoo.backbones.weights import convolution_norm_pairs
from kzoo.data import Labels, open_dataset
from kzoo.training import load_config
from kzoo.training.network import build_model, median_frequency_weights


def test_median_frequency_weights(tmp_path, recipe):
    dataset = open_dataset("folder", load_config(recipe).data.root, "train")
    masks = [dataset.read(index)[1] for index in range(len(dataset))]
    shares = [np.mean([mask == label for mask in masks]) for label in (0, 1)]
    want = np.median(shares) / np.array(shares)
    np.testing.assert_allclose(median_frequency_weights(dataset), want, atol=1e-4)


def test_median_frequency_is_the_share_in_the_pictures_that_hold_the_class():
    class Masks:
        """Class 0 has 3 of 4 and 2 of 4 pixels, class 1 one of 4, class 2 two of 4; nothing is of class 3."""

        labels = Labels(("a", "b", "c", "d"), ((0, 0, 0),) * 4)
        masks = np.array([[[0, 0, 0, 1]], [[0, 0, 2, 2]], [[255] * 4]], np.uint8).repeat(2, axis=1)

        def __len__(self):
            return len(self.masks)

        def read(self, index):
            mask = self.masks[index].copy()
            return None, np.concatenate([mask, np.full((3, 4), 255, np.uint8)])  # ignored pixels count for nothing

    # Shares 5/8, 1/4 and 2/4, whose median is 1/2.
    assert median_frequency_weights(Masks()) == [0.8, 2.0, 1.0, 0.0]


def test_freezing_up_to_a_feature(recipe):
    config = load_config(recipe, ["train.freeze_until=c1"])
    model = build_model(config, open_dataset("folder", config.data.root, "train"))
    frozen = {layer.name for layer in model.backbone.layers if not layer.trainable}
    assert {"Conv1", "bn_Conv1", "block_1_depthwise", "block_2_project_BN", "block_2_add"} <= frozen
    assert not any(name.startswith("block_3_") for name in frozen)


def test_freezing_up_to_a_feature_of_another_name(recipe):
    network = "model: {name: fcn8s, args: {backbone_args: {width: 0.02}}}\n"
    recipe.write_text(network + recipe.read_text()[recipe.read_text().index("data:") :])
    config = load_config(recipe, ["train.freeze_until=pool4"])
    layers = build_model(config, open_dataset("folder", config.data.root, "train")).backbone.layers
    frozen = [layer.name for layer in layers if not layer.trainable]
    assert frozen == [layer.name for layer in layers[: len(frozen)]] and frozen[-1] == "pool4"


def test_freezing_batchnorm(recipe):
    config = load_config(recipe, ["train.freeze_batchnorm=true"])
    model = build_model(config, open_dataset("folder", config.data.root, "train"))
    assert {layer.name for layer in model.backbone.layers if not layer.trainable} == {
        layer.name for layer in model.backbone.layers if layer.name.endswith("BN") or layer.name == "bn_Conv1"
    }


def test_the_recipe_and_the_labels_reach_the_model(recipe):
    overrides = ["loss.class_weights=[1, 3]", "loss.se_weight=0.5", "loss.aux_weight=0.3", "train.sync_batchnorm=false"]
    config = load_config(recipe, overrides)
    model = build_model(config, open_dataset("folder", config.data.root, "train"))
    assert (model.class_weights, model.se_weight, model.aux_weight) == ([1.0, 3.0], 0.5, 0.3)
    assert (model.class_names, model.palette) == (("ground", "box"), ((0, 0, 0), (128, 0, 0)))
    assert not model.context.encoding_bn.synchronized and not model.backbone.get_layer("bn_Conv1").synchronized


def test_folded_batchnorm_gets_the_statistics_of_the_training_pictures(recipe, tmp_path):
    arrays = {}
    for layer, norm in convolution_norm_pairs(create("mobilenet_v2", width=0.35)):
        arrays |= {f"{layer.name}/kernel": layer.get_weights()[0], f"{layer.name}/bias": np.zeros(norm.gamma.shape)}
    np.savez(tmp_path / "folded.npz", **arrays)
    overrides = [f"model.backbone_weights={tmp_path / 'folded.npz'}"]
    dataset = open_dataset("folder", load_config(recipe).data.root, "train")
    model = build_model(load_config(recipe, overrides), dataset)
    layer, norm = convolution_norm_pairs(model.backbone)[0]
    images = np.stack([dataset.read(index)[0] for index in range(len(dataset))])
    values = np.reshape(layer(model.preprocessing(images)), (-1, norm.gamma.shape[0]))
    # The crops show the middle of the pictures more often than their borders.
    np.testing.assert_array_less(np.abs(norm.moving_mean - values.mean(0)), 0.3 * values.std(0))
    np.testing.assert_allclose(norm.moving_variance, values.var(0), rtol=0.5)
    # A frozen BatchNorm stays as the file has it.
    frozen = build_model(load_config(recipe, [*overrides, "train.freeze_batchnorm=true"]), dataset)
    np.testing.assert_array_equal(frozen.backbone.get_layer("bn_Conv1").moving_mean, np.zeros(norm.gamma.shape))


def test_unfolded_batchnorm_computes_the_same_at_inference_and_nearly_when_training(kzoo_data):
    weights = kzoo_data / "weights" / "mobilenetv2_1.0_224_imagenet_folded_f32.npz"
    dataset = open_dataset("camvid", kzoo_data / "camvid", "val")
    images = np.stack([dataset.read(index)[0][:160, :160] for index in range(0, 101, 13)]) / 127.5 - 1
    images = images.astype("float32")
    backbone = create("mobilenet_v2", weights=weights)
    folded = np.asarray(backbone(images)["c4"])
    unfold_batch_normalization(backbone, [images[:4], images[4:]])
    unfolded = np.asarray(backbone(images)["c4"])
    assert np.abs(unfolded - folded).max() < 1e-3 * np.abs(folded).max()
    # With the statistics of these very pictures, training mode is the same function too.
    live = np.asarray(backbone(images, training=True)["c4"])
    assert np.abs(live - folded).max() < 2e-2 * np.abs(folded).max()


def test_unfolding_needs_pictures():
    with pytest.raises(ValueError, match="received no pictures"):
        unfold_batch_normalization(create("mobilenet_v2", width=0.35), [])


def test_starting_from_a_model_of_the_zoo(recipe):
    text = recipe.read_text()
    model_line = text[text.index("model:") : text.index("data:")]
    recipe.write_text(text.replace(model_line, "model: {init: encnet_mnv2_camvid, args: {dropout: 0.25}}\n"))
    config = load_config(recipe)
    assert config.model.name == "encnet" and config.model.args["filters"] == 96  # the card's
    assert config.model.args["dropout"] == 0.25  # the recipe's
    model = build_model(config, open_dataset("folder", config.data.root, "train"))
    source = kzoo.load("encnet_mnv2_camvid")
    differing = set()
    for ours, theirs in zip(model.weights, source.weights, strict=True):
        if ours.shape == theirs.shape:
            np.testing.assert_array_equal(ours, theirs)
        else:
            differing.add(ours.path.split("/", 1)[1])
    assert differing == {
        f"{layer}/{kind}" for layer in ("classifier", "context/presence") for kind in ("kernel", "bias")
    }


def test_starting_from_a_file_and_from_another_architecture(recipe, tmp_path):
    config = load_config(recipe)
    dataset = open_dataset("folder", config.data.root, "train")
    first = build_model(config, dataset)
    path = tmp_path / "first.weights.h5"
    first.save_weights(path)
    second = build_model(load_config(recipe, [f"model.init={path}"]), dataset)
    for ours, theirs in zip(second.weights, first.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"'encnet_mnv2_camvid' has another architecture .* same backbone"):
        build_model(load_config(recipe, ["model.init=encnet_mnv2_camvid"]), dataset)
    with pytest.raises(ValueError, match=r"Did you mean 'encnet_mnv2_camvid'"):
        build_model(load_config(recipe, ["model.init=encnet_mnv2_camvit"]), dataset)
