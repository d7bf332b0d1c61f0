"""What a node lives through: real processes, real signals, on both brokers where it matters."""

import io
import os
import re
import signal
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import broker.codecs
from broker.payloads import NodeCommand, dump
from models.pack import Pack
from models.preprocess import decode_jpeg
from models.runtime import Classifier
from tests.node_agent.processes import (
    NAME,
    TOPICS,
    embedded,
    free_port,
    hub,
    mosquitto,
    node,
    passwords,
    state,
    until,
    workers_of,
)

ALWAYS = ("--variant", "V1", "--always")
OpenBroker = Callable[[int], AbstractAsyncContextManager[None]]


@pytest.fixture(params=[pytest.param(mosquitto, marks=pytest.mark.mosquitto), embedded])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of a broker that runs, of each kind."""
    number = free_port()
    open_broker: OpenBroker = request.param
    async with open_broker(number):
        yield number


def refusals(log: str) -> list[str]:
    return [line for line in log.splitlines() if "another node named" in line]


async def test_a_second_node_of_one_name_is_refused_and_the_first_goes_on(
    port: int, pack: Pack, jpeg: bytes
) -> None:
    url = f"mqtt://127.0.0.1:{port}"
    async with hub(port) as home, node(url, pack, *ALWAYS) as first:
        await home.phase("working")
        for number in range(2):
            async with node(url, pack, *ALWAYS) as second:
                assert await second.exit_code() == 2
            assert len(refusals(second.log)) == 1
            assert "give this one another --name" in second.log
            assert "Traceback" not in second.log
            await home.ask(number, jpeg)
        assert home.statuses == ["online"]
        assert {one.session for one in home.states} == {home.states[0].session}
        assert first.process.returncode is None
        assert "breaks soon" not in first.log


async def test_of_two_that_start_at_once_one_stays(port: int, pack: Pack, jpeg: bytes) -> None:
    url = f"mqtt://127.0.0.1:{port}"
    async with hub(port) as home, node(url, pack, *ALWAYS) as one, node(url, pack, *ALWAYS) as two:
        await until(
            lambda: one.process.returncode is not None or two.process.returncode is not None
        )
        await home.phase("working")
        gone, left = (one, two) if one.process.returncode is not None else (two, one)
        assert await gone.exit_code() == 2
        await until(lambda: len(refusals(gone.log)) == 1)
        await until(lambda: home.statuses[-1] == "online")
        await home.ask(1, jpeg)
        await home.ask(2, jpeg)
        assert [answer.frame for answer in home.answers].count(2) == 1
        assert left.process.returncode is None


async def test_after_a_kill_the_next_one_has_the_name_and_the_pause(
    port: int, pack: Pack, jpeg: bytes, state_home: Path
) -> None:
    url = f"mqtt://127.0.0.1:{port}"
    async with hub(port) as home:
        async with node(url, pack, *ALWAYS) as first:
            await home.phase("working")
            pause = dump(NodeCommand(paused=True, for_s=3600))
            await home.session.publish(TOPICS.node_set(NAME), pause, qos=1)
            before = await home.phase("paused")
            await until((state_home / "idlesight" / NAME / "pause.json").exists)  # on the disk
            (worker,) = workers_of(first.process.pid)
            first.process.kill()
            await until(lambda: home.statuses[-1] == "offline")
        await until(lambda: state(worker) in ("gone", "Z"))
        async with node(url, pack, *ALWAYS):
            await until(lambda: home.states[-1].session != before.session)
            assert (await home.phase("paused")).paused_by_hand
            resume = dump(NodeCommand(paused=False))
            await home.session.publish(TOPICS.node_set(NAME), resume, qos=1)
            await home.phase("working")
            await home.ask(1, jpeg)


def impatient(tmp_path: Path, url: str) -> tuple[str, ...]:
    """Options with a file of settings that make it notice things soon."""
    file = tmp_path / "node.toml"
    host, port = url.removeprefix("mqtt://").split(":")
    file.write_text(
        f'name = "{NAME}"\n[worker]\nanswer_timeout_s = 1\n'
        f'[broker]\nhost = "{host}"\nport = {port}\nkeepalive_s = 1\n'
    )
    return ("--config", str(file))


async def test_a_worker_that_stands_still_is_replaced(
    port: int, pack: Pack, jpeg: bytes, tmp_path: Path
) -> None:
    url = f"mqtt://127.0.0.1:{port}"
    options = (*impatient(tmp_path, url), *ALWAYS)
    async with hub(port) as home, node(None, pack, *options) as guest:
        await home.phase("working")
        (worker,) = workers_of(guest.process.pid)
        os.kill(worker, signal.SIGSTOP)
        await home.send(1, jpeg)
        await until(lambda: state(worker) == "gone")
        await until(lambda: home.states[-1].counts.skipped == 1)
        await home.phase("working")
        await home.ask(2, jpeg)
        assert home.statuses == ["online"]


@pytest.mark.mosquitto
async def test_an_agent_that_slept_takes_its_name_back_from_a_younger_one(
    pack: Pack, jpeg: bytes, tmp_path: Path
) -> None:
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    options = (*impatient(tmp_path, url), *ALWAYS)
    async with mosquitto(port), hub(port) as home, node(None, pack, *options) as elder:
        await home.phase("working")
        await home.ask(1, jpeg)
        elders = home.states[-1].session
        elder.process.send_signal(signal.SIGSTOP)
        await until(lambda: home.statuses[-1] == "offline")
        async with node(url, pack, *ALWAYS) as younger:
            await until(lambda: home.states[-1].session != elders)
            await home.ask(2, jpeg)
            elder.process.send_signal(signal.SIGCONT)
            assert await younger.exit_code() == 2
        await until(lambda: home.states[-1].session == elders and home.statuses[-1] == "online")
        await home.ask(3, jpeg)
        assert elder.process.returncode is None


def encoded(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def turned(jpeg: bytes) -> bytes:
    """The same picture with an EXIF note that it must be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.open(io.BytesIO(jpeg)), exif=exif.tobytes())


