from typing import Any

import pytest

from node_agent.outlook import never_runs
from node_agent.readers.memory import Memory
from node_agent.readings import Zone
from node_agent.sensors import SlowReadings
from node_agent.settings import NodeSettings


@pytest.mark.parametrize(
    ("governor", "slow", "words"),
    [
        ({}, SlowReadings(), None),
        ({}, SlowReadings(memory=Memory(300.0, 500.0)), None),
        ({}, SlowReadings(memory=Memory(30.0, 500.0)), None),  # others may end
        ({"min_memory_mib": 500}, SlowReadings(memory=Memory(300.0, 500.0)), "625 MiB available"),
        ({"min_memory_mib": 500, "always": True}, SlowReadings(memory=Memory(3.0, 5.0)), None),
        ({}, SlowReadings(zones=(Zone("cpu", 40.0, 80.0), Zone("wifi", 40.0))), None),
        ({}, SlowReadings(zones=(Zone("cpu", 30.0, 34.0),)), "wait until it is at 24 °C"),
    ],
)
def test_what_this_device_can_never_give(
    governor: dict[str, Any], slow: SlowReadings, words: str | None
) -> None:
    settings = NodeSettings.model_validate({"name": "kitchen", "governor": governor})
    found = never_runs(settings, slow)
    assert [words in sentence for sentence in found if words] == [True] * len(found)
    assert len(found) == (words is not None)
