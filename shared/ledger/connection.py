"""Connections to Redis or Valkey on which a server that cannot serve is an outage, as one that cannot be reached is.

A server that is loading its data, has become a replica, is out of memory or cannot write to its disk answers with an
error. redis-py takes some of these errors for a fault of the command; here each is a `ConnectionError`, after which
redis-py tries again on a new connection: after a failover the name leads to another server.
"""

import re
from typing import Any, Final

from redis import Connection, Redis, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from shared.redis_address import parse_redis_url

# As a script reports it: `READONLY ..`, or before Redis 7 `ERR Error running script ..: -READONLY ..`.
_STATES: Final = re.compile(
    r"(?:ERR .* -)?(READONLY|MISCONF|OOM|LOADING|NOAUTH|WRONGPASS|MASTERDOWN|NOREPLICAS|UNBLOCKED)\b", re.DOTALL
)


class ServerUnavailable(RedisConnectionError):
    """The server answers, and cannot do what it is for."""


class _OutageAware:
    """Mixed into redis-py's connections."""

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next answer, as redis-py does.

        Raises:
            ServerUnavailable: the server is in a state that passes.
        """
        connection: Any = super()
        try:
            return connection.read_response(*args, **kwargs)
        except (ResponseError, RedisConnectionError) as error:
            state = state_of(error)
            if state is None:
                raise
            raise ServerUnavailable(f"the server answers {state}") from error


class PlainConnection(_OutageAware, Connection):
    """A connection without TLS."""


class TlsConnection(_OutageAware, SSLConnection):
    """A connection with TLS."""


def state_of(error: Exception) -> str | None:
    """Return the state of the server that an answer is about, or None where the answer is about the command."""
    code = getattr(error, "status_code", None)
    found = _STATES.match(f"{code} " if isinstance(code, str) else str(error))
    return found[1] if found else None


def connect(url: str, **options: Any) -> Redis:
    """Return a client for the server at a URL; `options` are redis-py's."""
    address = parse_redis_url(url)
    connection = PlainConnection if address.tls is None else TlsConnection
    return Redis.from_url(address.url, connection_class=connection, **(address.tls or {}), **options)
