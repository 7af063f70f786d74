"""Stations with credentials of each kind, and several of them tried in order, over real connections."""

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from shared.context import Context
from shared.errors import Refused, Rejected, Retryable
from shared.models import ItemRecord, Run, RunRequest
from shared.stac.search import Cql2
from shared.steps.find import find_items, search_items
from shared.steps.stage import stage_item
from tests.integration.conftest import of_id, wait_for

FIND = Cql2(filter=of_id("X"))


class _Handler(BaseHTTPRequestHandler):
    server: "Station"
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, body: bytes) -> None:
        path = self.path
        self.server.asked.append((path, {name.lower(): value for name, value in self.headers.items()}))
        if path == "/token":
            self._send(200, json.dumps(self.server.grant(dict(parse_qsl(body.decode())))).encode())
        elif self.headers.get(self.server.header) != self.server.wanted:
            self._send(401, b"{}")
        elif self.server.status != 200:
            self._send(self.server.status, b"{}")
        elif path == "/auxip/search":
            self._send(200, json.dumps(self.server.found).encode())
        else:
            self._send(200, b"abc")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Station(ThreadingHTTPServer):
    """A station that asks for one header with one value, offers items, and gives tokens."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.header, self.wanted = "accept-language", None
        self.status = 200
        self.items: list[str] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.grants: list[dict[str, str]] = []

    def ask_for(self, header: str, value: str) -> None:
        self.header, self.wanted = header, value  # type: ignore[assignment]

    def url(self, path: str = "auxip") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def grant(self, form: dict[str, str]) -> dict[str, object]:
        self.grants.append(form)
        self.ask_for("authorization", f"Bearer token-{len(self.grants)}")
        return {"access_token": f"token-{len(self.grants)}", "expires_in": 3600, "refresh_token": "again"}

    @property
    def searches(self) -> int:
        return [path for path, _ in self.asked].count("/auxip/search")

    @property
    def found(self) -> dict[str, object]:
        items = [
            {
                "type": "Feature",
                "id": item_id,
                "properties": {"datetime": "2024-03-25T00:00:00Z"},
                "assets": {f"{item_id}.EOF": {"href": self.url(item_id), "file:size": 3}},
            }
            for item_id in self.items
        ]
        return {"type": "FeatureCollection", "features": items, "links": []}


@contextmanager
def _serving() -> Iterator[Station]:
    with Station() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def one() -> Iterator[Station]:
    with _serving() as server:
        yield server


@pytest.fixture
def two() -> Iterator[Station]:
    with _serving() as server:
        server.items = ["X"]
        yield server


Make = Callable[[str], Context]


@pytest.fixture
def configured(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """The context of the stack, with the stations of a test."""
    monkeypatch.setenv("HUSH", "hush")
    made: list[Context] = []

    def make(text: str) -> Context:
        file = tmp_path / "stations.toml"
        file.write_text(text)
        made.append(Context(context.settings.model_copy(update={"stations_file": file})))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def both(configured: Make, one: Station, two: Station) -> Context:
    return configured(f'[station.one]\nurl = "{one.url()}"\n[station.two]\nurl = "{two.url()}"\n')


def opened(context: Context, collection: str, *stations: str, timeout: float = -1) -> Run:
    run_id = str(uuid.uuid4())
    request = RunRequest(
        owner="stations", collection=collection, selection=FIND, stations=stations, timeout_seconds=timeout
    )
    context.ledger.open_run(run_id, request)
    return context.ledger.run(run_id)


def records(context: Context, run: Run) -> list[ItemRecord]:
    return list(context.ledger.items(run.id))


# Credentials


BASIC = base64.b64encode(b"me:hush").decode()
OAUTH = 'client_id = "client"\nclient_secret = { env = "HUSH" }\n'


@pytest.mark.parametrize(
    ("fields", "header", "value"),
    [
        ('kind = "api-key"\napi_key = { env = "HUSH" }', "x-api-key", "hush"),
        ('kind = "cookie"\ncookie = { env = "HUSH" }', "cookie", "session=hush"),
        ('kind = "cookie"\ncookie = { env = "HUSH" }\nname = "sid"', "cookie", "sid=hush"),
        ('kind = "basic"\nusername = "me"\npassword = { env = "HUSH" }', "authorization", f"Basic {BASIC}"),
    ],
)
def test_a_station_is_sent_what_it_asks_for(
    configured: Make, two: Station, fields: str, header: str, value: str
) -> None:
    two.ask_for(header, value)
    context = configured(f'[station.two]\nurl = "{two.url()}"\n[station.two.auth]\n{fields}')
    assert [item.id for item in search_items(context, FIND, error_if_empty=True)] == ["X"]


@pytest.mark.parametrize(
    ("fields", "grant"),
    [
        ('kind = "oauth2-password"\nusername = "me"\npassword = { env = "HUSH" }\n', "password"),
        ('kind = "oauth2-client-credentials"\n', "client_credentials"),
    ],
)
def test_a_token_is_granted_once_and_renewed_when_the_station_refuses_it(
    configured: Make, two: Station, fields: str, grant: str
) -> None:
    two.ask_for("authorization", "a token that nobody has yet")
    token_url = f'token_url = "{two.url("token")}"\n'
    context = configured(f'[station.two]\nurl = "{two.url()}"\n[station.two.auth]\n{fields}{token_url}{OAUTH}')

    for _ in range(3):
        search_items(context, FIND, error_if_empty=True)
    two.ask_for("authorization", "the token was revoked")
    search_items(context, FIND, error_if_empty=True)
    assert [form["grant_type"] for form in two.grants] == [grant, "refresh_token"]


def test_a_station_that_refuses_us_says_where_to_look(configured: Make, two: Station) -> None:
    two.ask_for("x-api-key", "other")
    context = configured(f'[station.two]\nurl = "{two.url()}"')
    with pytest.raises(Refused, match=r"station-unauthorized: .*check \[station\.two\.auth\] of AUXIP_STATIONS_FILE"):
        search_items(context, FIND, error_if_empty=True)


# In order


def test_the_first_station_is_the_default(both: Context, one: Station, two: Station, collection: str) -> None:
    one.items = ["X"]
    run = opened(both, collection)
    assert find_items(both, run) == 1
    assert [record.station for record in records(both, run)] == ["one"]
    assert two.searches == 0


def test_a_run_may_name_another_station(both: Context, one: Station, two: Station, collection: str) -> None:
    run = opened(both, collection, "two")
    assert find_items(both, run) == 1
    assert [record.station for record in records(both, run)] == ["two"]
    assert one.searches == 0


def test_a_station_that_is_not_configured_is_refused_before_any_is_asked(
    both: Context, one: Station, collection: str
) -> None:
    with pytest.raises(Rejected, match="unknown-station"):
        find_items(both, opened(both, collection, "one", "three"))
    assert one.searches == 0


def test_the_next_station_is_asked_when_one_finds_nothing(
    both: Context, one: Station, two: Station, collection: str
) -> None:
    run = opened(both, collection, "one", "two")
    assert find_items(both, run) == 1
    assert [record.station for record in records(both, run)] == ["two"]
    assert (one.searches, two.searches) == (1, 1)


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (403, 2), (400, 2)])
def test_the_next_station_is_asked_when_one_cannot_answer(
    both: Context, one: Station, collection: str, status: int, tries: int
) -> None:
    one.status = status
    run = opened(both, collection, "one", "two")
    assert find_items(both, run) == 1
    assert one.searches == tries


def test_a_run_is_empty_only_if_every_station_has_said_so(
    both: Context, one: Station, two: Station, collection: str
) -> None:
    two.items = []
    assert find_items(both, opened(both, collection, "one", "two")) == 0
    one.status = 503
    with pytest.raises(Retryable, match="station-unavailable"):
        find_items(both, opened(both, collection, "one", "two"))


def test_a_plain_search_asks_the_stations_in_order_too(both: Context, one: Station) -> None:
    one.status = 503
    assert [item.id for item in search_items(both, FIND, error_if_empty=True, stations=("one", "two"))] == ["X"]


def test_an_item_is_fetched_from_the_station_that_found_it(
    configured: Make, one: Station, two: Station, collection: str
) -> None:
    two.ask_for("x-api-key", "hush")
    auth = '[station.two.auth]\nkind = "api-key"\napi_key = { env = "HUSH" }'
    context = configured(f'[station.one]\nurl = "{one.url()}"\n[station.two]\nurl = "{two.url()}"\n{auth}')
    run = opened(context, collection, "one", "two")
    find_items(context, run)
    (record,) = records(context, run)
    stage_item(context, run, record)

    (staged,) = record.staged_assets.values()
    assert staged.size == 3
    assert two.asked[-1] == ("/X", two.asked[-1][1])
    assert two.asked[-1][1]["x-api-key"] == "hush"


def test_an_item_that_is_offered_twice_is_one(both: Context, two: Station, collection: str) -> None:
    two.items = ["X", "Y", "X"]
    run = opened(both, collection, "two")
    assert find_items(both, run) == 2
    assert len(search_items(both, FIND, error_if_empty=True, stations=("two",))) == 2


# The time of a search


def test_a_timeout_is_for_all_tries_of_a_search(both: Context, one: Station, collection: str) -> None:
    one.status = 503
    run = opened(both, collection, timeout=0.5)
    with pytest.raises(Retryable, match="station-unavailable"):
        find_items(both, run)
    failed = time.monotonic()
    wait_for(lambda: time.monotonic() - failed > 0.6, "the time is over")
    one.status = 200
    with pytest.raises(Rejected, match="search-timeout"):
        find_items(both, run)


# Limits


def test_a_station_that_says_429_is_left_alone_by_all_workers(configured: Make, two: Station) -> None:
    text = f'[station.s{uuid.uuid4().hex[:8]}]\nurl = "{two.url()}"\nrequests_per_minute = 6000\nconnections = 1'
    first, second = configured(text), configured(text)
    two.status = 429
    with pytest.raises(Retryable, match="station-rate-limited"):
        search_items(first, FIND, error_if_empty=True)
    two.status = 200
    begun = time.monotonic()
    assert search_items(second, FIND, error_if_empty=True)
    assert time.monotonic() - begun > 0.8


def test_a_connection_is_handed_on_when_an_answer_is_read(configured: Make, two: Station) -> None:
    text = f'[station.s{uuid.uuid4().hex[:8]}]\nurl = "{two.url()}"\nconnections = 1'
    first, second = configured(text), configured(text)
    for context in (first, second, first):
        assert search_items(context, FIND, error_if_empty=True)
    with first.station().api.open("GET", two.url("X")) as response:
        assert list(second.ledger.redis.scan_iter("auxip:station:*:held"))
        response.read()
    assert not list(first.ledger.redis.scan_iter("auxip:station:*:held"))


def test_without_limits_the_broker_has_no_part_in_a_request(configured: Make, two: Station) -> None:
    context = configured(f'[station.two]\nurl = "{two.url()}"')
    search_items(context, FIND, error_if_empty=True)
    assert "ledger" not in vars(context)
