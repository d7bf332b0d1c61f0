"""YAML files that people write, read strictly: every mistake is one sentence with its place."""

from pathlib import Path
from typing import Any

import yaml

from models.errors import YamlFileError

# Written by hand; anything larger is some other file.
MAX_FILE_BYTES = 1024 * 1024


def read_yaml(file: Path) -> object:
    """Return what a YAML file holds.

    Raises:
        FileNotFoundError: it is not there; only the caller knows what to propose instead.
        YamlFileError: it cannot be read, is too large, or is not strict YAML.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        text = content.decode()
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise YamlFileError(f"cannot be read ({exc.strerror}); check the path") from exc
    except UnicodeDecodeError as exc:
        raise YamlFileError("is not UTF-8 text; save it as UTF-8") from exc
    if len(content) > MAX_FILE_BYTES:
        raise YamlFileError("is larger than 1 MiB; this is some other file")
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlFileError(f"{place}{exc.problem or 'not YAML'}; correct it") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        reason = " ".join(str(exc).split())
        raise YamlFileError(f"is not YAML ({reason:.120}); correct it") from exc


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value!r} stands there twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)
