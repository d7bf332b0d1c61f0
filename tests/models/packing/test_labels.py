from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import LabelsError
from models.packing.labels import MAX_FILE_BYTES, check_count, read_labels


def write(folder: Path, content: bytes) -> Path:
    file = folder / "labels.txt"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    "content",
    [b"cat\ndog\n", b"cat\r\ndog\r\n\r\n", b"  cat\n\tdog", b"\xef\xbb\xbfcat\ndog\n\n \n"],
)
def test_a_line_is_a_label(tmp_path: Path, content: bytes) -> None:
    assert read_labels(write(tmp_path, content)) == ("cat", "dog")


def test_labels_are_made_distinct(tmp_path: Path) -> None:
    content = b"crane\ncrane (2)\ncrane\ncrane\n"
    assert read_labels(write(tmp_path, content)) == ("crane", "crane (2)", "crane (3)", "crane (4)")


@given(st.lists(st.sampled_from(["a", "a (2)", "a (3)", "a (2) (2)", "b"]), min_size=1))
def test_distinct_labels_keep_their_number_and_order(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    labels = read_labels(write(tmp_path_factory.mktemp("labels"), "\n".join(lines).encode()))
    assert len(set(labels)) == len(lines)
    assert all(label.startswith(line) for label, line in zip(labels, lines, strict=True))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cat\n\ndog\n", "line 2 of .* holds no label"),
        (b"cat\ndo\x00g\n", "line 2 of .* holds no label"),
        (b"\xff\xfe\x00", "is no UTF-8 text"),
        (b"x" * (MAX_FILE_BYTES + 1), "is larger than"),
    ],
    ids=["empty line", "control character", "binary", "huge"],
)
def test_what_is_no_list_of_labels_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(LabelsError, match=reason) as caught:
        read_labels(write(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot be read: No such file"):
        read_labels(tmp_path / "labels.txt")


def test_there_is_a_label_a_class() -> None:
    file = Path("labels.txt")
    check_count(("cat", "dog"), 2, file)
    with pytest.raises(LabelsError, match=r"returns 5 classes, labels.txt has 2 labels$"):
        check_count(("cat", "dog"), 5, file)
    with pytest.raises(LabelsError, match="background"):
        check_count(("cat", "dog"), 3, file)
