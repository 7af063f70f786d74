"""The way to a station and what it points to: hosts and addresses checked, limits kept, a lapsed token renewed.

Hrefs, next links and redirects come from outside. Each request of a chain passes here, so none leads a worker to a host
that the operator has not named, and no name leads it to an address within our own network.
"""

import ipaddress
import logging
import socket
import typing
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from shared.errors import ItemFailed
from shared.http.answers import IS_CONFIRMATION, retry_after, shown
from shared.http.auth import Keyring
from shared.stations.config import StationConfig
from shared.stations.limits import LONGEST_WAIT, Limits, Turn

_REFUSED: typing.Final = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_PAUSE = 1.0
"""Seconds for which all workers leave a station alone that says 429, and not for how long."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

for _library in ("httpx", "httpcore"):
    # They log whole URLs, which may carry signatures, and headers.
    logging.getLogger(_library).setLevel(logging.WARNING)


class StationTransport(httpx.BaseTransport):
    """What a station's requests go through, each redirect included.

    Raises:
        ItemFailed: `foreign-href`, a URL leads to a host or an address that the station's configuration does not allow.
        Busy: `station-busy`, the limits do not let the request go soon.
    """

    def __init__(
        self,
        config: StationConfig,
        keyring: Keyring,
        limits: Limits | None,
        inner: httpx.BaseTransport | None = None,
    ) -> None:
        self.inner = inner or _Routes(config)
        self._keyring = keyring
        self._limits = limits
        self._limited_hosts = {*(httpx.URL(place.url).host for place in config.guarded), *config.trusted_domains}
        self._hosts = self._limited_hosts | {*config.allowed_hosts}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request of a chain."""
        self._require_allowed(request.url)
        response = self._send(request)
        may_renew = IS_CONFIRMATION not in request.extensions
        if response.status_code in _REFUSED and may_renew and self._renewed(request, response):
            response = self._send(request)
        if response.has_redirect_location:
            # httpx would read its body whole, however long that is.
            response.close()
            return httpx.Response(response.status_code, headers={"location": response.headers["location"]})
        return response

    def close(self) -> None:
        """Close the connections."""
        self.inner.close()

    def _require_allowed(self, url: httpx.URL) -> None:
        if url.scheme not in ("http", "https"):
            raise ItemFailed("foreign-href", f"{shown(url)} is no http:// or https:// URL")
        if url.host not in self._hosts:
            raise ItemFailed(
                "foreign-href",
                f"{shown(url)} leads to a host that the station does not name: see allowed_hosts and trusted_domains "
                "in AUXIP_STATIONS_FILE",
            )

    def _send(self, request: httpx.Request) -> httpx.Response:
        if self._limits is None or request.url.host not in self._limited_hosts:
            return self.inner.handle_request(request)
        turn = self._limits.turn(request.extensions.get("timeout", {}).get("pool") or LONGEST_WAIT)
        try:
            response = self.inner.handle_request(request)
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                self._limits.hold_off(retry_after(response) or _PAUSE)
        except BaseException:
            turn.end()
            raise
        response.stream = _Held(typing.cast("httpx.SyncByteStream", response.stream), turn)
        return response

    def _renewed(self, request: httpx.Request, refusal: httpx.Response) -> bool:
        """Put other credentials on a request that was refused, if there are any; the refusal is closed then.

        Whoever was sent no credentials has refused none.
        """
        credentials = self._keyring.credentials_for(request.url)
        if credentials is None or credentials.header not in request.headers:
            return False
        try:
            expired = refusal.status_code == httpx.codes.UNAUTHORIZED
            renewed = credentials.renew(request.headers[credentials.header], expired)
            if renewed:
                request.headers[credentials.header] = credentials.value()
        except BaseException:
            refusal.close()
            raise
        if renewed:
            refusal.close()
        return renewed


class _Held(httpx.SyncByteStream):
    """A body whose connection is held until it is closed."""

    def __init__(self, stream: httpx.SyncByteStream, turn: Turn) -> None:
        self._stream = stream
        self._turn = turn

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._turn.keep()
            yield chunk

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._turn.end()


class _Routes(httpx.BaseTransport):
    """Straight to the address that was checked or, where the environment says so, through a proxy.

    A proxy looks names up by itself, so what it may connect to is its own rule; an address given as such is checked.
    """

    def __init__(self, config: StationConfig) -> None:
        self._guard = _Guard(config)
        self._direct = _Direct(self._guard)
        self._proxies = {
            scheme: httpx.HTTPTransport(proxy=proxy if "://" in proxy else f"http://{proxy}")
            for scheme, proxy in urllib.request.getproxies().items()
            if scheme in ("http", "https")
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        proxy = self._proxies.get(request.url.scheme)
        if proxy is None or urllib.request.proxy_bypass(host):
            return self._direct.handle_request(request)
        if _is_address(host):
            self._guard.allowed(host, request.url.port or 0, [host])
        return proxy.handle_request(request)

    def close(self) -> None:
        for transport in (self._direct, *self._proxies.values()):
            transport.close()


class _Direct(httpx.BaseTransport):
    """httpx's connections with a say in what they lead to.

    httpx's own transport takes no network backend, so this one stands on what both libraries publish: httpcore's pool,
    which takes one, and httpx's interface of a transport.
    """

    def __init__(self, guard: "_Guard") -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5,
            network_backend=guard,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=typing.cast("httpx.SyncByteStream", request.stream),
            extensions=request.extensions,
        )
        with _as_httpx_says():
            answer = self._pool.handle_request(sent)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(typing.cast("Iterable[bytes]", answer.stream), answer.close),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """What an answer brings, as it comes."""

    def __init__(self, stream: Iterable[bytes], close: Callable[[], None]) -> None:
        self._stream = stream
        self._close = close

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx_says():
            yield from self._stream

    def close(self) -> None:
        self._close()


@contextmanager
def _as_httpx_says() -> Iterator[None]:
    """Turn an error of httpcore into httpx's, which has the same name."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error


class _Guard(httpcore.NetworkBackend):
    """Connects to public addresses and to the station itself, and looks at the very address that it connects to.

    A name is looked up here, once for each connection: checked before and looked up again, it could lead elsewhere.
    """

    def __init__(self, config: StationConfig) -> None:
        homes = [httpx.URL(place.url) for place in config.guarded]
        self._homes = {(home.host, home.port or (443 if home.scheme == "https" else 80)) for home in homes}
        self._allow_private = config.allow_private
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host}: {error}") from None
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self.allowed(host, port, [str(entry[4][0]) for entry in found]):
            try:
                return self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    def allowed(self, host: str, port: int, addresses: list[str]) -> list[str]:
        """Return those of a host's addresses that may be connected to.

        Raises:
            ItemFailed: `foreign-href`, none may.
        """
        if self._allow_private or (host, port) in self._homes:
            return addresses
        public = [address for address in addresses if is_public(address)]
        if addresses and not public:
            raise ItemFailed(
                "foreign-href",
                f"the host {host[:200]} has the address {addresses[0]}, which is not public: see allow_private in "
                "AUXIP_STATIONS_FILE",
            )
        return public


def is_public(address: str) -> bool:
    """Whether an address belongs to the public Internet: none that is private, loopback, link-local or multicast."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        within_nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        ip = within_nat64 or ip.ipv4_mapped or ip.sixtofour or ip
    if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
