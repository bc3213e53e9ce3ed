"""A training recipe: strict YAML -> frozen dataclasses. See `zoo_configs/` for recipes.

A config file holds the sections `model`, `data`, `optimizer`, `loss`, `train` and `zero_shot`. One
`base: other.yaml` (relative to the file) may stand at the top: the file's keys are laid over the base's, mapping by
mapping; a base has no base itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from kzoo.data.augment import AugmentConfig
from kzoo.strict_yaml import from_mapping, parse_yaml, read_yaml, to_plain
from kzoo.training.zero_shot import ZeroShotSection


@dataclass(frozen=True)
class ModelSection:
    """The network.

    Attributes:
        name: the architecture, a key of `kzoo.models.ARCHITECTURES`.
        args: arguments of the architecture's constructor, e.g. `backbone`, `output_stride`, `num_codewords`.
        backbone_weights: null (fresh), `imagenet`, or a file, relative to the data root if not absolute.
        init: what all weights start from: a model of the zoo, whose `name` and `args` are then the defaults of these; a
            run folder; a `.keras` or a `.weights.h5` file. Layers that depend on the number of classes start fresh
            where that differs.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    backbone_weights: str | None = None
    init: str | None = None

    def __post_init__(self) -> None:
        if self.init is not None and self.backbone_weights is not None:
            raise ValueError(
                f"backbone_weights: model.init sets all weights, the backbone's too; leave one of them out. Got "
                f"{self.backbone_weights!r} and init {self.init!r}."
            )
        places = {
            "num_classes": "it is the dataset's number of classes; leave it out",
            "backbone_weights": "its place is model.backbone_weights",
            "ignore_label": "it is the dataset's",
            "class_weights": "its place is loss.class_weights",
            "aux_weight": "its place is loss.aux_weight",
            "se_weight": "its place is loss.se_weight",
            "categorical_weight": "its place is loss.categorical_weight",
            "dense_weight": "its place is loss.dense_weight",
        }
        for key, advice in places.items():
            if key in self.args:
                raise ValueError(f"args.{key}: not an argument to set here, {advice}. Got {self.args[key]!r}.")


@dataclass(frozen=True)
class DataSection:
    """What is trained on.

    Attributes:
        dataset: a name of `kzoo.data.dataset_names()`.
        root: the dataset's folder, relative to the data root (`$KZOO_DATA`) if not absolute.
        train_split: the only split that weights are fitted to.
        val_split: the split that chooses the best checkpoint.
        crop: height and width of the training crops, pixels.
        batch_size: pictures a step, over all devices together.
        cache: keep decoded pictures in memory.
    """

    dataset: str
    root: str
    crop: tuple[int, int]
    batch_size: int
    train_split: str = "train"
    val_split: str = "val"
    cache: bool = True
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if min(self.crop) < 16:
            raise ValueError(f"crop: height and width must be at least 16 pixels, got {list(self.crop)}.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: must be at least 1, got {self.batch_size}.")
        if self.train_split == self.val_split:
            raise ValueError(
                f"val_split: must differ from train_split, or the best checkpoint is chosen by what it was fitted to; "
                f"both are {self.val_split!r}."
            )


@dataclass(frozen=True)
class OptimizerSection:
    """How weights move.

    Attributes:
        learning_rate: the backbone's, after warm-up.
        momentum: SGD's momentum (AdamW takes no notice).
        weight_decay: L2 strength for SGD, decoupled for AdamW.
        head_multiplier: the learning rate of everything outside the backbone, in multiples of the backbone's.
        schedule: `poly` is lr * (1 - step / steps) ** poly_power, `cosine` half a cosine down to 0; both per step.
        warmup_epochs: epochs of linear rise from 0 before the schedule, may be a fraction.
        clip_norm: largest global gradient norm; null is no clipping.
        ema: momentum of the exponential moving average of the weights, e.g. 0.999; null is none.
    """

    name: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 1e-4
    head_multiplier: float = 10.0
    schedule: Literal["poly", "cosine"] = "poly"
    poly_power: float = 0.9
    warmup_epochs: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None

    def __post_init__(self) -> None:
        _positive("learning_rate", self.learning_rate)
        _in_range("momentum", self.momentum, 0, 1, open_top=True)
        _in_range("weight_decay", self.weight_decay, 0, 1)
        _positive("head_multiplier", self.head_multiplier)
        _positive("poly_power", self.poly_power)
        if self.warmup_epochs < 0:
            raise ValueError(f"warmup_epochs: must not be negative, got {self.warmup_epochs}.")
        if self.clip_norm is not None:
            _positive("clip_norm", self.clip_norm)
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema: expected a momentum between 0 and 1, e.g. 0.999, or null; got {self.ema}.")


