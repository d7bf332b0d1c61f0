import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest

from models.evaluation import latency_run
from models.evaluation.latency_run import (
    RANDOM_WEIGHTS,
    TIMED,
    Subject,
    find_subjects,
    measure,
    measure_once,
)
from models.evaluation.score_cache import CacheError
from models.pack import load_pack
from models.specs import VARIANTS, VariantSpec

TINY = (Path(__file__).resolve().parents[1] / "data" / "tiny.tflite").read_bytes()
SUBJECTS = [
    Subject(VariantSpec("V1", 32, 0.35, 256), TINY, "pack tiny"),
    Subject(VariantSpec("MobileNetV2", 32, 1.0, 1280), TINY + b"\0", RANDOM_WEIGHTS),
]


def export_nothing(_name: str) -> str:
    raise importlib.metadata.PackageNotFoundError


def test_a_run_has_a_sample_of_each_a_round() -> None:
    seen: list[tuple[str, int, int]] = []
    run = measure(SUBJECTS, 7, on_progress=lambda *step: seen.append(step))
    assert {name: samples.shape for name, samples in run.samples_ms.items()} == {
        "V1": (7,),
        "MobileNetV2": (7,),
    }
    assert all((samples > 0).all() for samples in run.samples_ms.values())
    assert run.sources == {"V1": "pack tiny", "MobileNetV2": RANDOM_WEIGHTS}
    assert 0 < run.core_share <= 1.01
    assert seen[-1] == ("latency", 7, 7)


def test_a_run_is_kept_and_measured_anew_when_asked(tmp_path: Path) -> None:
    first = measure_once(SUBJECTS, 5, tmp_path)
    kept = measure_once(SUBJECTS, 5, tmp_path)
    np.testing.assert_array_equal(kept.samples_ms["V1"], first.samples_ms["V1"])
    assert (kept.sources, kept.core_share) == (first.sources, first.core_share)
    again = measure_once(SUBJECTS, 5, tmp_path, again=True)
    assert (again.samples_ms["V1"] != first.samples_ms["V1"]).any()
    measure_once(SUBJECTS[:1], 5, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"samples_ms": {}, "load": 1})])
def test_a_run_that_another_version_kept_is_measured_anew(tmp_path: Path, content: str) -> None:
    measure_once(SUBJECTS, 5, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert set(measure_once(SUBJECTS, 5, tmp_path).samples_ms) == {"V1", "MobileNetV2"}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match="can't be read or written"):
        measure_once(SUBJECTS, 2, tmp_path / "file")


def test_packs_files_come_first_and_the_rest_needs_the_exporter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_run.importlib.metadata, "version", export_nothing)  # type: ignore[attr-defined]
    pack = load_pack()
    held = {entry.name for entry in pack.manifest.variants}
    subjects, missing = find_subjects([pack], len(pack.labels), tmp_path)
    assert [subject.spec.name for subject in subjects] == [
        spec.name for spec in TIMED if spec.name in held
    ]
    assert missing == [spec.name for spec in TIMED if spec.name not in held]
    assert subjects[0].model == pack.model(subjects[0].spec.name)


def test_a_pack_of_other_classes_is_not_timed_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_run.importlib.metadata, "version", export_nothing)  # type: ignore[attr-defined]
    subjects, missing = find_subjects([load_pack()], 100, tmp_path)
    assert subjects == []
    assert len(missing) == len(TIMED)


def test_an_exported_file_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("litert_torch")
    exported: list[str] = []

    def export(spec: VariantSpec, class_count: int) -> bytes:
        exported.append(f"{spec.name} {class_count}")
        return TINY

    monkeypatch.setattr("models.training.untrained.random_model", export)
    monkeypatch.setattr(latency_run, "TIMED", (VARIANTS["V1"], VARIANTS["V7"]))
    for _ in range(2):
        subjects, missing = find_subjects([], 12, tmp_path)
        assert [subject.source for subject in subjects] == [RANDOM_WEIGHTS] * 2
        assert missing == []
    assert exported == ["V1 12", "V7 12"]
