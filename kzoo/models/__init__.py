"""The networks, one paper a file."""

from kzoo.models.create import ARCHITECTURES, create_model
from kzoo.models.deeplab_v1 import DeepLabV1
from kzoo.models.deeplab_v2 import DeepLabV2
from kzoo.models.deeplab_v3plus import DeepLabV3Plus
from kzoo.models.encnet import EncNet
from kzoo.models.fcn import FCN
from kzoo.models.fcn8s import FCN8s
from kzoo.models.sanet import SANet
from kzoo.models.segmenter import Segmenter

__all__ = [
    "ARCHITECTURES",
    "FCN",
    "DeepLabV1",
    "DeepLabV2",
    "DeepLabV3Plus",
    "EncNet",
    "FCN8s",
    "SANet",
    "Segmenter",
    "create_model",
]
