"""Zero-shot segmentation: networks that know some of their classes from words alone."""

from kzoo.models.zero_shot.contextual_module import ContextualModule
from kzoo.models.zero_shot.discriminator import Discriminator, SharedClassifier
from kzoo.models.zero_shot.embeddings import ClassEmbeddings, concatenate, read_embeddings
from kzoo.models.zero_shot.generators import FeatureGenerator, GraphFeatureGenerator, class_adjacency
from kzoo.models.zero_shot.split import ClassSplit

__all__ = [
    "ClassEmbeddings",
    "ClassSplit",
    "ContextualModule",
    "Discriminator",
    "FeatureGenerator",
    "GraphFeatureGenerator",
    "SharedClassifier",
    "class_adjacency",
    "concatenate",
    "read_embeddings",
]