def bomb(jpeg: bytes, side: int) -> bytes:
    """A small file that declares side × side pixels: 12 GiB decoded at 65,535."""
    frame = jpeg.index(b"\xff\xc0\x00\x11\x08") + 5  # where the height and the width stand
    return jpeg[:frame] + struct.pack(">HH", side, side) + jpeg[frame + 4 :]


def png_bomb() -> bytes:
    """A PNG, no JPEG, that declares 20,000 × 20,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


async def test_hostile_pictures_cost_their_answer_and_nothing_else(
    port: int, pack: Pack, jpeg: bytes
) -> None:
    picture = Image.open(io.BytesIO(jpeg))
    wide = encoded(Image.new("L", (20_000, 40), 90))
    answered = {
        10: encoded(picture.resize((1, 1))),
        11: wide,
        12: encoded(picture.convert("CMYK")),
        13: turned(jpeg),
    }
    dropped = {
        20: jpeg[: len(jpeg) // 2],
        21: jpeg[:20],
        22: bomb(jpeg, 65_535),
        23: png_bomb(),
        24: bomb(jpeg, 20_000),
        25: b"\xff\xd8" + os.urandom(5000),
    }
    url = f"mqtt://127.0.0.1:{port}"
    classifier = Classifier(pack.model("V1"))
    async with hub(port) as home, node(url, pack, *ALWAYS) as guest:
        await home.phase("working")
        (worker,) = workers_of(guest.process.pid)
        for number, body in answered.items():
            answer = await home.ask(number, body)
            scores = classifier.classify(decode_jpeg(body, 32))
            assert answer.indices == tuple(np.argsort(-scores)[:2])
            assert answer.values == pytest.approx(np.sort(scores)[::-1][:2], abs=1e-4)
        for number, body in dropped.items():  # each on a camera of its own: none evicts another
            await home.send(number, body, camera=f"camera{number}")
        await until(lambda: home.states[-1].counts.dropped == len(dropped))
        foreign = await home.ask(30, jpeg, session=0xFFFF_FFFF)
        assert foreign.session == 0xFFFF_FFFF  # the gateway knows its own, a node need not
        assert workers_of(guest.process.pid) == [worker]
        assert {answer.frame for answer in home.answers} == {*answered, 30}
        assert home.statuses == ["online"]


def documented_acl() -> list[str]:
    """The access rules of PROTOCOL.md, as Mosquitto reads them."""
    document = (Path(broker.codecs.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
    return re.findall(r"^pattern .*$", document, re.MULTILINE)


@pytest.mark.mosquitto
async def test_the_documented_rights_suffice_and_bind_a_node_to_its_name(
    pack: Pack, jpeg: bytes, tmp_path: Path
) -> None:
    port = free_port()
    logins = passwords(tmp_path, [("hub", "h"), (NAME, "k"), ("stranger", "s")])
    acl = tmp_path / "acl"
    acl.touch(mode=0o600)
    acl.write_text("\n".join(["user hub", "topic readwrite idlesight/#", *documented_acl(), ""]))
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {logins}\n"
        f"acl_file {acl}\n" + ("user root\n" if os.geteuid() == 0 else "")
    )
    async with mosquitto(port, config_file=config):
        url = f"mqtt://{NAME}:k@127.0.0.1:{port}"
        async with hub(port, f"mqtt://hub:h@127.0.0.1:{port}") as home, node(url, pack, *ALWAYS):
            await home.phase("working")
            await home.ask(1, jpeg)
            pause = dump(NodeCommand(paused=True))
            await home.session.publish(TOPICS.node_set(NAME), pause, qos=1)
            await home.phase("paused")
            resume = dump(NodeCommand(paused=False))
            await home.session.publish(TOPICS.node_set(NAME), resume, qos=1)
            await home.phase("working")
            async with node(url, pack, *ALWAYS) as second:
                assert await second.exit_code() == 2
            said = len(home.states)
            # Another login under this name: it can neither say nor answer anything.
            strange = f"mqtt://stranger:s@127.0.0.1:{port}"
            async with node(strange, pack, *ALWAYS) as third:
                await until(lambda: "serves" in third.log)
                await home.ask(2, jpeg)
            assert {one.session for one in home.states[said:]} <= {home.states[0].session}
            assert home.statuses == ["online"]
