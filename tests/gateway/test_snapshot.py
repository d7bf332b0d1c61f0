import base64
import hashlib
import http.server
import io
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from PIL import Image

from gateway import snapshot as snapshot_module
from gateway.camera_settings import CameraSettings
from gateway.errors import SourceError, SourceLostError, SourceOpenError
from gateway.shot import Shot, Taking
from gateway.snapshot import MAX_UNREADABLE, answers_with_a_picture, snapshot_shots
from gateway.sources import shots

USER, PASSWORD = "me@home", "a/b:c@d"
REALM, NONCE = "camera", "abc123"


def jpeg(shade: int = 100) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


class Camera(http.server.ThreadingHTTPServer):
    """A camera on the loopback: what it asks for and what it answers is up to the test."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asks: str | None = None
        self.content: Callable[[int], bytes] = lambda _: jpeg()
        self.status = 200
        self.headers: dict[str, str] = {"Content-Type": "image/jpeg"}
        self.seen: list[str | None] = []
        self.served = 0

    def handle_error(self, *_: object) -> None:
        pass  # a client may hang up when it has seen enough

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/snapshot.jpg"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Camera

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        given = self.headers.get("Authorization")
        server.seen.append(given)
        if server.asks is not None and not _lets_in(given or "", server.asks):
            self.send_response(401)
            for scheme in server.asks.split("+"):
                challenge = 'Basic realm="camera"'
                if scheme == "digest":
                    challenge = f'Digest realm="{REALM}", nonce="{NONCE}", qop="auth"'
                self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = server.content(server.served)
        server.served += 1
        self.send_response(server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _lets_in(given: str, asks: str) -> bool:
    if given.startswith("Basic ") and "basic" in asks:
        return base64.b64decode(given[6:]) == f"{USER}:{PASSWORD}".encode()
    if given.startswith("Digest ") and "digest" in asks:
        parts = dict(re.findall(r'(\w+)="?([^",]*)"?', given))
        first = _md5(f"{USER}:{REALM}:{PASSWORD}")
        second = _md5(f"GET:{parts['uri']}")
        wanted = f"{first}:{NONCE}:{parts['nc']}:{parts['cnonce']}:auth:{second}"
        return bool(parts["response"] == _md5(wanted))
    return False


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def server() -> Iterator[Camera]:
    with Camera() as camera:
        thread = threading.Thread(target=camera.serve_forever, daemon=True)
        thread.start()
        yield camera
        camera.shutdown()
        thread.join()


def settings(url: str, **changes: Any) -> CameraSettings:
    return CameraSettings.model_validate({"kind": "snapshot", "source": url, "fps": 60} | changes)


def take(camera: CameraSettings, count: int = 2, **taking: Any) -> list[Shot]:
    return list(islice(snapshot_shots(camera, Taking(96, **taking)), count))


def test_each_request_gives_a_live_picture(server: Camera) -> None:
    server.content = lambda number: jpeg(50 * (1 + number))
    taken = take(settings(server.url), 3)
    shades = [shot.picture.getpixel((0, 0)) for shot in taken]
    assert shades == [pytest.approx((50 * n,) * 3, abs=3) for n in (1, 2, 3)]
    assert {shot.media_s for shot in taken} == {None}


@pytest.mark.parametrize("asks", ["basic", "digest", "basic+digest", "digest+basic"])
def test_login_is_what_the_camera_asks_for(server: Camera, asks: str) -> None:
    server.asks = asks
    camera = settings(server.url, username=USER, password=PASSWORD)
    assert len(take(camera, 3)) == 3
    first, *rest = server.seen
    assert first is None  # nothing is said before it is asked
    scheme = "Digest" if "digest" in asks else "Basic"
    assert [str(given).split()[0] for given in rest] == [scheme] * 3  # asked once


def test_login_may_stand_in_the_url_and_is_never_logged(
    server: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    server.asks = "digest"
    caplog.set_level(logging.DEBUG)
    url = server.url.replace("://", "://me%40home:a%2Fb%3Ac%40d@")
    assert len(take(settings(url))) == 2
    assert "a%2Fb" not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("asks", ["basic", "digest"])
def test_refused_login_is_one_sentence_without_the_password(server: Camera, asks: str) -> None:
    server.asks = asks
    with pytest.raises(SourceOpenError, match="refuses the login; check username") as caught:
        take(settings(server.url, username=USER, password="wrong-word"))
    assert "wrong-word" not in str(caught.value)
    assert len(server.seen) == 2  # and no more: some cameras lock out who tries again and again


@pytest.mark.parametrize(
    ("status", "headers", "problem"),
    [
        (404, {}, "cannot be opened: HTTP 404 Not Found"),
        (503, {}, "cannot be opened: HTTP 503 Service Unavailable"),
        (302, {"Location": "http://u:p@h/x"}, r"has moved to http://\*\*\*@h/x; write that"),
    ],
)
def test_refusals_are_one_sentence(
    server: Camera, status: int, headers: dict[str, str], problem: str
) -> None:
    server.status, server.headers = status, headers
    for ask in (take, answers_with_a_picture):
        with pytest.raises(SourceOpenError, match=problem):
            ask(settings(server.url))


def test_pictures_that_are_none_are_skipped_and_too_many_of_them_are_an_outage(
    server: Camera,
) -> None:
    skipped: list[int] = []
    server.content = lambda number: jpeg() if number in (0, 3) else jpeg()[:200]
    source = snapshot_shots(settings(server.url), Taking(96, on_skip=lambda: skipped.append(1)))
    assert len(list(islice(source, 2))) == 2
    assert len(skipped) == 2
    with pytest.raises(SourceLostError, match="answers, but with no picture"):
        next(source)
    assert len(skipped) == 2 + MAX_UNREADABLE


def test_a_picture_without_end_is_given_up(server: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "MAX_PICTURE_BYTES", 100_000)
    server.content = lambda _: bytes(200_000)
    with pytest.raises(SourceOpenError, match="sends more than one picture has; use kind: video"):
        take(settings(server.url))


@pytest.mark.parametrize("drip", [None, b"x"])
def test_a_camera_that_stalls_is_given_up(
    monkeypatch: pytest.MonkeyPatch, drip: bytes | None
) -> None:
    monkeypatch.setattr(snapshot_module, "REQUEST_TIMEOUT_S", 0.4)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def stall() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(4096)
                link.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n")
                while not done.wait(0.05):
                    if drip is not None:
                        try:
                            link.sendall(drip)
                        except OSError:
                            return

        thread = threading.Thread(target=stall)
        thread.start()
        try:
            with pytest.raises(SourceError, match=r"no answer within 0\.4 s|takes longer than"):
                take(settings(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("image/jpeg", True),
        ("Image/JPEG; charset=x", True),
        ("multipart/x-mixed-replace; boundary=x", False),
        ("video/mp4", False),
        ("", False),
    ],
)
def test_what_an_answer_says_it_is_decides(
    server: Camera, content_type: str, expected: bool
) -> None:
    server.headers = {"Content-Type": content_type} if content_type else {}
    assert answers_with_a_picture(settings(server.url, kind="auto")) is expected


def test_url_of_no_kind_that_answers_with_a_picture_is_a_snapshot(server: Camera) -> None:
    server.asks = "digest"
    camera = settings(server.url, kind="auto", username=USER, password=PASSWORD)
    assert len(list(islice(shots(camera, Taking(96)), 2))) == 2


def test_url_that_is_none_is_one_sentence() -> None:
    with pytest.raises(SourceOpenError, match="cannot be opened"):
        take(settings("http://[::1/x"))


def test_stopped_camera_asks_no_more(server: Camera) -> None:
    stop = threading.Event()
    source = snapshot_shots(settings(server.url), Taking(96, wait=stop.wait))
    next(source)
    stop.set()
    assert list(source) == []
    assert server.served == 1
