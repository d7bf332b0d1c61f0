"""Labelled pictures in every format that training and evaluation take."""

from models.datasets.found import PARTS, TEST, TRAIN, WHOLE, Found, find
from models.datasets.part import Part
from models.datasets.reading import read_dataset

__all__ = ["PARTS", "TEST", "TRAIN", "WHOLE", "Found", "Part", "find", "read_dataset"]
