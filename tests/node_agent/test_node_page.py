"""docs/node.md says what the program does: its settings, presets, causes and commands."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from node_agent.cli import _parser
from node_agent.governor_settings import GovernorSettings
from node_agent.objections import Cause
from node_agent.settings import ModelSettings, NodeSettings, WorkerSettings

PAGE = (Path(__file__).parents[2] / "docs" / "node.md").read_text(encoding="utf-8")
WORDS = {"unset": None, "none": (), "the device's": None, "true": True, "false": False}


def rows(header: str) -> dict[str, list[str]]:
    """Return the cells after the first of a table, by its first column."""
    table = PAGE[PAGE.index(header) :].split("\n\n")[0]
    lines = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return {first.strip().strip("`"): [cell.strip() for cell in rest] for first, *rest in lines}


def value(cell: str) -> object:
    return WORDS[cell] if cell in WORDS else float(cell)


def test_every_threshold_has_its_three_values() -> None:
    table = rows("| setting | generous | polite | strict |")
    assert set(table) == set(GovernorSettings.model_fields) - {"preset"}
    for column, preset in enumerate(("generous", "polite", "strict")):
        settings = GovernorSettings.model_validate({"preset": preset})
        for name, cells in table.items():
            assert value(cells[column]) == getattr(settings, name), (name, preset)


def test_every_other_setting_is_named() -> None:
    table = rows("| setting | default | meaning |")
    names = set(NodeSettings.model_fields) - {"worker", "governor", "models"}
    names |= {f"worker.{name}" for name in WorkerSettings.model_fields}
    assert set(table) == names | {f"models.{name}" for name in ModelSettings.model_fields}


def test_every_cause_is_named() -> None:
    assert set(rows("| cause | it rests |")) == set(get_args(Cause))


def test_the_example_file_is_valid() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    settings = NodeSettings.model_validate(tomllib.loads(text))
    assert settings.governor.preset == "strict"
    assert len(settings.governor.quiet_spans) == 2


@pytest.mark.parametrize("line", re.findall(r"^\$ (idlesight-node .*)$", PAGE, re.MULTILINE))
def test_every_command_is_real(line: str) -> None:
    command, *arguments = shlex.split(line, comments=True)
    assert command == "idlesight-node"
    assert _parser().parse_args(arguments).command == arguments[0]
