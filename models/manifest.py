"""A pack's manifest: what `pack.json` holds and what makes it valid (`PACKS.md`)."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.interface import OURS, Interface
from models.rules import Rule

# A prediction names its class in at most two bytes.
MAX_CLASSES = 65_535
MAX_VARIANTS = 64
# Each variant sees at least three quarters of the picture's width and height.
MAX_INPUT_OFFSET = 0.25
# The paper's largest variant (Vim7) is 8 MB in float32; a full MobileNetV2 1.0 is 14 MB.
MAX_MODEL_BYTES = 64 << 20

# What a variant's entry may say since format 2; a pack of format 1 has none of it.
FORMAT_2_FIELDS = frozenset({"size_bytes", "latency_ms", "interface", "alternatives"})

# All pairs of the most variants there may be, or all sets of twelve.
MAX_ENSEMBLES = 4096


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
IDENTIFIER = r"^[A-Za-z0-9_-]{1,64}$"
Identifier = Annotated[str, Field(pattern=IDENTIFIER)]
Precision = Literal["float32", "float16", "int8"]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}\.tflite$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[Finite, Field(ge=-MAX_INPUT_OFFSET, le=MAX_INPUT_OFFSET)]
Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Prose = Annotated[str, Field(max_length=4000)]
Share = Annotated[float, Field(ge=0, le=1)]
SizeBytes = Annotated[int, Field(ge=1, le=MAX_MODEL_BYTES)]
LatencyMs = Annotated[Finite, Field(gt=0, le=1e6)]


class FileEntry(BaseModel):
    """One .tflite file: a variant in one precision.

    Attributes:
        file: its name within the pack.
        sha256: its hash, in hex.
        precision: of its weights; "int8" files also compute in it where they can.
        size_bytes: its size.
        validation_accuracy: top-1 share on data it was not trained on.
        latency_ms: median of one inference on one thread, on the machine that packed it: right as
            a ratio between files, not as what a node will need.
        provenance: how it was made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: FileName
    sha256: Sha256
    precision: Precision
    size_bytes: SizeBytes | None = None
    validation_accuracy: Share | None = None
    latency_ms: LatencyMs | None = None
    provenance: Prose = ""

    @property
    def model_id(self) -> int:
        """The first four bytes of the SHA-256, little-endian: what predictions carry."""
        return int.from_bytes(bytes.fromhex(self.sha256[:8]), "little")


class VariantEntry(BaseModel):
    """One variant as the manifest describes it.

    It may come in several precisions. The entry itself describes the default one, the most
    accurate; `alternatives` are the others. Whichever file computes, it is the same vote.

    Attributes:
        name: V1 … V7, Vim1 … or any identifier.
        file: the default file's name within the pack.
        sha256: that file's hash, in hex.
        precision: that file's, see `FileEntry`.
        size_bytes: that file's.
        resolution: ρ, the side of the square input in pixels.
        width: d, the width factor.
        input_offset: (dx, dy), how far its view is shifted, in fractions of the picture.
        weight: of its answers, by Eq. 1 where the pack has an α.
        parameters: how many it has; 0 where that is not known.
        macs: multiply-accumulates per inference; 0 where that is not known.
        validation_accuracy: the default file's top-1 share on data it was not trained on.
        latency_ms: the default file's, see `FileEntry`.
        provenance: where its weights come from and how they were trained.
        interface: what its files take and return.
        alternatives: further precisions, each at most once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Identifier
    file: FileName
    sha256: Sha256
    precision: Precision
    size_bytes: SizeBytes | None = None
    resolution: Annotated[int, Field(ge=8, le=2048)]
    width: Annotated[Finite, Field(gt=0, le=16)]
    input_offset: tuple[Offset, Offset] = (0.0, 0.0)
    weight: Annotated[Finite, Field(gt=0, le=1e6)]
    parameters: Annotated[int, Field(ge=0)]
    macs: Annotated[int, Field(ge=0)]
    validation_accuracy: Share | None = None
    latency_ms: LatencyMs | None = None
    provenance: Prose = ""
    interface: Interface = OURS
    alternatives: tuple[FileEntry, ...] = ()

    @model_validator(mode="after")
    def _has_each_precision_once(self) -> Self:
        _distinct(self.precisions)
        return self

    @property
    def model_id(self) -> int:
        """The default file's, see `FileEntry.model_id`."""
        return self.files[0].model_id

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """All its files, the default one first."""
        default = FileEntry.model_construct(
            file=self.file,
            sha256=self.sha256,
            precision=self.precision,
            size_bytes=self.size_bytes,
            validation_accuracy=self.validation_accuracy,
            latency_ms=self.latency_ms,
            provenance=self.provenance,
        )
        return (default, *self.alternatives)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions it comes in, the default one first."""
        return (self.precision, *(other.precision for other in self.alternatives))


class EnsembleEntry(BaseModel):
    """What a set of variants gets right together.

    Attributes:
        variants: their names.
        accuracy: top-1 share of their combined answers, by the pack's rule, weights and k, on data
            that none of them was trained on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: Annotated[
        tuple[Identifier, ...],
        Field(min_length=1, max_length=MAX_VARIANTS),
        AfterValidator(_distinct),
    ]
    accuracy: Share


class PackManifest(BaseModel):
    """What `pack.json` holds.

    Attributes:
        format: the version of this format; 1 knows one file a variant and our own interface.
        name: of the pack.
        version: of the pack, in its maker's own counting.
        labels: the C classes in the order of the models' scores.
        rule: how answers combine, see `models.ensemble.combine`.
        k: how many scores a variant sends.
        alpha: α of Eq. 1, by which the weights were computed; None where it was otherwise.
        variants: by rising cost.
        ensembles: what sets of them get right together; none, some or all sets.
        description: what it recognises and how well.
        sources: the data and weights it was made from.
        licence: under which the files may be used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1, 2] = 2
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
    ensembles: Annotated[tuple[EnsembleEntry, ...], Field(max_length=MAX_ENSEMBLES)] = ()
    description: Prose = ""
    sources: Prose = ""
    licence: Prose = ""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.k > len(self.labels):
            raise ValueError(f"k is {self.k}, but there are only {len(self.labels)} labels")
        _distinct(tuple(variant.name for variant in self.variants))
        files = [file for variant in self.variants for file in variant.files]
        _distinct(tuple(file.file for file in files))
        if len({file.model_id for file in files}) != len(files):
            raise ValueError("two files are the same model, a prediction could not tell them")
        self._has_sound_ensembles()
        if self.format == 1:
            self._is_of_format_1()
        return self

    def _has_sound_ensembles(self) -> None:
        names = {variant.name for variant in self.variants}
        seen: set[frozenset[str]] = set()
        for entry in self.ensembles:
            if unknown := sorted(set(entry.variants) - names):
                raise ValueError(f"an ensemble names {unknown[0]}, which is none of the variants")
            if frozenset(entry.variants) in seen:
                raise ValueError(f"the ensemble {' + '.join(entry.variants)} is there twice")
            seen.add(frozenset(entry.variants))

    def _is_of_format_1(self) -> None:
        if self.ensembles:
            raise ValueError("ensembles need format 2")
        for variant in self.variants:
            if newer := sorted(FORMAT_2_FIELDS & variant.model_fields_set):
                raise ValueError(f"{newer[0]} of {variant.name} needs format 2")
