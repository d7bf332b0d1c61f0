"""Starts Home Assistant's unchanged core without the frontend; run by its own Python.

A stock start refuses to work without its 50 MB of pages, and loads a dozen integrations that have
nothing to do with MQTT.
"""

import sys

from homeassistant import bootstrap
from homeassistant.__main__ import main

bootstrap.DEFAULT_INTEGRATIONS = {"automation", "logger"}
bootstrap.CRITICAL_INTEGRATIONS = set()

if __name__ == "__main__":
    sys.exit(main())
