"""The gateway's settings: one YAML file, validated once, frozen from then on.

Every mistake in the file becomes one sentence that names the file, the setting, what is wrong
with it and what to do.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from broker.session import BrokerSettings
from broker.topics import overlaps
from gateway.camera_settings import (
    CameraSettings,
    LabelStateSettings,
    MotionSettings,
    Settings,
    StateSettings,
)
from gateway.errors import SettingsError
from models.errors import YamlFileError
from models.pack import shipped_packs
from models.yaml_file import read_yaml

# The alphabet of broker.topics, so that a bad id is refused with its place in the file.
Id = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$"), Field(examples=["front_door"])
]

# How pydantic's messages begin; the setting's path stands there instead.
_SUBJECT = re.compile(r"^(Dictionary|Input|List|String|Value) ")

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


def _off_is_a_word(value: object) -> object:
    # YAML 1.1 reads a bare `off` as false.
    return "off" if value is False else value


class HomeAssistantSettings(Settings):
    """How Home Assistant learns of the cameras.

    Attributes:
        discovery: `component` announces each entity by itself, which every version understands;
            `device` all of a device's together, from Home Assistant 2024.11 on.
        prefix: Home Assistant's own discovery prefix.
    """

    discovery: Annotated[
        Literal["component", "device", "off"],
        BeforeValidator(_off_is_a_word),
        Field(examples=["component"]),
    ] = "component"
    prefix: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=128)
    ] = "homeassistant"


def _broker_from_url(value: object) -> object:
    return BrokerSettings.parse_url(value) if isinstance(value, str) else value


class GatewaySettings(Settings):
    """Everything a gateway is told.

    Attributes:
        gateway: this gateway's id, a part of every topic.
        prefix: the first part of every topic.
        broker: where the MQTT broker is, as a URL or as its parts.
        pack: directory or zip of the model pack, or the name of one that ships; None for the one
            for the home.
        send_models: whether nodes whose packs lack a model get it over the broker.
        cameras: by id, which is a part of the camera's topics.
        homeassistant: how Home Assistant learns of the cameras.
        state_dir: where what was set by commands outlives a restart; None for the user's own.
    """

    gateway: Id = "home"
    prefix: Id = "idlesight"
    broker: Annotated[
        BrokerSettings,
        BeforeValidator(_broker_from_url),
        Field(examples=["mqtt://127.0.0.1:1883"]),
    ] = BrokerSettings()
    pack: Path | None = None
    send_models: Annotated[bool, Field(examples=[True])] = True
    cameras: Annotated[
        dict[Id, CameraSettings],
        Field(min_length=1, max_length=256, examples=["{porch: {source: ./pictures}}"]),
    ]
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    state_dir: Path | None = None

    @property
    def state_file(self) -> Path:
        """Where this gateway keeps what was set by commands."""
        # A dot is in no id: two gateways never share a file.
        return (self.state_dir or default_state_dir()) / f"{self.prefix}.{self.gateway}.json"

    @field_validator("broker")
    @classmethod
    def _resolve_ca_file(cls, broker: BrokerSettings, info: ValidationInfo) -> BrokerSettings:
        if broker.ca_file is None:
            return broker
        base: Path = (info.context or {}).get("directory", Path())
        return broker.model_copy(update={"ca_file": base / broker.ca_file.expanduser()})

    @model_validator(mode="after")
    def _check_topics(self) -> "GatewaySettings":
        for name, camera in self.cameras.items():
            if camera.kind == "mqtt" and overlaps(camera.source, (self.prefix, self.gateway)):
                raise ValueError(
                    f"cameras.{name}.source: {camera.source} takes in what this gateway itself "
                    "publishes; write the topic of the pictures alone"
                )
        return self

    @field_validator("state_dir")
    @classmethod
    def _resolve_state_dir(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        base: Path = (info.context or {}).get("directory", Path())
        return None if folder is None else base / folder.expanduser()

    @field_validator("pack")
    @classmethod
    def _resolve_pack(cls, pack: Path | None, info: ValidationInfo) -> Path | None:
        if pack is None:
            return None
        base: Path = (info.context or {}).get("directory", Path())
        beside = base / pack.expanduser()
        return pack if str(pack) in shipped_packs() and not beside.exists() else beside


def default_state_dir() -> Path:
    """Return where this user's programs keep their state, or what systemd gave this service."""
    given = os.environ.get("STATE_DIRECTORY")
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME")
    if base:
        return Path(base) / "idlesight"
    try:
        return Path.home() / ".local" / "state" / "idlesight"
    except RuntimeError:  # a service's user may have no home
        return Path("/var/lib/idlesight")