@dataclass(frozen=True)
class LossSection:
    """Weights of the losses beside the cross-entropy, of the networks that have them.

    Attributes:
        se_weight: semantic-encoding loss (EncNet: 0.2); 0 switches it off.
        aux_weight: auxiliary FCN head (0.2 or 0.4); 0 switches it off.
        categorical_weight: SANet's categorical loss, beside its mask loss; 0 switches it off.
        dense_weight: SANet's dense loss, beside its mask loss.
        class_weights: null (all 1), `median_frequency` (from the train split), or one weight a class.
    """

    se_weight: float = 0.2
    aux_weight: float = 0.2
    categorical_weight: float = 0.2
    dense_weight: float = 0.8
    class_weights: Literal["median_frequency"] | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("se_weight", "aux_weight", "categorical_weight", "dense_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must not be negative, got {getattr(self, name)}.")
        if isinstance(self.class_weights, tuple) and (min(self.class_weights, default=-1) < 0):
            raise ValueError(f"class_weights: expected weights >= 0, one a class; got {list(self.class_weights)}.")


@dataclass(frozen=True)
class TrainSection:
    """The run.

    Attributes:
        epochs: passes over the train split.
        seed: of initial weights, order, augmentation and dropout.
        precision: `mixed_bfloat16` computes in bfloat16 and keeps weights in float32.
        devices: number of devices: GPUs, or logical CPU devices where there is no GPU; null is all GPUs, or the CPU.
        sync_batchnorm: batch statistics over all devices together.
        validate_every: epochs between validations; the last epoch is always validated.
        freeze_batchnorm: keep every BatchNorm of the backbone at its stored statistics.
        freeze_until: the backbone's feature (`c1` ... `c4`; FCN-8s: `pool3`, `pool4`, `fc7`) up to which its layers
            stay as loaded; null trains all.
    """

    epochs: int
    seed: int = 0
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    devices: int | None = None
    sync_batchnorm: bool = True
    validate_every: int = 1
    freeze_batchnorm: bool = False
    freeze_until: str | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}.")
        if self.devices is not None and self.devices < 1:
            raise ValueError(f"devices: must be at least 1, or null for all, got {self.devices}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed: expected 0 to 2**31 - 1, got {self.seed}.")


@dataclass(frozen=True)
class TrainConfig:
    """A whole recipe; what `load_config` returns."""

    model: ModelSection
    data: DataSection
    optimizer: OptimizerSection
    train: TrainSection
    loss: LossSection = field(default_factory=LossSection)
    zero_shot: ZeroShotSection | None = None

    def __post_init__(self) -> None:
        devices = self.train.devices or 1
        if self.data.batch_size % devices:
            raise ValueError(
                f"data.batch_size: must be a multiple of train.devices, so that every device gets the same number of "
                f"pictures; got {self.data.batch_size} pictures for {devices} devices."
            )
        if self.data.batch_size < 2:
            # BatchNorm after global pooling would see one value a channel, whose variance is 0.
            raise ValueError(f"data.batch_size: BatchNorm needs at least 2 pictures, got {self.data.batch_size}.")
        if devices > 1 and not self.train.sync_batchnorm and self.data.batch_size // devices < 2:
            raise ValueError(
                f"data.batch_size: without train.sync_batchnorm every device needs at least 2 pictures, got "
                f"{self.data.batch_size} for {devices} devices."
            )
        if self.optimizer.warmup_epochs >= self.train.epochs:
            raise ValueError(
                f"optimizer.warmup_epochs: must be less than train.epochs ({self.train.epochs}), "
                f"got {self.optimizer.warmup_epochs}."
            )


