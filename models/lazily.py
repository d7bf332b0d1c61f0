"""Commands that import what they need, and with it perhaps PyTorch, only when they are run."""

import argparse
import importlib
from collections.abc import Callable

from models.errors import ModelsError

Command = Callable[[argparse.Namespace], int]


def lazily(module: str, function: str) -> Command:
    """Return a command that imports its module, and with it PyTorch, only when it is run."""

    def command(options: argparse.Namespace) -> int:
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as exc:
            extra = {"rich": "gateway", "matplotlib": "report"}.get(exc.name or "", "train")
            raise ModelsError(
                f"this command needs {exc.name}: pip install 'idlesight[{extra}]'"
            ) from exc
        result: int = getattr(loaded, function)(options)
        return result

    return command
