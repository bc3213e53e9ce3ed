"""The recipes of the papers' zero-shot networks: splits, word vectors, and turns that end where they should."""

from __future__ import annotations

from pathlib import Path

import pytest

import kzoo
from kzoo.data import DATASET_LABELS
from kzoo.data.augment import AugmentConfig
from kzoo.training import load_config
from kzoo.training.config import TrainConfig

RECIPES = Path(__file__).parents[2] / "zoo_configs"
NAMES = sorted(
    str(path.relative_to(RECIPES)) for path in RECIPES.glob("*/zero_shot/*.yaml") if "animals" not in str(path)
)
TRAIN_PICTURES = {"voc2012_aug": 10_582, "pcontext33": 4_998, "cocostuff": 118_287}
CARDS = {
    "voc/zero_shot/zs3net.yaml": "zs3_r101_voc_k2",
    "pcontext/zero_shot/zs3net.yaml": "zs3_r101_pcontext_k2",
    "voc/zero_shot/spnet.yaml": "spnet_r101_voc",
    **{f"{name}/zero_shot/cagnet_finetune.yaml": f"cagnet_r101_{name}" for name in ("voc", "pcontext", "cocostuff")},
}


def labels(config: TrainConfig) -> tuple[str, ...]:
    return DATASET_LABELS[config.data.dataset.removesuffix("_aug")].class_names


@pytest.mark.parametrize("name", NAMES)
def test_the_split_is_of_the_datasets_classes_and_each_class_has_a_vector(name: str, kzoo_data: Path, monkeypatch):
    monkeypatch.setenv("KZOO_DATA", str(kzoo_data))
    config = load_config(RECIPES / name)
    section, names = config.zero_shot, labels(config)
    section.split(names)
    assert (config.model.init is None) != (config.model.backbone_weights is None)
    if config.model.name == "deeplab_v3plus":
        assert section.unseen_pictures == "drop" and not section.embeddings
    elif all(str(path).endswith(".npy") for path in section.embeddings):
        size = {"zs3net": 300}.get(config.model.name, 600)
        assert section.vectors(names).shape == (len(names), size)
    else:  # vectors that are not in the shared data
        assert config.data.dataset == "pcontext33" and section.embedding_labels is None


@pytest.mark.parametrize("name", CARDS)
def test_a_recipe_and_its_card_are_one_network(name: str):
    """But for the backbone's form, and for what is frozen and how long a turn takes."""
    config, card = load_config(RECIPES / name), kzoo.get_card(CARDS[name])
    split = config.zero_shot.split(labels(config))
    args = dict(card.architecture.args)
    assert config.model.name == card.architecture.name
    assert args.pop("unseen") == list(split.unseen_indices)
    assert args.pop("ignored", []) == list(split.ignored_indices)
    assert args.pop("embedding_size") == (300 if config.model.name == "zs3net" else 600)
    if card.architecture.name != "zs3net":
        assert args.pop("backbone_args") == {"caffe": True}
    theirs = {key: value for key, value in config.model.args.items() if key in args}
    assert theirs == args
    assert card.class_names == labels(config) and card.input_size == config.data.crop


@pytest.mark.parametrize("name", [name for name in NAMES if "cagnet" in name])
def test_cagnet_first_only_trains_and_then_takes_turns(name: str):
    config = load_config(RECIPES / name)
    steps = TRAIN_PICTURES[config.data.dataset] // config.data.batch_size * config.train.epochs
    turn = config.model.args["phase_steps"]
    if "finetune" in name:
        assert turn == 100 and steps > 5_000
        assert config.model.args["freeze_features"] and config.optimizer.learning_rate <= 5e-5
    else:
        assert turn > steps > 39_000


def test_published_augmentation_is_all_there_is():
    """kzoo's own defaults (rotation, colours) are none of the papers'."""
    for name in NAMES:
        augment = load_config(RECIPES / name).data.augment
        assert (augment.rotate, augment.brightness, augment.contrast, augment.saturation, augment.hue) == (0,) * 5
        assert augment.flip and augment != AugmentConfig()
