from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kzoo.data import AugmentConfig
from kzoo.training.config import TrainConfig, data_root, find_config, load_config, resolve_data_path, to_yaml

RECIPE = """
model: {name: encnet, args: {backbone: mobilenet_v2, output_stride: 16}, backbone_weights: imagenet}
data:
  dataset: camvid
  root: camvid
  crop: [352, 480]
  batch_size: 8
  augment: {scale: [0.5, 1.5]}
optimizer: {name: sgd, learning_rate: 1e-2}
train: {epochs: 60}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def test_values_and_defaults(recipe: Path) -> None:
    config = load_config(recipe)
    assert config.model.args == {"backbone": "mobilenet_v2", "output_stride": 16}
    assert config.data.crop == (352, 480)
    assert config.data.augment == AugmentConfig(scale=(0.5, 1.5))
    assert (config.optimizer.learning_rate, config.optimizer.head_multiplier) == (0.01, 10.0)
    assert (config.loss.se_weight, config.loss.class_weights) == (0.2, None)
    assert (config.train.epochs, config.train.seed, config.train.devices) == (60, 0, None)


def test_overrides_are_laid_over_in_order(recipe: Path) -> None:
    config = load_config(
        recipe,
        [
            "train.epochs=3",
            "train.epochs=4",
            "data.crop=[64, 96]",
            "model.args.num_codewords=8",
            "optimizer.clip_norm=1e1",
            "loss.class_weights=median_frequency",
            "model.backbone_weights=null",
        ],
    )
    assert config.train.epochs == 4
    assert config.data.crop == (64, 96)
    assert config.model.args == {"backbone": "mobilenet_v2", "output_stride": 16, "num_codewords": 8}
    assert config.optimizer.clip_norm == 10.0
    assert config.loss.class_weights == "median_frequency"
    assert config.model.backbone_weights is None


def test_merged_text_reads_back_equal(recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe, ["optimizer.weight_decay=1e-5", "loss.class_weights=[1, 2.5]"])
    merged = tmp_path / "merged.yaml"
    merged.write_text(to_yaml(config))
    assert load_config(merged) == config
    assert yaml.safe_load(merged.read_text())["train"]["validate_every"] == 1  # defaults are written out


def test_base_is_laid_under(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    variant = tmp_path / "sub" / "variant.yaml"
    variant.write_text("base: ../recipe.yaml\nmodel: {args: {num_codewords: 0}}\nloss: {se_weight: 0}\n")
    config = load_config(variant, ["train.seed=1"])
    assert config.model.args == {"backbone": "mobilenet_v2", "output_stride": 16, "num_codewords": 0}
    assert (config.loss.se_weight, config.train.epochs, config.train.seed) == (0.0, 60, 1)

    second = tmp_path / "second.yaml"
    second.write_text("base: sub/variant.yaml\n")
    with pytest.raises(ValueError, match=r"variant.yaml: a config that is a base .* must not have a base itself"):
        load_config(second)
    variant.write_text("base: absent.yaml\n")
    with pytest.raises(FileNotFoundError, match=r"The base \(of .*variant.yaml\) '.*absent.yaml' is not there"):
        load_config(variant)
    variant.write_text("base: [a]\n")
    with pytest.raises(ValueError, match=r"variant.yaml: base: expected the path of another config, got \['a'\]"):
        load_config(variant)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "train.epoch: unknown key. Did you mean 'epochs'?"),
        ("trian.epochs=3", "trian: unknown key. Did you mean 'train'?"),
        ("data.augment.rotat=3", "data.augment.rotat: unknown key. Did you mean 'rotate'"),
        ("train.epochs=many", "train.epochs: expected a whole number, got 'many' (text)."),
        ("train.epochs=0", "train.epochs: must be at least 1, got 0."),
        ("train.precision=float16", "train.precision: expected 'float32' or 'mixed_bfloat16', got 'float16' (text)."),
        ("train.devices=3", "data.batch_size: must be a multiple of train.devices"),
        ("train.seed=-1", "train.seed: expected 0 to 2**31 - 1, got -1."),
        ("data.crop=[8, 480]", "data.crop: height and width must be at least 16 pixels, got [8, 480]."),
        ("data.batch_size=1", "data.batch_size: BatchNorm needs at least 2 pictures, got 1."),
        ("data.val_split=train", "data.val_split: must differ from train_split"),
        ("data.augment.scale=[2, 1]", "data.augment: `scale` must be two positive factors"),
        ("data.augment.hue=0.6", "data.augment: `hue` must be between 0 and 0.5, received 0.6."),
        ("optimizer.name=adam", "optimizer.name: expected 'sgd' or 'adamw', got 'adam' (text). Did you mean 'adamw'?"),
        ("optimizer.learning_rate=0", "optimizer.learning_rate: must be more than 0, got 0.0."),
        ("optimizer.momentum=1", "optimizer.momentum: expected 0 to 1 (not itself), got 1.0."),
        ("optimizer.warmup_epochs=60", "optimizer.warmup_epochs: must be less than train.epochs (60), got 60.0."),
        ("optimizer.ema=1", "optimizer.ema: expected a momentum between 0 and 1"),
        ("loss.aux_weight=-1", "loss.aux_weight: must not be negative, got -1.0."),
        ("loss.class_weights=[1, -1]", "loss.class_weights: expected weights >= 0"),
        ("model={init: a, name: encnet, backbone_weights: b}", "model.backbone_weights: model.init sets all weights"),
        ("model.args.num_classes=3", "model.args.num_classes: not an argument to set here"),
    ],
)
def test_errors_name_file_key_and_value(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        load_config(recipe, [override])
    assert str(error.value).startswith(f"{recipe}: {message}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "--set: expected section.key=value, e.g. train.epochs=10; got 'train.epochs'."),
        ("train..epochs=1", "--set: expected section.key=value, e.g. train.epochs=10; got 'train..epochs=1'."),
        ("train.epochs.x=1", "--set train.epochs.x=1: train.epochs holds no keys, it is 60."),
        ("train.epochs=[", "--set train.epochs=[: not valid YAML"),
    ],
)
def test_malformed_overrides(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        load_config(recipe, [override])
    assert str(error.value).startswith(message)


def test_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KZOO_DATA", str(tmp_path))
    assert data_root() == tmp_path.resolve()
    (tmp_path / "camvid").mkdir()
    assert resolve_data_path("camvid") == tmp_path.resolve() / "camvid"
    assert resolve_data_path(tmp_path / "camvid") == tmp_path / "camvid"
    with pytest.raises(FileNotFoundError, match=r"'cmavid' is not there; looked for '.*cmavid'. Is KZOO_DATA right\?"):
        resolve_data_path("cmavid")
    monkeypatch.setenv("KZOO_DATA", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match=r"KZOO_DATA is '.*absent', which is not a folder"):
        data_root()


def test_data_root_beside_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KZOO_DATA", raising=False)
    below = tmp_path / "checkout" / "tools"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    with pytest.raises(FileNotFoundError, match="Set the environment variable KZOO_DATA"):
        data_root()
    (tmp_path / "checkout" / "pyproject.toml").touch()
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert data_root() == (tmp_path / "shared" / "data").resolve()


def test_reading_a_config_imports_no_tensorflow() -> None:
    code = "import sys, kzoo.training.config, kzoo.training.run_folder; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_recipe_of_the_repository_is_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "zoo_configs").rglob("*.yaml"))
    assert all(isinstance(load_config(recipe), TrainConfig) for recipe in recipes)


def test_another_refinement_than_the_cards_does_not_inherit_its_arguments(tmp_path):
    recipe = find_config("zoo_configs/voc_animals/deeplab_mnv2_longer.yaml")
    args = load_config(recipe).model.args
    assert args["refine"] is None and "refine_args" not in args and args["rate"] == 6
    kept = load_config(recipe, ["model.args={filters: 64}"]).model.args
    assert kept["refine"] is None  # the recipe's, which the override is laid over
    path = tmp_path / "own.yaml"
    path.write_text(recipe.read_text().replace("    refine: null\n", "    filters: 64\n"))
    args = load_config(path).model.args
    assert args["refine"] == "dense" and args["refine_args"]["bilateral_sigma_xy"] == 45.0 and args["filters"] == 64
