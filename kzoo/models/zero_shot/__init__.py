"""Zero-shot segmentation: networks that know some of their classes from words alone."""

from kzoo.models.zero_shot.embeddings import ClassEmbeddings, concatenate, read_embeddings
from kzoo.models.zero_shot.split import ClassSplit

__all__ = ["ClassEmbeddings", "ClassSplit", "concatenate", "read_embeddings"]