def load_settings(file: Path) -> GatewaySettings:
    """Return the settings in a YAML file; paths in it are relative to its own directory.

    Raises:
        SettingsError: one sentence: file, setting, what is wrong, what to do.
    """
    data = _read(file)
    try:
        return GatewaySettings.model_validate(data, context={"directory": file.parent})
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        more = f" ({len(errors) - 1} more after it)" if len(errors) > 1 else ""
        raise SettingsError(f"{file}: {_sentence(errors[0])}{more}") from None


def check_labels(settings: GatewaySettings, labels: Sequence[str], pack: str) -> None:
    """Refuse settings for labels that the pack does not have: they would never take effect.

    Raises:
        SettingsError: one sentence: the first such setting, and what was meant perhaps.
    """
    for name, camera in settings.cameras.items():
        places = {f"state.labels.{label}": label for label in camera.state.labels}
        places |= {f"watch.{label}": label for label in camera.watch or ()}
        for place, label in places.items():
            if label not in labels:
                raise SettingsError(
                    f"cameras.{name}.{place}: pack {pack} has no such label; "
                    f"{_proposal(label, labels)}"
                )


def effective_yaml(settings: GatewaySettings) -> str:
    """Return the settings with every default filled in, as YAML, passwords masked."""
    data = settings.model_dump(mode="json")
    for camera in data["cameras"].values():
        camera["source"] = masked(camera["source"])
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text


def masked(source: str) -> str:
    """Return a source fit for logs: a URL without its user and password."""
    return _CREDENTIALS.sub("***@", source)


def _read(file: Path) -> object:
    try:
        data = read_yaml(file)
    except FileNotFoundError:
        raise SettingsError(
            f"{file}: there is no such file; write one, starting from home.example.yaml"
        ) from None
    except YamlFileError as exc:
        raise SettingsError(f"{file}: {exc}") from exc
    if not isinstance(data, dict):
        raise SettingsError(
            f"{file}: holds no settings; start with `cameras:`, see home.example.yaml"
        )
    return data


def _sentence(error: ErrorDetails) -> str:
    path = ".".join(str(part) for part in error["loc"] if part != "[key]")
    known = _fields_at(error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path} is not a setting; {_proposal(str(error['loc'][-1]), list(known))}"
    if error["type"] == "string_pattern_mismatch" or error["loc"][-1:] == ("[key]",):
        return (
            f"{path} is no usable id, but {error['input']!r}; use letters, digits, _ and -, at "
            "most 64, in quotes if YAML takes it for a number or a truth value"
        )
    example = _example(known.get(str(error["loc"][-1])) if error["loc"] else None)
    if error["type"] == "missing":
        return f"{path} is missing; add it{example}"
    if error["type"] == "value_error":
        problem = str(error["ctx"]["error"]).removeprefix(f"{path} ")
        return f"{path}: {problem}" if path else problem
    problem = _SUBJECT.sub("", error["msg"])
    return f"{path} {problem}, but is {_shown(path, error['input'])}; correct it{example}"


def _fields_at(loc: Sequence[int | str]) -> Mapping[str, Any]:
    """Return the fields of the model that the last part of a location belongs to."""
    match loc[:-1]:
        case ("cameras", _):
            return CameraSettings.model_fields
        case ("cameras", _, "motion"):
            return MotionSettings.model_fields
        case ("cameras", _, "state"):
            return StateSettings.model_fields
        case ("cameras", _, "state", "labels", _):
            return LabelStateSettings.model_fields
        case ("broker",):
            return BrokerSettings.model_fields
        case ("homeassistant",):
            return HomeAssistantSettings.model_fields
        case ():
            return GatewaySettings.model_fields
    return {}


def _proposal(written: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(written, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _example(field: Any) -> str:
    examples = getattr(field, "examples", None)
    if not examples:
        return ""
    example = examples[0]
    shown = str(example).lower() if isinstance(example, bool) else example
    return f", for example {shown}"


def _shown(path: str, value: object) -> str:
    if "password" in path or "username" in path:
        return "something else"
    text = masked(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."
