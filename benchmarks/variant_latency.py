"""How much faster each variant is than MobileNetV2 1.0 at 224 px, in turns on one core."""

import sys
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from models.evaluation.latency import ratio_of_medians, spread
from models.evaluation.latency_run import find_subjects, measure
from models.evaluation.paper import TARGET_SPEED_UPS
from models.pack import load_pack
from models.specs import BASELINE

ROUNDS = 200
EXPORTS = Path("runs/reproduction/exports")


def variant_latency() -> list[Row]:
    """Time the shipped pack's variants, and those it lacks with random weights; a row a variant."""
    pack = load_pack()
    print("exporting networks that are not exported yet …", file=sys.stderr)
    subjects, missing = find_subjects([pack], len(pack.labels), EXPORTS)
    if BASELINE.name in missing:
        print("PyTorch is not installed: variants are not timed", file=sys.stderr)
        return []
    run = measure(subjects, ROUNDS)
    rng = np.random.default_rng(0)
    baseline_ms = run.samples_ms[BASELINE.name]
    rows = []
    for name, target in TARGET_SPEED_UPS.items():
        if name in missing:
            continue
        ratio = ratio_of_medians(baseline_ms, run.samples_ms[name], rng)
        rows.append(
            Row(
                f"{name} against MobileNetV2 1.0 at 224 px, one thread ({run.sources[name]})",
                f"{spread(run.samples_ms[name]).median_ms:.2f} ms, {ratio.value:.1f} × faster "
                f"({ratio.low:.1f} – {ratio.high:.1f})",
                f"≥ {target:g} ×",
                ratio.low >= target,
                f"{spread(baseline_ms).median_ms:.2f} ms",
            )
        )
    return rows
