"""The part of a recipe that zero-shot networks have: which classes are unseen, and what is known of all of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kzoo.data import Dataset
    from kzoo.models.zero_shot.split import ClassSplit
    from kzoo.training.config import TrainConfig


@dataclass(frozen=True)
class ZeroShotSection:
    """Seen and unseen classes, for zero-shot networks and for the networks that they start from.

    Attributes:
        unseen: names of the classes that no training pixel may show.
        ignored: names of the classes that are neither trained nor evaluated.
        embeddings: files of word vectors (`.npy`, or word2vec's text format), relative to the data root if not
            absolute; several are concatenated.
        embedding_labels: the label file of `.npy` files, which names their rows; null where they are the dataset's
            classes in their order.
        unseen_pictures: what becomes of training pictures with an unseen class: `drop` leaves them out, `error`
            refuses them, `ignore` takes them with those pixels unlabelled.
        ignored_pictures: the same of training pictures with an ignored class. `drop` is for a class that is to be added
            afterwards, of which the network shall have seen nothing.
        generator_learning_rate, discriminator_learning_rate: of Adam, for the networks that have these parts.
    """

    unseen: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    embedding_labels: str | None = None
    unseen_pictures: Literal["drop", "error", "ignore"] = "drop"
    ignored_pictures: Literal["drop", "error", "ignore"] = "ignore"
    generator_learning_rate: float = 2e-4
    discriminator_learning_rate: float = 2.5e-4

    def __post_init__(self) -> None:
        for name in ("generator_learning_rate", "discriminator_learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: must be more than 0, got {getattr(self, name)}.")

    def split(self, class_names: tuple[str, ...]) -> ClassSplit:
        """The split of these classes; raises `ValueError` for one that is none of them."""
        from kzoo.models.zero_shot.split import ClassSplit

        return ClassSplit(class_names, self.unseen, self.ignored)

    def vectors(self, class_names: tuple[str, ...]) -> NDArray[np.float32]:
        """The class embeddings (C, D), each source of unit norm.

        Raises:
            FileNotFoundError: a file is not there.
            ValueError: the section names none, or a class is in none of them.
        """
        from kzoo.models.zero_shot.embeddings import concatenate, read_embeddings
        from kzoo.training.config import resolve_data_path

        if not self.embeddings:
            raise ValueError("zero_shot.embeddings: a zero-shot network needs a file of word vectors; got none.")
        labels = class_names if self.embedding_labels is None else resolve_data_path(self.embedding_labels)
        sources = [
            read_embeddings(path, labels if path.suffix == ".npy" else None, class_names)
            for path in map(resolve_data_path, self.embeddings)
        ]
        return concatenate(sources).vectors


def resolved(config: TrainConfig, class_names: tuple[str, ...]) -> TrainConfig:
    """The config with the split and the embeddings' length among the network's arguments, if it is a zero-shot one.

    Raises: `ValueError` for a zero-shot network without the section, or a class that the dataset has not.
    """
    from kzoo.models.create import ARCHITECTURES
    from kzoo.models.zero_shot import ZeroShotSegmenter

    section = config.zero_shot
    if section is not None:
        split = section.split(class_names)
    if not issubclass(ARCHITECTURES.get(config.model.name, object), ZeroShotSegmenter):
        return config
    if section is None:
        raise ValueError(f"zero_shot: {config.model.name!r} needs this section, with the unseen classes; got none.")
    own: dict[str, Any] = {
        "unseen": list(split.unseen_indices),
        "ignored": list(split.ignored_indices),
        "embedding_size": section.vectors(class_names).shape[1],
    }
    model = dataclasses.replace(config.model, args={**config.model.args, **own})
    return dataclasses.replace(config, model=model)


def seen_pictures(config: TrainConfig, train_set: Dataset) -> Dataset:
    """The training split as the recipe lets unseen and ignored classes into it."""
    from kzoo.data.unseen import without_classes

    section = config.zero_shot
    if section is None:
        return train_set
    split = section.split(train_set.labels.class_names)
    without_unseen = without_classes(train_set, split.unseen_indices, section.unseen_pictures)
    return without_classes(without_unseen, split.ignored_indices, section.ignored_pictures)


def evaluated_classes(config: TrainConfig, val_set: Dataset) -> Dataset:
    """The validation split with the pixels of ignored classes unlabelled."""
    from kzoo.data.unseen import without_classes

    if config.zero_shot is None:
        return val_set
    return without_classes(val_set, config.zero_shot.split(val_set.labels.class_names).ignored_indices, "ignore")


def further_optimizers(config: TrainConfig, model: Any) -> dict[str, Any]:
    """Adam for each optimizer that the network has beside the recipe's, as arguments of its `compile`."""
    import keras

    if config.zero_shot is None:
        return {}
    return {
        name: keras.optimizers.Adam(getattr(config.zero_shot, f"{name.removesuffix('_optimizer')}_learning_rate"))
        for name in model.optimizer_names
        if name != "optimizer"
    }
