"""The way to a station: each request of a chain is checked, whatever led to it."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpcore
import httpx
import pytest
from pydantic import SecretStr

from shared.errors import AuxipError, ItemFailed, Refused, Retryable
from shared.http.api import JsonApi, http_client
from shared.http.auth import Audience, Keyring
from shared.stations.config import StationConfig
from shared.stations.network import StationTransport, is_public
from tests.unit.making import Answers, Handler

HOME = "https://station.example/auxip"


class Renewable:
    """Credentials with another value each time that one is refused, up to a number of them."""

    header = "authorization"

    def __init__(self, values: int) -> None:
        self.values = values
        self.number = 1

    def value(self) -> str:
        return f"Bearer {self.number}"

    def renew(self, refused: str, expired: bool) -> bool:
        assert (refused, expired) == (self.value(), True)
        if self.number == self.values:
            raise Refused("station-unauthorized", "no more")
        self.number += 1
        return True


Make = Callable[..., JsonApi]


@pytest.fixture
def api() -> Iterator[Make]:
    """The API of a station with the answers of a function."""
    made: list[JsonApi] = []

    def make(handler: Handler, credentials: Renewable | None = None, **fields: Any) -> JsonApi:
        config = StationConfig.model_validate({"url": HOME, **fields})
        keyring = Keyring([Audience(credentials, HOME, config.trusted_domains)] if credentials else [])
        transport = StationTransport(config, keyring, None, Answers(handler))
        made.append(JsonApi("station", HOME, http_client(5, [keyring.put_on], transport), 1000, "the file"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def asked(api: JsonApi, href: str) -> AuxipError | None:
    try:
        with api.open("GET", href):
            return None
    except AuxipError as error:
        return error


class Redirects:
    """Redirects from the station to a URL, and keeps what was asked for."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if str(request.url) == f"{HOME}/first":
            return httpx.Response(302, headers={"location": self.target})
        return httpx.Response(200)


@pytest.mark.parametrize(
    "target",
    [
        "https://other.example/x",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:6379/",
        "https://station.example.other.example/",
        "https://sub.station.example/",
        "https://station.example@other.example/",
        "ftp://station.example/x",
    ],
)
def test_neither_an_href_nor_a_redirect_leads_to_a_foreign_host(api: Make, target: str) -> None:
    answers = Redirects(target)
    one = api(answers)
    for href in ([target] if target.startswith("http") else []) + [f"{HOME}/first"]:
        error = asked(one, href)
        assert (type(error), error and error.code) == (ItemFailed, "foreign-href")
    assert {request.url.host for request in answers.requests} <= {"station.example"}


@pytest.mark.parametrize("field", ["trusted_domains", "allowed_hosts"])
@pytest.mark.parametrize("target", ["https://other.example/x", "https://OTHER.example:8443/x", "http://other.example/"])
def test_a_host_that_the_operator_names_may_be_led_to(api: Make, field: str, target: str) -> None:
    answers = Redirects(target)
    one = api(answers, **{field: ["Other.example"]})
    assert asked(one, target) is None
    assert asked(one, f"{HOME}/first") is None
    assert len(answers.requests) == 3


def test_an_allowed_host_is_sent_no_credentials_and_a_trusted_one_is(api: Make) -> None:
    sent: dict[str, str | None] = {}

    def note(request: httpx.Request) -> httpx.Response:
        sent[request.url.host] = request.headers.get("authorization")
        return httpx.Response(200)

    one = api(note, Renewable(1), trusted_domains=["t.example"], allowed_hosts=["a.example"])
    for host in ("station.example", "t.example", "a.example"):
        asked(one, f"https://{host}/x")
    assert sent == {"station.example": "Bearer 1", "t.example": "Bearer 1", "a.example": None}


def test_a_token_that_is_refused_is_renewed_and_the_request_sent_again(api: Make) -> None:
    tokens = []

    def accept_the_second(request: httpx.Request) -> httpx.Response:
        tokens.append((request.headers["authorization"], request.content))
        return httpx.Response(200 if tokens[-1][0] == "Bearer 2" else 401)

    api(accept_the_second, Renewable(5)).call("POST", "/search", {"a": 1})
    assert tokens == [("Bearer 1", b'{"a":1}'), ("Bearer 2", b'{"a":1}')]


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_learn_whether_they_are_refused_or_do_not_suffice(api: Make, status: int) -> None:
    told = []

    class Told(Renewable):
        def renew(self, refused: str, expired: bool) -> bool:
            told.append(expired)
            assert refused == self.value()
            return False

    asked(api(lambda _: httpx.Response(status), Told(1)), f"{HOME}/x")
    assert set(told) == {status == 401}


def test_a_token_is_renewed_once_for_a_request(api: Make) -> None:
    credentials = Renewable(5)
    error = asked(api(lambda _: httpx.Response(401), credentials), f"{HOME}/x")
    assert error is not None
    assert error.code == "station-unauthorized"
    assert credentials.number == 2


def test_what_comes_of_renewing_is_told(api: Make) -> None:
    error = asked(api(lambda _: httpx.Response(401), Renewable(1)), f"{HOME}/x")
    assert (type(error), error and error.reason) == (Refused, "no more")


