"""Data sets of facial expressions as NumPy arrays: reading, checking and keeping them."""

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.fer2013 import verify_fer2013
from mien.data.npz import read_dataset, save_dataset
from mien.data.sources import load_dataset, load_fer2013, prepare_dataset

__all__ = [
    "SPLITS",
    "ExpressionDataset",
    "load_dataset",
    "load_fer2013",
    "prepare_dataset",
    "read_dataset",
    "save_dataset",
    "verify_fer2013",
]
