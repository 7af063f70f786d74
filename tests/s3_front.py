"""A proxy before the store that behaves as other S3 services do, where they are less patient than SeaweedFS."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_OF_THE_CONNECTION = {"connection", "proxy-connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Asked:
    """A request: its method, host, path with query, and headers, these in lower case."""

    method: str
    host: str
    path: str
    headers: dict[str, str]


@dataclass
class Refusal:
    """What a service answers in the place of what was asked for."""

    status: int
    code: str


Rule = Callable[[Asked], Refusal | None]


def only_virtual_hosts(bucket: str) -> Rule:
    """Refuse a bucket in the path, as AWS does for buckets of new regions."""

    def rule(asked: Asked) -> Refusal | None:
        return None if asked.host.startswith(f"{bucket}.") else Refusal(400, "PermanentRedirect")

    return rule


def only_region(region: str) -> Rule:
    """Refuse a signature for another region, as AWS does."""

    def rule(asked: Asked) -> Refusal | None:
        scope = re.search(r"Credential=[^/]+/[0-9]+/([^/]+)/s3/", asked.headers.get("authorization", ""))
        return None if scope and scope[1] == region else Refusal(400, "AuthorizationHeaderMalformed")

    return rule


def no_checksum_trailers(asked: Asked) -> Refusal | None:
    """Refuse the framing that AWS's newer clients use by default, as older MinIO and Ceph do."""
    framed = "aws-chunked" in asked.headers.get("content-encoding", "") or "x-amz-trailer" in asked.headers
    newer = "x-amz-sdk-checksum-algorithm" in asked.headers
    return Refusal(501, "NotImplemented") if framed or newer else None


def deletes_with_md5(asked: Asked) -> Refusal | None:
    """Refuse the deletion of several objects without an MD5 of the list, as MinIO and Ceph do."""
    lists = asked.method == "POST" and re.search(r"\?delete\b", asked.path)
    return Refusal(400, "InvalidRequest") if lists and "content-md5" not in asked.headers else None


def no_conditions(asked: Asked) -> Refusal | None:
    """Refuse a write or a deletion on a condition, as older services do."""
    conditions = {"if-match", "if-none-match"} & set(asked.headers)
    return Refusal(501, "NotImplemented") if conditions and asked.method in ("PUT", "POST", "DELETE") else None


@dataclass
class Service:
    """The rules of a service, and what it was asked."""

    rules: list[Rule]
    asked: list[Asked] = field(default_factory=list)

    def refusal(self, asked: Asked) -> Refusal | None:
        self.asked.append(asked)
        return next((refusal for rule in self.rules if (refusal := rule(asked))), None)


class _Handler(BaseHTTPRequestHandler):
    server: "Front"
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urlsplit(self.path)
        path = f"{url.path}?{url.query}" if url.query else url.path
        headers = {name.lower(): value for name, value in self.headers.items()}
        refusal = self.server.service.refusal(Asked(self.command, headers["host"], path, headers))
        if refusal is not None:
            text = f"<Error><Code>{refusal.code}</Code><Message>as this service does</Message></Error>".encode()
            self._send(refusal.status, [("Content-Length", str(len(text)))], text)
            return
        passed = {name: value for name, value in headers.items() if name not in _OF_THE_CONNECTION}
        there = HTTPConnection("127.0.0.1", self.server.target, timeout=30)
        try:
            there.request(self.command, path, body, passed)
            answer = there.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OF_THE_CONNECTION]
            content = answer.read()
        finally:
            there.close()
        known = any(name.lower() == "content-length" for name, _ in kept)
        self._send(answer.status, kept if known else [*kept, ("Content-Length", str(len(content)))], content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the names are http.server's

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Front(ThreadingHTTPServer):
    """Passes requests on to the store's port, unless its service refuses them. Also an HTTP proxy, for host names."""

    daemon_threads = True

    def __init__(self, target: int, service: Service) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.service = service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def before(endpoint: str, *rules: Rule) -> Iterator[Front]:
    """Serve with these rules before the store of an endpoint."""
    with Front(int(urlsplit(endpoint).port or 0), Service([*rules])) as front:
        thread = threading.Thread(target=front.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield front
        finally:
            front.shutdown()
            thread.join()
