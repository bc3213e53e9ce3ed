"""FCN-8s and CRF-RNN as networks of kzoo: sizes, files, fresh heads. What they compute: tests/parity/test_crfrnn.py."""

import keras
import numpy as np
import pytest

from kzoo.backbones import vgg16_fcn8s
from kzoo.models import FCN, FCN8s
from kzoo.models.fcn8s import BilinearUpsampling

SMALL = {"backbone_args": {"width": 1 / 64, "dropout": 0.0}}


def test_fresh_upsampling_is_bilinear_within_each_class():
    layer = keras.layers.Conv2DTranspose(2, 4, strides=2, use_bias=False, kernel_initializer=BilinearUpsampling())
    ramp = np.stack(np.meshgrid(np.arange(6.0), 10 * np.arange(5.0)), axis=-1)[None]
    enlarged = np.asarray(layer(ramp))
    # Source (i - 1.5) / 2 at target i, inside the border.
    rows, columns = np.arange(3, 9), np.arange(3, 11)
    np.testing.assert_allclose(enlarged[0, 5, columns, 0], (columns - 1.5) / 2)
    np.testing.assert_allclose(enlarged[0, rows, 5, 1], 10 * (rows - 1.5) / 2)


def test_keras_file_training_and_refinement(tmp_path):
    keras.utils.set_random_seed(0)
    model = FCN8s(3, **SMALL, refine="rnn")
    model.refinement.iterations = model.refinement.training_iterations = 1
    images = np.random.default_rng(0).uniform(0, 255, (2, 17, 24, 3)).astype("float32")
    masks = (images[..., 0] > 128).astype("uint8")
    plain = model(images, refine=False)
    assert plain.shape == (2, 17, 24, 3)
    model.compile(keras.optimizers.Adam(1e-4))
    history = model.fit(images, masks, epochs=3, batch_size=2, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and set(history) == {"loss", "ce_loss"}
    assert np.abs(np.asarray(model.refinement.compatibility) + np.eye(3)).max() > 1e-5
    refined = np.asarray(model(images))
    assert np.abs(refined - model(images, refine=False)).max() > 1e-3
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    again.refinement.iterations = 1
    np.testing.assert_allclose(again(images), refined, rtol=1e-4, atol=1e-4)


def test_layers_are_found_by_their_names():
    model = FCN8s(3, **SMALL)
    assert len({layer.name for layer in model.layers}) == len(model.layers)
    assert model.get_layer("to_input_size").offset == 31


def test_features_that_do_not_fit_are_named():
    with pytest.raises(
        ValueError, match=r"FCN8s builds on the features pool3, pool4, fc7; .*'mobilenet_v2' has c1, c2"
    ):
        FCN8s(3, backbone="mobilenet_v2", backbone_args={"width": 0.35})
    with pytest.raises(ValueError, match=r"FCN builds on the features c4; .*'vgg16_fcn8s' has pool3, pool4, fc7"):
        FCN(3, backbone="vgg16_fcn8s", output_stride=32, backbone_args={"width": 1 / 64})
    with pytest.raises(ValueError, match=r"output_stride must be 32\. Received: 8"):
        vgg16_fcn8s(output_stride=8)
    with pytest.raises(ValueError, match="width must be positive"):
        vgg16_fcn8s(width=0)
