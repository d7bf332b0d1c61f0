"""A pack's manifest: what `pack.json` holds and what makes it valid."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.rules import Rule

# A prediction names its class in at most two bytes.
MAX_CLASSES = 65_535
MAX_VARIANTS = 64
# Each variant sees at least three quarters of the picture's width and height.
MAX_INPUT_OFFSET = 0.25


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name!r} is there twice")
        seen.add(name)
    return names


def _printable(label: str) -> str:
    if not label.isprintable() or label != label.strip():
        raise ValueError("a label is printable text without spaces around it")
    return label


Finite = Annotated[float, Field(allow_inf_nan=False)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ModelFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}\.tflite$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[Finite, Field(ge=-MAX_INPUT_OFFSET, le=MAX_INPUT_OFFSET)]
Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Prose = Annotated[str, Field(max_length=4000)]


class VariantEntry(BaseModel):
    """One variant as the manifest describes it.

    Attributes:
        name: V1 … V7, Vim1 … or any identifier.
        file: its .tflite file's name within the pack.
        sha256: that file's hash, in hex.
        precision: of its weights.
        resolution: ρ, the side of the square input in pixels.
        width: d, the width factor.
        input_offset: (dx, dy), how far its view is shifted, in fractions of the picture.
        weight: of its answers, by Eq. 1 where the pack has an α.
        parameters: how many it has; 0 where that is not known.
        macs: multiply-accumulates per inference; 0 where that is not known.
        validation_accuracy: top-1 share on data it was not trained on.
        provenance: where its weights come from and how they were trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Identifier
    file: ModelFile
    sha256: Sha256
    precision: Literal["float32", "float16", "int8"]
    resolution: Annotated[int, Field(ge=8, le=2048)]
    width: Annotated[Finite, Field(gt=0, le=16)]
    input_offset: tuple[Offset, Offset] = (0.0, 0.0)
    weight: Annotated[Finite, Field(gt=0, le=1e6)]
    parameters: Annotated[int, Field(ge=0)]
    macs: Annotated[int, Field(ge=0)]
    validation_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    provenance: Prose = ""

    @property
    def model_id(self) -> int:
        """The first four bytes of the file's SHA-256, little-endian: what predictions carry."""
        return int.from_bytes(bytes.fromhex(self.sha256[:8]), "little")


class PackManifest(BaseModel):
    """What `pack.json` holds.

    Attributes:
        format: the version of this format.
        name: of the pack.
        version: of the pack, in its maker's own counting.
        labels: the C classes in the order of the models' scores.
        rule: how answers combine, see `models.ensemble.combine`.
        k: how many scores a variant sends.
        alpha: α of Eq. 1, by which the weights were computed; None where it was otherwise.
        variants: by rising cost.
        description: what it recognises and how well.
        sources: the data and weights it was made from.
        licence: under which the files may be used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: Identifier
    version: Annotated[str, Field(min_length=1, max_length=40)]
    labels: Annotated[
        tuple[Label, ...],
        Field(min_length=2, max_length=MAX_CLASSES),
        AfterValidator(_distinct),
    ]
    rule: Rule
    k: Annotated[int, Field(ge=1)]
    alpha: Finite | None = None
    variants: Annotated[tuple[VariantEntry, ...], Field(min_length=1, max_length=MAX_VARIANTS)]
    description: Prose = ""
    sources: Prose = ""
    licence: Prose = ""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.k > len(self.labels):
            raise ValueError(f"k is {self.k}, but there are only {len(self.labels)} labels")
        _distinct(tuple(variant.name for variant in self.variants))
        _distinct(tuple(variant.file for variant in self.variants))
        if len({variant.model_id for variant in self.variants}) != len(self.variants):
            raise ValueError("two variants are the same model, a prediction could not tell them")
        return self
