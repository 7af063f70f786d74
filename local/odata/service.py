"""The answers of a station that speaks OData: products by a filter, their files, and tokens."""

import base64
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from local.odata.filters import BadFilter, holds, ticks
from local.odata.manners import Manners

Product = dict[str, Any]

_ROOT: Final = "/odata/v1"
_ONE: Final = re.compile(r"/Products\('?([0-9A-Za-z-]+)'?\)(/\$value)?")
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
_OPTIONS: Final = frozenset({"$filter", "$orderby", "$top", "$skip", "$count", "$expand", "$format"})
_SUITE: Final[Mapping[str, str]] = {
    "$orderby": r"(Name|PublicationDate|OriginDate|EvictionDate|ContentLength|ContentDate/Start|ContentDate/End) "
    "(asc|desc)",
    "$top": r"\d+",
    "$skip": r"\d+",
    "$count": "true",
    "$expand": "Attributes",
    "$format": "json",
}
"""How the conformance suite uses the options beside `$filter`."""


@dataclass(frozen=True)
class Request:
    """A request: the names of its headers are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, detail: object) -> None:
        super().__init__(status, detail)
        self.reply = Reply(status, json.dumps({"detail": detail}).encode())


class Service:
    """A station, without its connections.

    Attributes:
        manners: how it behaves.
        products: what it offers.
        files: the content of a product by its Id, or the path of a file of it.
        evicted: Ids of products whose files are deleted already.
        searches: the query options of each search, in their order.
        downloads: the names of the products whose files were asked for, in their order.
        grants: how many tokens were given.
        files_at: URL of the service that gives the files, to which downloads are sent on; empty for this one.
    """

    username, client_id = "test", "client"

    def __init__(self, manners: Manners | None = None, password: str = "", client_secret: str = "") -> None:
        """Prepare a station without products; a password and a secret that are not given are made up."""
        self.manners = manners or Manners()
        self.password = password or secrets.token_urlsafe(16)
        self.client_secret = client_secret or secrets.token_urlsafe(16)
        self.products: list[Product] = []
        self.files: dict[str, bytes | Path] = {}
        self.evicted: set[str] = set()
        self.searches: list[dict[str, str]] = []
        self.downloads: list[str] = []
        self.grants = 0
        self.files_at = ""
        self._token = secrets.token_urlsafe(16)
        self._refresh_token = secrets.token_urlsafe(16)
        self._busy = 0
        self._lock = threading.Lock()

    def offer(self, product: Product, content: bytes | Path) -> None:
        """Offer a product."""
        self.products.append(product)
        self.files[product["Id"]] = content

    def expire_token(self) -> None:
        """Let the token that was given be valid no more."""
        self._token = secrets.token_urlsafe(16)

    @contextmanager
    def connection(self) -> Iterator[Reply | None]:
        """Count a request for as long as it lasts; yields its answer where there are too many at once."""
        with self._lock:
            self._busy += 1
            most = self.manners.most_connections
            is_refused = most is not None and self._busy > most
        try:
            yield Refusal(429, "too many connections").reply if is_refused else None
        finally:
            with self._lock:
                self._busy -= 1

    def answer(self, request: Request) -> Reply:
        """Return the answer to a request."""
        try:
            return self._answer(request)
        except Refusal as refusal:
            return refusal.reply

    def _answer(self, request: Request) -> Reply:
        url = urlsplit(request.url)
        path = re.sub("%24", "$", re.sub("%28", "(", re.sub("%29", ")", url.path))).removeprefix(_ROOT)
        if request.method == "POST" and path == "/oauth2/token":
            return self._grant(request)
        if request.method != "GET":
            raise Refusal(405, "not allowed")
        match = _ONE.fullmatch(path)
        if match and match[2] and self.files_at:
            return Reply(302, b"", headers={"location": f"{self.files_at}{path}"})
        if match:
            self._require_token(request)
            return self._product(match[1], match[2] is not None, request)
        if not self.manners.open_search:
            self._require_token(request)
        if path in ("", "/"):
            return _json({"@odata.context": "$metadata", "value": [{"name": "Products", "url": "Products"}]})
        if path != "/Products":
            raise Refusal(404, "there is no such resource")
        return self._search(request.url, dict(parse_qsl(url.query)))

    def _grant(self, request: Request) -> Reply:
        form = dict(parse_qsl(request.body.decode()))
        if self.manners.client_in_header:
            pair = f"{self.client_id}:{self.client_secret}"
            is_client = request.headers.get("authorization") == f"Basic {base64.b64encode(pair.encode()).decode()}"
            is_client = is_client and "client_id" not in form and "client_secret" not in form
        else:
            secret = form.get("client_secret", self.client_secret)  # a public client has none
            is_client = (form.get("client_id"), secret) == (self.client_id, self.client_secret)
        match form.get("grant_type"):
            case "password":
                is_user = (form.get("username"), form.get("password")) == (self.username, self.password)
            case "refresh_token":
                is_user = form.get("refresh_token") == self._refresh_token
            case _:
                is_user = False
        if not (is_client and is_user):
            return Reply(401, b'{"error": "invalid_grant"}')
        self.grants += 1
        lasts = {"expires_in": 600, "refresh_expires_in": 3600, "token_type": "Bearer"}
        return _json({"access_token": self._token, "refresh_token": self._refresh_token, **lasts})

    def _require_token(self, request: Request) -> None:
        header = self.manners.token_header
        expected = f"Bearer {self._token}" if header == "authorization" else self._token
        if request.headers.get(header.lower()) != expected:
            raise Refusal(401, "this needs a token")

    def _product(self, product_id: str, is_file: bool, request: Request) -> Reply:
        product = next((each for each in self.products if each["Id"] == product_id), None)
        if product is None:
            raise Refusal(404, "there is no such product")
        if not is_file:
            return _json({"@odata.context": "$metadata#Products/$entity", **product})
        self.downloads.append(product["Name"])
        if product_id in self.evicted:
            raise Refusal(404, "the product is evicted")
        content = self.files[product_id]
        whole = content.read_bytes() if isinstance(content, Path) else content
        return _ranged(whole, request.headers.get("range", ""))

    def _search(self, url: str, options: dict[str, str]) -> Reply:
        manners = self.manners
        self.searches.append(options)
        self._require_known(options)
        found = self._ordered(self._filtered(options), options)
        top = min(int(options.get("$top", manners.default_page)), manners.largest_page)
        skip = int(options.get("$skip", "0")) if manners.skips else 0
        page = found[skip : skip + top]
        if not page and manners.nothing_is_404:
            raise Refusal(404, "there are no such products")
        answer: dict[str, Any] = {"@odata.context": "$metadata#Products"}
        if manners.counts and options.get("$count") == "true":
            answer["@odata.count"] = len(found)
        expanded = options.get("$expand") == "Attributes"
        answer["value"] = [each if expanded else _without_attributes(each) for each in page]
        if manners.next_links and page and skip + top < len(found):
            following = {**options, "$skip": str(skip + top)}
            query = "&".join(f"{name}={quote(value)}" for name, value in following.items())
            answer["@odata.nextLink"] = f"{url.partition('?')[0]}?{query}"
        return _json(answer)

    def _require_known(self, options: Mapping[str, str]) -> None:
        manners = self.manners
        if manners.strict and (unknown := options.keys() - _OPTIONS):
            raise Refusal(400, f"unknown options: {', '.join(sorted(unknown))}")
        for name, form in _SUITE.items():
            if name in options and re.fullmatch(form, options[name]) is None:
                raise Refusal(400, f"{name} cannot be {options[name]}")
        for name, most in (("$top", manners.largest_top), ("$skip", manners.most_skipped)):
            if most is not None and int(options.get(name, "0")) > most:
                said = f"Input should be less than or equal to {most}"
                raise Refusal(422, [{"type": "less_than_equal", "loc": ["query", name], "msg": said}])

    def _filtered(self, options: Mapping[str, str]) -> list[Product]:
        if not options.get("$filter"):
            return list(self.products)
        try:
            fulfilled = holds(options["$filter"], self.manners.most_conditions)
        except BadFilter as error:
            raise Refusal(400, str(error)) from None
        return [product for product in self.products if fulfilled(product)]

    def _ordered(self, found: list[Product], options: Mapping[str, str]) -> list[Product]:
        """Return products by the key that is asked for; those with the same value in no order that means anything."""
        if not self.manners.orders or "$orderby" not in options:
            return found
        path, _, direction = options["$orderby"].partition(" ")
        return sorted(sorted(found, key=lambda each: str(each["Id"])), key=_key(path), reverse=direction == "desc")


def _key(path: str) -> Callable[[Product], Any]:
    def value(product: Product) -> Any:
        found: Any = product
        for part in path.split("/"):
            found = found.get(part, "")
        if path == "ContentLength":
            return int(found or 0)
        return str(found) if path == "Name" else ticks(found) or 0

    return value


def _without_attributes(product: Product) -> Product:
    return {name: value for name, value in product.items() if name != "Attributes"}


def _ranged(content: bytes, wanted: str) -> Reply:
    kind, size = "application/octet-stream", len(content)
    tag = {"ETag": f'"{size}"', "Accept-Ranges": "bytes"}
    found = _RANGE.fullmatch(wanted)
    if found is None:
        return Reply(200, content, kind, tag)
    start, end = int(found[1]), min(int(found[2] or size), size - 1)
    if start >= size:
        return Reply(416, b"", kind, {"Content-Range": f"bytes */{size}"})
    return Reply(206, content[start : end + 1], kind, {**tag, "Content-Range": f"bytes {start}-{end}/{size}"})


def _json(value: object) -> Reply:
    return Reply(200, json.dumps(value).encode())
