"""Credentials of an API: sent to its own host and the domains it trusts, and to nobody else."""

from base64 import b64encode
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import httpx
from pydantic import SecretStr

API_KEY_HEADER = "x-api-key"


class Credentials(Protocol):
    """What an API is sent with each request, in one header."""

    @property
    def header(self) -> str:
        """The header's name."""

    def value(self) -> str:
        """Return the header's value, now."""

    def renew(self, refused: str, expired: bool) -> bool:
        """Get another value than the one that the API has refused; returns whether there is one.

        Args:
            refused: the value.
            expired: whether the API says that it is not valid (401); else that it does not suffice (403), which some
                say of a token that has expired.
        """


class FixedCredentials:
    """Credentials that do not change while the process lives: a key, a cookie, a password."""

    def __init__(self, header: str, value: SecretStr) -> None:
        self.header = header
        self._value = value

    def value(self) -> str:
        """Return the header's value."""
        return self._value.get_secret_value()

    def renew(self, refused: str, expired: bool) -> bool:  # noqa: ARG002 - there is no other
        """There is no other value."""
        return False


def cookie(name: str, value: SecretStr) -> FixedCredentials:
    """Return a cookie as credentials."""
    return FixedCredentials("cookie", SecretStr(f"{name}={value.get_secret_value()}"))


def basic(username: str, password: SecretStr) -> FixedCredentials:
    """Return a name and a password as credentials (RFC 7617, in UTF-8)."""
    pair = f"{username}:{password.get_secret_value()}".encode()
    return FixedCredentials("authorization", SecretStr(f"Basic {b64encode(pair).decode()}"))


def origin(url: httpx.URL | str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL, in one spelling: lower case, and no port where it is the scheme's own.

    Raises:
        httpx.InvalidURL: it is none.
    """
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port


def host_of(url: httpx.URL | str) -> str:
    """Return the origin of a URL as text: `https://download.example`, with the port where it is not the scheme's own.

    Raises:
        httpx.InvalidURL: it is none.
    """
    scheme, host, port = origin(url)
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port is None else f"{scheme}://{name}:{port}"


class Audience:
    """Whom some credentials are for: the origin of a URL, and further hosts by their name."""

    def __init__(self, credentials: Credentials, url: str, trusted: Collection[str] = ()) -> None:
        """Name them.

        Args:
            credentials: what is sent.
            url: whose origin may be sent it.
            trusted: further hosts that may be; never over plain HTTP if `url` itself is not.
        """
        self.credentials = credentials
        self._home = origin(url)
        self._hosts = {host.lower() for host in trusted}

    def includes(self, url: httpx.URL) -> bool:
        """Whether a request to a URL is sent the credentials."""
        is_trusted = url.host in self._hosts and url.scheme in ("https", self._home[0])
        return is_trusted or origin(url) == self._home


class Keyring:
    """The credentials for each place that a client asks: the first audience that includes a URL decides."""

    def __init__(self, audiences: Sequence[Audience]) -> None:
        self._audiences = audiences

    def credentials_for(self, url: httpx.URL) -> Credentials | None:
        """Return what a request to a URL is sent, or None."""
        return next((each.credentials for each in self._audiences if each.includes(url)), None)

    def put_on(self, request: httpx.Request) -> None:
        """Put the credentials for its URL on a request, and take all others off.

        It is a hook of the client and not one of its headers: httpx calls it for each request of a redirect chain,
        while of its own accord it takes only `Authorization` off when a redirect leads to another host.
        """
        for audience in self._audiences:
            request.headers.pop(audience.credentials.header, None)
        credentials = self.credentials_for(request.url)
        if credentials is not None:
            request.headers[credentials.header] = credentials.value()


def api_key_hook(key: SecretStr | None, url: str) -> list[Callable[[httpx.Request], None]]:
    """Return the hooks that send an API key to the API's own origin only; none where there is no key."""
    return [] if key is None else [Keyring([Audience(FixedCredentials(API_KEY_HEADER, key), url)]).put_on]
