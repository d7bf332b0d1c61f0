"""A camera that gives one picture for each HTTP request."""

import re
import time
from collections.abc import Generator, Iterator

import httpx

from gateway.camera_settings import CameraSettings
from gateway.errors import PictureError, SourceError, SourceLostError, SourceOpenError
from gateway.settings import masked
from gateway.shot import Rhythm, Shot, Taking
from gateway.stills import MAX_PICTURE_BYTES, read_picture

# For one request, from connecting to the picture's last byte: a camera that sends a byte now and
# then is as dead as a silent one.
REQUEST_TIMEOUT_S = 10.0

# So many answers in a row that are no picture are no chance: the source counts as lost.
MAX_UNREADABLE = 5

# How the operating system's errors begin; their words follow.
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


class AskedAuth(httpx.Auth):
    """Logs in the way the camera asks for, digest before basic; a password is never sent unasked.

    Digest keeps the camera's challenge, so that only the first request costs two.
    """

    def __init__(self, username: str, password: str) -> None:
        self._digest = httpx.DigestAuth(username, password)
        self._basic = httpx.BasicAuth(username, password)
        self._is_basic = False

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request, and once more as its refusal asks for."""
        if self._is_basic:
            yield from self._basic.auth_flow(request)
            return
        digest = self._digest.auth_flow(request)
        response = yield next(digest)
        offered = _schemes(response)
        if response.status_code == httpx.codes.UNAUTHORIZED and offered == {"basic"}:
            self._is_basic = True
            yield from self._basic.auth_flow(request)
            return
        try:
            yield digest.send(response)
        except StopIteration:  # it was let in, or asked for something else
            return


def snapshot_shots(camera: CameraSettings, taking: Taking) -> Iterator[Shot]:
    """Yield a picture for each request, `fps` of them a second.

    Raises:
        SourceOpenError: the first request fails.
        SourceLostError: a later one fails, or what comes is no picture several times in a row.
    """
    rhythm = Rhythm(camera.fps, taking.wait)
    failure: type[SourceError] = SourceOpenError
    unreadable = 0
    with _client(camera) as client:
        while not rhythm.stopped():
            content = _fetch(client, camera, failure)
            try:
                picture = read_picture(content, taking.side)
            except PictureError as exc:
                taking.on_skip()
                unreadable += 1
                if unreadable >= MAX_UNREADABLE:
                    raise failure(f"{masked(camera.source)} answers, but with {exc}") from exc
                continue
            unreadable = 0
            failure = SourceLostError
            yield Shot(picture, None)


def answers_with_a_picture(camera: CameraSettings) -> bool:
    """Return whether a URL gives one picture for a request, rather than a stream.

    Raises:
        SourceOpenError: it does not answer, or refuses.
    """
    with _client(camera) as client:
        try:
            with client.stream("GET", _bare(camera)) as response:
                _check(response, camera, SourceOpenError)
                content_type = str(response.headers.get("content-type", ""))
                return content_type.lower().startswith("image/")
        except httpx.HTTPError as exc:
            raise SourceOpenError(_cannot(camera, exc)) from exc


def _client(camera: CameraSettings) -> httpx.Client:
    try:
        url = httpx.URL(camera.url)
    except httpx.InvalidURL as exc:
        raise SourceOpenError(_cannot(camera, exc)) from exc
    auth = AskedAuth(url.username, url.password) if url.username else None
    return httpx.Client(
        auth=auth,
        verify=camera.verify_tls,
        timeout=REQUEST_TIMEOUT_S,
        trust_env=False,  # a proxy for the Internet does not know the home's cameras
    )


def _bare(camera: CameraSettings) -> httpx.URL:
    """Return the URL without its login, so that no log and no header repeats it."""
    return httpx.URL(camera.source).copy_with(userinfo=b"")


def _fetch(client: httpx.Client, camera: CameraSettings, failure: type[SourceError]) -> bytes:
    until_s = time.monotonic() + REQUEST_TIMEOUT_S
    content = bytearray()
    try:
        with client.stream("GET", _bare(camera)) as response:
            _check(response, camera, failure)
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_PICTURE_BYTES:
                    raise failure(
                        f"{masked(camera.source)} sends more than one picture has; use kind: video"
                    )
                if time.monotonic() > until_s:
                    raise failure(
                        f"{masked(camera.source)} takes longer than {REQUEST_TIMEOUT_S:g} s for "
                        "one picture; a stream needs kind: video"
                    )
    except httpx.HTTPError as exc:
        raise failure(_cannot(camera, exc)) from exc
    return bytes(content)


def _check(response: httpx.Response, camera: CameraSettings, failure: type[SourceError]) -> None:
    shown = masked(camera.source)
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise failure(
            f"{shown} cannot be opened: HTTP 401, it refuses the login; check username and password"
        )
    if response.is_redirect:
        there = masked(response.headers.get("location", "elsewhere"))
        raise failure(f"{shown} has moved to {there}; write that as the source")
    if not response.is_success:
        raise failure(
            f"{shown} cannot be opened: HTTP {response.status_code} {response.reason_phrase}"
        )


def _cannot(camera: CameraSettings, exc: Exception) -> str:
    if isinstance(exc, httpx.TimeoutException):
        reason = f"no answer within {REQUEST_TIMEOUT_S:g} s"
    else:
        reason = masked(_ERRNO.sub("", str(exc))) or type(exc).__name__
    return f"{masked(camera.source)} cannot be opened: {reason}"


def _schemes(response: httpx.Response) -> set[str]:
    """Return which of digest and basic a response asks for; one header may name both."""
    asked = ", ".join(response.headers.get_list("www-authenticate")).lower()
    return set(re.findall(r"(?:^|,\s*)(digest|basic)\b(?!=)", asked))
