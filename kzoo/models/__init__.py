"""The networks, one paper a file."""

from kzoo.models.encnet import EncNet
from kzoo.models.fcn import FCN
from kzoo.models.segmenter import Segmenter

ARCHITECTURES: dict[str, type[Segmenter]] = {"encnet": EncNet, "fcn": FCN}

__all__ = ["ARCHITECTURES", "FCN", "EncNet", "Segmenter"]
