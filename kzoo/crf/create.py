"""A CRF layer from its kind and a mapping of arguments, as recipes and cards hold them."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from kzoo.crf.convolutional import ConvolutionalCRF
from kzoo.crf.dense import DenseCRF
from kzoo.crf.mean_field import MeanFieldCRF
from kzoo.crf.presets import PRESETS
from kzoo.crf.recurrent import RecurrentCRF
from kzoo.errors import unknown_name
from kzoo.strict_yaml import check_arguments, convert

KINDS: dict[str, type[MeanFieldCRF]] = {"dense": DenseCRF, "rnn": RecurrentCRF, "conv": ConvolutionalCRF}


def create(kind: str, args: Mapping[str, Any], name: str | None = None) -> MeanFieldCRF:
    """The layer `kzoo.crf.KINDS[kind]`.

    Args:
        kind: `"dense"`, `"rnn"` or `"conv"`.
        args: the constructor's arguments; `preset`, a name of `kzoo.crf.PRESETS`, gives those that are not there.
        name: the layer's.

    Raises:
        ValueError: no such kind, argument or preset (with the near matches), or a value of the wrong type or range.
    """
    if kind not in KINDS:
        raise unknown_name("refinement", kind, KINDS)
    build = KINDS[kind]
    hints = typing.get_type_hints(build.__init__)
    hints = {key: hint for key, hint in hints.items() if key not in ("kwargs", "return")} | {"preset": str}
    check_arguments(build.__name__, hints, args)
    # YAML holds some numbers, such as 1e-4, as texts.
    values = {key: convert(hints[key], value, key) for key, value in args.items()}
    preset = values.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise unknown_name("CRF preset", preset, PRESETS)
    return build(**{**PRESETS.get(preset, {}), **values}, name=name)
