"""A model card: everything about one set of weights, read strictly from `cards/<name>.yaml`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kzoo.errors import unknown_name
from kzoo.strict_yaml import from_mapping, read_yaml
from kzoo.zoo.cache import RemoteFile


@dataclass(frozen=True)
class Architecture:
    """How the network is built: `kzoo.models.ARCHITECTURES[name](num_classes=..., **args)`."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)

    def args_under(self, over: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that `over` can be laid over: another refinement does not inherit this one's arguments."""
        args = dict(self.args)
        if over.get("refine", args.get("refine")) != args.get("refine"):
            args.pop("refine_args", None)
        return args


@dataclass(frozen=True)
class Normalization:
    """What the network itself subtracts from its pictures and divides them by: red, green, blue in 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Weights:
    """The shipped file, in `kzoo/zoo/weights/`."""

    file: str
    sha256: str
    bytes: int
    dtype: Literal["float16", "float32"]


@dataclass(frozen=True)
class Source:
    """The published file that the weights are converted from, at `kzoo.load`.

    Attributes:
        file: its name, addresses and checksum.
        converter: a key of `kzoo.convert.SOURCES`, who publishes files of its layout.
        checked: the day on which the addresses were last seen to give the file; `never` if nobody tried.
    """

    file: RemoteFile
    converter: str
    checked: str


@dataclass(frozen=True)
class Evaluation:
    """The protocol that the published results were measured by: `kzoo eval NAME --protocol PROTOCOL`.

    `args` are those of `kzoo.inference.protocols.PyTorchEncoding` or `MMSegmentation`.
    """

    protocol: Literal["pytorch-encoding", "mmseg"]
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """Where the weights come from: the recipe, the command, the code's commit and the run's log (in `zoo/logs/`)."""

    config: str
    command: str
    seed: int
    commit: str
    epochs: int
    log: str


@dataclass(frozen=True)
class Result:
    """What kzoo measured with these weights. `metrics` (e.g. `miou`) and `iou` (by class) are fractions of 1."""

    split: str
    protocol: str
    command: str
    metrics: dict[str, float]
    iou: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """What somebody else published, of these weights or for comparison; never measured by kzoo.

    `metrics` are fractions of 1. `command` checks them; it is empty where they are of another network.
    """

    model: str
    split: str
    metrics: dict[str, float]
    source: str
    protocol: str = ""
    command: str = ""


@dataclass(frozen=True)
class Licence:
    """Terms of the weights and of the pictures they learned from, and the notice to pass on with them.

    Attributes:
        accept: what a user has to accept by this name before the weights are fetched, `unlicensed` where their authors
            state no licence; None asks for nothing.
    """

    weights: str
    data: str
    notice: str
    accept: Literal["non-commercial", "unlicensed"] | None = None


@dataclass(frozen=True)
class Card:
    """One entry of the zoo.

    Attributes:
        name: what `kzoo.load` takes; the card's file name.
        description: one sentence.
        architecture: how to build the network.
        dataset: the dataset it was trained on.
        class_names: in the order of the logits' last axis.
        palette: one (red, green, blue), 0..255, a class.
        ignore_label: the mask value that counts nowhere.
        input_size: height and width it was trained at, pixels; it takes any other, see `kzoo.export.sizes`.
        normalization: of the pictures, which the network's first layer does.
        parameters: number of weights of the network as the architecture builds it, BatchNorm statistics included.
        licence: terms.
        weights: the shipped file; None where there is none.
        trained: provenance of the shipped weights.
        source: where published weights come from; None where kzoo ships its own, or there are none.
        evaluation: the protocol of the published results.
        results: measured by kzoo.
        published: measured by others.
    """

    name: str
    description: str
    architecture: Architecture
    dataset: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_label: int
    input_size: tuple[int, int]
    normalization: Normalization
    parameters: int
    licence: Licence
    weights: Weights | None = None
    trained: Trained | None = None
    source: Source | None = None
    evaluation: Evaluation | None = None
    results: tuple[Result, ...] = ()
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        if len(self.class_names) < 2 or len(set(self.class_names)) != len(self.class_names):
            raise ValueError(f"class_names: expected at least 2 different names, got {list(self.class_names)}.")
        if len(self.palette) != len(self.class_names):
            raise ValueError(
                f"palette: expected one colour a class ({len(self.class_names)}), got {len(self.palette)} colours."
            )
        for colour in self.palette:
            if not all(0 <= channel <= 255 for channel in colour):
                raise ValueError(f"palette: a colour is [red, green, blue], each 0 to 255; got {list(colour)}.")
        if 0 <= self.ignore_label < len(self.class_names):
            raise ValueError(f"ignore_label: {self.ignore_label} is the class {self.class_names[self.ignore_label]!r}.")
        if (self.weights is None) != (self.trained is None):
            raise ValueError("weights and trained: expected both or neither; weights need their provenance.")
        if self.weights is not None and self.source is not None:
            raise ValueError("weights and source: expected one of them; weights are either shipped or converted.")

    @property
    def pretrained(self) -> bool:
        """Whether there are weights, shipped or published."""
        return self.weights is not None or self.source is not None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def read_card(path: str | os.PathLike[str]) -> Card:
    """The card that a YAML file holds.

    A file without `class_names`, `palette` and `ignore_label` has those of its dataset (`kzoo.data.DATASET_LABELS`).

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown or missing key, a wrong type or value, or a name other than the file's; the message
            names the file and the key.
    """
    path = Path(path)
    mapping = read_yaml(path, "model card")
    try:
        if not mapping.keys() & {"class_names", "palette", "ignore_label"}:
            mapping |= _labels(mapping.get("dataset"))
        card = from_mapping(Card, mapping)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if card.name != path.stem:
        raise ValueError(f"{path}: name: expected the file's name {path.stem!r}, got {card.name!r}.")
    return card


def _labels(dataset: Any) -> dict[str, Any]:
    """The label set of a dataset as the card's fields."""
    from kzoo.data import DATASET_LABELS

    if dataset not in DATASET_LABELS:
        raise unknown_name("dataset", dataset, DATASET_LABELS, "The card of any other has class_names of its own.")
    labels = DATASET_LABELS[dataset]
    return {
        "class_names": list(labels.class_names),
        "palette": [list(color) for color in labels.palette],
        "ignore_label": labels.ignore_label,
    }
