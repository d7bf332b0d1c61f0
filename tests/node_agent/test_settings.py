from pathlib import Path
from typing import Any

import pytest

from node_agent.errors import SettingsError
from node_agent.settings import MAX_FILE_BYTES, load_settings


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "node.toml"
    file.write_text(text)
    return file


def test_a_name_is_enough() -> None:
    settings = load_settings(None, {"name": "kitchen"})
    assert settings.broker.url == "mqtt://127.0.0.1:1883"
    assert (settings.gateway, settings.prefix, settings.worker.threads) == ("home", "idlesight", 1)
    assert settings.worker.priority == "idle"
    assert not settings.governor.always


def test_options_stand_above_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'name = "a"\nbroker = "mqtt://hub:1884"\n[governor]\nstart_share = 0.1\nhold_off_s = 9\n',
    )
    settings = load_settings(file, {"name": "b", "pack": None, "governor": {"always": True}})
    assert settings.name == "b"
    assert settings.broker.port == 1884
    assert settings.governor.always
    assert (settings.governor.start_share, settings.governor.hold_off_s) == (0.1, 9.0)


def test_the_broker_may_be_a_table(tmp_path: Path) -> None:
    file = write(tmp_path, 'name = "a"\n[broker]\nhost = "hub"\nusername = "u"\npassword = "p"\n')
    settings = load_settings(file, {"worker": {"threads": None}})
    assert settings.broker.url == "mqtt://u@hub:1883"
    assert "p@" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "a"\ncolour = 1\n', "unknown setting `colour`"),
        ('name = "a"\n[governor]\nstart = 1\n', "unknown setting `governor.start`"),
        ('name = "a"\n[broker]\nhots = "x"\n', "unknown setting `broker.hots`"),
        ('name = "a/b"\n', "name: .*A-Z"),
        ('name = "a"\nbroker = "http://hub"\n', "broker: .*mqtt://"),
        ('name = "a"\nbroker = 7\n', "broker: "),
        ('name = "a"\ngovernor = 7\n', "governor: "),
        ('name = "a"\n[governor]\nstart_share = 0.9\n', "governor: start_share must not"),
        ('name = "a"\n[governor]\nfast_window_s = 3\n', "governor: fast_window_s must not"),
        ('name = "a"\n[governor]\nstop_share = nan\n', "governor.stop_share: "),
        ('name = "a"\n[worker]\npriority = "high"\n', "worker.priority: "),
        ("name = \n", "is not a TOML file"),
        ("gateway = 'home'\n", "has no name"),
        ("x = '" + "x" * MAX_FILE_BYTES + "'", "no settings file"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(file, {})
    assert "\n" not in str(caught.value)


def test_binary_missing_and_unreadable_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for file in (tmp_path / "binary", tmp_path / "missing", tmp_path):
        with pytest.raises(SettingsError, match=str(file)):
            load_settings(file, {"name": "a"})


@pytest.mark.parametrize(
    "options",
    [{}, {"name": ""}, {"name": "x" * 65}, {"name": "a", "worker": {"threads": 0}}],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        load_settings(None, options)


def test_an_option_for_a_table_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="`governor` must be a table"):
        load_settings(write(tmp_path, "governor = 7\n"), {"governor": {"always": True}})


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/guest", "XDG_STATE_HOME": "/x"}, "/var/lib/guest"),
        ({"XDG_STATE_HOME": "/x"}, "/x/idlesight"),
        ({"HOME": "/home/ada"}, "/home/ada/.local/state/idlesight"),
    ],
)
def test_where_a_pause_is_kept(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str
) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings(None, {"name": "kitchen"}).folder == Path(folder) / "kitchen"


def test_a_preset_of_the_command_line_stands_above_the_files(tmp_path: Path) -> None:
    file = write(tmp_path, 'name = "a"\n[governor]\npreset = "strict"\nhold_off_s = 9\n')
    strict = load_settings(file, {}).governor
    generous = load_settings(file, {"governor": {"preset": "generous"}}).governor
    assert (strict.stop_share, generous.stop_share) == (0.25, 0.8)
    assert strict.hold_off_s == generous.hold_off_s == 9


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"CACHE_DIRECTORY": "/var/cache/node", "XDG_CACHE_HOME": "/x"}, "/var/cache/node"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/idlesight"),
        ({"HOME": "/home/somebody"}, "/home/somebody/.cache/idlesight"),
    ],
)
def test_fetched_models_are_kept_where_the_system_keeps_such_things(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str
) -> None:
    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(None, {"name": "kitchen"})
    assert settings.cache_folder == Path(folder) / "kitchen"
    assert settings.models.cache_bytes == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cache_mib = -1", "models.cache_mib"),
        ("timeout_s = 0", "models.timeout_s"),
        ('fetch = "perhaps"', "models.fetch"),
        ("mirror = true", "unknown setting `models.mirror`"),
    ],
)
def test_a_wrong_setting_of_models_is_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(write(tmp_path, f'name = "a"\n[models]\n{line}\n'), {})
