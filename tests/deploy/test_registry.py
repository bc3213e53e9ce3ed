"""Every kind of network that the zoo has goes through every format: frozen, exported, judged, compiled, counted.

Each distinct graph is taken once, at a small size. Networks without shipped weights learn a street scene first, so that
what is judged has learned something; networks that differ in depth alone are one graph.
"""

import re
import shutil

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

import kzoo
from kzoo.backbones import load_backbone_weights, unfold_batch_normalization
from kzoo.data import open_dataset
from kzoo.export import export_model
from kzoo.export.pictures import draw, scaled
from kzoo.export.tensorrt import compile_onnx, lint
from kzoo.inference import freeze
from kzoo.models.zero_shot import ZeroShotSegmenter
from kzoo.training.config import data_root

SIZE = (96, 128)
# About half the size that networks of street scenes were trained at. In a smaller picture all is boundary, and not like
# what they learned from: of encnet_mnv2_camvid int8 changes 4 % of the pixels at a quarter, 2 % here, 1 % at full size.
HALF = (192, 256)
LONG = pytest.mark.long

SMALL_CRF = {"refine": "conv", "refine_args": {"filter_size": 3, "iterations": 2, "stride": 2}}

# Zero-shot networks with 11 classes on a backbone that learns quickly: their graphs are those of the cards behind it.
ZERO_SHOT = {"unseen": (2, 9), "ignored": (), "embedding_size": 8}
MOBILE = ZERO_SHOT | {"backbone": "mobilenet_v2", "backbone_args": {}, "output_stride": 16, "align_corners": False}

# A hundred layers that start from random weights learn eight frames badly, and what rounding changes in a layer grows
# from block to block: of EncNet-R101, with 0.80 of the pixels right, int8 changed 4 %. Many frames make it 2 %.
DEEP = {"learning": (1e-3, 400), "taught_by": range(0, 360, 3)}

# Name, arguments in place of the card's, arguments of the export (and how the network learns, if not as the others).
GRAPHS = [
    ("encnet_mnv2_animals", {}, {}),
    ("deeplab_mnv2_animals", {}, {"refine": "none"}),
    ("deeplab_mnv2_animals", SMALL_CRF, {}),
    ("sanet_mnv2_camvid", {}, {"size": HALF}),
    ("cagnet_mnv2_animals", {}, {}),
    pytest.param(
        "cagnet_r101_voc", MOBILE | {"head_args": {"filters": 32}, "hidden": [32], "dropout": [0.0]}, {}, marks=LONG
    ),
    pytest.param("zs3_r101_voc_k2", MOBILE | {"head_args": {"filters": 32, "separable": True}}, {}, marks=LONG),
    pytest.param("spnet_r101_voc", MOBILE | {"head_args": {"filters": 8}}, {}, marks=LONG),
    pytest.param("zs3_r101_voc_k2", ZERO_SHOT, DEEP, marks=LONG),
    pytest.param("encnet_r50_pcontext", {}, {}, marks=LONG),
    pytest.param("encnet_mnv2_camvid", {}, {"size": HALF}, marks=LONG),
    pytest.param("deeplab_mnv2_animals", {}, {"refine": "conv", "refine_stride": 4}, marks=LONG),
    pytest.param("sanet_mnv2_camvid", {"backbone": "efficientnet_b0"}, {}, marks=LONG),
    pytest.param("sanet_mnv2_camvid", {"backbone": "efficientnet_b7"}, DEEP, marks=LONG),
    pytest.param("sanet_mnv2_camvid", {"backbone": "resnet50", "separable": False}, {}, marks=LONG),
    pytest.param("encnet_r101_pcontext", {}, DEEP, marks=LONG),
    pytest.param("encnet_r50c_ade20k_512x512_80k", {}, {}, marks=LONG),
    pytest.param("deeplab_largefov_vgg16_voc", {}, {"refine": "none"}, marks=LONG),
    pytest.param("deeplab_msc_vgg16_voc", {}, {}, marks=LONG),
    # With half the channels: at the full width this test takes more than 20 GB of memory. At 1e-3 it loses all of
    # conv5_3's units, and what is silent stays in float.
    pytest.param(
        "crfrnn_vgg16_voc",
        {"backbone_args": {"width": 0.5}},
        {"refine": "none", "learning": (1e-4, 300)},
        marks=LONG,
    ),
]
# Of an ONNX, outside of Encoding and CRF: from NHWC to TensorRT's NCHW at the picture, and back at the logits.
MOST_TRANSPOSES = 2
PRECISIONS = [(".onnx", "fp32"), (".onnx", "fp16"), (".onnx", "int8")]
PRECISIONS += [(".tflite", "fp32"), (".tflite", "fp16"), (".tflite", "int8")]
# Frames of CamVid's train split that calibrate and judge.
JUDGED = range(0, 64, 8)
# Adam's learning rate, and steps.
LEARNING = (1e-3, 150)
IMAGENET = "weights/mobilenetv2_1.0_224_imagenet_folded_f32.npz"


