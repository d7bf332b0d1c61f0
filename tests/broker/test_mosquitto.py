import socket
from pathlib import Path

import pytest

from broker.errors import BrokerStartError
from broker.mosquitto import check_port_free, find_mosquitto, is_loopback, mosquitto_config


def test_config_keeps_nothing_without_a_data_directory() -> None:
    config = mosquitto_config(bind="127.0.0.1", port=1884, data_dir=None, allow_anonymous=True)
    assert config.splitlines() == [
        "listener 1884 127.0.0.1",
        "allow_anonymous true",
        "max_packet_size 263168",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "persistence false",
    ]


def test_config_with_everything(tmp_path: Path) -> None:
    config = mosquitto_config(
        bind="0.0.0.0",
        port=1,
        data_dir=tmp_path,
        allow_anonymous=False,
        password_file=tmp_path / "logins",
        user="root",
    ).splitlines()
    assert "allow_anonymous false" in config
    assert "persistence true" in config
    assert f"persistence_location {tmp_path}/" in config
    assert f"password_file {tmp_path}/logins" in config
    assert "user root" in config


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.5.5.5", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("myhost", False),
    ],
)
def test_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_missing_program_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("broker.mosquitto._MORE_PLACES", "")
    assert find_mosquitto() is None
    monkeypatch.setattr("broker.mosquitto._MORE_PLACES", str(tmp_path))
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_mosquitto() == program


def test_port_zero_takes_a_free_one() -> None:
    port = check_port_free("127.0.0.1", 0)
    assert port > 0
    assert check_port_free("127.0.0.1", port) == port


def test_occupied_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(BrokerStartError, match=rf"port {port} on 127\.0\.0\.1 is occupied"):
            check_port_free("127.0.0.1", port)


def test_foreign_address_is_one_sentence() -> None:
    with pytest.raises(BrokerStartError, match=r"cannot listen on 192\.0\.2\.1"):
        check_port_free("192.0.2.1", 0)
