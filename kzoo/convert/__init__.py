"""Readers of foreign checkpoints, and the tables from their keys to kzoo's layers. Nothing that a file says is run."""

from kzoo.convert import cagnet, crfasrnn, deeplab_caffe, mmsegmentation, pytorch_encoding, torchvision, zs3
from kzoo.convert.caffemodel import read_caffemodel
from kzoo.convert.checkpoint import read_checkpoint
from kzoo.convert.errors import CheckpointError
from kzoo.convert.keras_h5 import read_keras_h5
from kzoo.convert.key_map import KeyMap, kept_layers, set_weights
from kzoo.convert.torch_file import read_torch, state_dict

SOURCES: dict[str, KeyMap] = {
    "pytorch_encoding": pytorch_encoding.ENCNET,
    "pytorch_encoding_resnet": pytorch_encoding.RESNET_S,
    "mmsegmentation": mmsegmentation.ENCNET,
    "mmsegmentation_resnet": mmsegmentation.RESNET_V1C,
    "torchvision_resnet": torchvision.RESNET,
    "deeplab_caffe": deeplab_caffe.DEEPLAB,
    "crfasrnn": crfasrnn.CRFRNN,
    "cagnet": cagnet.CAGNET,
    "cagnet_deeplab_v2": cagnet.DEEPLAB_V2,
    "zs3_deeplab_v3plus": zs3.DEEPLAB_V3PLUS,
}
"""The tables by the name that a card gives as its converter."""

__all__ = [
    "SOURCES",
    "CheckpointError",
    "KeyMap",
    "kept_layers",
    "read_caffemodel",
    "read_checkpoint",
    "read_keras_h5",
    "read_torch",
    "set_weights",
    "state_dict",
]
