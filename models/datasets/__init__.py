"""Labelled pictures in every format that training and evaluation take."""

from models.datasets.found import TEST, TRAIN, WHOLE, Found, find
from models.datasets.named import read_labelled
from models.datasets.part import Part
from models.datasets.reading import read_dataset, read_part

__all__ = [
    "TEST",
    "TRAIN",
    "WHOLE",
    "Found",
    "Part",
    "find",
    "read_dataset",
    "read_labelled",
    "read_part",
]
