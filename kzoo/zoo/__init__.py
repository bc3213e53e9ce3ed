"""The zoo: cards, shipped weights, and loading by name. Importing it imports no TensorFlow."""

from kzoo.zoo.card import Card, read_card
from kzoo.zoo.loading import load, open_model, start_from
from kzoo.zoo.registry import get_card, is_model, list_models

__all__ = ["Card", "get_card", "is_model", "list_models", "load", "open_model", "read_card", "start_from"]
