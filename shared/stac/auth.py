"""Credentials of a STAC API: sent to its own host and the domains it trusts, and to nobody else."""

from collections.abc import Callable, Collection

import httpx
from pydantic import SecretStr

API_KEY_HEADER = "x-api-key"


def origin(url: httpx.URL | str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL, in one spelling: lower case, and no port where it is the scheme's own.

    Raises:
        httpx.InvalidURL: it is none.
    """
    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port


def api_key_hook(key: SecretStr | None, url: str, trusted: Collection[str]) -> Callable[[httpx.Request], None]:
    """Return a hook that puts the key on requests to the API's own origin or a trusted domain, and takes it off others.

    A hook and not a header of the client: httpx calls it for each request of a redirect chain, while of its own
    accord it takes only `Authorization` off when a redirect leads to another host.

    Args:
        key: the API key, or None where the API asks for none.
        url: base URL of the API.
        trusted: further host names that may be sent the key; never over plain HTTP if the API itself is not.
    """
    home = origin(url)
    hosts = {host.lower() for host in trusted}

    def put_key(request: httpx.Request) -> None:
        request.headers.pop(API_KEY_HEADER, None)
        is_trusted = request.url.host in hosts and request.url.scheme in ("https", httpx.URL(url).scheme)
        if key is not None and (is_trusted or origin(request.url) == home):
            request.headers[API_KEY_HEADER] = key.get_secret_value()

    return put_key
