"""Zero-shot segmentation: networks that know some of their classes from words alone."""

from kzoo.models.zero_shot.add import add_class
from kzoo.models.zero_shot.cagnet import CaGNet
from kzoo.models.zero_shot.contextual_module import ContextualModule
from kzoo.models.zero_shot.discriminator import Discriminator, SharedClassifier
from kzoo.models.zero_shot.embeddings import ClassEmbeddings, concatenate, read_embeddings
from kzoo.models.zero_shot.generators import FeatureGenerator, GraphFeatureGenerator, class_adjacency
from kzoo.models.zero_shot.network import ZeroShotSegmenter
from kzoo.models.zero_shot.split import ClassSplit
from kzoo.models.zero_shot.spnet import SPNet
from kzoo.models.zero_shot.zs3net import ZS3Net

__all__ = [
    "CaGNet",
    "ClassEmbeddings",
    "ClassSplit",
    "ContextualModule",
    "Discriminator",
    "FeatureGenerator",
    "GraphFeatureGenerator",
    "SPNet",
    "SharedClassifier",
    "ZS3Net",
    "ZeroShotSegmenter",
    "add_class",
    "class_adjacency",
    "concatenate",
    "read_embeddings",
]
