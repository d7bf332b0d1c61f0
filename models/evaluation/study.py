"""One pack on the test pictures of its own data set: what every accuracy figure begins with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.datasets import TEST, read_dataset
from models.evaluation.outcomes import Outcome, every_subset, outcomes
from models.evaluation.paper import TITLES
from models.evaluation.score_cache import ScoreCache, fingerprint
from models.evaluation.subsets import top_m_of
from models.pack import Pack, VariantEntry
from models.rules import Rule

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer[Any]]
OnProgress = Callable[[str, int, int], None]

LARGEST_FAMILY = 8
"""Of so many variants every subset is looked at: 255. Further ones would double them each."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A pack's variants and what they scored.

    Attributes:
        pack: the pack.
        family: the variants looked at, by rising cost.
        left_out: the pack's other variants: of another precision, or too many.
        scores: (N, C) of each variant of the family.
        targets: (N,), the right classes.
        data_fingerprint: of the pictures.
        subsets: what every non-empty subset of the family gets right at the pack's k and rule.
    """

    pack: Pack
    family: tuple[VariantEntry, ...]
    left_out: tuple[str, ...]
    scores: Mapping[str, Floats]
    targets: Ints
    data_fingerprint: str
    subsets: Mapping[frozenset[str], Outcome]

    @property
    def name(self) -> str:
        """The pack's name, which is its data set's."""
        return self.pack.name

    @property
    def title(self) -> str:
        """The data set's name as people write it."""
        return TITLES.get(self.name, self.name)

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of the family, by rising cost."""
        return tuple(entry.name for entry in self.family)

    @property
    def weights(self) -> dict[str, float]:
        """Each variant's share by Eq. 1."""
        return {entry.name: entry.weight for entry in self.family}

    @property
    def macs(self) -> dict[str, int]:
        """Each variant's multiply-accumulates."""
        return {entry.name: entry.macs for entry in self.family}

    @property
    def m(self) -> int:
        """The m of its top-m."""
        return top_m_of(len(self.pack.labels))

    @property
    def everyone(self) -> Outcome:
        """What all variants of the family get right together."""
        return self.subsets[frozenset(self.variants)]

    def alone(self, name: str) -> Outcome:
        """Return what one variant gets right by itself."""
        return self.subsets[frozenset((name,))]

    def together(self, *, k: int, rule: Rule) -> Outcome:
        """Return what the whole family gets right at another k or by another rule."""
        (outcome,) = outcomes(
            self.scores, self.weights, self.targets, [self.variants], k=k, rule=rule, m=self.m
        )
        return outcome


def read_study(
    pack: Pack,
    test_pictures: Path,
    cache: ScoreCache,
    *,
    limit: int | None = None,
    threads: int = 1,
    on_progress: OnProgress = lambda _what, _done, _of: None,
) -> Study:
    """Return the pack's scores on the pictures, from the cache where they are known.

    Args:
        pack: the pack.
        test_pictures: a folder of class folders named as the pack's labels.
        cache: where scores are kept.
        limit: only the first so many pictures a class.
        threads: that the interpreter may use.
        on_progress: called with (what, done, of).

    Raises:
        DatasetError: the folder cannot be used.
        CacheError: the cache cannot be used.
    """
    dataset = read_dataset(
        test_pictures,
        TEST,
        pack.largest_resolution,
        labels=pack.labels,
        limit=limit,
        on_progress=lambda done, of: on_progress(f"{pack.name} pictures", done, of),
    )
    data_fingerprint = fingerprint(dataset)
    family, left_out = family_of(pack.manifest.variants)
    scores = {
        entry.name: cache.scores(
            pack,
            entry,
            dataset,
            data_fingerprint,
            threads=threads,
            on_progress=lambda done, of, name=entry.name: on_progress(  # type: ignore[misc]
                f"{pack.name} {name}", done, of
            ),
        )
        for entry in family
    }
    found = outcomes(
        scores,
        {entry.name: entry.weight for entry in family},
        dataset.targets,
        every_subset([entry.name for entry in family]),
        k=pack.manifest.k,
        rule=pack.manifest.rule,
        m=top_m_of(len(pack.labels)),
    )
    subsets = {frozenset(outcome.variants): outcome for outcome in found}
    return Study(pack, family, left_out, scores, dataset.targets, data_fingerprint, subsets)


def family_of(
    entries: Sequence[VariantEntry],
) -> tuple[tuple[VariantEntry, ...], tuple[str, ...]]:
    """Return (the variants to look at, the names of the others).

    A variant in another precision is the same network again, so the first precision counts.
    """
    family = [entry for entry in entries if entry.precision == entries[0].precision]
    family = family[:LARGEST_FAMILY]
    names = {entry.name for entry in family}
    return tuple(family), tuple(entry.name for entry in entries if entry.name not in names)
