"""How every answer over HTTP is read: up to a limit of bytes and of memory, and shown without what may be secret."""

import json
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from pydantic import JsonValue
from pydantic_core import from_json

from shared.errors import Retryable

IS_CONFIRMATION: Final = "auxip_is_confirmation"
"""Extension of a request that was refused and is sent once more: credentials were renewed for the first one."""

ACCEPT_ENCODING: Final = {"accept-encoding": "gzip, deflate"}
"""What we unpack in bounded pieces. The decoders of brotli and zstd give all that a piece holds: 2 GB of 5 KB."""

MEMORY: Final = 5
"""Times the limit of an answer's bytes that it may take in memory, with what its JSON is parsed to."""

_PIECE: Final = 65_536
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_SPACE: Final = b" \t\r\n"


def limited(response: httpx.Response, limit: int, name: str) -> Iterator[bytes]:
    """Yield the decoded body of an answer, in pieces of 64 KiB at most where it is packed.

    Raises:
        Retryable: `NAME-bad-answer`, it is longer than `limit` bytes, or packed in a way that was not asked for.
    """
    size = 0
    for chunk in _decoded(response, name):
        size += len(chunk)
        if size > limit:
            raise Retryable(f"{name}-bad-answer", f"{shown(response.url)} answered with more than {limit} bytes")
        yield chunk


def _decoded(response: httpx.Response, name: str) -> Iterator[bytes]:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    match encoding:
        case "" | "identity":
            yield from response.iter_raw()
        case "gzip" | "x-gzip" | "deflate":
            try:
                yield from _inflated(response.iter_raw())
            except zlib.error:
                raise Retryable(f"{name}-bad-answer", f"{shown(response.url)} is no {encoding}, as it says") from None
        case _:
            raise Retryable(
                f"{name}-bad-answer",
                f"{shown(response.url)} is sent in the encoding {encoding[:40]!r}, which was not asked for",
            )


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    for chunk in chunks:
        packed = chunk
        while packed and not inflater.eof:
            yield inflater.decompress(packed, _PIECE)
            packed = inflater.unconsumed_tail
    yield inflater.flush()  # some KiB at most: what one more symbol stands for


class JsonReader:
    """Collects a JSON document piece by piece, and tells beforehand how much memory it takes to parse.

    That is an upper estimate, made of the length and of the characters that begin a value. Measured with CPython 3.11:
    an object of one key takes 184 bytes, a short string 64, a place in a list or an object up to 60.
    """

    def __init__(self) -> None:
        self._content = bytearray()
        self._values = 0
        self._is_plain = True
        self._last = b""

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        self._content += piece
        self._is_plain = self._is_plain and piece.isascii() and b"\\" not in piece
        dense = self._last + piece.translate(None, _SPACE)
        keys = dense.count(b'":')
        self._values += 124 * keys + 80 * piece.count(b",") + 140 * piece.count(b"{") + 80 * piece.count(b"[")
        self._last = dense[-1:] if dense[-1:] == b'"' else b""

    @property
    def memory(self) -> int:
        """Bytes that the document takes at most while it is parsed.

        Three times its length for itself, once more for its texts; four times more where a character may take four
        bytes.
        """
        return len(self._content) * (4 if self._is_plain else 7) + self._values

    def parsed(self) -> JsonValue:
        """Return the document; an empty one is an empty object.

        Raises:
            ValueError: it is no JSON.
            RecursionError: it is nested too deep.
        """
        content = self._content
        if not content:
            return {}
        try:
            parsed: JsonValue = from_json(content)  # of the bytes as they are: json makes a text of them first
        except ValueError:
            if not content.isascii() or b"\\u" not in content:
                raise
            parsed = json.loads(content)  # takes an escaped half of a character, which is the fault of one item only
        return parsed


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
