"""A network for the commands: it answers the class of the nearest colour."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kzoo.zoo


@pytest.fixture
def network(monkeypatch):
    """What `open_model` opens, whatever the name."""
    colors = np.array([[0, 0, 0], [200, 30, 30], [40, 220, 60]], np.float32) / 255
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(keras.layers.Rescaling(1 / 255)(images)))
    model.set_weights([20 * colors.T[None, None], -10 * np.sum(colors**2, axis=1)])
    model.num_classes, model.class_names, model.ignore_label = 3, ("background", "red", "green"), 255
    model.palette = ((0, 0, 0), (200, 30, 30), (40, 220, 60))
    monkeypatch.setattr(kzoo.zoo, "open_model", lambda name: model)
    return model
