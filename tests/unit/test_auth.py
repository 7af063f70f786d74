"""The API key: sent to its own origin and trusted domains, and taken off before any other host sees it."""

from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest
from pydantic import SecretStr

from shared.http.api import http_client
from shared.http.auth import API_KEY_HEADER, Audience, FixedCredentials, Keyring
from tests.unit.making import Answers

HOME = "https://station.example/auxip"
KEY = "the-key"


class Chain:
    """A client of the station, whose answers redirect from one URL to the next; it keeps what was asked for."""

    def __init__(self, home: str = HOME, trusted: tuple[str, ...] = (), key: str = KEY) -> None:
        keyring = Keyring([Audience(FixedCredentials(API_KEY_HEADER, SecretStr(key)), home, trusted)])
        self.client = http_client(5, [keyring.put_on])
        self.client._transport.close()
        self.client._transport = Answers(self._answer)
        self.client._mounts = {}
        self.redirects: dict[str, str] = {}
        self.keys: list[tuple[str, str | None]] = []

    def keys_on_the_way(self, *urls: str) -> list[str | None]:
        """The key that each of the URLs is sent, when each of them redirects to the next."""
        self.redirects = {str(httpx.URL(url)): after for url, after in pairwise(urls)}
        self.keys = []
        self.client.get(urls[0])
        return [key for _, key in self.keys]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.keys.append((str(request.url), request.headers.get(API_KEY_HEADER)))
        location = self.redirects.get(str(request.url))
        return httpx.Response(302, headers={"location": location}) if location else httpx.Response(200)


@pytest.fixture
def chain() -> Iterator[Chain]:
    made = Chain()
    with made.client:
        yield made


def test_the_key_goes_to_its_own_origin(chain: Chain) -> None:
    assert chain.keys_on_the_way(f"{HOME}/search") == [KEY]


def test_the_key_stays_on_a_redirect_within_its_origin(chain: Chain) -> None:
    assert chain.keys_on_the_way(f"{HOME}/search", "https://station.example/elsewhere") == [KEY, KEY]


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://other.example/auxip",
        "https://station.example.other.example/auxip",
        "https://sub.station.example/auxip",
        "https://station.example:8443/auxip",
        "http://station.example/auxip",
        "https://station.example@other.example/auxip",
    ],
    ids=["another host", "a longer host", "a host below", "another port", "another scheme", "the host as a user"],
)
def test_the_key_is_taken_off_on_a_redirect_to(chain: Chain, elsewhere: str) -> None:
    assert chain.keys_on_the_way(f"{HOME}/search", elsewhere) == [KEY, None]
    assert chain.keys_on_the_way(elsewhere) == [None]


def test_the_key_is_put_on_again_when_a_redirect_leads_back(chain: Chain) -> None:
    assert chain.keys_on_the_way(f"{HOME}/a", "https://other.example/", f"{HOME}/b") == [KEY, None, KEY]


@pytest.mark.parametrize(
    ("home", "target"),
    [
        ("https://station.example:443/auxip", "https://station.example/search"),
        ("https://station.example/auxip", "https://station.example:443/search"),
        ("http://station.example:80", "http://station.example/search"),
        ("https://Station.Example/auxip", "https://station.example/search"),
        ("https://station.example/auxip", "HTTPS://STATION.EXAMPLE/search"),
    ],
)
def test_an_origin_is_the_same_however_it_is_spelled(home: str, target: str) -> None:
    chain = Chain(home)
    with chain.client:
        assert chain.keys_on_the_way(target) == [KEY]


def test_a_trusted_domain_is_sent_the_key_and_its_neighbours_are_not() -> None:
    chain = Chain(trusted=("download.example",))
    with chain.client:
        assert chain.keys_on_the_way(f"{HOME}/a", "https://download.example/b") == [KEY, KEY]
        assert chain.keys_on_the_way(f"{HOME}/a", "https://x.download.example/b") == [KEY, None]
        assert chain.keys_on_the_way(f"{HOME}/a", "https://download.example.org/b") == [KEY, None]


def test_a_trusted_domain_is_known_in_any_case_of_letters() -> None:
    chain = Chain(trusted=("Download.Example",))
    with chain.client:
        assert chain.keys_on_the_way(f"{HOME}/a", "https://download.example/b") == [KEY, KEY]


def test_a_trusted_domain_is_not_sent_the_key_in_the_clear() -> None:
    chain = Chain(trusted=("download.example",))
    with chain.client:
        assert chain.keys_on_the_way(f"{HOME}/a", "http://download.example/b") == [KEY, None]


def test_a_key_that_a_caller_put_on_by_hand_does_not_leave_the_origin(chain: Chain) -> None:
    chain.client.get("https://other.example/", headers={API_KEY_HEADER: "by hand"})
    assert chain.keys == [("https://other.example/", None)]


def test_a_chain_of_redirects_without_an_end_is_left(chain: Chain) -> None:
    chain.redirects = {f"{HOME}/a": f"{HOME}/a"}
    with pytest.raises(httpx.TooManyRedirects):
        chain.client.get(f"{HOME}/a")
    assert len(chain.keys) <= 10


def test_each_place_is_sent_its_own_credentials_and_not_those_of_the_other() -> None:
    search = Audience(FixedCredentials("authorization", SecretStr("search")), "https://search.example/odata")
    download = Audience(FixedCredentials("x-token", SecretStr("file")), "https://files.example", ("mirror.example",))
    keyring = Keyring([search, download])

    def sent(url: str) -> dict[str, str]:
        request = httpx.Request("GET", url, headers={"authorization": "of another host", "x-token": "of another host"})
        keyring.put_on(request)
        return {name: request.headers[name] for name in ("authorization", "x-token") if name in request.headers}

    assert sent("https://search.example/odata/Products") == {"authorization": "search"}
    assert sent("https://files.example/Products(1)/$value") == {"x-token": "file"}
    assert sent("https://mirror.example/1") == {"x-token": "file"}
    assert sent("https://search.example:444/") == {}
    assert sent("http://files.example/") == {}
    assert sent("https://foreign.example/") == {}
