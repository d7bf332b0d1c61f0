import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node_agent.errors import PauseError
from node_agent.pause import MAX_S, Pause, PauseClock, PauseKeeper, parse_duration

HOUR_S = 3600.0


class Clocks:
    """A device's clocks, to be set at will."""

    def __init__(self) -> None:
        self.boot_id: str | None = "first boot"
        self.boot_s = 100.0
        self.wall = datetime(2025, 1, 31, 12, tzinfo=UTC)

    def clock(self) -> PauseClock:
        return PauseClock(self.boot_id, lambda: self.boot_s, lambda: self.wall)

    def pass_s(self, seconds: float) -> None:
        self.boot_s += seconds
        self.wall += timedelta(seconds=seconds)

    def reboot(self) -> None:
        self.boot_id, self.boot_s = "second boot", 5.0


def saved(folder: Path, clocks: Clocks, duration_s: float | None) -> PauseKeeper:
    keeper = PauseKeeper(folder, clocks.clock())
    keeper.set(duration_s)
    keeper.save()
    return keeper


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("0.5H", 1800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "-2h", "2h!", "0s", "367d", "1e9s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(PauseError, match=r"is no duration|is not between") as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value)


def test_a_pause_ends_by_itself_and_outlives_a_restart_of_the_agent(tmp_path: Path) -> None:
    clocks = Clocks()
    saved(tmp_path, clocks, 2 * HOUR_S)
    again = PauseKeeper(tmp_path, clocks.clock())
    assert again.words() is not None
    clocks.pass_s(2 * HOUR_S - 1)
    assert again.current() is not None
    clocks.pass_s(1)
    assert again.current() is None
    assert again.words() is None


@pytest.mark.parametrize("jump", [timedelta(hours=-5), timedelta(hours=5), timedelta(days=400)])
def test_a_clock_that_is_set_cannot_end_or_stretch_it(tmp_path: Path, jump: timedelta) -> None:
    clocks = Clocks()
    keeper = saved(tmp_path, clocks, HOUR_S)
    clocks.wall += jump
    for reader in (keeper, PauseKeeper(tmp_path, clocks.clock())):
        pause = reader.current()
        assert pause is not None
        assert clocks.clock().remaining_s(pause) == HOUR_S
    clocks.pass_s(HOUR_S)
    assert keeper.current() is None


def test_after_a_restart_of_the_device_the_wall_clock_decides(tmp_path: Path) -> None:
    clocks = Clocks()
    saved(tmp_path, clocks, 2 * HOUR_S)
    clocks.wall += timedelta(hours=1)
    clocks.reboot()
    again = PauseKeeper(tmp_path, clocks.clock())
    pause = again.current()
    assert pause is not None
    assert clocks.clock().remaining_s(pause) == HOUR_S
    clocks.wall += timedelta(hours=1)
    assert again.current() is None


def test_a_system_without_a_boot_id_has_the_wall_clock(tmp_path: Path) -> None:
    clocks = Clocks()
    clocks.boot_id = None
    keeper = saved(tmp_path, clocks, HOUR_S)
    clocks.wall += timedelta(hours=1)
    assert keeper.current() is None


def test_without_an_end_it_goes_on_until_it_is_resumed(tmp_path: Path) -> None:
    clocks = Clocks()
    keeper = saved(tmp_path, clocks, None)
    clocks.pass_s(MAX_S)
    assert keeper.words() == "until it is resumed"
    keeper.clear()
    keeper.save()
    assert keeper.current() is None
    assert not list(tmp_path.iterdir())


def test_an_agent_sees_what_a_command_does(tmp_path: Path) -> None:
    clocks = Clocks()
    agent = PauseKeeper(tmp_path, clocks.clock())
    assert agent.current() is None
    command = saved(tmp_path, clocks, HOUR_S)
    assert agent.current() is not None
    command.set(None)
    command.save()
    assert agent.words() == "until it is resumed"
    command.clear()
    command.save()
    assert agent.current() is None


def test_the_words_do_not_change_while_the_pause_goes_on(tmp_path: Path) -> None:
    clocks = Clocks()
    keeper = saved(tmp_path, clocks, HOUR_S)
    words = set()
    for _ in range(100):
        clocks.boot_s += 30.01  # the clocks drift apart
        clocks.wall += timedelta(seconds=30)
        words.add(keeper.words())
    assert len(words) == 1


def garbage(file: Path) -> None:
    file.write_bytes(b"\xff\x00")


def unfinished(file: Path) -> None:
    file.write_text('{"until": "2025-')


def naive(file: Path) -> None:
    file.write_text('{"until": "2025-01-31T12:00:00"}')


@pytest.mark.parametrize("spoil", [garbage, unfinished, naive, Path.mkdir])
def test_a_file_that_is_no_pause_is_ignored(
    tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(tmp_path / "pause.json")
    keeper = PauseKeeper(tmp_path, Clocks().clock())
    assert keeper.current() is None
    assert keeper.current() is None
    assert caplog.text.count("is no pause and is ignored") == 1


def test_a_disk_that_takes_nothing_is_said_and_the_pause_holds(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keeper = PauseKeeper(tmp_path / "file", Clocks().clock())  # no folder can be made there
    keeper.set(HOUR_S)
    with pytest.raises(PauseError, match="cannot be kept"):
        keeper.save()
    assert keeper.current() is not None


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    keeper = saved(tmp_path, clocks, HOUR_S)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        keeper.set(None)
        with pytest.raises(PauseError, match="No space left"):
            keeper.save()
    assert [file.name for file in tmp_path.iterdir()] == ["pause.json"]
    pause = PauseKeeper(tmp_path, clocks.clock()).current()
    assert pause is not None
    assert pause.until is not None


def test_this_devices_clocks_measure_a_pause(tmp_path: Path) -> None:
    clock = PauseClock.of_this_device()
    assert 3590 < clock.remaining_s(clock.pause(HOUR_S)) <= HOUR_S
    assert PauseClock.of_this_device(tmp_path).boot_id is None
    assert clock.remaining_s(Pause()) == float("inf")
