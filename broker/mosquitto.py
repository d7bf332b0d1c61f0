"""Mosquitto as a child process: found, configured, started, awaited, ended."""

import asyncio
import ctypes
import errno
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from ipaddress import ip_address
from pathlib import Path

from broker.codecs import MAX_MESSAGE_BYTES
from broker.errors import BrokerStartError

# Debian and Homebrew install it where a user's PATH may not look.
_MORE_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
# The largest message plus its topic and packet header.
MAX_PACKET_BYTES = MAX_MESSAGE_BYTES + 1024
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02


def find_mosquitto() -> Path | None:
    """Return where the mosquitto program is, None if it is not installed."""
    path = os.pathsep.join((os.environ.get("PATH", ""), _MORE_PLACES))
    found = shutil.which("mosquitto", path=path)
    return None if found is None else Path(found)


def mosquitto_version(program: Path) -> str:
    """Return the version the program reports, `?` if it reports none."""
    shown = subprocess.run([program, "-h"], capture_output=True, text=True, check=False, timeout=10)
    match = re.search(r"version (\S+)", shown.stdout)
    return match[1] if match else "?"


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches a listener on `address`."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def mosquitto_config(
    *,
    bind: str,
    port: int,
    data_dir: Path | None,
    allow_anonymous: bool,
    password_file: Path | None = None,
    user: str | None = None,
) -> str:
    """Return a configuration with one listener.

    Args:
        bind: the address to listen on.
        port: the port to listen on.
        data_dir: where retained messages outlive a restart, None to keep nothing.
        allow_anonymous: whether clients without a login may do everything.
        password_file: logins as `mosquitto_passwd` writes them.
        user: whom to become when started as root.
    """
    lines = [
        f"listener {port} {bind}",
        f"allow_anonymous {str(allow_anonymous).lower()}",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        f"persistence {'false' if data_dir is None else 'true'}",
    ]
    if data_dir is not None:
        lines += [f"persistence_location {data_dir.resolve()}/", "autosave_interval 60"]
    if password_file is not None:
        lines.append(f"password_file {password_file.resolve()}")
    if user is not None:
        lines.append(f"user {user}")
    return "\n".join(lines) + "\n"


class MosquittoBroker:
    """A mosquitto process that ends with us."""

    def __init__(
        self,
        program: Path,
        *,
        bind: str,
        port: int,
        data_dir: Path | None = None,
        allow_anonymous: bool = True,
        password_file: Path | None = None,
        config_file: Path | None = None,
    ) -> None:
        """Keep what `start` needs.

        Args:
            program: where mosquitto is.
            bind: the address to listen on.
            port: the port to listen on; with `config_file`, the one that file opens.
            data_dir: where to keep retained messages, None to keep nothing.
            allow_anonymous: whether clients need no login.
            password_file: logins as `mosquitto_passwd` writes them.
            config_file: a configuration of the user's own, used as it is.
        """
        self.name = f"mosquitto {mosquitto_version(program)}"
        self._program = program
        self._address = (
            "127.0.0.1" if bind == "0.0.0.0" else "::1" if bind == "::" else bind,
            port,
        )
        self._config_file = config_file
        # Started as root it would become "mosquitto", who cannot write our directory.
        self._config = mosquitto_config(
            bind=bind,
            port=port,
            data_dir=data_dir,
            allow_anonymous=allow_anonymous,
            password_file=password_file,
            user=getpass.getuser() if os.geteuid() == 0 else None,
        )
        self._process: asyncio.subprocess.Process | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    async def start(self) -> None:
        """Start, and return when it accepts connections.

        Raises:
            BrokerStartError: it ends at once or does not listen in time; with its own words.
        """
        self._scratch = tempfile.TemporaryDirectory(prefix="idlesight-broker-")
        config_file = self._config_file
        if config_file is None:
            config_file = Path(self._scratch.name) / "mosquitto.conf"
            config_file.write_text(self._config)
        with (Path(self._scratch.name) / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._program,
                "-c",
                config_file,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal reaches us, and we end it
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._accepts()
        except TimeoutError as exc:
            host, port = self._address
            msg = f"mosquitto does not listen on {host}:{port}: {self._last_words()}"
            raise BrokerStartError(msg) from exc

    async def ended(self) -> None:
        """Wait until it ends by itself.

        Raises:
            BrokerStartError: always, then; with its last words.
        """
        if self._process is None:
            return
        code = await self._process.wait()
        msg = f"mosquitto ended by itself with code {code}: {self._last_words()}"
        raise BrokerStartError(msg)

    async def stop(self) -> None:
        """End it: politely, so that it saves what is retained, then by force."""
        process, self._process = self._process, None
        try:
            if process is not None and process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(STOP_TIMEOUT_S):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()
        finally:
            if self._scratch is not None:
                self._scratch.cleanup()

    async def _accepts(self) -> None:
        while True:
            if self._process is not None and self._process.returncode is not None:
                raise BrokerStartError(f"mosquitto does not start: {self._last_words()}")
            try:
                _, writer = await asyncio.open_connection(*self._address)
            except OSError:
                await asyncio.sleep(_POLL_S)
                continue
            writer.close()
            await writer.wait_closed()
            return

    def _last_words(self) -> str:
        if self._scratch is None:
            return "it said nothing"
        lines = (Path(self._scratch.name) / "log").read_text(errors="replace").splitlines()
        said = [re.sub(r"^\d+: ", "", line).strip() for line in lines if line.strip()]
        return said[-1] if said else "it said nothing"


def check_port_free(bind: str, port: int) -> int:
    """Return the port to listen on, a free one for 0.

    Raises:
        BrokerStartError: the port is occupied or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            return int(probe.getsockname()[1])
        except PermissionError as exc:
            msg = f"port {port} needs more rights: choose one above 1023 with --port"
            raise BrokerStartError(msg) from exc
        except OSError as exc:
            if isinstance(exc, socket.gaierror) or exc.errno != errno.EADDRINUSE:
                msg = f"cannot listen on {bind}: {exc.strerror}; give an address of this machine"
                raise BrokerStartError(msg) from exc
            msg = (
                f"port {port} on {bind} is occupied: stop the program that holds it, "
                "or choose another with --port"
            )
            raise BrokerStartError(msg) from exc


def _die_with_parent() -> None:
    """Have the kernel end this child when its parent is killed (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
