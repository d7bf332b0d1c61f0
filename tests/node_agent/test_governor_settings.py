from dataclasses import asdict
from typing import Any

import pytest
from pydantic import ValidationError

from node_agent.governor_settings import PRESETS, GovernorSettings


def test_the_presets_go_from_generous_to_strict() -> None:
    generous, polite, strict = (
        GovernorSettings.model_validate({"preset": name}).limits
        for name in ("generous", "polite", "strict")
    )
    for name in ("start_share", "stop_share", "max_pressure", "max_slowdown", "max_battery_c"):
        falling = [asdict(limits)[name] for limits in (generous, polite, strict)]
        assert falling == sorted(falling, reverse=True), name
        assert len(set(falling)) == 3, name
    for name in ("hold_off_s", "min_memory_mib", "trip_margin_c"):
        rising = [asdict(limits)[name] for limits in (generous, polite, strict)]
        assert rising == sorted(set(rising)), name
    assert (generous.on_battery, polite.on_battery, strict.on_battery) == (True, False, False)
    assert (polite.while_user_active, strict.while_user_active) == (True, False)


def test_what_is_given_stands_above_the_preset() -> None:
    settings = GovernorSettings.model_validate({"preset": "strict", "hold_off_s": 7})
    assert settings.hold_off_s == 7
    assert settings.stop_share == PRESETS["strict"]["stop_share"]


def test_polite_is_what_nobody_chose() -> None:
    assert GovernorSettings() == GovernorSettings(preset="polite")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"preset": "rude"}, "generous"),
        ({"preset": ["polite"]}, "generous"),
        ({"start_share": 0.9}, "start_share must not be above stop_share"),
        ({"core_start_share": 0.95}, "core_start_share must not be above core_stop_share"),
        ({"preset": "strict", "core_start_share": 0.6}, "core_start_share must not be above"),
        ({"fast_window_s": 3}, "fast_window_s must not be longer"),
        ({"start_share": 0}, "start_share below 0.01 can never be met"),
        ({"max_pressure": 0}, "max_pressure below 0.01 can never be met"),
        ({"max_slowdown": 1}, "max_slowdown below 1.1 can never be met"),
        ({"max_temperature_c": 29}, "max_temperature_c 29 can never be met"),
        ({"max_battery_c": 34, "temperature_hysteresis_c": 10}, "max_battery_c 34 can never be"),
        ({"quiet_hours": ["00:00-24:00"]}, "cover the whole week"),
        ({"quiet_hours": ["08:00-20:00", "20:00-08:00"]}, "cover the whole week"),
        ({"quiet_hours": ["at night"]}, "is no span"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus.*not known here"),
        ({"timezone": "../../etc/passwd"}, "not known here"),
        ({"timezone": ""}, "not known here"),
        ({"min_battery": 1.5}, "less than or equal to 1"),
    ],
)
def test_what_can_never_run_is_refused_with_the_reason(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GovernorSettings.model_validate(given)


def test_the_zone_of_the_quiet_hours() -> None:
    settings = GovernorSettings(quiet_hours=("22:00-07:00",), timezone="Europe/Berlin")
    assert str(settings.zone) == "Europe/Berlin"
    assert [span.text for span in settings.quiet_spans] == ["22:00-07:00"]
    assert GovernorSettings().zone is None
