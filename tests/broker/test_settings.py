from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broker.errors import BrokerError, BrokerSettingsError
from broker.settings import BrokerSettings


@pytest.mark.parametrize(
    ("text", "host", "port", "tls"),
    [
        ("mqtt://broker.local:1884", "broker.local", 1884, False),
        ("mqtt://broker.local", "broker.local", 1883, False),
        ("mqtt://broker.local/", "broker.local", 1883, False),
        ("mqtts://broker.local", "broker.local", 8883, True),
        ("mqtts://broker.local:1", "broker.local", 1, True),
        ("broker.local:1884", "broker.local", 1884, False),
        ("192.168.1.2", "192.168.1.2", 1883, False),
        ("mqtt://[::1]:1884", "::1", 1884, False),
        ("MQTT://host", "host", 1883, False),
        ("mqtt://hub.lan.", "hub.lan.", 1883, False),
        ("mqtt://küche.lan", "küche.lan", 1883, False),
        ("mqtt://[fe80::1%eth0]", "fe80::1%eth0", 1883, False),
    ],
)
def test_url_is_read(text: str, host: str, port: int, tls: bool) -> None:
    settings = BrokerSettings.parse_url(text)
    assert (settings.host, settings.port, settings.tls) == (host, port, tls)


def test_login_in_the_url_is_read_and_the_password_never_shown() -> None:
    settings = BrokerSettings.parse_url("mqtt://an%40na:s%2Fecret@host:1884")
    assert settings.username == "an@na"
    assert settings.password is not None
    assert settings.password.get_secret_value() == "s/ecret"
    assert settings.url == "mqtt://an%40na@host:1884"
    assert "s/ecret" not in repr(settings) + str(settings) + settings.url


def test_url_of_an_ipv6_host_has_brackets() -> None:
    assert BrokerSettings(host="::1").url == "mqtt://[::1]:1883"


def test_url_with_ca_file_and_protocol() -> None:
    settings = BrokerSettings.parse_url("mqtts://h", ca_file=Path("ca.pem"), protocol="3.1.1")
    assert settings.ca_file == Path("ca.pem")
    assert settings.protocol == "3.1.1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no host"),
        ("mqtt://", "no host"),
        ("mqtt://:1883", "no host"),
        ("my host", "no host"),
        ("http://host", "mqtt://"),
        ("mqtt://host:port", "no readable host"),
        ("mqtt://anna:my/secret@host", "%2F for a /"),
        ("mqtt://host:70000", "no readable host"),
        ("mqtt://host:0", "port"),
        ("mqtt://host/topic", "ends after the port"),
        ("mqtt://host?x=1", "ends after the port"),
        ("mqtt://[::1", "no readable host"),
        ("mqtt://:secret@host", "needs a username"),
        ("mqtt://anna:secret@hub..lan", "broker host: .* single dots"),
        ("mqtt://.hub.lan", "broker host: .* single dots"),
        ("mqtt://" + "a" * 64 + ".lan", "broker host: .* 1 to 63 valid characters"),
        ("mqtt://" + "ä" * 60 + ".lan", "broker host: .* 1 to 63 valid characters"),
        ("mqtt://hub\0.lan", "broker host: .* control characters"),
    ],
)
def test_bad_url_is_one_sentence_without_the_password(text: str, says: str) -> None:
    with pytest.raises(BrokerSettingsError, match=says) as caught:
        BrokerSettings.parse_url(text)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["hub..lan", ".hub.lan", "a" * 64, "my hub", "hub\n"])
def test_host_of_a_settings_file_is_checked_too(host: str) -> None:
    with pytest.raises(BrokerSettingsError, match=r"^broker host: a host name") as caught:
        BrokerSettings.checked(host=host)
    assert "\n" not in str(caught.value)


def test_ca_file_needs_tls() -> None:
    with pytest.raises(BrokerSettingsError, match="needs tls"):
        BrokerSettings.parse_url("mqtt://host", ca_file=Path("ca.pem"))


def test_bare_protocol_number_of_yaml_is_taken() -> None:
    assert BrokerSettings.model_validate({"protocol": 5}).protocol == "5"


def test_unknown_setting_is_refused_and_named() -> None:
    with pytest.raises(BrokerSettingsError, match="broker hots"):
        BrokerSettings.checked(hots="a")


@given(st.text(max_size=60))
def test_any_text_is_settings_or_one_error(text: str) -> None:
    try:
        settings = BrokerSettings.parse_url(text)
    except BrokerSettingsError:
        return
    assert settings.host.encode("idna")


def test_settings_error_is_a_value_error_and_ours() -> None:
    assert issubclass(BrokerSettingsError, ValueError)
    assert issubclass(BrokerSettingsError, BrokerError)
    with pytest.raises(ValidationError):
        BrokerSettings(port=0)
