import base64
import io
import json
import threading
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.camera_settings import CameraSettings
from gateway.errors import PictureError
from gateway.mailbox import Mailbox, mailbox_shots, picture_bytes
from gateway.shot import Taking


def jpeg(shade: int = 100) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


TEXT = base64.b64encode(jpeg()).decode()


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"image": TEXT}, "image"),
        ({"after": {"picture": {"data": TEXT}}}, "after.picture.data"),
        ({"image": f"data:image/jpeg;base64,{TEXT}"}, "image"),
        ({"image": "\n".join(TEXT[at : at + 76] for at in range(0, len(TEXT), 76))}, "image"),
    ],
)
def test_picture_stands_in_a_field_of_json(message: object, field: str) -> None:
    assert picture_bytes(json.dumps(message).encode(), field) == jpeg()


def test_without_a_field_the_message_is_the_picture() -> None:
    assert picture_bytes(jpeg(), None) == jpeg()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xd8\xff",
        b"[]",
        b"null",
        b'"text"',
        b'{"image": null}',
        b'{"image": 7}',
        b'{"image": {"image": 1}}',
        b'{"image": "not base64!"}',
        b'{"other": ""}',
        b"[" * 100_000,
    ],
)
def test_message_without_a_picture_in_its_field_is_refused(payload: bytes) -> None:
    with pytest.raises(PictureError):
        picture_bytes(payload, "image.data")


@given(st.binary(max_size=60), st.sampled_from(["image", "a.b", "0"]))
def test_any_message_is_taken_or_refused(payload: bytes, field: str) -> None:
    try:
        picture_bytes(payload, field)
    except PictureError:
        return


def test_newest_message_replaces_one_that_was_not_taken() -> None:
    mailbox = Mailbox()
    assert [mailbox.put(payload) for payload in (b"a", b"b", b"c")] == [False, True, True]
    assert mailbox.take(0) == b"c"
    assert mailbox.take(0) is None


def test_pictures_come_as_they_are_left_and_bad_ones_are_counted() -> None:
    mailbox = Mailbox()
    skipped: list[int] = []
    opened: list[int] = []

    def skip() -> None:
        skipped.append(1)
        mailbox.put(jpeg(200))

    mailbox.put(b"no picture")
    taking = Taking(32, on_skip=skip, on_open=lambda: opened.append(1))
    camera = CameraSettings(kind="mqtt", source="a/b", fps=60)
    (shot,) = islice(mailbox_shots(camera, taking, mailbox), 1)
    assert (skipped, opened, shot.media_s) == ([1], [1], None)
    assert shot.picture.getpixel((0, 0)) == pytest.approx((200, 200, 200), abs=3)


def test_a_stopped_camera_stops_waiting_for_pictures() -> None:
    stop = threading.Event()
    stop.set()
    camera = CameraSettings(kind="mqtt", source="a/b")
    assert list(mailbox_shots(camera, Taking(32, wait=stop.wait), Mailbox())) == []
