"""A connected socket, with TLS or without, made on the event loop and never left behind."""

import asyncio
import socket
import ssl

from broker.settings import BrokerSettings


async def dial(settings: BrokerSettings, tls: ssl.SSLContext | None) -> socket.socket:
    """Return a non-blocking socket to the first of the host's addresses that takes us.

    Raises:
        OSError: none does, the TLS handshake fails, or the host name cannot be used.
    """
    try:
        return await _dial(settings, tls)
    except OSError:  # among them a refused certificate, which is a ValueError as well
        raise
    except ValueError as exc:  # what getaddrinfo and TLS make of a malformed name
        msg = f"the host name cannot be used: {exc}"
        raise OSError(msg) from exc


async def _dial(settings: BrokerSettings, tls: ssl.SSLContext | None) -> socket.socket:
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    failure: OSError = ConnectionError("the host has no address")
    for family, kind, number, _, address in addresses:
        sock = socket.socket(family, kind, number)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            # Answers are tens of bytes: Nagle would hold them for up to 40 ms.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock if tls is None else await _wrap(sock, tls, settings.host)
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:
            sock.close()
            raise
    raise failure


async def _wrap(sock: socket.socket, tls: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    loop = asyncio.get_running_loop()
    wrapped = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        while True:
            ready: asyncio.Future[None] = loop.create_future()
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                loop.add_reader(wrapped, _wake, ready)
                try:
                    await ready
                finally:
                    loop.remove_reader(wrapped)
            except ssl.SSLWantWriteError:
                loop.add_writer(wrapped, _wake, ready)
                try:
                    await ready
                finally:
                    loop.remove_writer(wrapped)
            else:
                return wrapped
    except BaseException:
        wrapped.close()
        raise


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
