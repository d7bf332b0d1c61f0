"""Whether somebody uses the device, as systemd-logind knows it."""

import asyncio
import logging
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from typing import Final

logger = logging.getLogger(__name__)

LOGINCTL: Final = "loginctl"
_TIMEOUT_S: Final = 5.0
_ANSWERS: Final = {"IdleHint=no": True, "IdleHint=yes": False}


async def read_user_active(program: str = LOGINCTL) -> bool | None:
    """Return whether any session is not idle, None where nobody knows.

    logind counts a desktop's own idle hint and the last key press on a terminal; a device without
    a session is idle. A desktop that never reports idleness reads as always in use.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "show-session",
            "--property=IdleHint",
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
        )
    except OSError:
        return None  # no such program
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            said, _ = await process.communicate()
    except TimeoutError:
        logger.debug("%s gave no answer within %g s", program, _TIMEOUT_S)
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _ANSWERS.get(said.decode(errors="replace").strip())
