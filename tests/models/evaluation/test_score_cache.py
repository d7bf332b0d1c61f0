from pathlib import Path

import numpy as np
import pytest

from models.dataset import Dataset
from models.datasets import TEST, read_dataset
from models.evaluation import score_cache
from models.evaluation.accuracy import scores_of
from models.evaluation.score_cache import CacheError, ScoreCache, fingerprint
from models.pack import Pack


@pytest.fixture
def dataset(tiny_pack: Pack, labelled_pictures: Path) -> Dataset:
    return read_dataset(labelled_pictures, TEST, 32, labels=tiny_pack.labels)


def never(_done: int, _of: int) -> None:
    raise AssertionError("classified again")


def test_scores_are_those_of_the_files_and_are_computed_once(
    tiny_pack: Pack, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ScoreCache(tmp_path / "cache")
    expected = scores_of(tiny_pack, dataset)
    for entry in tiny_pack.manifest.variants:
        found = cache.scores(tiny_pack, entry, dataset, fingerprint(dataset))
        np.testing.assert_array_equal(found, expected[entry.name])
    assert len(list((tmp_path / "cache").iterdir())) == 2
    monkeypatch.setattr(score_cache, "classify", never)
    entry = tiny_pack.manifest.variants[0]
    again = cache.scores(tiny_pack, entry, dataset, fingerprint(dataset))
    np.testing.assert_array_equal(again, expected["V1"])


def test_a_run_that_was_stopped_goes_on_where_it_was(
    tiny_pack: Pack, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_cache, "CHUNK_PICTURES", 8)
    cache, entry = ScoreCache(tmp_path), tiny_pack.manifest.variants[0]

    def stop(done: int, _of: int) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.scores(tiny_pack, entry, dataset, fingerprint(dataset), on_progress=stop)
    (partial,) = tmp_path.glob("*.partial")
    assert partial.stat().st_size == 16 * 10 * 4  # two chunks of eight
    with partial.open("ab") as stream:
        stream.write(b"a row cut off")
    seen: list[int] = []
    found = cache.scores(
        tiny_pack, entry, dataset, fingerprint(dataset), on_progress=lambda n, _: seen.append(n)
    )
    np.testing.assert_array_equal(found, scores_of(tiny_pack, dataset)["V1"])
    assert min(seen) == 16
    assert seen[-1] == len(dataset)
    assert not list(tmp_path.glob("*.partial"))


def test_other_pictures_and_other_views_are_other_scores(
    tiny_pack: Pack, dataset: Dataset, tmp_path: Path
) -> None:
    cache, entry = ScoreCache(tmp_path), tiny_pack.manifest.variants[0]
    fewer = dataset.subset(np.arange(12))
    shifted = entry.model_copy(update={"input_offset": (0.1, 0.1)})
    assert len(cache.scores(tiny_pack, entry, dataset, fingerprint(dataset))) == 40
    assert len(cache.scores(tiny_pack, entry, fewer, fingerprint(fewer))) == 12
    cache.scores(tiny_pack, shifted, dataset, fingerprint(dataset))
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_fingerprint_is_of_pixels_classes_and_labels(dataset: Dataset) -> None:
    changed = Dataset(dataset.pixels.copy(), dataset.targets, dataset.labels, dataset.files)
    assert fingerprint(changed) == fingerprint(dataset)
    changed.pixels[7, 1, 3, 3] ^= 1
    relabelled = Dataset(dataset.pixels, dataset.targets[::-1], dataset.labels, dataset.files)
    prints = {fingerprint(one) for one in (dataset, changed, relabelled)}
    assert len(prints) == 3


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tiny_pack: Pack, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match="name another with --cache"):
        ScoreCache(tmp_path / "file").scores(
            tiny_pack, tiny_pack.manifest.variants[0], dataset, fingerprint(dataset)
        )
