"""Every network of the zoo."""

from __future__ import annotations

import argparse
import csv
import datetime
import functools
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import kzoo
from kzoo.backbones.backbone import Preprocessing
from kzoo.cli.eval import add_arguments, protocol_of
from kzoo.convert import SOURCES
from kzoo.data import DATASET_LABELS, open_dataset
from kzoo.inference.protocols import SIX_SCALES, MMSegmentation, PyTorchEncoding
from kzoo.models import create_model
from kzoo.zoo.registry import CARDS

REPOSITORY = Path(__file__).parents[2]
PROTOCOLS = {"pytorch-encoding": PyTorchEncoding, "mmseg": MMSegmentation}
SHIPPED = [name for name in kzoo.list_models() if kzoo.get_card(name).weights]
PUBLISHED = [name for name in kzoo.list_models() if kzoo.get_card(name).source]
ENCNETS = [name for name in PUBLISHED if name.startswith("encnet")]
DEEPLABS = [name for name in PUBLISHED if name.startswith("deeplab")]


@functools.cache
def fresh(architecture: str, classes: int, args: str) -> tuple[int, Preprocessing]:
    model = create_model(architecture, classes, json.loads(args))
    return model.count_params(), model.backbone.preprocessing


@pytest.mark.parametrize("name", kzoo.list_models())
def test_the_architecture_has_the_cards_parameters_and_normalization(name: str) -> None:
    card = kzoo.get_card(name)
    # Many cards share a network but for what makes no weights; large ones take seconds to build.
    args = {key: value for key, value in card.architecture.args.items() if key not in ("align_corners", "aux_weight")}
    args |= {"unseen": [1]} if "unseen" in args else {}
    parameters, preprocessing = fresh(card.architecture.name, card.num_classes, json.dumps(args))
    assert parameters == card.parameters
    stated = Preprocessing.from_mean_std(card.normalization.mean, card.normalization.std)
    np.testing.assert_allclose((preprocessing.scale, preprocessing.offset), (stated.scale, stated.offset), rtol=1e-6)


@pytest.mark.parametrize("name", ENCNETS)
def test_published_cards_are_consistent(name: str) -> None:
    card = kzoo.get_card(name)
    args, file = card.architecture.args, card.source.file
    assert card.source.converter in SOURCES
    assert card.source.checked == "never" or datetime.date.fromisoformat(card.source.checked)
    depth = args["backbone"].removeprefix("resnet")
    assert f"_r{depth}" in name and (f"resnet{depth}s_" in file.filename or f"_r{depth}-d8_" in file.filename)
    # The first digits of the checksum are in the file's name, as both publishers have it.
    assert file.checksum.split(":")[1][:8] in file.filename
    assert all(file.filename.removesuffix(".pth") in url for url in file.urls)
    # float32 weights, and in the old files perhaps ImageNet's classifier.
    assert 4 * card.parameters < file.bytes < 4 * card.parameters + 20e6
    assert card.published and all(published.model in file.filename for published in card.published)
    protocol = PROTOCOLS[card.evaluation.protocol](**card.evaluation.args)
    assert getattr(protocol, "align_corners", True) == args["align_corners"]
    assert card.class_names == DATASET_LABELS[card.dataset].class_names
    sizes = (protocol.crop_size,) * 2 if isinstance(protocol, PyTorchEncoding) else (protocol.window,) * 2
    assert card.input_size == sizes or protocol.window is None


@pytest.mark.parametrize("name", DEEPLABS)
def test_deeplab_cards_are_consistent(name: str) -> None:
    card = kzoo.get_card(name)
    file = card.source.file
    assert card.source.converter == "deeplab_caffe" and card.source.checked == "never"
    # Both files are published under one name, in folders of their own; nobody published a checksum.
    assert file.filename.endswith("_train2_iter_8000.caffemodel") and file.checksum is None
    assert file.filename.split("_")[1] in file.urls[0].lower() and file.urls[0].endswith("/train2_iter_8000.caffemodel")
    assert abs(file.bytes - 4 * card.parameters) < 1e6
    assert card.class_names == DATASET_LABELS["voc2012"].class_names and card.input_size == (321, 321)
    # Nothing that kzoo could check: the file has seen val, and test has no public labels.
    assert [(published.split, published.command) for published in card.published] == [
        ("test", ""),
        ("val", ""),
        ("val", ""),
    ]


