"""The parameters of a dense CRF for one network, searched on a part of a split."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml
from numpy.typing import NDArray

from kzoo.crf import BilateralKernel, DenseCRF, KernelScorer, SearchGrid, search_kernel
from kzoo.crf.search_log import SearchLog
from kzoo.data import Dataset
from kzoo.files import atomic_write, digest
from kzoo.inference.evaluate import check_classes
from kzoo.inference.predict import predict_logits
from kzoo.models import Segmenter

LOGITS_IN_MEMORY = 2 << 30
"""Bytes of logits that are kept in memory; the rest goes to a temporary file."""

_FIXED = ("spatial_sigma", "spatial_weight", "iterations", "normalization")
_LABELLING = ("name", "class_names", "palette")
"""Of a network's configuration, what its logits do not depend on."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        parameters: arguments of `DenseCRF`.
        miou: with them, a fraction of 1.
        miou_without: of the same pictures without a CRF.
        pictures: number of pictures.
    """

    parameters: dict[str, Any]
    miou: float
    miou_without: float
    pictures: int


def search_crf(
    model: keras.Model,
    dataset: Dataset,
    out: str | os.PathLike[str],
    *,
    crf: DenseCRF | None = None,
    grid: SearchGrid | None = None,
    subset: int = 100,
    seed: int = 0,
    command: str = "",
    report: Callable[[BilateralKernel | None, float, bool], None] = lambda point, miou, known: None,
) -> SearchResult:
    """Finds the bilateral kernel with which a dense CRF helps a network most, and writes it as YAML.

    The network's logits (whole pictures, single scale) are computed once, and kept as float16: 2 H W C bytes a picture,
    in memory up to `LOGITS_IN_MEMORY`, then in a temporary file beside `out`; pictures and masks take 4 H W more. Every
    point is noted in a log beside `out` (its name with `.jsonl`), so that a search that was stopped goes on, and
    another grid measures only what is new.

    Args:
        model: the network.
        dataset: the split, with the classes of the network.
        out: the YAML file: a flat mapping of `DenseCRF`'s arguments.
        crf: its spatial kernel, iterations and normalisation stay as they are; `DenseCRF()` by default, whose spatial
            kernel is the paper's (weight 3, width 3).
        grid: where to look; `SearchGrid()` by default.
        subset: number of pictures, drawn by `seed`; all of them if the split has fewer.
        seed: of the draw.
        command: noted in the file.
        report: called for every point with its mIoU and whether that was in the log; first with None, without a CRF.

    Raises:
        ValueError: the network's classes are not the dataset's; no pictures, no labelled pixels, a bad file; the log
            is that of another search.
    """
    check_classes(model, dataset)
    if not len(dataset):
        raise ValueError(f"The split {dataset.split!r} of {dataset.name!r} holds no pictures.")
    if subset < 1:
        raise ValueError(f"A search needs at least one picture, received subset={subset}.")
    out, crf, grid = Path(out), crf or DenseCRF(), grid or SearchGrid()
    indices = np.random.default_rng(seed).permutation(len(dataset))[:subset]
    chosen = sorted(indices.tolist())
    fixed = {key: getattr(crf, key) for key in _FIXED}
    setting = {
        "network": _checksum(model),
        "dataset": dataset.name,
        "split": dataset.split,
        "pictures": [dataset.samples[index].id for index in chosen],
        "files": _checksum_of_files(dataset, chosen),
        **fixed,
    }
    log = SearchLog(out.with_suffix(".jsonl"), setting)
    with tempfile.TemporaryFile(dir=out.parent) as file:
        pictures = _Pictures(model, dataset, chosen, file)
        score = KernelScorer(pictures, dataset.labels.num_classes, dataset.labels.ignore_label, crf)
        without, known = log.without_crf, log.without_crf is not None
        if without is None:
            without = log.without_crf = score.without_crf()
        report(None, without, known)
        best = search_kernel(grid, score, log, report)
    found = {**fixed, **best._asdict()}
    result = SearchResult({key: found[key] for key in _ORDER}, log[best], without, len(chosen))
    header = (
        f"Dense CRF for {model.name}, network checksum {setting['network'][:16]}",
        f"searched on {len(chosen)} pictures of {dataset.name} {dataset.split} (seed {seed})",
        f"mIoU {100 * result.miou:.2f}, without CRF {100 * result.miou_without:.2f}",
        command,
    )
    with atomic_write(out) as temporary:
        comments = "".join(f"# {line}\n" for line in header if line)
        temporary.write_text(comments + yaml.safe_dump(result.parameters, sort_keys=False), encoding="utf-8")
    return result


_ORDER = (
    "spatial_sigma",
    "spatial_weight",
    "bilateral_sigma_xy",
    "bilateral_sigma_rgb",
    "bilateral_weight",
    "iterations",
    "normalization",
)


def _checksum(model: keras.Model) -> str:
    """SHA-256 of the weights, with their shapes, and of a network's arguments (an output stride changes no shape)."""
    config = model.get_config() if isinstance(model, Segmenter) else {}
    arguments = {key: value for key, value in config.items() if key not in _LABELLING}
    total = hashlib.sha256(json.dumps(arguments, sort_keys=True, default=str).encode())
    for weight in model.weights:
        array = np.ascontiguousarray(weight.numpy())
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _checksum_of_files(dataset: Dataset, indices: Sequence[int]) -> str:
    """SHA-256 of the pictures and masks, and of what their labels become. Files that are missing are reported later."""
    total = hashlib.sha256(repr(sorted(dataset.label_map.items())).encode())
    for index in indices:
        for file in (dataset.samples[index].image, dataset.samples[index].mask):
            if file is not None and file.is_file():
                total.update(digest(file).encode())
    return total.hexdigest()


class _Pictures:
    """Logits (H, W, C) float16, pictures and labels of a dataset, as often as wanted; each is predicted once.

    Logits are shifted so that the largest of a pixel is 0, which changes no softmax: float16 is finest there.
    """

    def __init__(self, model: keras.Model, dataset: Dataset, indices: Sequence[int], file: Any) -> None:
        self._model, self._dataset, self._indices, self._file = model, dataset, indices, file
        self._kept: dict[int, tuple[Any, NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._in_memory = 0

    def __iter__(self) -> Iterator[tuple[NDArray[np.float16], NDArray[np.uint8], NDArray[np.uint8]]]:
        for index in self._indices:
            if index not in self._kept:
                image, labels = self._dataset.read(index)
                logits = predict_logits(self._model, image, refinement=None)
                shifted = logits - logits.max(-1, keepdims=True)
                half = np.maximum(shifted, np.finfo(np.float16).min).astype(np.float16)
                self._kept[index] = self._keep(half), image, labels
            logits_or_place, image, labels = self._kept[index]
            yield self._get(logits_or_place), image, labels

    def _keep(self, logits: NDArray[np.float16]) -> Any:
        """The logits themselves, or the place in the file and the shape."""
        if self._in_memory + logits.nbytes <= LOGITS_IN_MEMORY:
            self._in_memory += logits.nbytes
            return logits
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(logits.tobytes())
        return place, logits.shape

    def _get(self, kept: Any) -> NDArray[np.float16]:
        if isinstance(kept, np.ndarray):
            return kept
        place, shape = kept
        self._file.seek(place)
        return np.frombuffer(self._file.read(2 * int(np.prod(shape))), np.float16).reshape(shape)
