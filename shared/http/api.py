"""One STAC API over HTTP: requests with its credentials, answers read up to a limit, errors that say what they mean."""

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from shared.errors import Refused, Rejected, Retryable
from shared.http.answers import ACCEPT_ENCODING, IS_CONFIRMATION, MEMORY, JsonReader, limited, retry_after, shown
from shared.http.auth import host_of, origin
from shared.json_types import Json

_TRANSIENT = frozenset({408, 425, 429})
_REFUSALS = frozenset({400, 401, 403})
_ANY_REFUSAL = tuple(range(400, 500))
_STALE = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
_REDIRECTS = 5
LONGEST_PROBE: Final = 10.0
"""Seconds that a probe waits for its answer."""

_MOST_PROBED: Final = 2**20
_LONGEST_CONFIRMATION: Final = 1.0


@dataclass(frozen=True)
class Answer:
    """A status that means success or that the caller asked to see, and the JSON object that came with it."""

    status: int
    body: Json


@dataclass(frozen=True)
class Reply:
    """The answer to a probe: its status, whether it is a JSON object, and a sentence that says so."""

    status: int
    is_object: bool
    reason: str


class JsonApi:
    """A STAC API, called `name` (`station` or `catalog`) in error codes.

    Every request may raise, with `NAME` for the name:
        Refused: `NAME-unauthorized` (401, 403), `NAME-refused` (400); the API has refused the same request twice.
        Rejected: `NAME-not-found` (404), `NAME-refused` (any other 4xx).
        Retryable: `NAME-rate-limited` (429, with its Retry-After), `NAME-unavailable` (408, 425, 5xx, network),
            `NAME-bad-answer` (no JSON object, cut short, or too large).
    """

    def __init__(
        self,
        name: str,
        url: str,
        client: httpx.Client,
        max_bytes: int,
        credentials: str,
        confirm_after: float = 0,
        repeatable: bool = True,
    ) -> None:
        """Take a client.

        Args:
            name: `station` or `catalog`.
            url: base URL.
            client: with the credentials, which the API closes.
            max_bytes: of an answer.
            credentials: where they are configured, for whoever reads that they were refused.
            confirm_after: seconds before a request that was refused is sent once more.
            repeatable: whether a request may be sent twice, as a STAC API takes it; one that begins a job may not.
        """
        self.name = name
        self.url = url
        self._client = client
        self._max_bytes = max_bytes
        self._credentials = credentials
        self._repeatable = repeatable
        self._confirm_after = min(confirm_after, _LONGEST_CONFIRMATION)

    def call(
        self,
        method: str,
        url: str,
        body: Json | None = None,
        *,
        expected: tuple[int, ...] = (),
        unread: tuple[int, ...] = (),
        wait: float | None = None,
    ) -> Answer:
        """Send one request and read its answer whole.

        Args:
            method: of HTTP.
            url: absolute, or a path below the API's URL.
            body: sent as JSON.
            expected: statuses of 4xx that are an answer to the caller, not an error.
            unread: further ones, which say enough by themselves: their body may be anything.
            wait: seconds until the answer must be there, where there is a limit.
        """
        until = None if wait is None else time.monotonic() + wait
        with self.open(method, url, body, expected=(*expected, *unread), timeout=self._timeout(wait)) as response:
            status = response.status_code
            return Answer(status, {} if status in unread else self._json(response, until))

    def content(self, url: str, wait: float | None = None) -> bytes:
        """Return the body of what is at a URL, read whole; for answers that are no JSON.

        Args:
            url: absolute, or a path below the API's URL.
            wait: seconds until the answer must be there, where there is a limit.
        """
        until = None if wait is None else time.monotonic() + wait
        with self.open("GET", url, timeout=self._timeout(wait)) as response:
            return b"".join(self._in_time(response, until))

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        body: Json | list[Json] | None = None,
        *,
        expected: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> Iterator[httpx.Response]:
        """Send one request and leave the reading of its answer to the block."""
        absolute = url if re.match(r"https?://", url) else f"{self.url}{url}"
        label, asked = f"{method} {shown(absolute)}", absolute
        try:
            request = partial(
                self._client.build_request,
                method,
                absolute,
                json=body,
                headers=headers,
                timeout=timeout or self._client.timeout,
            )
            with closing(self._confirmed(request, expected)) as response:
                asked = str(response.url)
                if response.status_code not in expected:
                    self._raise_for(response, label)
                yield response
        except httpx.InvalidURL:
            raise Rejected("bad-href", f"{absolute[:200]!r} is no URL") from None
        except httpx.HTTPError as error:
            failure = Retryable(f"{self.name}-unavailable", f"{label}: {type(error).__name__}: {str(error)[:200]}")
            failure.host = self._other_host(_requested(error) or asked)
            raise failure from error
        except Retryable as error:
            error.host = self._other_host(asked)
            raise

    def probe(self, method: str, path: str, body: Json | None = None) -> Reply:
        """Return the answer to a question about no item, a refusal included.

        Raises:
            Retryable: `NAME-unavailable`, there is no answer below 500.
        """
        timeout = min(self._client.timeout.read or LONGEST_PROBE, LONGEST_PROBE)
        with self.open(method, path, body, expected=_ANY_REFUSAL, timeout=httpx.Timeout(timeout)) as response:
            label = f"{method} {shown(response.url)} answered {response.status_code}"
            try:
                content = b"".join(self._in_time(response, time.monotonic() + timeout, _MOST_PROBED))
                is_object = isinstance(json.loads(content), dict)
            except (ValueError, RecursionError):
                is_object = False
            except Retryable as error:
                if not error.code.endswith("-bad-answer"):
                    raise
                is_object = False  # too large
            return Reply(response.status_code, is_object, label if is_object else f"{label}, and no JSON object")

    @contextmanager
    def observed(self, seen: Callable[[httpx.Request], object]) -> Iterator[None]:
        """Call `seen` with each request of the block as it is sent, with its credentials; they must not be printed."""
        hooks = self._client.event_hooks
        self._client.event_hooks = {**hooks, "request": [*hooks["request"], seen]}
        try:
            yield
        finally:
            self._client.event_hooks = hooks

    @property
    def patience(self) -> float:
        """Seconds to wait for the next bytes."""
        return self._client.timeout.read or math.inf

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _confirmed(self, request: Callable[..., httpx.Request], expected: tuple[int, ...]) -> httpx.Response:
        """Send a request, and once more after a pause where it is refused: a proxy may have lost a header or its mind.

        An OAuth2 token was renewed by then, see `StationTransport`; where that was refused, it is tried again.
        """
        extensions: dict[str, bool] = {}
        with suppress(Refused):  # by the token endpoint
            response = self._sent(request)
            if response.status_code not in _REFUSALS or response.status_code in expected:
                return response
            response.close()
            extensions = {IS_CONFIRMATION: True}
        time.sleep(self._confirm_after)
        return self._sent(partial(request, extensions=extensions))

    def _sent(self, request: Callable[[], httpx.Request]) -> httpx.Response:
        """Send a request, and at once a second time where the connection ends before there is an answer.

        uvicorn closes the connection after a 500, just when the next request may be on its way.
        """
        try:
            return self._client.send(request(), stream=True)
        except _STALE:
            if not self._repeatable:
                raise
        return self._client.send(request(), stream=True)

    def _timeout(self, wait: float | None) -> httpx.Timeout:
        usual = self._client.timeout
        return usual if wait is None else httpx.Timeout(min(wait, usual.read or wait))

    def _other_host(self, url: str) -> str:
        return "" if origin(url) == origin(self.url) else host_of(url)

    def _json(self, response: httpx.Response, until: float | None) -> Json:
        reader, most = JsonReader(), MEMORY * self._max_bytes
        for piece in self._in_time(response, until):
            reader.add(piece)
            if reader.memory > most:
                reason = f"{shown(response.url)} answered with JSON that may take more than {most} bytes of memory"
                raise Retryable(f"{self.name}-bad-answer", f"{reason} ({MEMORY} times AUXIP_MAX_ANSWER_BYTES)")
        try:
            body = reader.parsed()
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise Retryable(
                f"{self.name}-bad-answer", f"{shown(response.url)} answered with something that is no JSON object"
            )
        return body

    def _in_time(self, response: httpx.Response, until: float | None, most: int | None = None) -> Iterator[bytes]:
        """Yield the body; bytes that come one by one renew the timeout of a read, but not the time for all of them."""
        for chunk in limited(response, most or self._max_bytes, self.name):
            if until is not None and time.monotonic() > until:
                raise Retryable(f"{self.name}-unavailable", f"{shown(response.url)} did not answer in time")
            yield chunk

    def _raise_for(self, response: httpx.Response, label: str) -> None:
        status = response.status_code
        if status < 400:
            return
        detail = f"{label} answered {status}{_detail(response)}"
        if status in (401, 403):
            raise Refused(f"{self.name}-unauthorized", f"{detail}; check {self._credentials}")
        if status == 400:
            raise Refused(f"{self.name}-refused", detail)
        if status == 404:
            raise Rejected(f"{self.name}-not-found", detail)
        if status == 429:
            raise Retryable(f"{self.name}-rate-limited", detail, retry_after(response))
        if status in _TRANSIENT or status >= 500:
            failure = Retryable(f"{self.name}-unavailable", detail, retry_after(response))
            failure.status = status
            raise failure
        raise Rejected(f"{self.name}-refused", detail)


def _requested(error: httpx.HTTPError) -> str:
    """Return the URL of the request that failed, the last one of a chain of redirects; empty where it is not known."""
    try:
        return str(error.request.url)
    except RuntimeError:
        return ""


def _detail(response: httpx.Response) -> str:
    """What the API says of an error: `detail` (FastAPI), `description` (OGC) or a bare text (RS-Server)."""
    try:
        body = json.loads(b"".join(limited(response, 65_536, "api")))
    except (ValueError, RecursionError, Retryable, httpx.HTTPError):
        return ""
    said = body.get("detail") or body.get("description") if isinstance(body, dict) else None
    said = body if isinstance(body, str) else said
    return f" ({str(said)[:200]})" if said else ""


def http_client(
    timeout: float, hooks: list[Callable[[httpx.Request], None]], transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """Return a client that follows a few redirects and calls `hooks` before each request of the chain."""
    return httpx.Client(
        timeout=timeout,
        follow_redirects=True,
        max_redirects=_REDIRECTS,
        event_hooks={"request": [*hooks]},
        headers={"accept": "application/geo+json, application/json", **ACCEPT_ENCODING},
        transport=transport,
    )
