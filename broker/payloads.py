"""The JSON payloads, checked at the edge; `PROTOCOL.md` describes them for other languages.

Long, but one list: a class for each payload and nothing else.
"""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from broker.codecs import MAX_CLASS_COUNT
from broker.errors import PayloadError

ONLINE: Final = "online"
OFFLINE: Final = "offline"

# How long answers to a frame may be waited for; a frame message has 16 bits for it.
DEADLINE_LIMITS_MS: Final = (10, 60_000)

MAX_JSON_BYTES = 64 * 1024  # the largest, a result with 1,000 labels in `top`, stays below

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}\z")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Session = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,32}\z")]
UtcTime = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


class _Payload(BaseModel):
    model_config = ConfigDict(
        extra="ignore",  # a newer sender has fields that this receiver does not know
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )


class Counts(_Payload):
    """What became of the frames a node received since its start."""

    frames: Count = 0
    answered: Count = 0
    evicted: Count = 0
    skipped: Count = 0
    dropped: Count = 0


class OwnerReport(_Payload):
    """What the device's owner gave since the node's start.

    Attributes:
        cpu_s: processor time taken, all processes together.
        idle_share: part of the otherwise idle processor time that it took.
        yields: how often it stopped for somebody else.
        yield_ms_p50: from the decision to stop to the end of the inference in hand.
        yield_ms_max: the longest of those.
    """

    cpu_s: Seconds | None = None
    idle_share: Share | None = None
    yields: Count = 0
    yield_ms_p50: Milliseconds | None = None
    yield_ms_max: Milliseconds | None = None


class NodeState(_Payload):
    """Whether a node works or pauses and why, and how it does.

    Attributes:
        session: drawn anew at each start of the node; another one is another process.
        up_s: how long that process has been at work.
        reason: one sentence; empty while it works.
        cause: the signal that makes it pause, one word.
        paused_by_hand: whether the owner's pause is in force.
        model: SHA-256 of the `.tflite` file it holds.
        foreign_cpu: share of the CPUs that others use.
        foreign_cpu_core: the same for the busiest core.
        temperature_c: of the part that is nearest to its limit.
        battery: charge, 0 to 1.
        battery_discharging: whether the device lives on its battery.
        fixed_variant: the owner chose the variant; an assignment cannot change it.
        variants: the variants its pack offers.
        fetches: it can take any other model file from the broker.
        lacks: SHA-256 of the assigned model, where it could not be had from the broker.
    """

    node: Id
    state: Literal["working", "paused", "starting", "unassigned", "failed"]
    session: Session | None = None
    up_s: Seconds | None = None
    reason: Annotated[str, StringConstraints(max_length=500)] = ""
    cause: Name | None = None
    paused_by_hand: bool = False
    pack: Name | None = None
    variant: Name | None = None
    model: Sha256 | None = None
    inference_ms_p50: Milliseconds | None = None
    inference_ms_p95: Milliseconds | None = None
    foreign_cpu: Share | None = None
    foreign_cpu_core: Share | None = None
    memory_available_mib: Annotated[float, Field(ge=0)] | None = None
    temperature_c: float | None = None
    battery: Share | None = None
    battery_discharging: bool | None = None
    fixed_variant: bool = False
    variants: list[Name] = Field(default_factory=list, max_length=256)
    fetches: bool = False
    lacks: Sha256 | None = None
    counts: Counts = Counts()
    owner: OwnerReport | None = None
    version: Name


class NodeCommand(_Payload):
    """What a user, Home Assistant or another node of the same name asks of a node.

    Attributes:
        paused: pause or go on; None leaves it as it is.
        for_s: how long the pause lasts; None: until it is resumed.
        announce: publish the state now.
    """

    paused: bool | None = None
    for_s: Annotated[float, Field(ge=1, le=366 * 86400)] | None = None
    announce: bool = False


