"""An AUXIP station as OData defines it, behind OAuth2, for RS-Server's AUXIP service to stand in front of."""

import json
import re
import secrets
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.processes import LOOPBACK

Product = dict[str, Any]
Holds = Callable[[Product], bool]

_TOKEN = re.compile(r"'(?:[^']|'')*'|[(),]|[^\s(),']+")
_PRODUCT = re.compile(r"/Products\(([0-9a-f-]+)\)/\$value")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: bool(a == b),
    "lt": lambda a, b: bool(a < b),
    "le": lambda a, b: bool(a <= b),
    "gt": lambda a, b: bool(a > b),
    "ge": lambda a, b: bool(a >= b),
}


class Station:
    """A context manager that serves products on the loopback address, to those who have its token.

    Attributes:
        url: below which `/Products` and `/oauth2/token` are.
        filters: the `$filter` of each search, in order.
        downloads: the names of the products that were downloaded, in order.
    """

    username, password, client_id, client_secret = "test", "test-password", "client", "client-secret"

    def __init__(self) -> None:
        self.filters: list[str] = []
        self.downloads: list[str] = []
        self._products: list[Product] = []
        self._files: dict[str, Path] = {}
        self._token = secrets.token_urlsafe(16)
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def offer(self, items: list[dict[str, Any]], folder: Path) -> None:
        """Offer the assets of STAC items as products; the file of one is named as its id in `folder`."""
        for item in items:
            for name, asset in item["assets"].items():
                product_id = re.findall(r"Products\(([0-9a-f-]+)\)", asset["href"])[0]
                self._products.append(_product(product_id, name, asset, item["properties"]))
                self._files[product_id] = folder / product_id

    def _found(self, query: dict[str, str]) -> list[Product]:
        self.filters.append(query.get("$filter", ""))
        holds = _Parser(query["$filter"]).parsed() if query.get("$filter") else lambda _: True
        key, _, direction = query.get("$orderby", "PublicationDate desc").partition(" ")
        found = sorted(filter(holds, self._products), key=lambda one: str(_value(one, key)))
        found = found[::-1] if direction == "desc" else found
        start = int(query.get("$skip", "0"))
        return found[start : start + int(query.get("$top", "1000"))]

    def _handler(station) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                form = dict(urllib.parse.parse_qsl(sent))
                if (form.get("username"), form.get("password")) != (station.username, station.password):
                    self._answer(401, b'{"error": "invalid_grant"}')
                    return
                token = {"access_token": station._token, "expires_in": 600, "token_type": "Bearer"}
                self._answer(200, json.dumps({**token, "refresh_token": "unused"}).encode())

            def do_GET(self) -> None:
                url = urllib.parse.urlsplit(self.path)
                if self.headers.get("authorization") != f"Bearer {station._token}":
                    self._answer(401, b"{}")
                elif match := _PRODUCT.fullmatch(urllib.parse.unquote(url.path)):
                    file = station._files[match[1]]
                    station.downloads += [one["Name"] for one in station._products if one["Id"] == match[1]]
                    self._answer(200, file.read_bytes(), "application/octet-stream")
                else:
                    found = station._found(dict(urllib.parse.parse_qsl(url.query)))
                    self._answer(200, json.dumps({"value": found}).encode())

            def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        return Handler


def _product(product_id: str, name: str, asset: dict[str, Any], properties: dict[str, Any]) -> Product:
    attributes = {
        "productType": properties["product:type"],
        "platformShortName": properties["constellation"].upper(),
        "platformSerialIdentifier": properties["platform"][-1].upper(),
        "processingDate": properties["processing:datetime"],
        "processingCenter": "TEST",
    }
    return {
        "Id": product_id,
        "Name": name,
        "ContentType": asset["type"],
        "ContentLength": int(asset["file:size"]),
        "PublicationDate": properties["published"],
        "OriginDate": properties["created"],
        "EvictionDate": "2999-01-01T00:00:00.000Z",
        "Checksum": [{"Algorithm": "MD5", "Value": asset["file:checksum"], "ChecksumDate": properties["published"]}],
        "ContentDate": {"Start": properties["start_datetime"], "End": properties["end_datetime"]},
        "Attributes": [{"Name": key, "Value": value, "ValueType": "String"} for key, value in attributes.items()],
    }


class _Parser:
    """Reads the part of OData's filters that RS-Server writes: comparisons, contains, any, and, or, brackets."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)

    def parsed(self) -> Holds:
        """Return what a product must fulfil."""
        holds = self._or()
        assert not self._tokens, self._tokens
        return holds

    def _or(self) -> Holds:
        parts = [self._and()]
        while self._tokens and self._tokens[0].lower() == "or":
            self._tokens.pop(0)
            parts.append(self._and())
        return lambda product: any(part(product) for part in parts)

    def _and(self) -> Holds:
        parts = [self._one()]
        while self._tokens and self._tokens[0].lower() == "and":
            self._tokens.pop(0)
            parts.append(self._one())
        return lambda product: all(part(product) for part in parts)

    def _one(self) -> Holds:
        token = self._tokens.pop(0)
        if token == "(":
            inner = self._or()
            self._expect(")")
            return inner
        if token == "contains":
            _, path, _, text, _ = (self._tokens.pop(0) for _ in range(5))
            return lambda product: _literal(text) in _value(product, path)
        if token.endswith("/any"):
            return self._any()
        return self._compared(token)

    def _compared(self, path: str) -> Holds:
        compare, wanted = _ORDER[self._tokens.pop(0)], _literal(self._tokens.pop(0))
        return lambda product: compare(_value(product, path), wanted)

    def _any(self) -> Holds:
        """Attributes/../any(att:att/Name eq 'x' and att/../Value eq 'y') or `in ('y', 'z')`."""
        _, _, _, name, _, _, operator = (self._tokens.pop(0) for _ in range(7))
        first = self._tokens.pop(0)
        wanted = [] if first == "(" else [_literal(first)]
        while operator == "in" and (token := self._tokens.pop(0)) != ")":
            wanted += [] if token == "," else [_literal(token)]
        self._expect(")")
        return lambda product: any(
            one["Name"] == _literal(name) and one["Value"] in wanted for one in product["Attributes"]
        )

    def _expect(self, token: str) -> None:
        assert self._tokens.pop(0) == token


def _literal(token: str) -> Any:
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    return _time(token) if "T" in token else int(token)


def _value(product: Product, path: str) -> Any:
    found: Any = product
    for part in path.split("/"):
        found = found[part]
    return _time(found) if path.endswith(("Date", "/Start", "/End")) else found


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
