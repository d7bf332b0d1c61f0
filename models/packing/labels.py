"""The labels of somebody else's model: one a line, in the order of its scores."""

from collections import Counter
from pathlib import Path

from models.errors import LabelsError

# Room for the 21,841 labels of the whole ImageNet; a model named by mistake is larger.
MAX_FILE_BYTES = 1 << 20


def read_labels(file: Path) -> tuple[str, ...]:
    """Return the labels in a text file, made distinct: a second `crane` becomes `crane (2)`.

    Raises:
        LabelsError: the file cannot be read, is no text, or has an empty line among its labels.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise LabelsError(f"the labels {file} cannot be read: {exc.strerror}") from exc
    if len(content) > MAX_FILE_BYTES:
        raise LabelsError(f"{file} is larger than {MAX_FILE_BYTES} bytes: give one label a line")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise LabelsError(f"{file} is no UTF-8 text: give one label a line") from exc
    lines = [line.strip() for line in text.rstrip().splitlines()]
    for number, line in enumerate(lines, start=1):
        if not line or not line.isprintable():
            raise LabelsError(f"line {number} of {file} holds no label: give one label a line")
    return _distinct(lines)


def check_count(labels: tuple[str, ...], class_count: int, file: Path) -> None:
    """Refuse labels that are not one a class.

    Raises:
        LabelsError: there are more or fewer.
    """
    if len(labels) == class_count:
        return
    hint = ""
    if class_count == len(labels) + 1:
        hint = ": does it count a background class? then `background` is the first line"
    raise LabelsError(
        f"the model returns {class_count} classes, {file} has {len(labels)} labels{hint}"
    )


def _distinct(lines: list[str]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    taken = set(lines)
    labels: list[str] = []
    for line in lines:
        seen[line] += 1
        label = line
        if seen[line] > 1:
            while (label := f"{line} ({seen[line]})") in taken:
                seen[line] += 1
            taken.add(label)
        labels.append(label)
    return tuple(labels)
