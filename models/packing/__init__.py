"""Packs made of files that are there already: other people's models, further precisions."""
