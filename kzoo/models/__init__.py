"""The networks, one paper a file."""

from kzoo.models.create import ARCHITECTURES, create_model
from kzoo.models.encnet import EncNet
from kzoo.models.fcn import FCN
from kzoo.models.segmenter import Segmenter

__all__ = ["ARCHITECTURES", "FCN", "EncNet", "Segmenter", "create_model"]