@pytest.mark.parametrize("name", ENCNETS)
def test_the_commands_that_check_published_numbers_are_understood(name: str) -> None:
    """As far as the evaluation itself: the dataset's splits, the protocol, its scales."""
    card = kzoo.get_card(name)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for published in card.published:
        args = parser.parse_args(shlex.split(published.command.removeprefix("kzoo eval ")))
        assert (args.model, args.split) == (name, published.split)
        assert args.split == ("validation" if card.dataset == "ade20k" else "val")
        protocol = protocol_of(args, SimpleNamespace(card=card))
        several = isinstance(protocol, PyTorchEncoding) or (protocol.scales == SIX_SCALES and protocol.flip)
        assert several == ("6 scales and flip" in published.protocol), published.protocol


def test_published_results_are_the_sources() -> None:
    """Some entries of the two model zoos' tables, written down once more."""
    published = {name: kzoo.get_card(name).published for name in PUBLISHED if not name.startswith("zs3")}
    headline = {name: [result.metrics["miou"] for result in results] for name, results in published.items()}
    assert headline["encnet_r101_pcontext"] == [0.541] and headline["encnet_r50_ade20k"] == [0.415]
    assert headline["encnet_r101c_cityscapes_512x1024_80k"] == [0.7855, 0.7947]
    assert headline["encnet_r50c_ade20k_512x512_160k"] == [0.401, 0.4171]
    assert headline["deeplab_largefov_vgg16_voc"] == [0.703, 0.6225, 0.6764]
    assert headline["deeplab_msc_vgg16_voc"] == [0.716, 0.6421, 0.687]
    assert len(PUBLISHED) == 31


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_that_not_everybody_may_use_have_to_be_asked_for(name: str) -> None:
    licence = kzoo.get_card(name).licence
    terms = {"MIT": None, "Apache-2.0": None, "non-commercial": "non-commercial", "None": "unlicensed"}
    assert licence.accept == terms[licence.weights.split()[0]]


def test_crfrnn_is_the_published_network_under_its_terms() -> None:
    card = kzoo.get_card("crfrnn_vgg16_voc")
    assert card.source.converter in SOURCES and card.source.file.filename in card.source.file.urls[0]
    assert 4 * card.parameters < card.source.file.bytes < 4 * card.parameters + 1e6
    assert card.class_names == DATASET_LABELS["voc2012"].class_names and card.ignore_label == 255
    assert card.licence.accept == "non-commercial" in card.licence.weights
    assert [published.metrics["miou"] for published in card.published] == [0.729, 0.683, 0.747]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_load_and_give_finite_logits(name: str) -> None:
    model, card = kzoo.load(name), kzoo.get_card(name)
    assert model.fresh_layers == ()
    noise = np.random.default_rng(0).uniform(0, 255, (1, 97, 129, 3)).astype("float32")
    logits = np.asarray(model(noise))
    assert logits.shape == (1, 97, 129, card.num_classes)
    assert np.isfinite(logits).all()
    assert card.weights.bytes < 12_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_know_their_classes(name: str, kzoo_data: Path) -> None:
    """On four pictures, where nine of ten pixels are right; far fewer with classes, colours or their range mixed up."""
    model = kzoo.load(name)
    dataset = open_dataset(model.card.dataset, kzoo_data / model.card.dataset, "val")
    assert model.class_names == dataset.labels.class_names
    right = []
    for index in range(0, len(dataset), len(dataset) // 4)[:4]:
        image, mask = dataset.read(index)
        predicted = np.argmax(model(image[None].astype("float32"))[0], axis=-1)
        right.append(np.mean((predicted == mask)[mask != 255]))
    assert np.mean(right) > 0.85


@pytest.mark.parametrize("name", SHIPPED)
def test_provenance_is_at_hand(name: str) -> None:
    card = kzoo.get_card(name)
    assert (REPOSITORY / card.trained.config).is_file()
    with (CARDS.parent / "logs" / card.trained.log).open() as file:
        assert len(list(csv.DictReader(file))) == card.trained.epochs
    assert card.results, "a shipped network has measured results"
    assert all(0 <= value <= 1 for result in card.results for value in (*result.metrics.values(), *result.iou.values()))


def test_no_file_without_a_card() -> None:
    cards = [kzoo.get_card(name) for name in SHIPPED]
    for folder, listed in (("weights", {c.weights.file for c in cards}), ("logs", {c.trained.log for c in cards})):
        assert {path.name for path in (CARDS.parent / folder).glob("*") if path.suffix in (".h5", ".csv")} == listed
