"""Data maps: YAML files that say which classes of which data sets make up which labels.

    name: home
    parts: [train, test]                # by default both
    labels:
      cat:
        - cifar10/cat: 2000             # the first 2,000 of train, as large a share of test
        - cifar100/leopard              # all
      dog:
        - photos/n02085620..n02113978   # every class whose WordNet number lies between
    left_out:
      - photos/n02114855

A class that is named on its own is taken out of the ranges that cover it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from models.errors import DataMapError, YamlFileError
from models.manifest import Identifier
from models.yaml_file import read_yaml

MAPS = Path(__file__).parent / "maps"

_SOURCE = re.compile(r"(\w[\w.-]*)/(\w[\w .,'()&+-]*)")
_RANGE = re.compile(r"(n\d{8})\.\.(n\d{8})")


@dataclass(frozen=True, slots=True)
class Source:
    """Where some of a label's pictures come from.

    Attributes:
        dataset: the data set's folder.
        name: one class, or two WordNet numbers with `..` between them.
        take: at most so many pictures of each class of the train part; None takes all.
    """

    dataset: str
    name: str
    take: int | None = None

    @property
    def bounds(self) -> tuple[str, str] | None:
        """The first and last WordNet number of a range."""
        match = _RANGE.fullmatch(self.name)
        return (match[1], match[2]) if match else None

    def __str__(self) -> str:
        return f"{self.dataset}/{self.name}"


def _source(value: object) -> Source:
    take: int | None = None
    if isinstance(value, dict):
        if len(value) != 1:
            raise ValueError("is not one `dataset/class: N`; begin a line with - for each source")
        ((value, wanted),) = value.items()
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise ValueError(f"takes {wanted!r:.40} pictures; write a whole number of at least 1")
        take = wanted
    match = _SOURCE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"is {value!r:.60}; write dataset/class, or dataset/class: N")
    source = Source(match[1], match[2], take)
    if source.bounds and source.bounds[0] > source.bounds[1]:
        raise ValueError(f"is {value!r}, a range that ends before it begins; swap its ends")
    return source


def _folder_name(label: object) -> str:
    if not isinstance(label, str) or not re.fullmatch(r"\w[\w .-]{0,99}", label):
        raise ValueError(
            f"has {label!r:.60}, which is no usable label; write letters, digits, spaces, - and _, "
            "in quotes if YAML takes it for a number or a truth value"
        )
    return label


Sources = Annotated[tuple[Annotated[Source, BeforeValidator(_source)], ...], Field(min_length=1)]
Label = Annotated[str, BeforeValidator(_folder_name)]


class DataMap(BaseModel):
    """Labels and the classes that they are made of.

    Attributes:
        name: what the composed data set is called.
        parts: the parts that are composed.
        labels: each label's sources.
        left_out: classes that no label gets though a range covers them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Identifier
    parts: tuple[Literal["train", "test"], ...] = Field(default=("train", "test"), min_length=1)
    labels: dict[Label, Sources] = Field(min_length=2)
    left_out: tuple[Annotated[Source, BeforeValidator(_source)], ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> "DataMap":
        seen: dict[str, str] = {}
        for place, sources in (*self.labels.items(), ("left_out", self.left_out)):
            for source in sources:
                if str(source) in seen:
                    before = seen[str(source)]
                    raise ValueError(f"{source} stands under {before} and again under {place}")
                seen[str(source)] = place
        return self


def load_map(file: Path) -> DataMap:
    """Return the data map in a YAML file, or the shipped one of that name (`home`, `photos`).

    Raises:
        DataMapError: one sentence: file, place, what is wrong, what to do.
    """
    shipped = MAPS / f"{file}.yaml"
    if not file.exists() and shipped.is_file():
        file = shipped
    try:
        return DataMap.model_validate(_read(file))
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        more = f" ({len(errors) - 1} more after it)" if len(errors) > 1 else ""
        raise DataMapError(f"{file}: {_sentence(errors[0])}{more}") from None


def _read(file: Path) -> object:
    try:
        data = read_yaml(file)
    except FileNotFoundError:
        shipped = ", ".join(sorted(one.stem for one in MAPS.glob("*.yaml")))
        raise DataMapError(f"{file}: there is no such file; shipped maps: {shipped}") from None
    except YamlFileError as exc:
        raise DataMapError(f"{file}: {exc}") from exc
    if not isinstance(data, dict):
        raise DataMapError(f"{file}: holds no data map; begin with `name:` and `labels:`")
    return data


def _sentence(error: Any) -> str:
    loc = error["loc"][:-2] if error["loc"][-1:] == ("[key]",) else error["loc"]
    where = ".".join(str(part) for part in loc)
    match error["type"]:
        case "extra_forbidden":
            return f"{where} is unknown; known are {', '.join(DataMap.model_fields)}"
        case "missing":
            return f"{where} is missing; add it"
        case "value_error":
            return f"{where} {error['ctx']['error']}".strip()
    return f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}"
