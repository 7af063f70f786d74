"""The OAuth2 token of a station, one for all processes: stations count sessions, and some allow four.

    auxip:token:STATION:WHO         string: JSON of the token and until when it and its refresh token are good,
                                    in seconds since the epoch by the server's clock
    auxip:token:STATION:WHO:grant   string: the process that is asking for the next one

WHO is a digest of whom the token is for, so that other credentials in the stations' file never meet an older token.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from redis import Redis

_LONGEST_GRANT: Final = 60.0
_LOOK: Final = 0.05
_UNLIMITED: Final = 3600.0
"""Seconds that a token of no stated lifetime is kept for others; it is replaced when the station refuses it."""

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@dataclass(frozen=True)
class Token:
    """A token, and for how many seconds it and its refresh token may still be used."""

    value: str
    left: float | None
    refresh: str | None = None
    refresh_left: float | None = None

    def __repr__(self) -> str:
        return "Token(**********)"


class SharedToken:
    """The token of one station in one Redis or Valkey database."""

    def __init__(self, redis: Redis, station: str, whom: tuple[str | None, ...]) -> None:
        """Name it.

        Args:
            redis: the client.
            station: its name.
            whom: whatever tells the credentials apart, without a secret.
        """
        digest = hashlib.sha256(json.dumps(whom).encode()).hexdigest()[:16]
        self._redis = redis
        self._key = f"auxip:token:{station}:{digest}"
        self._release = redis.register_script(_RELEASE)

    def read(self) -> Token | None:
        """Return the token that is known, also one that has no time left but may be refreshed."""
        text = self._redis.get(self._key)
        if text is None:
            return None
        kept, now = json.loads(str(text)), self._now()
        refresh_left = None if kept["refresh_until"] is None else kept["refresh_until"] - now
        return Token(kept["value"], kept["until"] - now, kept["refresh"], refresh_left)

    def keep(self, token: Token) -> None:
        """Let all processes have a token."""
        now, left = self._now(), _UNLIMITED if token.left is None else token.left
        refresh_left = _UNLIMITED if token.refresh_left is None else token.refresh_left
        kept = {
            "value": token.value,
            "until": now + left,
            "refresh": token.refresh,
            "refresh_until": None if token.refresh is None else now + refresh_left,
        }
        longest = left if token.refresh is None else max(left, refresh_left)
        self._redis.set(self._key, json.dumps(kept), px=max(1, int(longest * 1000)))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the right to ask for the next token; who waits for it looks at `read` first."""
        name, mark = f"{self._key}:grant", uuid.uuid4().hex
        until = time.monotonic() + _LONGEST_GRANT
        while not self._redis.set(name, mark, nx=True, px=int(_LONGEST_GRANT * 1000)) and time.monotonic() < until:
            time.sleep(_LOOK)
        try:
            yield
        finally:
            self._release(keys=[name], args=[mark])

    def _now(self) -> float:
        seconds, micros = self._redis.time()
        return seconds + micros / 1e6
