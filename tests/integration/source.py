"""A source of files whose every connection does what a test asks of it."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Script:
    """What the source is and does.

    Attributes:
        content: of its only file.
        headers: of each answer that has content, such as an ETag.
        ranges: whether it answers a range with 206.
        cuts: bytes of the body after which a connection breaks, one for each; after the last none breaks.
        framing: how a body's end is told: `length`, `chunked`, or `close`.
        changes: content and headers from the n-th connection on, the first being 0.
        statuses: of the n-th connection, instead of an answer.
        head: the Content-Length of an answer to HEAD; without one HEAD is refused.
        endless: after the content goes on until nobody reads.
        drip: bytes to send at a time, with a little pause between them.
        asked: the headers of each request, their names in lower case.
    """

    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    framing: str = "length"
    changes: dict[int, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    head: int | None = None
    endless: bool = False
    drip: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    server: "Source"
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        script = self.server.script
        self.send_response(405 if script.head is None else 200)
        self.send_header("Content-Length", str(script.head or 0))
        self.end_headers()

    def do_GET(self) -> None:
        script = self.server.script
        number = len(script.asked)
        script.asked.append({name.lower(): value for name, value in self.headers.items()})
        if number in script.changes:
            script.content, script.headers = script.changes[number]
        if number in script.statuses:
            self.send_response(script.statuses[number])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send(script, self._start(script), script.cuts.pop(0) if script.cuts else None)

    def _start(self, script: Script) -> int | None:
        """The first byte that is wanted, where a range is and applies."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not wanted or not script.ranges or condition not in (None, *script.headers.values()):
            return None
        return int(wanted[1])

    def _send(self, script: Script, start: int | None, cut: int | None) -> None:
        size = len(script.content)
        if start is not None and start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = script.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        for name, value in script.headers.items():
            self.send_header(name, value)
        if start is not None and "Content-Range" not in script.headers:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self._begin_body(script.framing, len(body))
        self._write(script, body if cut is None else body[:cut])
        if cut is not None and cut < len(body):
            self._break()
        elif script.framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def _begin_body(self, framing: str, size: int) -> None:
        if framing == "length":
            self.send_header("Content-Length", str(size))
        elif framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def _write(self, script: Script, body: bytes) -> None:
        with suppress(OSError):
            step = script.drip or 2**18
            for start in range(0, len(body), step):
                self._piece(script, body[start : start + step])
                if script.drip:
                    time.sleep(0.02)
            while script.endless:
                self._piece(script, bytes(2**16))

    def _piece(self, script: Script, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if script.framing == "chunked" else piece)
        self.server.sent += len(piece)

    def _break(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):  # who has read enough leaves
            super().handle_one_request()
            return
        self.close_connection = True


class Source(ThreadingHTTPServer):
    """The server; `script` may be replaced between two downloads, and `sent` counts the bytes of all bodies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = Script(b"")
        self.sent = 0

    def play(self, script: Script) -> Script:
        self.script, self.sent = script, 0
        return script

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file"


@contextmanager
def serving() -> Iterator[Source]:
    with Source() as source:
        thread = threading.Thread(target=source.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield source
        finally:
            source.shutdown()
            thread.join()
