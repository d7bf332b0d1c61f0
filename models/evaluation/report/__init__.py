"""The paper's tables and figures from the packs and data at hand, as one report."""
