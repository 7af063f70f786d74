"""Credentials of a STAC API: sent to its own host and the domains it trusts, and to nobody else."""

from base64 import b64encode
from collections.abc import Callable, Collection
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


def credentials_hook(credentials: Credentials, url: str, trusted: Collection[str]) -> Callable[[httpx.Request], None]:
    """Return a hook that puts the credentials on requests to the API's own origin or a trusted domain, and off others.

    A hook and not a header of the client: httpx calls it for each request of a redirect chain, while of its own
    accord it takes only `Authorization` off when a redirect leads to another host.

    Args:
        credentials: what is sent.
        url: base URL of the API.
        trusted: further host names that may be sent it; never over plain HTTP if the API itself is not.
    """
    home = origin(url)
    hosts = {host.lower() for host in trusted}

    def put_on(request: httpx.Request) -> None:
        request.headers.pop(credentials.header, None)
        is_trusted = request.url.host in hosts and request.url.scheme in ("https", home[0])
        if is_trusted or origin(request.url) == home:
            request.headers[credentials.header] = credentials.value()

    return put_on


def api_key_hook(key: SecretStr | None, url: str) -> list[Callable[[httpx.Request], None]]:
    """Return the hooks that send an API key to the API's own origin only; none where there is no key."""
    return [] if key is None else [credentials_hook(FixedCredentials(API_KEY_HEADER, key), url, ())]