class ModelDescription(_Payload):
    """What a node must know of a model file that is in no pack of its own.

    Whether it makes sense is checked by whoever uses it, by the rules of a pack's manifest.

    Attributes:
        size_bytes: of the file; None where the pack does not say.
        precision: of its weights.
        classes: C, how many scores it returns.
        k: how many of them a node sends.
        resolution: ρ, the side of its square input in pixels.
        input_offset: (dx, dy), how far its view is shifted, in fractions of the picture.
        input_range: what RGB 0 and 255 become.
        output: what it returns.
    """

    size_bytes: Annotated[int, Field(ge=1, lt=2**32)] | None = None
    precision: Literal["float32", "float16", "int8"]
    classes: Annotated[int, Field(ge=1, le=MAX_CLASS_COUNT)]
    k: Annotated[int, Field(ge=1, le=MAX_CLASS_COUNT)]
    resolution: Annotated[int, Field(ge=1, le=0xFFFF)]
    input_offset: tuple[float, float] = (0.0, 0.0)
    input_range: tuple[float, float] = (0.0, 255.0)
    output: Literal["probabilities", "logits"] = "probabilities"


class Assignment(_Payload):
    """What a node is to run; an empty `cameras` means all of them.

    Attributes:
        model: SHA-256 of the `.tflite` file.
        description: of that file, for a node whose pack lacks it: its parts are on the broker, or
            will be when the node says that it lacks them. None where the gateway sends no models.
    """

    pack: Name
    variant: Name
    model: Sha256
    cameras: list[Id] = Field(default_factory=list, max_length=1000)
    description: ModelDescription | None = None


class NodePlan(_Payload):
    """One node's part in the plan.

    Attributes:
        variant: what it is to run.
        chance: that it answers a frame by its deadline, as expected.
        inference_ms_p95: of that variant there; None while nothing was measured.
        measured: whether it was measured with that variant, else it is scaled from another one.
    """

    node: Id
    variant: Name
    chance: Share
    inference_ms_p95: Milliseconds | None = None
    measured: bool = False


class PlanReport(_Payload):
    """Which node is to run which variant, since when, why, and what is expected of it.

    Attributes:
        reason: what led to the last change, one sentence.
        since: when that was.
        expected_accuracy: share of frames that get a right answer by their deadline.
        expected_answered: share of frames that get any answer by their deadline.
        nodes: those that are there and can run one of the pack's variants.
    """

    pack: Name
    reason: Annotated[str, StringConstraints(max_length=500)]
    since: UtcTime
    expected_accuracy: Share
    expected_answered: Share
    nodes: list[NodePlan] = Field(max_length=1000)


class Contributor(_Payload):
    """A node whose answer is part of a result, and its inference time."""

    node: Id
    variant: Name
    ms: Milliseconds


class LabelScore(_Payload):
    """One label and its combined score."""

    label: str
    score: Share


class Region(_Payload):
    """A part of a frame, in shares of its width and height; (0, 0) is its upper left corner."""

    x: Share
    y: Share
    width: Share
    height: Share


class Result(_Payload):
    """The combined answer for one frame; the public contract for automations.

    "No answer" is never "nothing seen": `status` tells them apart, and a result without an
    answer carries neither a label nor a confidence.

    Attributes:
        region: the part of the frame that was looked at; None for all of it.
        quorum: the smallest number of contributors for `answered`.
        agreement: share of the contributors whose own best label is the winner.
        slack_ms: what was left of the deadline.
        age_ms: from the taking of the picture to the result.
    """

    camera: Id
    frame: Count
    captured_at: UtcTime
    status: Literal["answered", "unsure", "no_answer"]
    label: str | None
    confidence: Share | None
    top: list[LabelScore] = Field(max_length=1000)
    decided: Literal["all", "certain", "deadline"]
    contributors: list[Contributor] = Field(max_length=1000)
    expected: Count
    missing: list[Id] = Field(max_length=1000)
    latency_ms: Milliseconds
    deadline_ms: Count
    pack: Name
    region: Region | None = None
    quorum: Count = 1
    agreement: Share | None = None
    slack_ms: Milliseconds | None = None
    age_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _no_answer_says_nothing(self) -> Self:
        answer = (self.label, self.confidence, *self.top, *self.contributors)
        if self.status == "no_answer" and any(part is not None for part in answer):
            msg = "a result with status no_answer carries no label, confidence or contributor"
            raise ValueError(msg)
        if self.status == "answered" and (self.label is None or self.confidence is None):
            msg = "an answered result carries a label and a confidence"
            raise ValueError(msg)
        return self


