"""Fixtures for every package's tests."""

from pathlib import Path

import hypothesis
import pytest

# How long an example takes says more about a busy machine than about the code.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data and weights beside the checkout; a user's checkout has none."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the data and weights of ../shared are not beside this checkout")
    return folder
