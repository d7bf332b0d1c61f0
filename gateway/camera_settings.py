"""One camera's settings: its source and what is asked about its pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit, urlunsplit

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from broker.payloads import DEADLINE_LIMITS_MS
from broker.topics import check_topic_filter
from gateway.regions import covered

Kind = Literal["auto", "video", "snapshot", "mqtt", "watch"]

# Raster on which areas are checked; a smaller rest of the frame is as good as none.
_COARSE = 64

# How V4L2 names its devices on Linux, with udev's stable names beside the numbered ones.
_DEVICES = ("/dev/video", "/dev/v4l/")


# Coordinates are shares of the frame: (0, 0) is its upper left corner, (1, 1) its lower right.
Share = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Share, Share]
Polygon = Annotated[list[Point], Field(min_length=3, max_length=64)]


class Settings(BaseModel):
    """What every part of the settings file has in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MotionSettings(Settings):
    """Which frames are worth sending, and which part of them.

    Attributes:
        gate: whether frames without motion stay at home; None for yes where the camera shows a
            place continuously (video, snapshots) and no where each picture stands for itself
            (MQTT, directories).
        crop: whether only the moving part of a frame is sent, likewise.
        sensitivity: 0 sees strong changes alone, 1 the faintest.
        min_area: share of the frame that must move, at least.
        include: polygons outside of which nothing counts; empty for everywhere.
        mask: polygons inside of which nothing counts.
        hold_s: how long frames are sent after the last motion.
        full_every_s: a whole frame is sent at least so often, motion or not; None for never.
        margin: around the moving part, as a share of its own size on each side.
        min_side: the smallest side of a crop, as a share of the frame's short side.
    """

    gate: Annotated[bool, Field(examples=[True])] | None = None
    crop: Annotated[bool, Field(examples=[True])] | None = None
    sensitivity: Annotated[Share, Field(examples=[0.5])] = 0.5
    min_area: Annotated[float, Field(gt=0, le=1, examples=[0.005])] = 0.005
    include: Annotated[list[Polygon], Field(max_length=32)] = []
    mask: Annotated[list[Polygon], Field(max_length=32)] = []
    hold_s: Annotated[float, Field(ge=0, le=3600, examples=[1])] = 1.0
    full_every_s: Annotated[float, Field(gt=0, le=86_400, examples=[30])] | None = 30.0
    margin: Annotated[float, Field(ge=0, le=2, examples=[0.3])] = 0.3
    min_side: Annotated[float, Field(ge=0.05, le=1, examples=[0.4])] = 0.4

    @model_validator(mode="after")
    def _check_areas(self) -> "MotionSettings":
        inside = covered(self.include, _COARSE, _COARSE) if self.include else np.True_
        if not np.any(inside & ~covered(self.mask, _COARSE, _COARSE)):
            raise ValueError("include and mask leave nothing of the frame; make one smaller")
        return self


@dataclass(frozen=True, slots=True)
class Steadiness:
    """How much evidence a state needs, and how long it stands.

    Attributes:
        k: equal results among the last `n`.
        n: results that are looked at.
        hold_s: how long the state stands after it was last confirmed.
    """

    k: int
    n: int
    hold_s: float


_Few = Annotated[int, Field(ge=1, le=100, examples=[3])]
_Hold = Annotated[float, Field(ge=0, le=86_400, examples=[10])]


class LabelStateSettings(Settings):
    """What differs for one label from the camera's state settings."""

    k: _Few | None = None
    n: _Few | None = None
    hold_s: _Hold | None = None


_Label = Annotated[str, Field(min_length=1, max_length=128)]


