"""The generative methods in a world with a known answer."""

import keras
import numpy as np
import pytest

from kzoo.metrics import confusion_matrix
from kzoo.models.zero_shot import CaGNet, ZS3Net, add_class
from tests.models.zero_shot.toy_world import CLASSES, EMBEDDING, FEATURES, UNSEEN, World, in_world

EPOCHS = 50  # of 16 steps: whole turns of CaGNet's two phases
LATER = 5  # ignored in training, added afterwards
SEEN = tuple(label for label in range(CLASSES) if label not in (*UNSEEN, LATER))
BASE = {
    "unseen": UNSEEN,
    "ignored": (LATER,),
    "embedding_size": EMBEDDING,
    "head_args": {"filters": FEATURES, "low_level": None, "separable": True},
    "freeze_features": True,
    "align_corners": False,
    "output_stride": 8,
}
METHODS = {
    ZS3Net: {"noise_size": 8, "noise": "normal", "hidden": [64], "dropout": [0.0], "samples": 64},
    CaGNet: {
        "head": "deeplab_v3plus",
        "context_filters": 16,
        "hidden": [64],
        "dropout": [0.0],
        "classifier_filters": 64,
        "classifier_dropout": 0.0,
        "kl_weight": 1.0,
        "content_weight": 1.0,
        "adversarial_weight": 0.1,
    },
}


def scores(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """hIoU, and the IoU of the unseen classes."""
    matrix = confusion_matrix(truth, predicted, CLASSES)
    iou = np.diag(matrix) / np.maximum(1, matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
    seen, unseen = iou[list(SEEN)].mean(), iou[list(UNSEEN)].mean()
    return 2 * seen * unseen / (seen + unseen), unseen


def oracle(world: World, pictures: np.ndarray, masks: np.ndarray) -> float:
    """hIoU of a classifier that was trained on real features of all classes."""
    real, labels = world.pictures(256, SEEN + UNSEEN)
    classifier = keras.Sequential([keras.layers.Dense(CLASSES)])
    classifier.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    features = np.asarray(world.features(real)).reshape(-1, FEATURES)
    classifier.fit(features, labels.ravel(), batch_size=1024, epochs=15, verbose=0)
    logits = classifier(np.asarray(world.features(pictures)).reshape(-1, FEATURES))
    return scores(masks, np.argmax(logits, axis=-1).reshape(masks.shape))[0]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_unseen_classes_are_found_almost_as_by_the_oracle(method, tiny_backbone):
    world = World()
    pictures, masks = world.pictures(256, SEEN)
    test_pictures, test_masks = world.pictures(48, SEEN + UNSEEN)
    keras.utils.set_random_seed(1)
    model = in_world(method, world)(CLASSES, backbone=tiny_backbone, **BASE, **METHODS[method])
    model.set_embeddings(world.embeddings)
    adam = keras.optimizers.Adam
    model.compile(adam(5e-3), generator_optimizer=adam(3e-3), discriminator_optimizer=adam(3e-3))
    model.fit(pictures, masks, batch_size=16, epochs=EPOCHS, verbose=0)
    found, unseen = scores(test_masks, np.argmax(model(test_pictures), axis=-1))
    best = oracle(world, test_pictures, test_masks)
    assert best > 0.9
    assert found >= 0.8 * best
    assert unseen > 0.7  # of 24 classes

    vector = world.embeddings[LATER]
    model.embeddings.assign(np.where(np.arange(CLASSES)[:, None] == LATER, 0, world.embeddings))  # not known so far
    grown = add_class(model, f"class {LATER}", vector)
    assert grown.unseen == tuple(sorted((*UNSEEN, LATER)))
    assert grown.ignored == ()
    later_pictures, later_masks = world.pictures(48, (*SEEN, *UNSEEN, LATER))
    added = confusion_matrix(later_masks, np.argmax(grown(later_pictures), axis=-1), CLASSES)
    assert added[LATER, LATER] / (added[LATER].sum() + added[:, LATER].sum() - added[LATER, LATER]) > 0.5
