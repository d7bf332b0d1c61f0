"""Labelled pictures in every format that training and evaluation take."""
