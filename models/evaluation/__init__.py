"""Accuracy of variants and ensembles, measured through the files that nodes run."""