class CameraState(_Payload):
    """What a camera is taken to see: steady, for lamps and doors.

    Attributes:
        status: as results have it; `unknown` until there is enough evidence.
        label: for `answered` alone.
        since: when it became so.
        frame: the last result's when it became so.
        event: the id of the event that told it.
    """

    camera: Id
    status: Literal["unknown", "answered", "unsure", "no_answer"]
    label: str | None = None
    previous_status: Literal["unknown", "answered", "unsure", "no_answer"] | None = None
    previous_label: str | None = None
    since: UtcTime
    frame: Count | None = None
    event: Name | None = None


class CameraEvent(_Payload):
    """One change of a camera's state; published once, never retained.

    Attributes:
        id: the same however often a broker delivers it, and no other event's.
        confidence: of the result that completed the evidence for `label`.
    """

    id: Name
    event_type: Literal["recognized", "unsure", "no_answer"]
    camera: Id
    label: str | None
    confidence: Share | None
    previous_status: Literal["unknown", "answered", "unsure", "no_answer"]
    previous_label: str | None
    frame: Count
    captured_at: UtcTime


class CameraHealth(_Payload):
    """Whether a camera gives pictures, and what became of them since the gateway's start.

    Attributes:
        reason: one sentence on why it is offline; empty otherwise.
        frame_age_s: how old its last picture was when this was published.
        last_frame_at: when that picture came, for people.
        taken: pictures taken from the source.
        still: those that stayed at home because nothing moved.
        replaced: those that a newer one replaced before they were sent.
        unreadable: what came and was no usable picture.
        outages: how often the source broke off or could not be opened.
    """

    camera: Id
    status: Literal["online", "offline"]
    reason: Annotated[str, StringConstraints(max_length=500)] = ""
    frame_age_s: Annotated[float, Field(ge=0)] | None
    last_frame_at: UtcTime | None
    taken: Count = 0
    still: Count = 0
    replaced: Count = 0
    unreadable: Count = 0
    outages: Count = 0


class CameraSettingsInEffect(_Payload):
    """What holds for a camera now, and what of it a command has set above the settings file.

    Attributes:
        enabled: whether its pictures are taken at all.
        overridden: the names of those that a command has set.
    """

    camera: Id
    enabled: bool
    deadline_ms: Count
    min_confidence: Share
    overridden: list[Name] = Field(default_factory=list, max_length=16)


class CameraCommand(_Payload):
    """What a user or Home Assistant asks of a camera; what is None stays as it is.

    Attributes:
        enabled: whether pictures are taken and sent.
        reset: forget what earlier commands have set; what else is asked for comes after it.
    """

    enabled: Annotated[bool, Field(strict=True)] | None = None
    deadline_ms: (
        Annotated[int, Field(strict=True, ge=DEADLINE_LIMITS_MS[0], le=DEADLINE_LIMITS_MS[1])]
        | None
    ) = None
    min_confidence: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    reset: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.reset and self.model_fields_set <= {"reset"}:
            msg = "asks for none of enabled, deadline_ms, min_confidence and reset"
            raise ValueError(msg)
        return self


class GatewayState(_Payload):
    """How many nodes a gateway has.

    Attributes:
        nodes_known: those whose retained status stands on the broker.
        nodes_online: those that are there.
        nodes_working: those of them that answer frames now.
    """

    nodes_known: Count
    nodes_online: Count
    nodes_working: Count
    version: Name


class GatewayCommand(_Payload):
    """What a user or Home Assistant asks of a gateway.

    Attributes:
        announce: publish discovery and everything retained again.
    """

    announce: Annotated[bool, Field(strict=True)] = False


PayloadT = TypeVar("PayloadT", bound=BaseModel)


def parse(model: type[PayloadT], payload: bytes) -> PayloadT:
    """Return the payload as `model`.

    Raises:
        PayloadError: too long, not JSON, or not this model; the reason names the first field
            that is wrong.
    """
    if len(payload) > MAX_JSON_BYTES:
        raise PayloadError(f"{len(payload)} bytes of JSON, more than {MAX_JSON_BYTES}")
    try:
        return model.model_validate_json(payload)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        raise PayloadError(f"{model.__name__} {where}: {first['msg']}".replace(" :", ":")) from exc


def dump(payload: BaseModel) -> bytes:
    """Return the payload as JSON bytes, times in ISO 8601 with their zone."""
    return payload.model_dump_json().encode()


def utc_now() -> datetime:
    """Return the wall time, aware and in UTC."""
    return datetime.now(UTC)
