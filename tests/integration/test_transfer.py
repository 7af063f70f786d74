"""Transfers into a real store from a server of our own: a wrong object never appears."""

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from shared.context import Context
from shared.errors import AuxipError, ItemFailed, Refused, Rejected, Retryable
from shared.stac.item import Asset
from shared.stations.config import ApiKeyAuth, StacConfig
from shared.stations.stac import StacStation
from shared.storage.digests import PART_BYTES
from shared.storage.location import Location
from shared.storage.objects import ObjectStore
from shared.storage.transfer import Transfer

PAGE = b"\n<!DOCTYPE html><html><body>Log in</body></html>"
CONTENT = b"the content of an orbit file\n" * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SIZE = len(CONTENT)
KEY = "the-key-of-the-station"
AUTH = ApiKeyAuth.model_construct(kind="api-key", api_key=SecretStr(KEY))
LARGE = bytes(range(256)) * ((2 * PART_BYTES + 3_000_000) // 256)


class _Handler(BaseHTTPRequestHandler):
    """Paths: /file, /large, /cut, /unannounced, /empty, /status/N, /to?URL."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers.items())))
        name, _, rest = self.path.removeprefix("/").partition("?")
        if name == "to":
            self._answer(302, b"", {"Location": rest})
        elif name.startswith("status/"):
            self._answer(int(name.removeprefix("status/")), b"{}", {"Retry-After": "7"})
        elif name.startswith("page"):
            self._answer(200, PAGE, {} if name == "page-without-type" else {"Content-Type": "text/html; charset=utf-8"})
        elif name == "unannounced":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)
        else:
            body = {"large": LARGE, "empty": b""}.get(name, CONTENT)
            self._answer(200, body, cut=name == "cut")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A host that gives files, and keeps what it was asked for."""

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, _Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}/{path}"

    def headers(self, path: str) -> dict[str, str]:
        """The headers that a path was asked for with, their names in lower case."""
        (headers,) = (headers for asked, headers in self.asked if asked == f"/{path}")
        return {name.lower(): value for name, value in headers.items()}


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def _host() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def host(_host: Server) -> Server:
    """The station's own host."""
    _host.asked.clear()
    return _host


@pytest.fixture
def other() -> Iterator[Server]:
    """Another host, by its port."""
    with serving() as server:
        yield server


Make = Callable[..., Transfer]


@pytest.fixture
def transfer(context: Context, host: Server) -> Iterator[Make]:
    """A transfer from the host, which is the station."""
    stations: list[StacStation] = []

    def make(max_bytes: int = 10**8, **changes: object) -> Transfer:
        fields = {"url": host.url("auxip"), "allow_private": True, **changes}
        config = StacConfig.model_validate(fields).model_copy(update={"auth": AUTH})
        station = StacStation("one", config, context.settings)
        stations.append(station)
        settings = context.settings.model_copy(update={"max_asset_bytes": max_bytes})
        return Transfer(station.api, context.store, settings)

    yield make
    for station in stations:
        station.close()


@pytest.fixture
def store(context: Context) -> ObjectStore:
    return context.store


@pytest.fixture
def target(context: Context) -> Location:
    return Location(context.settings.s3_bucket, f"transfer-{uuid.uuid4().hex[:8]}/object")


def asset(href: str, size: int | None = None, checksum: str | None = None) -> Asset:
    return Asset.model_validate({"href": href, "file:size": size, "file:checksum": checksum})


def silent(_: int) -> None:
    """Progress that nobody looks at."""


def refusal(transfer: Transfer, wanted: Asset, target: Location) -> AuxipError:
    with pytest.raises(AuxipError) as raised:
        transfer.fetch(wanted, target, silent)
    return raised.value


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.parametrize(
    "checksum", [None, MD5, MD5.upper(), f"d50110{MD5}"], ids=["none", "plain", "upper", "multihash"]
)
def test_an_asset_is_stored_as_the_station_has_it(
    transfer: Make, store: ObjectStore, host: Server, target: Location, size: int | None, checksum: str | None
) -> None:
    written = transfer().fetch(asset(host.url("file"), size, checksum), target, silent)

    assert (written.size, written.md5) == (SIZE, MD5)
    assert store.get(target, limit=SIZE) == CONTENT


def test_an_asset_of_several_parts_is_stored_as_the_station_has_it(
    transfer: Make, store: ObjectStore, host: Server, target: Location
) -> None:
    written = transfer().fetch(asset(host.url("large"), len(LARGE)), target, silent)
    assert store.get(target, limit=len(LARGE)) == LARGE
    assert written.etag.endswith("-3")


def test_an_empty_file_is_a_file(transfer: Make, store: ObjectStore, host: Server, target: Location) -> None:
    transfer().fetch(asset(host.url("empty"), 0), target, silent)
    assert store.get(target, limit=0) == b""


def test_a_file_of_no_announced_length_is_taken_as_it_comes(
    transfer: Make, store: ObjectStore, host: Server, target: Location
) -> None:
    transfer().fetch(asset(host.url("unannounced")), target, silent)
    assert store.get(target, limit=SIZE) == CONTENT


@pytest.mark.parametrize("path", ["file", "unannounced", "large"])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_file_of_another_size_leaves_nothing(
    transfer: Make, store: ObjectStore, host: Server, target: Location, path: str, off: int
) -> None:
    size = (len(LARGE) if path == "large" else SIZE) + off
    error = refusal(transfer(), asset(host.url(path), size), target)

    assert (type(error), error.code) == (Retryable, "size-mismatch")
    assert store.head(target) is None


