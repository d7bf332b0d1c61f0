"""Directories of images: one that is shown from its first to its last, and one that is watched."""

import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from gateway.camera_settings import CameraSettings
from gateway.errors import PictureError, SourceLostError, SourceOpenError
from gateway.panning import crop_box
from gateway.shot import Rhythm, Shot, Taking
from gateway.stills import MAX_PICTURE_BYTES, read_picture

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

# How long each picture of a panned directory is looked at.
PAN_S = 5.0

# A watched directory is looked at so often, or less if that takes long: at most this share of the
# time goes into looking. Notifications of the kernel would be quicker, but a directory that a
# camera uploads to is often a network's, of which the kernel learns nothing.
LOOK_INTERVAL_S = 0.5
LOOK_SHARE = 0.05

# New pictures that wait for their turn; above it the oldest is given up.
MAX_PENDING = 16

# File times as they tell one writing from the next: modification time in ns, and size in bytes.
_Stamp = tuple[int, int]


def directory_shots(path: Path, camera: CameraSettings, taking: Taking) -> Iterator[Shot]:
    """Yield a directory's images in the order of their names, from the first again if it loops.

    Raises:
        SourceOpenError: it cannot be listed, or holds no image that can be read.
    """
    files = _image_files(path)
    views = max(1, round(PAN_S * camera.fps)) if camera.pan else 1
    number = 0
    while True:
        readable = False
        for file in files:
            try:
                picture = read_picture(file, taking.side)
            except PictureError as exc:
                logger.debug("%s is skipped: %s", file, exc)
                taking.on_skip()
                continue
            readable = True
            for view in range(views):
                shown = (
                    picture.crop(crop_box(*picture.size, view / views)) if camera.pan else picture
                )
                yield Shot(shown, number / camera.fps)
                number += 1
        if not readable:
            raise SourceOpenError(f"none of the {len(files)} images in {path} can be read")
        if not camera.loop:
            return


def watched_shots(path: Path, camera: CameraSettings, taking: Taking) -> Iterator[Shot]:
    """Yield each image that is written to a directory or below it, from now on, until stopped.

    An image that is written over counts as new. One is complete when two looks in a row find it
    the same. What was there before is not shown.

    Raises:
        SourceOpenError: there is no such directory.
        SourceLostError: it vanished.
    """
    if not path.is_dir():
        raise SourceOpenError(f"{path} is no directory that could be watched; check `source`")
    watch = Watch(path)
    rhythm = Rhythm(camera.fps, taking.wait)
    pending: deque[Path] = deque(maxlen=MAX_PENDING)
    taking.on_open()
    while not taking.wait(watch.rest_s):
        for file in watch.look():
            if len(pending) == MAX_PENDING:
                taking.on_skip()
            pending.append(file)
        while pending:
            if rhythm.stopped():
                return
            try:
                picture = read_picture(pending.popleft(), taking.side)
            except PictureError as exc:
                logger.debug("a new file is skipped: %s", exc)
                taking.on_skip()
                continue
            yield Shot(picture, None)


class Watch:
    """Knows which images of a directory are new.

    Attributes:
        rest_s: how long to wait before the next look.
    """

    def __init__(self, path: Path) -> None:
        """Take what is there as known.

        Raises:
            SourceLostError: the directory cannot be listed.
        """
        self.rest_s = LOOK_INTERVAL_S
        self._path = path
        self._known = self._stamps()
        self._unsettled: dict[str, _Stamp] = {}

    def look(self) -> list[Path]:
        """Return the images that were completed since the last look, the oldest first.

        Raises:
            SourceLostError: the directory cannot be listed.
        """
        began_s = time.monotonic()
        stamps = self._stamps()
        changed = {name: at for name, at in stamps.items() if self._known.get(name) != at}
        complete = {name: at for name, at in changed.items() if self._unsettled.get(name) == at}
        self._unsettled = {name: at for name, at in changed.items() if name not in complete}
        # Unlike those that vanished, a file that is still being written keeps its old stamp.
        self._known = {name: self._known[name] for name in stamps if name in self._known} | complete
        took_s = time.monotonic() - began_s
        self.rest_s = max(LOOK_INTERVAL_S, took_s / LOOK_SHARE)
        return [Path(name) for name in sorted(complete, key=lambda name: (complete[name], name))]

    def _stamps(self) -> dict[str, _Stamp]:
        def vanished(exc: OSError) -> None:
            if exc.filename == str(self._path):
                raise SourceLostError(f"{self._path} cannot be listed: {exc.strerror}") from exc

        stamps: dict[str, _Stamp] = {}
        for directory, _, names in os.walk(self._path, onerror=vanished):
            for name in names:
                if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                    file = os.path.join(directory, name)
                    try:
                        status = os.stat(file)
                    except OSError:  # gone between listing and looking
                        continue
                    if 0 < status.st_size <= MAX_PICTURE_BYTES:
                        stamps[file] = (status.st_mtime_ns, status.st_size)
        return stamps


def _image_files(path: Path) -> list[Path]:
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as exc:
        raise SourceOpenError(f"{path} cannot be listed: {exc.strerror}") from exc
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise SourceOpenError(f"{path} holds no images; put some there ({kinds})")
    return files
