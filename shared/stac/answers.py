"""What every answer over HTTP is read with: up to a limit, and shown without what may be secret."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from shared.errors import Retryable

IS_CONFIRMATION: Final = "auxip_is_confirmation"
"""Extension of a request that was refused and is sent once more: credentials were renewed for the first one."""


def limited(response: httpx.Response, limit: int, name: str) -> Iterator[bytes]:
    """Yield the decoded body of an answer.

    Raises:
        Retryable: `NAME-bad-answer`, it is longer than `limit` bytes.
    """
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > limit:
            raise Retryable(f"{name}-bad-answer", f"{shown(response.url)} answered with more than {limit} bytes")
        yield chunk


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After, given as a number or as a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def shown(url: httpx.URL | str) -> str:
    """Return a URL as it may be shown: without user and query, as these may be a password or a signature."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", query=None, fragment=None))[:300]
    except httpx.InvalidURL:
        return repr(str(url)[:200])