def test_a_host_that_was_sent_no_token_cannot_have_it_renewed(api: Make) -> None:
    credentials = Renewable(5)
    asked(api(lambda _: httpx.Response(401), credentials, allowed_hosts=["a.example"]), "https://a.example/x")
    assert credentials.number == 1


def test_the_body_of_a_redirect_is_not_read(api: Make) -> None:
    class Unread(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("it was read")

    def redirect(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("second"):
            return httpx.Response(200)
        return httpx.Response(302, headers={"location": f"{HOME}/second"}, stream=Unread())

    assert asked(api(redirect), f"{HOME}/first") is None


def test_a_reason_shows_no_query_and_no_user(api: Make) -> None:
    one = api(lambda _: httpx.Response(404), allowed_hosts=["a.example"])
    for href in ("https://me:hush@a.example/x?sig=hush", "https://me:hush@b.example/x?sig=hush"):
        error = asked(one, href)
        assert error is not None
        assert ".example/x" in error.reason
        assert "hush" not in error.reason


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::"),
    ],
)
def test_an_address_within_a_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


class Names:
    """A resolver that the test decides, and the addresses that were connected to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.connected: list[tuple[str, int]] = []
        monkeypatch.setattr("shared.stations.network.socket.getaddrinfo", self._resolve)
        monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", self._connect)
        monkeypatch.setattr("shared.stations.network.urllib.request.getproxies", dict)

    def _resolve(self, host: str, port: int, **_: object) -> list[Any]:
        if host not in self.addresses:
            raise socket.gaierror(-2, "Name or service not known")
        return [(None, None, None, "", (address, port)) for address in self.addresses[host]]

    def _connect(self, host: str, port: int, *_: object, **__: object) -> None:
        self.connected.append((host, port))
        raise httpcore.ConnectError("as far as a test goes")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def lead(href: str, **fields: Any) -> AuxipError:
    config = StationConfig.model_validate({"url": "http://station.example/auxip", **fields})
    with http_client(5, [], StationTransport(config, Keyring([]), None)) as client:
        error = asked(JsonApi("station", config.url, client, 1000, "the file"), href)
    assert error is not None
    return error


def test_a_name_that_leads_to_a_private_address_is_refused_before_it_is_connected_to(names: Names) -> None:
    names.addresses["a.example"] = ["10.0.0.7"]
    error = lead("http://a.example/x", allowed_hosts=["a.example"])
    assert (type(error), error.code) == (ItemFailed, "foreign-href")
    assert "10.0.0.7" in error.reason
    assert names.connected == []


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(names: Names) -> None:
    names.addresses["a.example"] = ["10.0.0.7", "8.8.8.8", "8.8.4.4"]
    error = lead("http://a.example:81/x", allowed_hosts=["a.example"])
    assert (type(error), error.code) == (Retryable, "station-unavailable")
    assert names.connected == [("8.8.8.8", 81), ("8.8.4.4", 81)]


def test_a_station_in_a_private_network_is_reached_at_its_own_port_only(names: Names) -> None:
    names.addresses["station.example"] = ["10.0.0.7"]
    assert lead("http://station.example/x").code == "station-unavailable"
    assert lead("http://station.example:6379/x").code == "foreign-href"
    assert names.connected == [("10.0.0.7", 80)]


def test_private_addresses_may_be_allowed(names: Names) -> None:
    names.addresses["a.example"] = ["127.0.0.1"]
    assert lead("http://a.example/x", allowed_hosts=["a.example"], allow_private=True).code == "station-unavailable"
    assert names.connected == [("127.0.0.1", 80)]


def test_an_allowed_host_may_be_no_private_address_either(names: Names) -> None:
    names.addresses["127.0.0.1"] = ["127.0.0.1"]
    assert lead("http://127.0.0.1/x", allowed_hosts=["127.0.0.1"]).code == "foreign-href"


def test_a_name_that_nobody_knows_is_tried_again(names: Names) -> None:
    error = lead("http://station.example/x")
    assert (type(error), error.code) == (Retryable, "station-unavailable")


def test_a_proxy_is_not_asked_for_a_private_address(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "shared.stations.network.urllib.request.getproxies", lambda: {"http": "http://proxy.example:3128"}
    )
    monkeypatch.setattr("shared.stations.network.urllib.request.proxy_bypass", lambda host: host == "station.example")
    names.addresses["station.example"] = ["8.8.8.8"]
    hosts = ["10.0.0.7", "a.example"]
    assert lead("http://10.0.0.7/x", allowed_hosts=hosts).code == "foreign-href"
    assert lead("http://a.example/x", allowed_hosts=hosts).code == "station-unavailable"
    assert lead("http://station.example/x").code == "station-unavailable"
    assert names.connected == [("proxy.example", 3128), ("8.8.8.8", 80)]


def test_a_secret_has_no_part_in_how_credentials_are_shown() -> None:
    from shared.http.auth import basic, cookie

    for credentials in (basic("me", SecretStr("hush")), cookie("session", SecretStr("hush"))):
        assert "hush" not in repr(vars(credentials))
        assert credentials.value()
