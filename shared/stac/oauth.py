"""OAuth2 tokens of a station: granted, kept in this process only, renewed in time and once for all its threads."""

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import Final

import httpx
from pydantic import BaseModel, Field, SecretStr, ValidationError

from shared.errors import Refused, Retryable
from shared.stac.answers import ACCEPT_ENCODING, limited, retry_after, shown
from shared.stac.stations import OAuth2, OAuth2Password

_MARGIN: Final = 60.0
"""Seconds before its end at which a token is renewed."""

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
    """A token, the instants of `time.monotonic()` from which it and its refresh token are not used any more."""

    value: str
    stale: float
    refresh: SecretStr | None
    refresh_stale: float

    def __repr__(self) -> str:
        return "_Token(**********)"


class OAuth2Credentials:
    """The token of a station as its credentials. Threads that want one at once wait for one grant.

    `value` and `renew` may raise:
        Refused: `station-unauthorized`, the token endpoint refuses our credentials, or gives no bearer token.
        Retryable: `station-unavailable`, it cannot answer now.
    """

    header = "authorization"

    def __init__(self, auth: OAuth2, client: httpx.Client) -> None:
        self._auth = auth
        self._client = client
        self._lock = threading.Lock()
        self._token: _Token | None = None

    def value(self) -> str:
        """Return the header's value, with a token that has some time left."""
        with self._lock:
            if self._token is None or time.monotonic() >= self._token.stale:
                self._token = self._next(self._token)
            return f"Bearer {self._token.value}"

    def renew(self, refused: str) -> bool:
        """Replace the token if it is still the one that was refused."""
        with self._lock:
            if self._token is not None and refused == f"Bearer {self._token.value}":
                self._token = self._next(self._token)
            return True

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
        client = {"client_id": auth.client_id}
        if auth.client_secret is not None:
            client["client_secret"] = auth.client_secret.get_secret_value()
        try:
            with self._client.stream(
                "POST", auth.token_url, data={**form, **client}, headers=ACCEPT_ENCODING
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
    return _Token(
        value, _stale(began, answer.expires_in), answer.refresh_token, _stale(began, answer.refresh_expires_in)
    )


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
