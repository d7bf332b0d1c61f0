"""Compose a data set from others by a data map: decide which pictures, then link them."""

import difflib
import functools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from models.datasets.data_map import DataMap, Source
from models.datasets.found import TRAIN, WHOLE, Found, find
from models.datasets.imagenet import synset
from models.datasets.part import Part
from models.errors import DataMapError, DatasetError


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """One picture and its place in the composed data set.

    Attributes:
        target: `<part>/<label>/<data set>-<class>-<file>`.
        part: where the picture is listed.
        index: which of its pictures.
    """

    target: PurePath
    part: Part
    index: int


def plan(data_map: DataMap, root: Path, parts: Sequence[str]) -> list[Placement]:
    """Return what goes where.

    Args:
        data_map: which classes make up which labels.
        root: the folder with the data sets that the map names.
        parts: train, test or both.

    Raises:
        DatasetError: a data set, one of its parts or a class is missing, or a class is claimed
            twice.
    """
    sets = _find_all(data_map, root)
    if len(parts) > 1:
        _refuse_undivided(sets)
    listing = functools.cache(lambda dataset, name: sets[dataset].part(name))
    placements: list[Placement] = []
    for name in parts:
        listed = {dataset: listing(dataset, name) for dataset in sets}
        claims = _claims(data_map, listed)
        for label, claimed in claims.items():
            for source, target in claimed:
                part = listed[source.dataset]
                indices = part.of_class(target)
                if source.take and (name == TRAIN or TRAIN not in sets[source.dataset].loaders):
                    indices = indices[: source.take]
                elif source.take:
                    train = listing(source.dataset, TRAIN)
                    indices = indices[: _share(source.take, part, target, train)]
                folder = PurePath(name, label)
                prefix = f"{source.dataset}-{part.keys[target]}-"
                placements += [
                    Placement(folder / f"{prefix}{_file_name(part, int(index))}", part, int(index))
                    for index in indices
                ]
    twice = [target for target, n in Counter(one.target for one in placements).items() if n > 1]
    if twice:
        raise DatasetError(f"two pictures would be called {twice[0]}: rename one's data set")
    return placements


def write(
    placements: Sequence[Placement],
    out: Path,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> None:
    """Write pictures as an image folder; hard links where the file system allows, else copies.

    It grows as `<out>.partial`, which a later call completes, and is renamed at the end.

    Raises:
        DatasetError: it exists already or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} exists: remove it first, or give another --out")
    partial = out.with_name(f"{out.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        _remove_strangers(partial, {one.target for one in placements})
        for folder in {one.target.parent for one in placements}:
            (partial / folder).mkdir(parents=True, exist_ok=True)
        for done, one in enumerate(placements):
            _place(one, partial / one.target)
            if done % 256 == 0:
                on_progress(done, len(placements))
        partial.rename(out)
    except OSError as exc:
        raise DatasetError(f"{out} cannot be written ({exc.strerror}): run it again") from exc
    on_progress(len(placements), len(placements))


def _find_all(data_map: DataMap, root: Path) -> dict[str, Found]:
    sources = [source for group in data_map.labels.values() for source in group]
    sets: dict[str, Found] = {}
    for source in (*sources, *data_map.left_out):
        if source.dataset in sets:
            continue
        path = root / source.dataset
        if not path.exists():
            there = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
            held = f"holds {', '.join(there[:8])}" if there else "is empty or no folder"
            raise DatasetError(
                f"{path} is missing, from which the map takes {source}; {root} {held}"
            )
        sets[source.dataset] = find(path)
    return sets


def _refuse_undivided(sets: dict[str, Found]) -> None:
    for dataset, found in sets.items():
        if found.parts == (WHOLE,):
            raise DatasetError(
                f"{dataset} has no train and test parts, so its pictures would come into both: "
                "choose one with --split"
            )


def _claims(data_map: DataMap, listed: dict[str, Part]) -> dict[str, list[tuple[Source, int]]]:
    """Return the classes that each label gets, as (source, index of the class)."""
    groups = [*data_map.labels.items(), (None, data_map.left_out)]
    claimed: dict[tuple[str, int], Source] = {}
    for _, sources in groups:
        for source in (one for one in sources if not one.bounds):
            _claim(claimed, source, _class_index(source, listed[source.dataset]))
    alone = set(claimed)
    classes: dict[str, list[tuple[Source, int]]] = {}
    for label, sources in groups:
        for source in sources:
            part = listed[source.dataset]
            if not source.bounds:
                found = [_class_index(source, part)]
            else:
                found = [
                    one for one in _between(source, part) if (source.dataset, one) not in alone
                ]
                if not found:
                    raise DataMapError(f"{source.dataset} has no class within {source.name}")
                for target in found:
                    _claim(claimed, source, target)
            if label is not None:
                classes.setdefault(label, []).extend((source, target) for target in found)
    return classes


def _claim(claimed: dict[tuple[str, int], Source], source: Source, target: int) -> None:
    before = claimed.setdefault((source.dataset, target), source)
    if before is not source:
        raise DataMapError(f"{source} and {before} are the same class: take one out of the map")


def _class_index(source: Source, part: Part) -> int:
    """Return the class of a name, or of the synset that both names begin with."""
    for names in (part.keys, part.labels):
        if names.count(source.name) == 1:
            return names.index(source.name)
    numbers = [synset(key) for key in part.keys]
    if synset(source.name) and numbers.count(synset(source.name)) == 1:
        return numbers.index(synset(source.name))
    close = difflib.get_close_matches(source.name, part.keys, n=1)
    proposal = f"did you mean {close[0]}?" if close else f"it has {', '.join(part.keys[:12])} …"
    raise DataMapError(f"{source.dataset} has no class {source.name!r}; {proposal}")


def _between(source: Source, part: Part) -> Iterator[int]:
    first, last = source.bounds or ("", "")
    for target, key in enumerate(part.keys):
        if first <= synset(key) <= last:
            yield target


def _share(take: int, part: Part, target: int, train: Part) -> int:
    """Return how many of a test class to take: as large a share as `take` is of train."""
    key = part.keys[target]
    in_train = len(train.of_class(train.keys.index(key))) if key in train.keys else take
    return max(1, round(len(part.of_class(target)) * take / in_train))


def _file_name(part: Part, index: int) -> str:
    return part.files[index].name if part.pixels is None else f"{part.files[index].name}.png"


def _remove_strangers(partial: Path, targets: set[PurePath]) -> None:
    """Take out of an unfinished data set what another map or a change to this one left there."""
    for file in [entry for entry in partial.rglob("*") if not entry.is_dir()]:
        if file.relative_to(partial) not in targets:
            file.unlink()
    for folder in sorted((entry for entry in partial.rglob("*") if entry.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _place(one: Placement, target: Path) -> None:
    beside = target.with_name(f"{target.name}.new")
    if one.part.pixels is not None:
        one.part.picture(one.index).save(beside, "PNG")
        beside.replace(target)
        return
    file = one.part.files[one.index]
    if target.exists():
        if _same(file, target):
            return
        target.unlink()
    try:
        os.link(file.resolve(), target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copy2(file, beside)
        beside.replace(target)


def _same(file: Path, target: Path) -> bool:
    if file.samefile(target):
        return True
    wanted, is_there = file.stat(), target.stat()  # copies keep their time of change
    return (wanted.st_size, wanted.st_mtime_ns) == (is_there.st_size, is_there.st_mtime_ns)
