"""The small OData station over HTTP: in this process for a test, or as a process of the embedded stack."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from local.odata.service import Reply, Request, Service
from local.processes import LOOPBACK


class Server:
    """A context manager that serves a station on the loopback address.

    Attributes:
        url: of the service, without its root `/odata/v1`.
    """

    def __init__(self, service: Service, port: int = 0) -> None:
        self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(service))
        self._server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self) -> None:
        """Serve until the process ends."""
        self._server.serve_forever()


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            url = f"http://{self.headers.get('host', LOOPBACK)}{self.path}"
            with service.connection() as refusal:
                reply = refusal or self._reply(Request(self.command, url, headers, body))
                self.send_response(reply.status)
                for name, value in {"content-type": reply.kind, **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

        def _reply(self, request: Request) -> Reply:
            if self.path == "/downloads":  # for tests: how many there were
                return Reply(200, str(len(service.downloads)).encode())
            return service.answer(request)

        def log_message(self, *_: object) -> None:
            return

    return Handler


def main() -> None:
    """Serve what standard input describes: the port, the password and client secret, the products, their folder."""
    given = json.load(sys.stdin)
    service = Service(password=given["password"], client_secret=given["client_secret"])
    for product in json.loads(Path(given["products"]).read_text("utf-8")):
        service.offer(product, Path(given["folder"]) / product["Id"])
    Server(service, given["port"]).serve()


if __name__ == "__main__":
    main()
