"""Conditional random fields that refine segmentations: dense, recurrent (CRF-as-RNN) and convolutional."""

from kzoo.crf.bilateral import bilateral_features
from kzoo.crf.convolutional import ConvolutionalCRF
from kzoo.crf.create import KINDS, create
from kzoo.crf.dense import DenseCRF
from kzoo.crf.lattice import PermutohedralLattice
from kzoo.crf.mean_field import MeanFieldCRF
from kzoo.crf.normalization import NORMALIZATIONS, normalized
from kzoo.crf.presets import PRESETS, load_preset
from kzoo.crf.recurrent import RecurrentCRF
from kzoo.crf.search import GRIDS, BilateralKernel, KernelScorer, SearchGrid, search_kernel
from kzoo.crf.spatial import spatial_filter

__all__ = [
    "GRIDS",
    "KINDS",
    "NORMALIZATIONS",
    "PRESETS",
    "BilateralKernel",
    "ConvolutionalCRF",
    "DenseCRF",
    "KernelScorer",
    "MeanFieldCRF",
    "PermutohedralLattice",
    "RecurrentCRF",
    "SearchGrid",
    "bilateral_features",
    "create",
    "load_preset",
    "normalized",
    "search_kernel",
    "spatial_filter",
]
