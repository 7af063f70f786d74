"""The address of Redis or Valkey: one spelling for redis-py, kombu and Celery, whose TLS options differ.

    redis://USER:PASSWORD@HOST:PORT/DB
    rediss://USER:PASSWORD@HOST:PORT/DB?ssl_cert_reqs=required&ssl_ca_certs=/path/ca.pem

`ssl_cert_reqs` is `required`, which is the default, `optional` or `none`; Python's names for these, such as
`CERT_REQUIRED`, are accepted as well.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_CERT_REQS: Final = "ssl_cert_reqs"
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_REQUIREMENTS: Final = ("required", "optional", "none")


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis or Valkey is.

    Attributes:
        url: with the credentials, and without options.
        tls: redis-py's options, by their names; None without TLS.
    """

    url: str = field(repr=False)
    tls: dict[str, str] | None


def parse_redis_url(text: str) -> RedisAddress:
    """Return the address that stands in a URL.

    Raises:
        ValueError: the URL cannot be used; the reason repeats no part of the credentials.
    """
    if text.startswith(("sentinel://", "redis+sentinel://", "rediss+sentinel://")):
        raise ValueError("is of Redis Sentinel, which is not supported; give the address of a proxy that follows it")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False  # its message may repeat a part of a password
    if not usable:
        raise ValueError("is no redis:// or rediss:// URL") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    url = parts._replace(query="", fragment="").geturl()
    if parts.scheme == "redis":
        if options:
            raise ValueError("has options, which only a rediss:// URL may have")
        return RedisAddress(url, None)
    return RedisAddress(url, _tls(options))


def _tls(options: dict[str, str]) -> dict[str, str]:
    for name in options:
        if name not in (_CERT_REQS, *_FILES):
            raise ValueError(f"has the option {name[:50]!r}; there are: {', '.join((_CERT_REQS, *_FILES))}")
    required = options.get(_CERT_REQS, "required").lower().removeprefix("cert_")
    if required not in _REQUIREMENTS:
        raise ValueError(f"has an {_CERT_REQS} that is none of: {', '.join(_REQUIREMENTS)}")
    for name in _FILES:
        if name in options and not Path(options[name]).is_file():
            raise ValueError(f"names a file as {name} that is not there")
    return {**options, _CERT_REQS: required}
