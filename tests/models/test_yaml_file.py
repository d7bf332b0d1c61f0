from pathlib import Path

import pytest

from models.errors import YamlFileError
from models.yaml_file import MAX_FILE_BYTES, read_yaml


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: 1\nb: 2\na: 3\n", "line 3, column 1: 'a' stands there twice; correct it"),
        (b"a: [1\n", "line 2, column 1: .*; correct it"),
        (b"a: \xff\n", "is not UTF-8 text; save it as UTF-8"),
        (b"#" * (MAX_FILE_BYTES + 1), "is larger than 1 MiB"),
        (b"a: 2026-02-31\n", r"is not YAML \(.*\); correct it"),
        (b"[" * 5000, r"is not YAML \(.*\); correct it"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_place(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    with pytest.raises(YamlFileError, match=sentence) as refused:
        read_yaml(file)
    assert len(str(refused.value).splitlines()) == 1


def test_a_sound_file_is_read_and_a_missing_one_is_the_callers(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("a: [1, {b: off}]\n")
    assert read_yaml(tmp_path / "file.yaml") == {"a": [1, {"b": False}]}
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "nothing.yaml")
    with pytest.raises(YamlFileError, match=r"cannot be read .*; check the path"):
        read_yaml(tmp_path)
