"""What the sections are made from, each part measured when the first of them asks for it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from models.datasets.part import SUFFIXES
from models.errors import DatasetError
from models.evaluation.bandwidth import frame_sizes
from models.evaluation.latency_run import TIMED, LatencyRun, find_subjects, measure_once
from models.evaluation.progress import OnProgress
from models.evaluation.score_cache import ScoreCache
from models.evaluation.study import Study, read_study
from models.pack import Pack
from models.specs import BASELINE, RESOLUTIONS

FEWEST_PHOTOGRAPHS = 20
"""Fewer say little about a median."""

QUALITIES = (50, 70, 85, 95)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Table VII as far as it could be measured.

    Attributes:
        run: the samples; None where there was nothing to time.
        missing: the networks that could not be made.
        class_count: C of all of them.
    """

    run: LatencyRun | None
    missing: tuple[str, ...]
    class_count: int


@dataclass(frozen=True, slots=True)
class FrameSizes:
    """The bytes of photographs as frame messages.

    Attributes:
        by_quality: sizes by JPEG quality and side in pixels.
        too_few: the sides that too few photographs have.
        excuse: why nothing was measured; None where it was.
    """

    by_quality: dict[int, dict[int, list[int]]]
    too_few: tuple[int, ...]
    excuse: str | None


@dataclass(frozen=True)
class Evidence:
    """Packs and data, and what was measured of them.

    Attributes:
        packs: of different names.
        data: folder with one folder a data set, named as its pack.
        photographs: folder of pictures to encode as frames; None where there is none.
        cache: folder for what is measured.
        limit: test pictures a class; None is all of them.
        rounds: of the latency run.
        photograph_count: how many photographs are encoded at most.
        threads: of the interpreter that classifies test pictures.
        again: measure latencies anew.
        on_progress: told what goes on.
    """

    packs: tuple[Pack, ...]
    data: Path
    photographs: Path | None
    cache: Path
    limit: int | None
    rounds: int
    photograph_count: int
    threads: int
    again: bool
    on_progress: OnProgress

    @cached_property
    def studies(self) -> tuple[Study, ...]:
        """The packs whose test pictures are there, with what they scored."""
        cache = ScoreCache(self.cache / "scores")
        return tuple(
            read_study(
                pack,
                self.data / pack.name / "test",
                cache,
                limit=self.limit,
                threads=self.threads,
                on_progress=self.on_progress,
            )
            for pack in self.packs
            if (self.data / pack.name / "test").is_dir()
        )

    @cached_property
    def absent(self) -> tuple[str, ...]:
        """A sentence for each pack whose test pictures are not there."""
        return tuple(
            f"Pack `{pack.name}` is not measured: there is no folder `{pack.name}/test` below the "
            "data folder."
            for pack in self.packs
            if not (self.data / pack.name / "test").is_dir()
        )

    @cached_property
    def latencies(self) -> Latencies:
        """One-thread latencies, of the packs' files and of networks with random weights."""
        class_count = self._timed_class_count()
        subjects, missing = find_subjects(
            self.packs, class_count, self.cache / "exports", on_progress=self.on_progress
        )
        run = None
        if subjects:
            run = measure_once(
                subjects,
                self.rounds,
                self.cache / "latency",
                again=self.again,
                on_progress=self.on_progress,
            )
        return Latencies(run, tuple(missing), class_count)

    @cached_property
    def frame_sizes(self) -> FrameSizes:
        """The photographs as frame messages at every resolution that they have."""
        if self.photographs is None:
            return FrameSizes(
                {}, (), "Frames are not measured: no folder of photographs was given (`--frames`)."
            )
        pictures = self._read_photographs(self.photographs)
        by_side = {
            side: [picture for picture in pictures if min(picture.size) >= side]
            for side in RESOLUTIONS
        }
        sides = [side for side, found in by_side.items() if len(found) >= FEWEST_PHOTOGRAPHS]
        sizes: dict[int, dict[int, list[int]]] = {quality: {} for quality in QUALITIES}
        for done, side in enumerate(sides, start=1):
            for quality in QUALITIES:
                sizes[quality][side] = frame_sizes(by_side[side], side, quality)
            self.on_progress("frames", done, len(sides))
        too_few = tuple(side for side in RESOLUTIONS if side not in sides)
        excuse = None if sides else (
            f"Frames are not measured: fewer than {FEWEST_PHOTOGRAPHS} of the photographs have "
            f"{RESOLUTIONS[0]} pixels a side."
        )  # fmt: skip
        return FrameSizes(sizes, too_few, excuse)

    def _timed_class_count(self) -> int:
        """Return C of the pack that has most of the timed variants: its own files are timed."""
        names = {spec.name for spec in TIMED if spec != BASELINE}
        fullest = max(
            self.packs,
            key=lambda pack: len(names & {entry.name for entry in pack.manifest.variants}),
        )
        return len(fullest.labels)

    def _read_photographs(self, folder: Path) -> list[Image.Image]:
        """Return an even choice of the folder's pictures; what can't be read is left out.

        Raises:
            DatasetError: it is no folder or holds no pictures.
        """
        files = (
            sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
            if folder.is_dir()
            else []
        )
        if not files:
            raise DatasetError(f"{folder} holds no photographs: give a folder of pictures")
        step = max(1, len(files) // self.photograph_count)
        pictures = []
        for file in files[::step][: self.photograph_count]:
            try:
                with Image.open(file) as image:
                    pictures.append(image.convert("RGB"))
            except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
                continue
        return pictures