class StateSettings(Settings):
    """When a camera's steady state follows its results.

    Attributes:
        k: so many equal results among the last `n` make a state; more than half of them.
        n: results that are looked at.
        hold_s: how long a state stands, at least, after it was last confirmed.
        within_s: results older than this are no evidence.
        labels: other values for some labels.
    """

    k: _Few = 3
    n: Annotated[_Few, Field(examples=[5])] = 5
    hold_s: _Hold = 10.0
    within_s: Annotated[float, Field(gt=0, le=86_400, examples=[60])] = 60.0
    labels: Annotated[dict[str, LabelStateSettings], Field(max_length=1000)] = {}

    def of(self, label: str | None) -> Steadiness:
        """Return what holds for a label, or for a result without one."""
        own = self.labels.get(label) if label is not None else None
        if own is None:
            return Steadiness(self.k, self.n, self.hold_s)
        return Steadiness(
            self.k if own.k is None else own.k,
            self.n if own.n is None else own.n,
            self.hold_s if own.hold_s is None else own.hold_s,
        )

    @property
    def longest(self) -> int:
        """How many results are looked at, at most."""
        return max(self.of(label).n for label in (None, *self.labels))

    @model_validator(mode="after")
    def _check_majorities(self) -> "StateSettings":
        for label in (None, *self.labels):
            needs = self.of(label)
            if not needs.n / 2 < needs.k <= needs.n:
                of_label = "" if label is None else f" for {label}"
                raise ValueError(
                    f"k{of_label} must be more than half of n and at most n, but k is {needs.k} "
                    f"and n is {needs.n}"
                )
        return self


def _on_or_off(value: object) -> object:
    # Short for both parts; YAML 1.1 reads the words as truth values.
    words = {"on": True, "off": False}
    switch = words.get(value) if isinstance(value, str) else value
    return {"gate": switch, "crop": switch} if isinstance(switch, bool) else value