@pytest.mark.parametrize("checksum", ["0" * 32, f"d50110{'0' * 32}", f"1220{'0' * 64}"])
def test_a_file_of_another_checksum_leaves_nothing(
    transfer: Make, store: ObjectStore, host: Server, target: Location, checksum: str
) -> None:
    error = refusal(transfer(), asset(host.url("file"), SIZE, checksum), target)

    assert (type(error), error.code) == (Retryable, "checksum-mismatch")
    assert store.head(target) is None


def test_a_file_that_was_right_before_stays_when_a_wrong_one_comes(
    transfer: Make, store: ObjectStore, host: Server, target: Location
) -> None:
    store.put(target, b"before")
    refusal(transfer(), asset(host.url("file"), SIZE, "0" * 32), target)
    assert store.get(target, limit=100) == b"before"


@pytest.mark.parametrize("checksum", ["", "sha256", "1299" + "0" * 64])
def test_a_checksum_that_we_do_not_know_fails_before_anything_is_downloaded(
    transfer: Make, host: Server, target: Location, checksum: str
) -> None:
    error = refusal(transfer(), asset(host.url("file"), SIZE, checksum), target)
    assert (type(error), error.code) == (ItemFailed, "bad-checksum")
    assert host.asked == []


def test_a_download_that_is_cut_off_leaves_nothing(
    transfer: Make, store: ObjectStore, host: Server, target: Location
) -> None:
    error = refusal(transfer(), asset(host.url("cut")), target)

    assert (type(error), error.code) == (Retryable, "station-unavailable")
    assert store.head(target) is None


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, Refused, "station-unauthorized"),
        (404, Rejected, "station-not-found"),
        (429, Retryable, "station-rate-limited"),
        (503, Retryable, "station-unavailable"),
    ],
)
def test_a_station_that_gives_no_file_is_believed(
    transfer: Make, store: ObjectStore, host: Server, target: Location, status: int, kind: type[AuxipError], code: str
) -> None:
    error = refusal(transfer(), asset(host.url(f"status/{status}")), target)

    assert (type(error), error.code) == (kind, code)
    assert store.head(target) is None


@pytest.mark.parametrize("path", ["page", "page-without-type"])
def test_a_page_for_people_in_the_place_of_a_file_is_never_staged(
    transfer: Make, store: ObjectStore, host: Server, target: Location, path: str
) -> None:
    error = refusal(transfer(), asset(host.url(path)), target)

    assert (type(error), error.code) == (Retryable, "station-bad-answer")
    assert "login" in error.reason
    assert store.head(target) is None


def test_a_page_that_the_item_states_is_a_file(
    transfer: Make, store: ObjectStore, host: Server, target: Location
) -> None:
    transfer().fetch(asset(host.url("page"), len(PAGE)), target, silent)
    assert store.get(target, 1000) == PAGE


def test_a_product_that_is_not_online_yet_is_asked_for_again_and_its_answer_never_staged(
    transfer: Make, store: ObjectStore, host: Server, target: Location
) -> None:
    error = refusal(transfer(), asset(host.url("status/202")), target)

    assert (type(error), error.code) == (Retryable, "not-online")
    assert store.head(target) is None


@pytest.mark.parametrize("href", ["file:///etc/passwd", "S3://bucket/key", "ftp://host/file", "/relative", "data:,x"])
def test_an_href_of_another_kind_is_refused(transfer: Make, target: Location, href: str) -> None:
    error = refusal(transfer(), asset(href), target)
    assert (type(error), error.code) == (ItemFailed, "unsupported-href")


def test_the_key_goes_with_a_download_and_asks_for_the_file_itself(
    transfer: Make, host: Server, target: Location
) -> None:
    transfer().fetch(asset(host.url("file")), target, silent)
    headers = host.headers("file")
    assert headers["x-api-key"] == KEY
    assert headers["accept-encoding"] == "identity"


def test_a_redirect_to_another_host_is_followed_without_the_key(
    transfer: Make, store: ObjectStore, host: Server, other: Server, target: Location
) -> None:
    transfer().fetch(asset(host.url(f"to?{other.url('file')}"), SIZE, MD5), target, silent)

    assert store.get(target, limit=SIZE) == CONTENT
    assert host.headers(f"to?{other.url('file')}")["x-api-key"] == KEY
    assert "x-api-key" not in other.headers("file")


def test_a_redirect_to_a_trusted_domain_keeps_the_key(
    transfer: Make, host: Server, other: Server, target: Location
) -> None:
    elsewhere = other.url("file", host="localhost")
    transfer(trusted_domains=["localhost"]).fetch(asset(host.url(f"to?{elsewhere}")), target, silent)
    assert other.headers("file")["x-api-key"] == KEY


def test_a_file_on_another_host_is_fetched_without_the_key(transfer: Make, other: Server, target: Location) -> None:
    transfer().fetch(asset(other.url("file")), target, silent)
    assert "x-api-key" not in other.headers("file")


@pytest.mark.parametrize("path", ["file", "unannounced"])
@pytest.mark.parametrize("size", [None, SIZE])
def test_a_file_may_be_as_large_as_the_limit_and_no_larger(
    transfer: Make, store: ObjectStore, host: Server, target: Location, path: str, size: int | None
) -> None:
    transfer(max_bytes=SIZE).fetch(asset(host.url(path), size), target, silent)
    store.delete(target)
    error = refusal(transfer(max_bytes=SIZE - 1), asset(host.url(path), size), target)

    assert (type(error), error.code) == (ItemFailed, "too-large")
    assert store.head(target) is None


@pytest.mark.parametrize("path", ["file", "large"])
def test_progress_adds_up_to_the_size(transfer: Make, host: Server, target: Location, path: str) -> None:
    steps: list[int] = []
    written = transfer().fetch(asset(host.url(path)), target, steps.append)

    assert sum(steps) == written.size
    assert all(0 < step <= 2**21 for step in steps)
