"""`make bench`: every benchmark, side by side in one run."""

import os
import shutil
import sys

from benchmarks.assignment_simulation import assignment
from benchmarks.combining import certainty, combining, message_size
from benchmarks.cropping import cropping
from benchmarks.family_training import family_training
from benchmarks.guest import guest
from benchmarks.motion import CLIP, motion
from benchmarks.result_latency import result_latency
from benchmarks.rows import show
from benchmarks.variant_latency import variant_latency


def main() -> int:
    """Run all benchmarks and print one table."""
    load = os.getloadavg()[0]
    if load > 0.5 * (os.cpu_count() or 1):
        print(f"note: the machine is busy (load {load:.1f}), figures are worse than they are")
    rows = [*message_size(), *combining(), *certainty(), *assignment()]
    if CLIP.exists():
        rows += [*motion(), *cropping()]
    else:
        print(f"{CLIP.name} is not in ../shared: motion is left out", file=sys.stderr)
    if shutil.which("mosquitto") or os.access("/usr/sbin/mosquitto", os.X_OK):
        rows += result_latency()
        rows += guest()
    else:
        print("Mosquitto is not installed: latencies are left out", file=sys.stderr)
    rows += variant_latency()  # last: what it imports leaves threads behind
    rows += family_training()
    show(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
