"""Commands to the cameras: they hold from the next frame on, and for the next start too."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from broker.errors import PayloadError
from broker.payloads import CameraCommand, CameraSettingsInEffect, dump, parse
from broker.topics import Topics
from gateway.announcer import Announcer
from gateway.camera_settings import CameraSettings
from gateway.errors import StateFileError
from gateway.overrides import (
    Overrides,
    drop_unknown,
    in_effect,
    read_overrides,
    write_overrides,
)

logger = logging.getLogger(__name__)


class Switched(Protocol):
    """What can be switched on and off; `gateway.camera.Camera` can."""

    def switch(self, on: bool) -> None:
        """Take pictures, or let the source be."""


class Control:
    """Knows what holds for each camera, and obeys what is asked for."""

    def __init__(
        self,
        settings: Mapping[str, CameraSettings],
        cameras: Mapping[str, Switched],
        topics: Topics,
        announcer: Announcer,
        *,
        state_file: Path | None,
        complain: Callable[[str, object], None],
    ) -> None:
        """Let what earlier commands have set hold.

        Args:
            settings: of each camera, as the settings file says.
            cameras: the same ones, to be switched.
            topics: the gateway's.
            announcer: keeps on the broker what holds.
            state_file: where commands outlive a restart; None for nowhere.
            complain: counts what went wrong, by kind, and why.
        """
        self._settings = settings
        self._cameras = cameras
        self._topics = topics
        self._announcer = announcer
        self._file = state_file
        self._complain = complain
        kept = Overrides() if state_file is None else read_overrides(state_file)
        self._overrides = drop_unknown(kept, settings)
        self._effective = {name: self._let_hold(name) for name in settings}

    def of(self, camera: str) -> CameraSettingsInEffect:
        """Return what holds for a camera."""
        return self._effective[camera]

    def receive(self, camera: str, payload: bytes) -> None:
        """Obey a command.

        Raises:
            PayloadError: it is none, or for a camera that this gateway does not have.
        """
        command = parse(CameraCommand, payload)
        settings = self._settings.get(camera)
        if settings is None:
            raise PayloadError(f"there is no such camera; known here: {', '.join(self._settings)}")
        before = self._overrides
        self._overrides = before.after(camera, settings, command)
        self._effective[camera] = self._let_hold(camera)
        if self._overrides != before:
            logger.info("camera %s: %s", camera, _said(self._effective[camera]))
            self._keep()

    def _keep(self) -> None:
        if self._file is None:
            return
        try:
            # In the event loop: a person's command comes seldom and the file is tiny, and so two
            # commands are never written in the wrong order.
            write_overrides(self._file, self._overrides)
        except StateFileError as exc:
            self._complain("commands.unkept", exc)

    def _let_hold(self, name: str) -> CameraSettingsInEffect:
        effective = in_effect(name, self._settings[name], self._overrides.of(name))
        self._cameras[name].switch(effective.enabled)
        # Also when nothing changed: whoever asked sees that it holds.
        self._announcer.want(self._topics.camera_settings(name), dump(effective))
        return effective


def _said(effective: CameraSettingsInEffect) -> str:
    return (
        f"switched {'on' if effective.enabled else 'off'}, deadline {effective.deadline_ms} ms, "
        f"min_confidence {effective.min_confidence:g}"
    )
