"""OAuth2 tokens: granted once, renewed in time, and never shown."""

import threading
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from fakeredis import FakeRedis
from pydantic import SecretStr
from redis import Redis

from shared.errors import AuxipError, Refused, Retryable
from shared.stations.config import OAuth2, OAuth2ClientCredentials, OAuth2Password
from shared.stations.oauth import OAuth2Credentials
from shared.stations.tokens import SharedToken
from tests.unit.making import Answers

URL = "https://auth.example/token"
PASSWORD = OAuth2Password.model_construct(
    kind="oauth2-password",
    token_url=URL,
    client_id="client",
    client_secret=SecretStr("hush-client"),
    username="me",
    password=SecretStr("hush-word"),
    scope="openid",
)
CLIENT = OAuth2ClientCredentials.model_construct(
    kind="oauth2-client-credentials",
    token_url=URL,
    client_id="client",
    client_secret=SecretStr("hush-client"),
    scope=None,
)


class Endpoint:
    """A token endpoint: gives token-1, token-2 and so on, or what the test says; keeps what it was sent."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.status = 200
        self.forms: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.forms.append(dict(parse_qsl(request.content.decode())))
        if self.status != 200:
            return httpx.Response(self.status, json={"error": "invalid_grant"}, headers={"retry-after": "7"})
        return httpx.Response(200, json={"access_token": f"token-{len(self.forms)}", **self.answer})

    @property
    def grants(self) -> list[str]:
        return [form["grant_type"] for form in self.forms]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("shared.stations.oauth.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def redis() -> Iterator[Redis]:
    with FakeRedis(decode_responses=True) as client:
        yield client


def credentials(endpoint: Endpoint, auth: OAuth2 = PASSWORD) -> OAuth2Credentials:
    return OAuth2Credentials(auth, httpx.Client(transport=Answers(endpoint)))


def test_a_password_grant_sends_what_the_station_asks_for() -> None:
    endpoint = Endpoint()
    assert credentials(endpoint).value() == "Bearer token-1"
    assert endpoint.forms == [
        {
            "grant_type": "password",
            "username": "me",
            "password": "hush-word",
            "scope": "openid",
            "client_id": "client",
            "client_secret": "hush-client",
        }
    ]


def test_a_client_credentials_grant_sends_the_client_only() -> None:
    endpoint = Endpoint()
    credentials(endpoint, CLIENT).value()
    assert endpoint.forms == [
        {"grant_type": "client_credentials", "client_id": "client", "client_secret": "hush-client"}
    ]


def test_a_token_is_used_until_a_minute_before_its_end(clock: Clock) -> None:
    endpoint = Endpoint(expires_in=300)
    token = credentials(endpoint)
    token.value()
    clock.now += 239
    assert token.value() == "Bearer token-1"
    clock.now += 2
    assert token.value() == "Bearer token-2"


def test_a_token_of_less_than_a_minute_is_not_asked_for_with_every_request(clock: Clock) -> None:
    endpoint = Endpoint(expires_in="40")
    token = credentials(endpoint)
    token.value()
    clock.now += 19
    assert token.value() == "Bearer token-1"
    clock.now += 2
    assert token.value() == "Bearer token-2"


def test_a_token_of_no_stated_lifetime_is_used_until_it_is_refused(clock: Clock) -> None:
    endpoint = Endpoint()
    token = credentials(endpoint)
    token.value()
    clock.now += 10**6
    assert token.value() == "Bearer token-1"


def test_a_refresh_token_is_used_where_there_is_one(clock: Clock) -> None:
    endpoint = Endpoint(expires_in=300, refresh_token="refresh", refresh_expires_in=1800)
    token = credentials(endpoint)
    token.value()
    clock.now += 241
    token.value()
    assert endpoint.grants == ["password", "refresh_token"]
    assert endpoint.forms[1]["refresh_token"] == "refresh"


def test_a_refresh_token_that_has_lapsed_is_not_used(clock: Clock) -> None:
    endpoint = Endpoint(expires_in=300, refresh_token="refresh", refresh_expires_in=200)
    token = credentials(endpoint)
    token.value()
    clock.now += 241
    token.value()
    assert endpoint.grants == ["password", "password"]


def test_a_refresh_token_that_is_refused_gives_way_to_a_new_grant() -> None:
    grants = []

    def refuse_refreshing(request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode()))
        grants.append(form["grant_type"])
        if form["grant_type"] == "refresh_token":
            return httpx.Response(400, json={"error": "invalid_grant"})
        return httpx.Response(200, json={"access_token": f"t{len(grants)}", "refresh_token": "r"})

    token = OAuth2Credentials(PASSWORD, httpx.Client(transport=Answers(refuse_refreshing)))
    token.renew(token.value(), True)
    assert token.value() == "Bearer t3"
    assert grants == ["password", "refresh_token", "password"]


def test_a_client_by_basic_leaves_nothing_of_itself_in_the_form() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"access_token": "t"})

    auth = PASSWORD.model_copy(
        update={
            "client_auth": "basic",
            "client_id": "a b",
            "scope": None,
            "token_headers": {"x-gate": SecretStr("key")},
        }
    )
    OAuth2Credentials(auth, httpx.Client(transport=Answers(answer))).value()

    (request,) = asked
    assert b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"a+b:hush-client"
    assert request.headers["x-gate"] == "key"
    form = dict(parse_qsl(request.content.decode()))
    assert form == {"grant_type": "password", "username": "me", "password": "hush-word"}


def test_a_token_in_another_header_stands_there_by_itself() -> None:
    token = credentials(Endpoint(), PASSWORD.model_copy(update={"token_header": "oauth2-access-token"}))
    assert (token.header, token.value()) == ("oauth2-access-token", "token-1")
    assert token.renew("token-1", True)
    assert token.value() == "token-2"


def test_a_token_that_does_not_suffice_is_replaced_once_it_is_a_minute_old(clock: Clock) -> None:
    token = credentials(Endpoint())
    first = token.value()
    assert not token.renew(first, False)
    clock.now += 61
    assert token.renew(first, False)
    second = token.value()
    assert second != first
    assert not token.renew(second, False)


def test_processes_share_one_token(redis: Redis) -> None:
    endpoint, processes = Endpoint(expires_in=300), 6
    together = threading.Barrier(processes)

    def value(_: int) -> str:
        token = shared(endpoint, redis)
        together.wait()
        return token.value()

    with ThreadPoolExecutor(processes) as pool:
        assert set(pool.map(value, range(processes))) == {"Bearer token-1"}
    assert endpoint.grants == ["password"]


def test_a_token_that_is_refused_is_replaced_once_for_all_processes(redis: Redis) -> None:
    endpoint = Endpoint(expires_in=300, refresh_token="refresh")
    one, two = shared(endpoint, redis), shared(endpoint, redis)
    refused = one.value()
    assert two.value() == refused
    assert one.renew(refused, True)
    assert two.renew(refused, True)
    assert one.value() == two.value() == "Bearer token-2"
    assert endpoint.grants == ["password", "refresh_token"]


def test_a_token_that_others_have_is_taken_over_for_as_long_as_it_lasts(redis: Redis, clock: Clock) -> None:
    endpoint = Endpoint(expires_in=300)
    shared(endpoint, redis).value()
    later = shared(endpoint, redis)
    later.value()
    assert endpoint.grants == ["password"]
    redis.flushall()
    clock.now += 241
    later.value()
    assert endpoint.grants == ["password", "password"]


def test_other_credentials_never_meet_an_older_token(redis: Redis) -> None:
    endpoint = Endpoint(expires_in=300)
    shared(endpoint, redis).value()
    other = OAuth2Credentials(PASSWORD, httpx.Client(transport=Answers(endpoint)), SharedToken(redis, "one", ("you",)))
    assert other.value() == "Bearer token-2"


def shared(endpoint: Endpoint, redis: Redis) -> OAuth2Credentials:
    return OAuth2Credentials(PASSWORD, httpx.Client(transport=Answers(endpoint)), SharedToken(redis, "one", ("me",)))


def test_a_token_that_another_thread_has_replaced_is_not_replaced_again() -> None:
    endpoint = Endpoint()
    token = credentials(endpoint)
    refused = token.value()
    assert token.renew(refused, True)
    assert token.renew(refused, True)
    assert token.value() == "Bearer token-2"


def test_threads_that_want_a_token_at_once_are_given_the_same() -> None:
    endpoint, threads = Endpoint(), 8
    token, together = credentials(endpoint), threading.Barrier(threads)

    def value() -> str:
        together.wait()
        return token.value()

    with ThreadPoolExecutor(threads) as pool:
        values = {future.result() for future in [pool.submit(value) for _ in range(threads)]}
    assert values == {"Bearer token-1"}
    assert endpoint.grants == ["password"]


@pytest.mark.parametrize(
    ("status", "kind", "code", "delay"),
    [
        (400, Refused, "station-unauthorized", None),
        (401, Refused, "station-unauthorized", None),
        (403, Refused, "station-unauthorized", None),
        (302, Retryable, "station-unavailable", 7),
        (404, Retryable, "station-unavailable", 7),
        (429, Retryable, "station-unavailable", 7),
        (503, Retryable, "station-unavailable", 7),
    ],
)
def test_an_endpoint_that_gives_no_token_says_whether_to_try_again(
    status: int, kind: type[AuxipError], code: str, delay: float | None
) -> None:
    endpoint = Endpoint()
    endpoint.status = status
    with pytest.raises(AuxipError) as raised:
        credentials(endpoint).value()
    assert (type(raised.value), raised.value.code) == (kind, code)
    assert f"{URL} answered {status} (invalid_grant)" in raised.value.reason
    assert getattr(raised.value, "delay", None) == delay


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"<html>", b"[]", b"{}", b"{" * 5000, b'{"access_token": 5}', b'{"access_token": ""}'),
        *(b'{"access_token": "a\\nb"}', b'{"access_token": "a", "expires_in": "soon"}'),
    ],
)
def test_an_answer_that_holds_no_token_is_tried_again(content: bytes) -> None:
    token = OAuth2Credentials(PASSWORD, httpx.Client(transport=Answers(lambda _: httpx.Response(200, content=content))))
    with pytest.raises(Retryable, match="station-unavailable"):
        token.value()


def test_an_answer_without_an_end_is_left() -> None:
    token = OAuth2Credentials(
        PASSWORD, httpx.Client(transport=Answers(lambda _: httpx.Response(200, content=b" " * 10**6)))
    )
    with pytest.raises(Retryable, match="more than 65536 bytes"):
        token.value()


def test_a_fault_of_the_network_is_tried_again_and_says_nothing_of_the_form() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(request.content.decode())

    with pytest.raises(Retryable, match="station-unavailable") as raised:
        OAuth2Credentials(PASSWORD, httpx.Client(transport=Answers(fail))).value()
    assert "hush" not in raised.value.reason


def test_no_token_is_shown() -> None:
    token = credentials(Endpoint())
    token.value()
    assert "token-1" not in repr(vars(token))
