"""The layers that context-aware segmentation networks are made of."""

from kzoo.layers.atrous import ASPP, LargeFOV
from kzoo.layers.batch_normalization import BatchNormalization
from kzoo.layers.context_encoding import ContextEncoding
from kzoo.layers.conv_bn_relu import ConvBNReLU, DoubleConv
from kzoo.layers.crop import Crop
from kzoo.layers.encoding import Encoding, EncodingDrop
from kzoo.layers.normalize import Normalize
from kzoo.layers.resize import Resize
from kzoo.layers.squeeze_attention import SqueezeAttention, SqueezeExcitation

__all__ = [
    "ASPP",
    "BatchNormalization",
    "ContextEncoding",
    "ConvBNReLU",
    "Crop",
    "DoubleConv",
    "Encoding",
    "EncodingDrop",
    "LargeFOV",
    "Normalize",
    "Resize",
    "SqueezeAttention",
    "SqueezeExcitation",
]
