"""The variants: their packs, pre-processing, TFLite runtime and the ensemble arithmetic."""
