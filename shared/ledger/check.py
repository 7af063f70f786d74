"""Says in two seconds what is wrong with the address of Redis or Valkey: the host, the password, or TLS.

A worker waits for a server that is away. A person at a command line wants to know at once which part of the URL to
correct, so a command asks here before it does anything else.
"""

import socket
import ssl
import threading
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import SplitResult, urlsplit

from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from shared.errors import AuxipError, Rejected, Retryable
from shared.ledger.connection import connect, state_of
from shared.redis_address import parse_redis_url

_SECONDS: Final = 2.0
_FIRST_LOOK: Final = 1.3
_SECOND_LOOK: Final = 0.5
_PASSWORD_STATES: Final = ("NOAUTH", "WRONGPASS")


def check_redis(url: str) -> None:
    """Ask the server at a URL for an answer, once.

    Raises:
        AuxipError: `redis-unreachable`, `redis-unauthorized`, `redis-tls`, `redis-unavailable`, `redis-bad-answer` or
            `bad-setting`; the reason names the host, and never the password.
    """
    found: SimpleQueue[AuxipError | None] = SimpleQueue()
    # In a thread, since looking up a name obeys no timeout; nobody waits for the thread when the process ends.
    threading.Thread(target=lambda: found.put(_fault(url)), daemon=True).start()
    try:
        fault = found.get(timeout=_SECONDS)
    except Empty:
        fault = _silent(_place(urlsplit(url)))
    if fault is not None:
        raise fault


def _fault(url: str) -> AuxipError | None:
    parts = urlsplit(parse_redis_url(url).url)
    try:
        socket.getaddrinfo(parts.hostname, parts.port or 6379)
        client = connect(
            url, socket_connect_timeout=_FIRST_LOOK, socket_timeout=_FIRST_LOOK, retry=Retry(NoBackoff(), 0)
        )
        with client:
            client.ping()
    except (RedisError, OSError) as error:
        return _explained(parts, error)
    return None


def _explained(parts: SplitResult, error: Exception) -> AuxipError:
    place, causes = _place(parts), _causes(error)
    state = next(filter(None, map(state_of, causes)), None)
    if state in _PASSWORD_STATES or any(isinstance(each, AuthenticationError) for each in causes):
        return _unauthorized(parts, place)
    if state is not None:
        return Retryable("redis-unavailable", f"the server at {place} answers {state}; wait, or look at its log")
    for cause in causes:
        match cause:
            case socket.gaierror():
                reason = f"the host name {parts.hostname} cannot be resolved; correct the host in AUXIP_REDIS_URL"
                return Retryable("redis-unreachable", reason)
            case ConnectionRefusedError():
                reason = f"nothing listens at {place}; start the server, or correct host and port in AUXIP_REDIS_URL"
                return Retryable("redis-unreachable", reason)
            case ssl.SSLCertVerificationError():
                reason = f"the certificate of {place} is not trusted: {cause.verify_message}; name its authority in"
                return Rejected("redis-tls", f"{reason} AUXIP_REDIS_URL: ?ssl_ca_certs=/path/ca.pem")
    return _after_second_look(parts, place, causes)


def _after_second_look(parts: SplitResult, place: str, causes: list[Exception]) -> AuxipError:
    """Tell a server of the other kind (TLS or none) from one that does not answer, and from one that is no Redis."""
    if parts.scheme == "redis" and _speaks_tls(parts):
        return Rejected("redis-tls", f"the server at {place} speaks TLS; write rediss:// in AUXIP_REDIS_URL")
    if parts.scheme == "rediss" and _speaks_plainly(parts):
        return Rejected("redis-tls", f"the server at {place} speaks no TLS; write redis:// in AUXIP_REDIS_URL")
    if any("DB index" in str(cause) for cause in causes):
        reason = f"AUXIP_REDIS_URL names the database {parts.path[1:]}, which the server at {place} does not have"
        return Rejected("bad-setting", reason)
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return _silent(place)
    if any(isinstance(cause, OSError) for cause in causes):
        return Retryable(
            "redis-unreachable", f"{place} cannot be reached: {causes[-1]}; correct the host in AUXIP_REDIS_URL"
        )
    reason = f"what listens at {place} does not answer as Redis or Valkey do: {str(causes[0])[:200]}"
    return Rejected("redis-bad-answer", f"{reason}; correct host and port in AUXIP_REDIS_URL")


def _unauthorized(parts: SplitResult, place: str) -> AuxipError:
    if parts.password is None:
        what = f"the server at {place} asks for a password; write redis://default:PASSWORD@HOST:PORT/DB in"
    else:
        user = f" of the user {parts.username!r}" if parts.username else ""
        what = f"the server at {place} refuses the password{user}; correct it in"
    return Rejected("redis-unauthorized", f"{what} AUXIP_REDIS_URL")


def _silent(place: str) -> AuxipError:
    reason = f"{place} does not answer within {_SECONDS:g} s; correct host and port in AUXIP_REDIS_URL, or the firewall"
    return Retryable("redis-unreachable", reason)


def _place(parts: SplitResult) -> str:
    return f"{parts.hostname}:{parts.port or 6379}"


def _causes(error: Exception) -> list[Exception]:
    """Return an error and what has led to it: redis-py wraps errors of sockets and of TLS, which say more."""
    causes: list[Exception] = []
    following: BaseException | None = error
    while isinstance(following, Exception) and following not in causes:
        causes.append(following)
        following = following.__cause__ or following.__context__
    return causes


def _speaks_tls(parts: SplitResult) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only whether it answers
    try:
        with _opened(parts) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return error.reason not in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
    except OSError:
        return False


def _speaks_plainly(parts: SplitResult) -> bool:
    try:
        with _opened(parts) as plain:
            plain.sendall(b"PING\r\n")
            return plain.recv(1) in (b"+", b"-")
    except OSError:
        return False


def _opened(parts: SplitResult) -> socket.socket:
    return socket.create_connection((parts.hostname or "", parts.port or 6379), timeout=_SECOND_LOOK)