def load_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> TrainConfig:
    """Reads a recipe.

    Args:
        path: a YAML file.
        overrides: `section.key=value` texts, the value written as in YAML, laid over the file in order.

    Raises:
        FileNotFoundError: no such file, or its base is not there.
        ValueError: an unknown or missing key, a wrong type or value, or a malformed override. The message names the
            file, the dotted key, the expectation and the value.
    """
    mapping = read_yaml(path, "config")
    base = mapping.pop("base", None)
    if base is not None:
        if not isinstance(base, str):
            raise ValueError(f"{path}: base: expected the path of another config, got {base!r}.")
        base_path = Path(path).parent / base
        base_mapping = read_yaml(base_path, f"base (of {path})")
        if "base" in base_mapping:
            raise ValueError(f"{base_path}: a config that is a base (of {path}) must not have a base itself.")
        mapping = _merge(base_mapping, mapping)
    for override in overrides:
        mapping = _merge(mapping, _parse_override(override, mapping))
    model = mapping.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("init"), str) and "name" not in model:
        mapping = {**mapping, "model": _merge(_architecture(model["init"], model.get("args")), model)}
    try:
        return from_mapping(TrainConfig, mapping)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _architecture(init: str, over: Any) -> dict[str, Any]:
    """`name` and `args` of a model of the zoo, which `over` is laid over; nothing if `init` is none."""
    from kzoo.zoo.registry import get_card, is_model

    if not is_model(init):
        return {}
    architecture = get_card(init).architecture
    return {"name": architecture.name, "args": architecture.args_under(over if isinstance(over, Mapping) else {})}


def find_config(path: str | os.PathLike[str]) -> Path:
    """`path` itself if it is a file, else the recipe of that name that the package carries.

    Raises:
        FileNotFoundError: neither is there.
    """
    path = Path(path)
    if path.is_file():
        return path
    relative = Path(*path.parts[1:]) if path.parts and path.parts[0] == "zoo_configs" else path
    # In the wheel `zoo_configs` lies inside the package, in a checkout (an editable install) beside it.
    for folder in Path(__file__).parents[1:3]:
        packaged = folder / "zoo_configs" / relative
        if packaged.is_file():
            return packaged
    raise FileNotFoundError(f"No recipe at {str(path)!r}, and the package carries none of that name.")


def to_yaml(config: TrainConfig) -> str:
    """The whole config, defaults included, as a YAML text that `load_config` reads back to an equal config."""
    return yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True, width=120)


def data_root() -> Path:
    """The folder that datasets and backbone weights are looked for in.

    `$KZOO_DATA`; where that is not set, `../shared/data` beside the checkout that the current directory lies in.

    Raises:
        FileNotFoundError: `$KZOO_DATA` is not a folder, or it is not set and there is no such folder beside a checkout.
    """
    named = os.environ.get("KZOO_DATA")
    if named:
        root = Path(named).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"KZOO_DATA is {named!r}, which is not a folder; set it to the folder of datasets.")
        return root.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        beside = folder.parent / "shared" / "data"
        if (folder / "pyproject.toml").is_file() and beside.is_dir():
            return beside.resolve()
    raise FileNotFoundError(
        "Where are the datasets? Set the environment variable KZOO_DATA to the folder that holds them, "
        "e.g. `export KZOO_DATA=$HOME/data`, or write absolute paths into the config."
    )


def resolve_data_path(path: str | os.PathLike[str]) -> Path:
    """`path` itself if absolute (`~` expanded), else under `data_root()`.

    Raises:
        FileNotFoundError: nothing is there, or the data root is not known.
    """
    expanded = Path(path).expanduser()
    resolved = expanded if expanded.is_absolute() else data_root() / expanded
    if not resolved.exists():
        raise FileNotFoundError(f"{str(path)!r} is not there; looked for {str(resolved)!r}. Is KZOO_DATA right?")
    return resolved


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _parse_override(override: str, mapping: Mapping[str, Any]) -> dict[str, Any]:
    """`"a.b=c"` as `{"a": {"b": c}}`."""
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ValueError(f"--set: expected section.key=value, e.g. train.epochs=10; got {override!r}.")
    below: Any = mapping
    for position, key in enumerate(keys[:-1]):
        below = below.get(key, {})
        if not isinstance(below, Mapping):
            raise ValueError(f"--set {override}: {'.'.join(keys[: position + 1])} holds no keys, it is {below!r}.")
    value = parse_yaml(text, f"--set {override}")
    for key in reversed(keys):
        value = {key: value}
    return value


def _positive(name: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{name}: must be more than 0, got {value}.")


def _in_range(name: str, value: float, low: float, high: float, open_top: bool = False) -> None:
    if not low <= value <= high or (open_top and value == high):
        raise ValueError(f"{name}: expected {low} to {high}{' (not itself)' if open_top else ''}, got {value}.")
