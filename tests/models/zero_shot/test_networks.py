"""The zero-shot networks: which way pictures and labels go, and what each phase of training moves."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kzoo.models import create_model
from kzoo.models.zero_shot import CaGNet, SPNet, ZeroShotSegmenter, ZS3Net, add_class
from kzoo.training.strategy import make_strategy

CLASSES, UNSEEN, EMBEDDING, FILTERS = 5, (2, 4), 6, 8
HEAD = {"head": "deeplab_v3plus", "head_args": {"filters": FILTERS, "low_level": None}}
OWN = {
    SPNet: {"projection": True},
    ZS3Net: {"noise_size": 4, "hidden": [8], "samples": 16},
    CaGNet: {"context_filters": 4, "hidden": [8], "dropout": [0.0], "classifier_filters": 8},
}


def make(kind: type, backbone: str, **kwargs) -> ZeroShotSegmenter:
    args = {"unseen": UNSEEN, "embedding_size": EMBEDDING, "align_corners": False, "output_stride": 8, **HEAD}
    model = kind(CLASSES, backbone=backbone, **{**args, **OWN[kind], **kwargs})
    model.set_embeddings(np.random.default_rng(0).normal(size=(CLASSES, EMBEDDING)))
    return model


def data(count: int = 8, labels: tuple[int, ...] = (0, 1, 3, 255)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.uniform(0, 255, (count, 32, 48, 3)).astype("float32"), rng.choice(labels, (count, 32, 48))


def fit(model: ZeroShotSegmenter, steps: int, **kwargs) -> keras.callbacks.History:
    images, masks = data(2 * steps)
    model.compile(keras.optimizers.SGD(0.1), generator_optimizer="adam", discriminator_optimizer="adam", **kwargs)
    return model.fit(images, masks, batch_size=2, shuffle=False, verbose=0)


def values(layers: list) -> list[np.ndarray]:
    return [np.array(weight) for layer in layers for weight in layer.weights]


def moved(before: list[np.ndarray], layers: list) -> bool:
    return any(not np.array_equal(a, b) for a, b in zip(before, values(layers), strict=True))


@pytest.fixture(params=OWN, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def test_a_trained_network_is_an_ordinary_one(kind, tiny_backbone, tmp_path):
    model = make(kind, tiny_backbone)
    history = fit(model, 4).history
    assert set(history) == {"loss", *kind.HEAD_OF_LOSS}
    if kind is ZS3Net:
        assert history["loss"][0] == pytest.approx(sum(history[name][0] for name in kind.HEAD_OF_LOSS), rel=1e-4)
    images, masks = data(2)
    logits = model.predict(images, verbose=0)
    assert logits.shape == (2, 32, 48, CLASSES)
    assert set(model.evaluate(images, masks, verbose=0, return_dict=True)) == {"loss", "ce_loss"}
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(images, verbose=0), logits, atol=1e-5)
    assert (again.unseen, again.seen) == (UNSEEN, (0, 1, 3))
    np.testing.assert_array_equal(again.embeddings, model.embeddings)


def test_labels_of_unseen_and_ignored_classes_reach_no_loss(kind, tiny_backbone):
    """One step with real pixels of unseen classes is, bit by bit, the step with these pixels unlabelled."""
    images, masks = data(4, labels=(0, 1, 2, 3, 4, 255))
    results = []
    for labels in (masks, np.where(np.isin(masks, (1, *UNSEEN)), 255, masks)):
        keras.utils.set_random_seed(3)
        model = make(kind, tiny_backbone, ignored=(1,))
        model.compile(keras.optimizers.SGD(0.1), generator_optimizer="adam", discriminator_optimizer="adam")
        model.fit(images, labels, batch_size=4, verbose=0)
        results.append(values([model]))
    for with_labels, without in zip(*results, strict=True):
        np.testing.assert_array_equal(with_labels, without)


def test_only_seen_labels_are_left(tiny_backbone):
    model = make(ZS3Net, tiny_backbone, ignored=(1,), ignore_label=-1)
    labels = np.array([[[-1, 0, 1, 2, 3, 4, 5, 255]]])
    kept = model.seen_labels(labels, np.zeros((1, 1, 8, 3)))
    np.testing.assert_array_equal(kept, [[[-1, 0, -1, -1, 3, -1, -1, -1]]])


def test_an_ignored_class_is_never_predicted(kind, tiny_backbone):
    model = make(kind, tiny_backbone)
    images, _ = data(2)
    predicted = np.argmax(model.predict(images, verbose=0), axis=-1)
    label = int(np.bincount(predicted.ravel()).argmax())
    other = make(kind, tiny_backbone, ignored=(label,), unseen=tuple({0, 1} - {label})[:1])
    other.set_weights(model.get_weights())
    assert label not in np.argmax(other.predict(images, verbose=0), axis=-1)


def test_frozen_features_stay_bit_equal(kind, tiny_backbone):
    model = make(kind, tiny_backbone, freeze_features=True)
    images, _ = data(2)
    features = model.head({"image": images, **model.backbone(model.preprocessing(images))}, training=False)
    np.testing.assert_array_equal(model.pixel_features(images), features)  # no dropout
    if kind is SPNet:
        once, again = (np.array(model(images, training=True)["logits"]) for _ in range(2))
        np.testing.assert_array_equal(once, again)
    parts = [model.backbone, model.head]
    before = values(parts)
    fit(model, 4)
    assert not moved(before, parts)
    model = make(kind, tiny_backbone)
    parts = [model.backbone, model.head]
    before = values(parts)
    fit(model, 4)
    assert moved(before, parts)


@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_are_taken_where_the_logits_come_from(tiny_backbone, align_corners):
    """Features that are the labels, resized to the picture, are the labels at these places."""
    model = make(ZS3Net, tiny_backbone, align_corners=align_corners)
    labels = np.random.default_rng(2).integers(0, 3, (2, 33, 41))
    taken = np.array(model.labels_at(labels, np.zeros((2, 5, 6, 1), "float32")))
    for row in range(5):
        for column in range(6):
            if align_corners:  # corners on corners; the nearest, halves upwards
                place = [int(np.floor(i * (n - 1) / (m - 1) + 0.5)) for i, n, m in ((row, 33, 5), (column, 41, 6))]
            else:  # the pixel under the middle
                place = [int((i + 0.5) * n / m) for i, n, m in ((row, 33, 5), (column, 41, 6))]
            np.testing.assert_array_equal(taken[:, row, column], labels[:, place[0], place[1]])


def test_spnet_is_a_product_with_the_embeddings(tiny_backbone):
    model = make(SPNet, tiny_backbone, calibration=2.5)
    features = np.random.default_rng(3).normal(size=(1, 4, 4, FILTERS)).astype("float32")
    kernel, bias = (np.array(weight) for weight in model.projection.weights)
    expected = (features @ kernel[0, 0] + bias) @ np.array(model.embeddings).T
    calibrated = expected - 2.5 * np.isin(np.arange(CLASSES), (0, 1, 3))
    np.testing.assert_allclose(model.classify(features), calibrated, atol=1e-4)
    training = np.array(model.classify(features, training=True))
    np.testing.assert_allclose(training[..., [0, 1, 3]], expected[..., [0, 1, 3]], atol=1e-4)
    assert training[..., list(UNSEEN)].max() < -9000


def test_zs3net_moves_the_generator_and_the_classifier_apart(tiny_backbone):
    """The classifier's step does not depend on the generator's learning rate, nor the other way round."""
    results = {}
    for rates in ((0.1, 1e-3), (0.0, 1e-3), (0.1, 0.0)):
        keras.utils.set_random_seed(4)
        model = make(ZS3Net, tiny_backbone, freeze_features=True)
        model.compile(keras.optimizers.SGD(rates[0]), generator_optimizer=keras.optimizers.Adam(rates[1]))
        images, masks = data(2)
        model.fit(images, masks, batch_size=2, verbose=0)
        results[rates] = values([model.classifier]), values([model.generator])
    both, still_classifier, still_generator = results.values()
    np.testing.assert_array_equal(both[1][0], still_classifier[1][0])
    np.testing.assert_array_equal(both[0][0], still_generator[0][0])
    assert not np.array_equal(both[0][0], still_classifier[0][0])
    assert not np.array_equal(both[1][0], still_generator[1][0])


def test_cagnet_goes_in_turns_and_finetuning_leaves_the_network_alone(tiny_backbone):
    model = make(CaGNet, tiny_backbone, phase_steps=2)
    kept, judged = [model.backbone, model.head, model.contextual_module], [model.classifier, model.discriminator]
    images, masks = data(2)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), generator_optimizer="adam", discriminator_optimizer="adam")
    turns = []
    for _ in range(6):
        before = [values(part) for part in (kept, judged, [model.generator])]
        model.fit(images, masks, batch_size=2, verbose=0)
        turns.append([moved(old, part) for old, part in zip(before, (kept, judged, [model.generator]), strict=True)])
    assert turns == [[True] * 3] * 2 + [[False, True, True]] * 2 + [[True] * 3] * 2


@pytest.mark.parametrize(
    ("weight", "in_phases"),
    [("content_weight", [True, False]), ("adversarial_weight", [True, True]), ("fake_weight", [False, True])],
)
def test_each_loss_alone_moves_cagnets_generator_in_its_phases(tiny_backbone, weight, in_phases):
    weights = {"content_weight": 0.0, "adversarial_weight": 0.0, "fake_weight": 0.0, weight: 1.0}
    model = make(CaGNet, tiny_backbone, phase_steps=1, **weights)
    model.compile("sgd", generator_optimizer="sgd", discriminator_optimizer="sgd")
    found = []
    for _ in range(2):
        before = values([model.generator])
        model.fit(*data(2), batch_size=2, verbose=0)
        found.append(moved(before, [model.generator]))
    assert found == in_phases


@pytest.mark.parametrize(
    ("steps", "phases"), [(7, "train train train train finetune finetune"), (3, "train train finetune")]
)
def test_what_is_over_of_the_turns_comes_first(tiny_backbone, steps, phases):
    """With 7 steps and turns of 2 the last turn is a whole one; too few steps for that change nothing."""
    model = make(CaGNet, tiny_backbone, phase_steps=2)
    model.compile("sgd")
    assert model.expect_steps(steps) == steps - phases.count("finetune")
    images, masks = data(2)
    taken = []
    for _ in range(steps):
        model.fit(images, masks, batch_size=2, verbose=0)
        taken.append(model.phase)
    phases = phases.split()
    assert taken == ["train"] * (steps - len(phases)) + phases


def test_cagnet_stacks_words_of_unseen_classes_by_their_share(tiny_backbone):
    model = make(CaGNet, tiny_backbone, unseen_share=0.25)
    classes = np.array(model._stacked_classes(np.zeros((16, 250, 250), "int32")))
    assert classes.shape == (16, 32, 32)  # as the features of stride 8
    counts = np.bincount(classes.ravel(), minlength=CLASSES) / classes.size
    np.testing.assert_allclose(counts, [0.25, 0.25, 0.125, 0.25, 0.125], atol=0.02)


@pytest.mark.parametrize("settings", [{"form": "code", "content": "mmd", "adversarial": "l1"}, {"contextual": False}])
def test_cagnet_trains_in_its_other_forms(tiny_backbone, settings):
    history = fit(make(CaGNet, tiny_backbone, phase_steps=1, **settings), 4).history
    assert all(np.isfinite(value) for value in (losses[-1] for losses in history.values()))
    assert history["content_loss"][-1] > 0


def test_an_unseen_class_takes_the_place_of_a_seen_one_in_its_graph(tiny_backbone):
    model = make(ZS3Net, tiny_backbone, graph=True)
    labels = np.zeros((1, 4, 4), "int32")
    labels[:, 2:] = 3  # 0 and 3 touch; 1 is not there, 2 and 4 are unseen
    graphs = model._graphs(labels)
    assert graphs.shape == (16, CLASSES, CLASSES)
    kept = np.array(graphs[0])
    np.testing.assert_array_equal(kept[0], [0.5, 0, 0, 0.5, 0])
    changed = np.array(model._in_place_of_seen(graphs, 2))
    partners = [int(np.flatnonzero(graph[2] * (np.arange(CLASSES) != 2))[0]) for graph in changed]
    assert set(partners) == {0, 3}  # sometimes it stands where 3 stood and touches 0, sometimes the other way round
    for graph, partner in zip(changed, partners, strict=True):
        np.testing.assert_array_equal(graph.sum(axis=1), 1)
        assert graph[partner, 2] == graph[2, partner] == graph[2, 2] == 0.5
    alone = np.array(model._in_place_of_seen(ops.eye(CLASSES)[None], 2))
    np.testing.assert_array_equal(alone[0], np.eye(CLASSES))
    history = fit(model, 2).history
    assert all(np.isfinite(losses[-1]) for losses in history.values())


def test_self_training_takes_the_surest_pixels_of_unseen_classes(tiny_backbone):
    model = make(ZS3Net, tiny_backbone, self_training=0.5)
    logits = np.zeros((1, 1, 7, CLASSES), "float32")
    for place, (label, value) in enumerate([(2, 3), (4, 5), (2, 4), (4, 2), (0, 9), (2, 9), (2, 9)]):
        logits[0, 0, place, label] = value
    labels = np.array([[[255, 255, 255, 255, 255, 1, 0]]], "int32")  # the first five are free; of 4 unseen ones, two
    np.testing.assert_array_equal(model.with_own_labels(labels, logits), [[[255, 4, 2, 255, 255, 1, 0]]])
    model = make(ZS3Net, tiny_backbone)
    np.testing.assert_array_equal(model.with_own_labels(labels, logits), labels)
    history = fit(make(CaGNet, tiny_backbone, self_training=0.3), 2).history
    assert all(np.isfinite(losses[-1]) for losses in history.values())


def test_bfloat16_trains(kind, tiny_backbone):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = make(kind, tiny_backbone)
    history = fit(model, 2).history
    assert all(np.isfinite(losses[-1]) for losses in history.values())
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


def test_an_added_class_leaves_the_other_logits_alone(kind, tiny_backbone):
    model = make(kind, tiny_backbone)
    model.class_names = ("a", "b", "c", "d", "e")
    vector = np.ones(EMBEDDING)
    grown = add_class(model, "f", vector)
    assert grown.class_names == (*model.class_names, "f")
    assert (grown.num_classes, grown.unseen) == (CLASSES + 1, (*UNSEEN, CLASSES))
    np.testing.assert_array_equal(ops.convert_to_numpy(grown.embeddings)[CLASSES], vector)
    images, _ = data(2)
    old, new = model.predict(images, verbose=0), grown.predict(images, verbose=0)
    np.testing.assert_allclose(new[..., :CLASSES], old, atol=1e-5)
    with pytest.raises(ValueError, match="knows 'f' already"):
        add_class(grown, "f", vector)
    with pytest.raises(ValueError, match="6 finite numbers"):
        add_class(model, "f", np.ones(EMBEDDING + 1))
    model.set_embeddings(np.zeros((CLASSES, EMBEDDING)))
    with pytest.raises(ValueError, match="no class embeddings, as published files of ZS3Net"):
        add_class(model, "f", vector)


def test_an_added_class_has_the_weight_of_unseen_ones(tiny_backbone):
    def logits_of_the_new(share):
        keras.utils.set_random_seed(1)
        model = make(CaGNet, tiny_backbone, unseen_share=share)
        model.class_names = ("a", "b", "c", "d", "e")
        return add_class(model, "f", np.ones(EMBEDDING)).predict(data(2)[0], verbose=0)[..., CLASSES]

    assert np.mean(logits_of_the_new(0.9)) > np.mean(logits_of_the_new(0.1)) + 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"unseen": ()}, "needs seen and unseen classes"),
        ({"unseen": tuple(range(CLASSES))}, "needs seen and unseen classes"),
        ({"unseen": (7,)}, r"different labels in 0..4"),
        ({"unseen": (2, 2)}, "different labels"),
        ({"ignored": (2,)}, r"unseen or ignored, not both"),
        ({"head": "deeplab_v3"}, "deeplab_v3plus"),
        ({"embedding_size": 0}, "length of the class embeddings"),
        ({"self_training": 0.5}, "no self-training"),
        ({"self_training": 2}, "a share, 0 to 1"),
    ],
)
def test_wrong_arguments_are_named(tiny_backbone, wrong, message):
    with pytest.raises(ValueError, match=message):
        make(SPNet, tiny_backbone, **wrong)


def test_wrong_noise_is_named(tiny_backbone):
    with pytest.raises(ValueError, match="uniform or normal"):
        make(ZS3Net, tiny_backbone, noise="gaussian")


def test_wrong_embeddings_are_named(tiny_backbone):
    model = make(SPNet, tiny_backbone)
    for vectors in (np.ones((CLASSES, 3)), np.full((CLASSES, EMBEDDING), np.nan)):
        with pytest.raises(ValueError, match=r"Expected finite embeddings \(5, 6\)"):
            model.set_embeddings(vectors)
    with pytest.raises(ValueError, match="features of 8, the embeddings have 6"):
        make(SPNet, tiny_backbone, projection=False)


def test_recipes_reach_them_by_name(tiny_backbone):
    args = {"unseen": [1], "embedding_size": 4, "backbone": tiny_backbone, "output_stride": 8, **HEAD}
    assert isinstance(create_model("zs3net", 3, args), ZS3Net)


def on_devices(devices: int, kind: type, backbone: str, **kwargs) -> list[np.ndarray]:
    """Weights after 4 steps of 4 pictures; the two halves of each batch have different shares of labelled pixels."""
    keras.utils.set_random_seed(5)
    images, masks = data(16)
    masks[::4, :24] = masks[1::4, :24] = 255
    with make_strategy(devices).scope():
        model = make(kind, backbone, **kwargs)
        model.compile(keras.optimizers.SGD(0.05), generator_optimizer="adam", discriminator_optimizer="adam")
    stream = tf.data.Dataset.from_tensor_slices((images, masks)).batch(4, drop_remainder=True)
    losses = model.fit(stream, shuffle=False, verbose=0).history
    assert all(np.isfinite(values[-1]) for values in losses.values())
    return [np.array(ops.convert_to_numpy(weight)) for weight in model.segmentation_variables]


@pytest.mark.parametrize(("kind", "settings"), [(SPNet, {}), (ZS3Net, {"unseen_weight": 0.0})])
def test_two_devices_train_as_one(tiny_backbone, kind, settings):
    """Without what is drawn at random, which each device draws for itself."""
    settings |= {"freeze_features": True}
    one, two = (on_devices(devices, kind, tiny_backbone, **settings) for devices in (1, 2))
    for weight, other in zip(one, two, strict=True):
        np.testing.assert_allclose(other, weight, rtol=1e-4, atol=1e-6)


def test_cagnet_goes_through_its_phases_on_two_devices(tiny_backbone):
    weights = on_devices(2, CaGNet, tiny_backbone, phase_steps=2)
    assert all(np.isfinite(weight).all() for weight in weights)
