"""Cameras in, frames out, answers in, results out: the house's end of idlesight."""
