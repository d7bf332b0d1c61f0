"""A small RTSP camera for tests: one client, interleaved in TCP, MPEG-TS in RTP (RFC 2326, 2250).

It refuses UDP, as a camera behind a firewall does in effect.
"""

import re
import socket
import struct
import threading
from pathlib import Path

TS_PACKET = 188
TS_IN_RTP = 7


class RtspServer:
    """Serves one MPEG-TS file from its beginning to each client, then falls silent or hangs up."""

    def __init__(self, clip: Path, *, hang_up: bool) -> None:
        self.transports: list[str] = []
        self._content = clip.read_bytes()
        self._hang_up = hang_up
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"

    def __enter__(self) -> "RtspServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                link, _ = self._listener.accept()
            except TimeoutError:
                continue
            with link:
                link.settimeout(0.1)
                try:
                    self._talk(link)
                except OSError:
                    continue

    def _talk(self, link: socket.socket) -> None:
        pending = b""
        while not self._stop.is_set():
            try:
                received = link.recv(4096)
            except TimeoutError:
                continue
            if not received:
                return
            pending += received
            while b"\r\n\r\n" in pending:
                request, _, pending = pending.partition(b"\r\n\r\n")
                if self._answer(link, request.decode()) and self._hang_up:
                    return

    def _answer(self, link: socket.socket, request: str) -> bool:
        """Answer one request; return whether the clip was sent."""
        method = request.split()[0]
        found = re.search(r"^CSeq: *(\d+)", request, re.MULTILINE | re.IGNORECASE)
        status, more, body = "200 OK", "", ""
        if method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 33\r\na=rtpmap:33 MP2T/90000\r\na=control:track\r\n"
            )
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            transport = re.search(r"^Transport: *(.*)$", request, re.MULTILINE | re.IGNORECASE)
            asked = transport[1].strip() if transport else ""
            self.transports.append(asked)
            if "TCP" not in asked:
                status = "461 Unsupported Transport"
            more = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        elif method == "PLAY":
            more = "Session: 1\r\n"
        number = found[1] if found else "0"
        link.sendall(f"RTSP/1.0 {status}\r\nCSeq: {number}\r\n{more}\r\n{body}".encode())
        if method == "PLAY":
            self._send_clip(link)
        return method == "PLAY"

    def _send_clip(self, link: socket.socket) -> None:
        size = TS_PACKET * TS_IN_RTP
        for number, at in enumerate(range(0, len(self._content), size)):
            header = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 900, 1)
            packet = header + self._content[at : at + size]
            link.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
