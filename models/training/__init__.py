"""Training and export of variants; PyTorch lives here and nowhere else."""