@pytest.mark.parametrize(("name", "arguments", "options"), GRAPHS)
def test_every_format_of_every_graph(name, arguments, options, photographs, frames, tmp_path):
    card = kzoo.get_card(name)
    shipped = card.weights is not None and "backbone" not in arguments
    options = {"size": SIZE} | options
    lesson = {key: options.pop(key) for key in ("learning", "taught_by") if key in options}
    network = kzoo.load(name, **arguments) if shipped else learned(name, arguments, **lesson)
    folder = photographs if shipped and card.dataset == "voc_animals" else frames
    picture = next(draw(folder, 1, 0).sized(SIZE)).astype("float32")[np.newaxis]
    logits = np.asarray(network(picture, training=False, refine=False))
    np.testing.assert_allclose(freeze(network).unrefined(picture), logits, atol=1e-5 * np.ptp(logits))
    for suffix, precision in PRECISIONS:
        path = tmp_path / f"{precision}{suffix}"
        done = export_model(network, path, precision=precision, calibration=folder, pictures=folder, **options)
        assert done.census.share(precision) >= 0.95
        if suffix == ".onnx":
            report = compile_onnx(path)
            assert report.accepted, report.errors
            assert not lint(onnx.load(path), "8.4" if precision == "fp16" else "8.2")
            outside = [node.name for node in onnx.load(path).graph.node if node.op_type == "Transpose"]
            outside = [name for name in outside if not re.search("encoding|context|refinement", name)]
            assert len(outside) <= MOST_TRANSPOSES, outside
        else:
            assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"} & set(done.census.operators)
            assert not [kind for kind in done.census.operators if kind.startswith(("Flex", "CUSTOM"))]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_class_maps_compile_too(precision, photographs, tmp_path):
    """With the largest logit's place in the graph."""
    path = tmp_path / "classes.onnx"
    options = {"argmax": True, "calibration": photographs, "pictures": photographs}
    kzoo.load("encnet_mnv2_animals").export(path, size=SIZE, precision=precision, **options)
    report = compile_onnx(path)
    assert report.accepted, report.errors
    assert not lint(onnx.load(path), "10.3")


def test_no_kind_of_network_is_left_out():
    def graph_of(name):
        architecture = kzoo.get_card(name).architecture
        args = {key: value for key, value in architecture.args.items() if key not in ("refine", "refine_args")}
        args["backbone"] = re.sub(r"^resnet\d+", "resnet", str(args.get("backbone")))
        return architecture.name, args["backbone"], str(args.get("backbone_args")), str(args.get("lateral"))

    covered = {graph_of(getattr(graph, "values", graph)[0]) for graph in GRAPHS}
    assert not [name for name in kzoo.list_models() if graph_of(name) not in covered]


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A folder of real street scenes."""
    folder = tmp_path_factory.mktemp("frames")
    for place, index in enumerate(JUDGED):
        sample = camvid().samples[index]
        shutil.copy(sample.image, folder / f"{place:02}{sample.image.suffix}")
    return folder


def camvid():
    return open_dataset("camvid", data_root() / "camvid", "train")


def learned(name, arguments, learning=LEARNING, taught_by=JUDGED):
    """The network of a card, with 11 classes, after a training on some frames with BatchNorm in training mode."""
    keras.utils.set_random_seed(1)
    network = kzoo.load(name, weights=None, num_classes=11, **arguments)
    if isinstance(network, ZeroShotSegmenter):
        vectors = np.random.default_rng(0).normal(size=network.embeddings.shape)
        network.set_embeddings(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    images, masks = lessons(JUDGED)
    if arguments.get("backbone") == "mobilenet_v2":
        load_backbone_weights(network.backbone, data_root() / IMAGENET)
        unfold_batch_normalization(network.backbone, [network.preprocessing(images)])
    rate, steps = learning
    network.compile(optimizer=keras.optimizers.Adam(rate))
    data = tf.data.Dataset.from_tensor_slices(lessons(taught_by))
    if taught_by is not JUDGED:  # many: in another order each time
        data = data.shuffle(len(taught_by), seed=0)
    network.fit(data.repeat().batch(4), steps_per_epoch=steps, epochs=1, verbose=0)
    settle(network, lessons(taught_by)[0])
    assert_learned(network, images, masks)
    return network


def lessons(indices):
    """Frames (N, H, W, 3) with their masks (N, H, W)."""
    pairs = [camvid().read(index) for index in indices]
    images = np.stack([scaled(image, SIZE) for image, _ in pairs]).astype("float32")
    return images, np.stack([tf.image.resize(mask[..., None], SIZE, "nearest")[..., 0] for _, mask in pairs])


def settle(network, images):
    """Gives BatchNorm the mean statistics of the pictures, eight at a time.

    The moving ones, at a momentum of up to 0.999, are after so short a training still those of the start, with which a
    network that has learned says the same of every picture. Nothing is dropped meanwhile, as nothing is afterwards: of
    B7, the statistics of eight pictures with some blocks left out made one picture's logits forty times the others'.
    """
    layers = list(network._flatten_layers())
    for layer in layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    for number, start in enumerate(range(0, len(images), 8)):
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = number / (number + 1)
        network(images[start : start + 8], training=True)


def assert_learned(network, images, masks):
    """Of the classes that were trained, the network tells the right one more often than a constant answer does."""
    trained = list(getattr(network, "seen", range(network.num_classes)))
    logits = np.concatenate([network(image[np.newaxis], training=False, refine=False) for image in images])
    classes = np.take(trained, np.argmax(logits[..., trained], -1))
    labelled = np.isin(masks, trained)
    constant = np.bincount(masks[labelled]).max() / labelled.sum()
    right = np.mean(classes[labelled] == masks[labelled])
    assert right > 2 * constant, f"{right:.3f} of the pixels are right; {constant:.3f} with one class for all"
