"""OAuth2 tokens of a station: granted and renewed in time, once for all threads and processes."""

import json
import math
import re
import threading
import time
from base64 import b64encode
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

import httpx
from pydantic import BaseModel, Field, SecretStr, ValidationError

from shared.errors import Refused, Retryable
from shared.http.answers import ACCEPT_ENCODING, limited, retry_after, shown
from shared.stations.config import OAuth2, OAuth2Password
from shared.stations.tokens import SharedToken, Token

_MARGIN: Final = 60.0
"""Seconds before its end at which a token is renewed."""

_LEAST_AGE: Final = 60.0
_LARGEST_ANSWER = 65_536
_REFUSALS = frozenset({400, 401, 403})


class _Answer(BaseModel):
    """A token answer (RFC 6749, section 5.1); lifetimes are in seconds, and sometimes a string."""

    access_token: SecretStr
    expires_in: float | None = Field(None, gt=0)
    refresh_token: SecretStr | None = None
    refresh_expires_in: float | None = Field(None, ge=0)


@dataclass(frozen=True)
class _Token:
    """A token; since when it is ours, from when it and its refresh token are not used any more: `time.monotonic()`."""

    value: str
    since: float
    stale: float
    refresh: SecretStr | None
    refresh_stale: float

    def to_share(self, now: float) -> Token:
        """Return it as other processes may have it."""
        refresh = None if self.refresh is None else self.refresh.get_secret_value()
        return Token(self.value, _left(self.stale, now), refresh, _left(self.refresh_stale, now))

    def __repr__(self) -> str:
        return "_Token(**********)"


class OAuth2Credentials:
    """The token of a station as its credentials. Threads that want one at once wait for one grant, and so do processes.

    `value` and `renew` may raise:
        Refused: `station-unauthorized`, the token endpoint refuses our credentials, or gives no bearer token.
        Retryable: `station-unavailable`, it cannot answer now.
    """

    def __init__(self, auth: OAuth2, client: httpx.Client, shared: SharedToken | None = None) -> None:
        """Take what a token is asked for with.

        Args:
            auth: of the station.
            client: for the token endpoint, which is closed with this.
            shared: where all processes have their token from; without one this process has its own.
        """
        self.header = auth.token_header
        self._auth = auth
        self._client = client
        self._shared = shared
        self._lock = threading.Lock()
        self._token: _Token | None = None

    def value(self) -> str:
        """Return the header's value, with a token that has some time left."""
        with self._lock:
            if self._token is None or time.monotonic() >= self._token.stale:
                self._token = self._another(self._token)
            return self._shown(self._token)

    def renew(self, refused: str, expired: bool) -> bool:
        """Replace the token if it is still the one that was refused.

        A token that does not suffice (403) is replaced only once it is a minute old: another one would not either, and
        each costs a session.
        """
        with self._lock:
            if self._token is None or refused != self._shown(self._token):
                return True
            if not expired and time.monotonic() - self._token.since < _LEAST_AGE:
                return False
            self._token = self._another(self._token)
            return True

    def _shown(self, token: _Token) -> str:
        return f"Bearer {token.value}" if self.header == "authorization" else token.value

    def _another(self, last: _Token | None) -> _Token:
        """Return another token than the last one: one that another process was given meanwhile, or a new one."""
        if self._shared is None:
            return self._next(last)
        known = self._of_others(last)
        if known is not None:
            return known
        with self._shared.alone():
            known = self._of_others(last)
            if known is not None:
                return known
            token = self._next(last or self._to_refresh())
            self._shared.keep(token.to_share(time.monotonic()))
            return token

    def _of_others(self, last: _Token | None) -> _Token | None:
        kept = None if self._shared is None else self._shared.read()
        if kept is None or (kept.left or 0) <= 0 or (last is not None and kept.value == last.value):
            return None
        return _shared_token(kept)

    def _to_refresh(self) -> _Token | None:
        kept = None if self._shared is None else self._shared.read()
        return None if kept is None else _shared_token(kept)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _next(self, last: _Token | None) -> _Token:
        if last is not None and last.refresh is not None and time.monotonic() < last.refresh_stale:
            try:
                return self._ask({"grant_type": "refresh_token", "refresh_token": last.refresh.get_secret_value()})
            except Refused:
                pass  # a refresh token may be revoked or lapse unannounced: a new grant decides
        return self._ask(self._grant())

    def _grant(self) -> dict[str, str]:
        scope = {"scope": self._auth.scope} if self._auth.scope else {}
        if isinstance(self._auth, OAuth2Password):
            password = self._auth.password.get_secret_value()
            return {"grant_type": "password", "username": self._auth.username, "password": password, **scope}
        return {"grant_type": "client_credentials", **scope}

    def _ask(self, form: dict[str, str]) -> _Token:
        auth, began = self._auth, time.monotonic()
        headers = {name: value.get_secret_value() for name, value in auth.token_headers.items()}
        secret = None if auth.client_secret is None else auth.client_secret.get_secret_value()
        if auth.client_auth == "basic":
            # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            pair = f"{quote_plus(auth.client_id)}:{quote_plus(secret or '')}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form = {**form, "client_id": auth.client_id, **({} if secret is None else {"client_secret": secret})}
        try:
            with self._client.stream(
                "POST", auth.token_url, data=form, headers={**headers, **ACCEPT_ENCODING}
            ) as response:
                content = b"".join(limited(response, _LARGEST_ANSWER, "station"))
        except httpx.HTTPError as error:
            raise Retryable("station-unavailable", f"{shown(auth.token_url)}: {type(error).__name__}") from None
        self._raise_for(response, content)
        return _token(content, began, shown(auth.token_url))

    def _raise_for(self, response: httpx.Response, content: bytes) -> None:
        if response.is_success:
            return
        said = f"{shown(self._auth.token_url)} answered {response.status_code}{_error_of(content)}"
        if response.status_code in _REFUSALS:
            raise Refused("station-unauthorized", f"{said}; check the station's credentials in AUXIP_STATIONS_FILE")
        raise Retryable("station-unavailable", said, retry_after(response))


def _token(content: bytes, began: float, url: str) -> _Token:
    try:
        answer = _Answer.model_validate_json(content)
    except ValidationError:
        raise Retryable("station-unavailable", f"{url} answered with something that is no token") from None
    value = answer.access_token.get_secret_value()
    if re.fullmatch(r"[\x21-\x7e]+", value) is None:
        raise Retryable("station-unavailable", f"{url} answered with a token that a header cannot carry")
    stale, refresh_stale = _stale(began, answer.expires_in), _stale(began, answer.refresh_expires_in)
    return _Token(value, began, stale, answer.refresh_token, refresh_stale)


def _shared_token(kept: Token) -> _Token:
    now = time.monotonic()
    refresh = None if kept.refresh is None else SecretStr(kept.refresh)
    stale = float("inf") if kept.left is None else now + kept.left
    return _Token(kept.value, now, stale, refresh, now + (kept.refresh_left or 0))


def _left(instant: float, now: float) -> float | None:
    return None if math.isinf(instant) else max(0.0, instant - now)


def _stale(began: float, lifetime: float | None) -> float:
    """When to stop using a token; one that lives shorter than the margin is used for half of its life."""
    return float("inf") if lifetime is None else began + max(lifetime - _MARGIN, lifetime / 2)


def _error_of(content: bytes) -> str:
    """The error code of RFC 6749, section 5.2; its description is free text and stays out."""
    try:
        code = json.loads(content)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return f" ({code})" if isinstance(code, str) and re.fullmatch(r"[a-z_]{1,40}", code) else ""
