"""What commands have set above the settings file, and the small file that keeps it.

The settings file stays as its author wrote it: a value set from Home Assistant stands beside it and
outlives restarts, until it is set back to what the settings file says.
"""

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker.payloads import DEADLINE_LIMITS_MS, CameraCommand, CameraSettingsInEffect
from gateway.camera_settings import CameraSettings
from gateway.errors import StateFileError

logger = logging.getLogger(__name__)

# 256 cameras with every value set stay far below it.
MAX_FILE_BYTES: Final = 256 * 1024


class _Kept(BaseModel):
    # A file of a later version may hold more; what this version knows still holds.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class CameraOverride(_Kept):
    """What commands have set for one camera; None where the settings file holds."""

    enabled: bool | None = None
    deadline_ms: (
        Annotated[int, Field(ge=DEADLINE_LIMITS_MS[0], le=DEADLINE_LIMITS_MS[1])] | None
    ) = None
    min_confidence: Annotated[float, Field(ge=0, le=1)] | None = None

    @property
    def names(self) -> list[str]:
        """The settings that are overridden."""
        return [name for name, value in self if value is not None]


class Overrides(_Kept):
    """What commands have set, by camera."""

    cameras: dict[str, CameraOverride] = {}

    def of(self, camera: str) -> CameraOverride:
        """Return what commands have set for a camera."""
        return self.cameras.get(camera, CameraOverride())

    def after(self, camera: str, settings: CameraSettings, command: CameraCommand) -> "Overrides":
        """Return what holds once a command is obeyed.

        A value that is what the settings file says anyway overrides nothing.

        Args:
            camera: its id.
            settings: what the settings file says of it.
            command: what is asked for.
        """
        before = CameraOverride() if command.reset else self.of(camera)
        asked = command.model_dump(include=set(CameraOverride.model_fields), exclude_none=True)
        plain = {
            "enabled": True,
            "deadline_ms": settings.deadline_ms,
            "min_confidence": settings.min_confidence,
        }
        values = before.model_dump() | asked
        override = CameraOverride(
            **{name: None if value == plain[name] else value for name, value in values.items()}
        )
        others = {name: value for name, value in self.cameras.items() if name != camera}
        return Overrides(cameras=others | ({camera: override} if override.names else {}))


def in_effect(
    camera: str, settings: CameraSettings, override: CameraOverride
) -> CameraSettingsInEffect:
    """Return what holds for a camera: what a command has set, else what the settings file says."""
    deadline_ms, min_confidence = override.deadline_ms, override.min_confidence
    return CameraSettingsInEffect(
        camera=camera,
        enabled=override.enabled is not False,
        deadline_ms=settings.deadline_ms if deadline_ms is None else deadline_ms,
        min_confidence=settings.min_confidence if min_confidence is None else min_confidence,
        overridden=override.names,
    )


def read_overrides(file: Path) -> Overrides:
    """Return what a state file holds: nothing where there is none, or none that can be read."""
    try:
        with file.open("rb") as stream:
            return Overrides.model_validate_json(stream.read(MAX_FILE_BYTES))
    except FileNotFoundError:
        return Overrides()
    except (OSError, ValidationError) as exc:
        logger.warning(
            "%s cannot be used and is ignored (%s): the cameras' own settings hold",
            file,
            type(exc).__name__,
        )
        return Overrides()


def write_overrides(file: Path, overrides: Overrides) -> None:
    """Replace a state file in one step, so that a loss of power leaves the old one or the new.

    Raises:
        StateFileError: the disk does not take it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _replace(file, overrides.model_dump_json(exclude_none=True).encode())
    except OSError as exc:
        raise StateFileError(
            f"{file} cannot be written ({exc.strerror}): what was set holds until the gateway "
            "ends; let state_dir be a folder that it may write to"
        ) from exc


def drop_unknown(overrides: Overrides, cameras: Mapping[str, CameraSettings]) -> Overrides:
    """Return the overrides without those of cameras that are gone."""
    return Overrides(
        cameras={name: one for name, one in overrides.cameras.items() if name in cameras}
    )


def _replace(file: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