class CameraSettings(Settings):
    """Where one camera's pictures come from and what is asked about them.

    Attributes:
        source: a URL, a video file, a V4L2 device, a directory of images or an MQTT topic.
        kind: what the source is, where it does not show: see docs/gateway.md.
        username: for a source that asks for a login, instead of one in the URL.
        password: likewise.
        verify_tls: whether a snapshot's https certificate must be valid.
        options: given to FFmpeg as they are when it opens the source.
        field: where the base64 picture stands in an MQTT message that is JSON, dots between
            levels; None when the message is the picture itself.
        silent_after_s: a camera without a picture for so long is offline; None for never.
        name: what people call it; its id in words where absent.
        fps: frames published a second, at most.
        deadline_ms: how long answers to a frame are waited for, from its publishing on.
        min_confidence: below it a result is `unsure`, never an answer.
        decide_early: whether a frame ends as soon as the nodes that have not answered can change
            neither its label nor its status; all that answered until then make its confidence.
        loop: whether a directory or a file starts again at its end.
        pan: whether a crop wanders over each of a directory's images, as a moving camera's would.
        fit: how a picture becomes square: by its centre or by stretching.
        jpeg_quality: of the frames published.
        motion: which frames are worth sending, and which part of them.
        quorum: with fewer answers than this a result is `unsure`.
        state: when the steady state follows the results.
        watch: the labels that Home Assistant gets a binary sensor and a trigger for; None for
            what homes watch for, as far as the pack knows it.
        image: whether the pictures that results are about are published, one a second at most.
    """

    kind: Annotated[Kind, Field(examples=["snapshot"])] = "auto"
    source: Annotated[str, Field(min_length=1, examples=["rtsp://192.168.1.20/stream"])]
    username: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    password: SecretStr | None = None
    verify_tls: Annotated[bool, Field(examples=[True])] = True
    options: Annotated[dict[str, str], Field(max_length=32)] = {}
    field: Annotated[str, Field(min_length=1, max_length=256, examples=["image"])] | None = None
    silent_after_s: Annotated[float, Field(gt=0, le=604_800, examples=[60])] | None = None
    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    fps: Annotated[float, Field(gt=0, le=60, examples=[2])] = 1.0
    deadline_ms: Annotated[
        int, Field(ge=DEADLINE_LIMITS_MS[0], le=DEADLINE_LIMITS_MS[1], examples=[500])
    ] = 500
    min_confidence: Annotated[float, Field(ge=0, le=1, examples=[0.5])] = 0.5
    decide_early: Annotated[bool, Field(examples=[False])] = True
    loop: Annotated[bool, Field(examples=[True])] = False
    pan: Annotated[bool, Field(examples=[True])] = False
    fit: Annotated[Literal["crop", "stretch"], Field(examples=["crop"])] = "crop"
    jpeg_quality: Annotated[int, Field(ge=10, le=95, examples=[85])] = 85
    motion: Annotated[MotionSettings, BeforeValidator(_on_or_off)] = MotionSettings()
    quorum: Annotated[int, Field(ge=1, le=1000, examples=[2])] = 1
    state: StateSettings = StateSettings()
    watch: Annotated[list[_Label], Field(max_length=64, examples=["[person, cat]"])] | None = None
    image: Annotated[bool, Field(examples=[True])] = False

    @property
    def is_url(self) -> bool:
        """Whether the source is a URL and so never ends by itself."""
        return "://" in self.source and self.kind != "mqtt"

    @property
    def is_device(self) -> bool:
        """Whether the source is a camera on this machine."""
        return self.kind in ("auto", "video") and self.source.startswith(_DEVICES)

    @property
    def is_path(self) -> bool:
        """Whether the source is a file or a directory."""
        return not (self.is_url or self.is_device or self.kind == "mqtt")

    @property
    def is_live(self) -> bool:
        """Whether pictures come when they come, instead of being read from a recording."""
        return not self.is_path or self.kind == "watch"

    @property
    def url(self) -> str:
        """The source, with user and password in it where they are settings of their own."""
        if not self.is_url or self.username is None:
            return self.source
        parts = urlsplit(self.source)
        secret = "" if self.password is None else self.password.get_secret_value()
        login = f"{quote(self.username, safe='')}:{quote(secret, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))

    @field_validator("source")
    @classmethod
    def _resolve(cls, source: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "mqtt":
            return check_topic_filter(source)
        if "://" in source:
            return source
        base = (info.context or {}).get("directory", Path())
        return str(base / Path(source).expanduser())

    @model_validator(mode="after")
    def _check_kind(self) -> "CameraSettings":
        match self.kind:
            case "snapshot" if not self.source.lower().startswith(("http://", "https://")):
                raise ValueError("kind snapshot needs an http:// or https:// source")
            case "watch" if self.is_url:
                raise ValueError("kind watch needs a directory as its source")
        if self.field is not None and self.kind != "mqtt":
            raise ValueError("field is for pictures from MQTT; add kind: mqtt or remove field")
        return self

    @model_validator(mode="after")
    def _check_replay(self) -> "CameraSettings":
        if self.is_live and (self.loop or self.pan):
            setting = "loop" if self.loop else "pan"
            raise ValueError(f"{setting} is for files, not for a {_what(self)}; remove {setting}")
        return self

    @model_validator(mode="after")
    def _check_evidence(self) -> "CameraSettings":
        least_s = max((self.state.of(one).k - 1) / self.fps for one in (None, *self.state.labels))
        if least_s > self.state.within_s:
            raise ValueError(
                f"state.within_s is too short: at fps {self.fps:g} the results for a state take "
                f"{least_s:g} s"
            )
        return self

    @model_validator(mode="after")
    def _check_login(self) -> "CameraSettings":
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username")
        if self.username is None:
            return self
        if not self.is_url:
            raise ValueError("username is for a URL; remove username and password")
        if "@" in urlsplit(self.source).netloc:
            raise ValueError("a login stands in source and in username; keep one of them")
        return self


def _what(camera: CameraSettings) -> str:
    if camera.is_url:
        return "URL"
    return "device" if camera.is_device else f"source of kind {camera.kind}"
