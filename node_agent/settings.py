"""What the owner of the device decides: one frozen object, from a TOML file and options."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from broker.settings import BrokerSettings
from broker.topics import check_id
from node_agent.errors import SettingsError
from node_agent.governor_settings import GovernorSettings, Seconds

# The file is written by hand; a video that was named by mistake is not read into memory.
MAX_FILE_BYTES = 64 * 1024


def _broker(value: Any) -> Any:
    return BrokerSettings.parse_url(value) if isinstance(value, str) else value


Id = Annotated[str, AfterValidator(check_id)]


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


def default_cache_dir() -> Path:
    """Return where this user's programs keep what they can get again, or what systemd gave."""
    given = os.environ.get("CACHE_DIRECTORY")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "idlesight"
    try:
        return Path.home() / ".cache" / "idlesight"
    except RuntimeError:  # a service's user may have no home
        return Path("/var/cache/idlesight")


class _Settings(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class WorkerSettings(_Settings):
    """How the worker process runs.

    Attributes:
        priority: "idle" (SCHED_IDLE and nice 19), "low" (nice 19 alone), both also for the
            worker's session, or "normal".
        threads: of the interpreter.
        load_timeout_s: a worker that had the processor and has not loaded its model by then hangs.
        answer_timeout_s: the same for one picture.
    """

    priority: Literal["idle", "low", "normal"] = "idle"
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    load_timeout_s: Seconds = 30.0
    answer_timeout_s: Seconds = 10.0


class ModelSettings(_Settings):
    """What becomes of models that no pack of this node holds.

    Attributes:
        fetch: whether they are fetched from the broker.
        timeout_s: how long a fetch waits for the next part.
        cache_dir: where fetched files are kept, one folder for each node.
        cache_mib: of all files there together, in MiB; 0 keeps none.
    """

    fetch: bool = True
    timeout_s: Seconds = 30.0
    cache_dir: Path = Field(default_factory=default_cache_dir)
    cache_mib: Annotated[int, Field(ge=0, le=65_536)] = 64

    @property
    def cache_bytes(self) -> int:
        """The cache's bound in bytes."""
        return self.cache_mib << 20


class NodeSettings(_Settings):
    """Everything a node is told.

    Attributes:
        name: this node's id, unique in its household.
        gateway: the gateway's id.
        prefix: the first level of all topics.
        variant: run this one whatever is assigned.
        pack: directory or zip file, or the name of one that ships; None is the one for the home.
        state_dir: where a pause outlives a restart, one folder for each node.
    """

    name: Id
    broker: Annotated[BrokerSettings, BeforeValidator(_broker)] = BrokerSettings()
    gateway: Id = "home"
    prefix: Id = "idlesight"
    variant: str | None = None
    pack: Path | None = None
    governor: GovernorSettings = GovernorSettings()
    worker: WorkerSettings = WorkerSettings()
    models: ModelSettings = Field(default_factory=ModelSettings)
    state_dir: Path = Field(default_factory=default_state_dir)

    @property
    def folder(self) -> Path:
        """Where this node keeps what outlives a restart."""
        return self.state_dir / self.name

    @property
    def cache_folder(self) -> Path:
        """Where this node keeps what it can fetch again."""
        return self.models.cache_dir / self.name


def load_settings(file: Path | None, options: dict[str, Any]) -> NodeSettings:
    """Return the settings in a TOML file, with options in place of what it says.

    Args:
        file: the TOML file, or None.
        options: settings by name, a table as a dict; None means not given.

    Raises:
        SettingsError: the file cannot be read, or a setting is unknown or wrong.
    """
    values = _read_toml(file) if file is not None else {}
    _merge(values, options)
    if "name" not in values:
        raise SettingsError("the node has no name: give --name, or `name` in the file of --config")
    try:
        return NodeSettings.model_validate(values)
    except ValidationError as exc:
        raise SettingsError(_sentence(exc, file)) from exc


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise SettingsError(f"{file} is larger than {MAX_FILE_BYTES} bytes, no settings file")
        return tomllib.loads(text.decode())
    except OSError as exc:
        raise SettingsError(f"{file} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{file} is not a TOML file: {exc}") from exc


def _merge(values: dict[str, Any], options: dict[str, Any]) -> None:
    for key, option in options.items():
        if option is None:
            continue
        if isinstance(option, dict):
            table = values.setdefault(key, {})
            if not isinstance(table, dict):
                raise SettingsError(f"`{key}` must be a table of settings")
            _merge(table, option)
        else:
            values[key] = option


def _sentence(error: ValidationError, file: Path | None) -> str:
    """Return the first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    setting = ".".join(str(part) for part in first["loc"])
    where = f"{file}: " if file is not None else ""
    if first["type"] == "extra_forbidden":
        return f"{where}unknown setting `{setting}`"
    problem = first["msg"].removeprefix("Value error, ")
    return f"{where}{setting}: {problem}" if setting else f"{where}{problem}"
