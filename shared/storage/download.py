"""The body of an href over HTTP, whole and in order: a connection that breaks is taken up again where it broke."""

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from shared.errors import AuxipError, ItemFailed, Retryable
from shared.http.answers import shown
from shared.http.api import JsonApi
from shared.retries import delay_before_resume
from shared.settings import Settings
from shared.storage.uploads import StartOver, Unfinished

LEAST_RATE: Final = 1024
"""Bytes per second below which a source is taken for dead; it is watched for as long as the station's `timeout`."""

FRUITFUL: Final = 64 * 1024
"""Bytes that a connection must bring to count as progress: else a source could hold a worker with one byte a time."""

_STRONG_AFTER = 60  # seconds: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.2
_RANGE_NOT_SATISFIABLE = 416
_PAGES: Final = ("text/html", "application/xhtml+xml")
_PAGE: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)


class Download:
    """One file of a station."""

    def __init__(self, api: JsonApi, href: str, size: int | None, proven: bool, settings: Settings) -> None:
        """Prepare; nothing is asked for yet.

        Args:
            api: of the station.
            href: the file's URL.
            size: that the item states.
            proven: whether the item states size or checksum, so that an encoded body can be told from the file.
            settings: the limits and the pauses.
        """
        self._stated = size
        self._size = size  # stated by the item, else by the answer, else by HEAD
        self._api = api
        self._href = href
        self._shown = shown(href)
        self._proven = proven
        self._settings = settings
        self._begun = False
        self._received = 0
        self._open_ended = False  # the body ends where the connection does, be it whole or not
        self._validator: str | None = None
        self._restarts = 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the file from its beginning.

        Raises:
            StartOver: nothing that has come counts; asked again, this begins anew.
            ItemFailed: `too-large`.
            Retryable: `size-mismatch`, `not-online`, `NAME-bad-answer`, and, once several connections in a row have
                brought nothing, what `JsonApi` raises.
            Rejected: what `JsonApi` raises.
        """
        self._received = 0
        yield from self._from_here()

    def rest(self, start: int, left: Unfinished) -> Iterator[bytes]:
        """Yield the file from the byte `start`, provided that it is still the one that `left` was begun with.

        Raises:
            StartOver: it is another one, or the source gives no rest; ask for `chunks`.
        """
        self._received, self._begun = start, True
        self._validator, self._size = left.validator, left.size
        yield from self._from_here()

    @property
    def validator(self) -> str | None:
        """What tells the file again that has begun to come, where something does."""
        return self._validator

    @property
    def size(self) -> int | None:
        """Its size in bytes, where it is known."""
        return self._size

    def _from_here(self) -> Iterator[bytes]:
        fruitless = 0
        while True:
            before = self._received
            try:
                yield from self._connection()
            except Retryable as error:
                if not self._begun or not self._may_resume(error):
                    raise
                fruitless = 0 if self._received - before >= FRUITFUL else fruitless + 1
                self._pause(error, fruitless)
            else:
                return

    def _may_resume(self, error: Retryable) -> bool:
        if error.code == "size-mismatch":
            return self._open_ended and self._received < (self._size or 0)
        return error.code in (f"{self._api.name}-unavailable", f"{self._api.name}-rate-limited")

    def _pause(self, error: Retryable, fruitless: int) -> None:
        """Wait before the next connection.

        Raises:
            StartOver: it must begin at the first byte.
            Retryable: the error, there were enough.
        """
        anew = self._received > 0 and self._validator is None
        delay = delay_before_resume(error, self._restarts + 1 if anew else fruitless, self._settings)
        if delay is None:
            raise error
        time.sleep(delay)
        if anew:
            self._restart()

    def _restart(self) -> None:
        """Begin anew, but not for ever: a source that changes under every reader gives no whole file.

        Raises:
            StartOver: always, but the last time.
            Retryable: `NAME-unavailable`, the last time.
        """
        self._restarts += 1
        self._begun = False
        self._validator = None
        changed = Retryable(f"{self._api.name}-unavailable", f"{self._shown} changes while it is read")
        if delay_before_resume(changed, self._restarts, self._settings) is None:
            raise changed
        raise StartOver

    def _connection(self) -> Iterator[bytes]:
        """Yield what one connection gives of the rest."""
        headers = {"accept-encoding": "identity", "accept": "*/*"}
        if self._received and self._validator is not None:
            headers |= {"range": f"bytes={self._received}-", "if-range": self._validator}
        with self._api.open("GET", self._href, headers=headers, expected=(_RANGE_NOT_SATISFIABLE,)) as response:
            if self._received:
                if self._is_whole_already(response):
                    return
                self._require_rest(response)
            else:
                self._require_file(response)
            self._open_ended = not {"content-length", "transfer-encoding"} & response.headers.keys()
            for chunk in _paced(response, self._api.patience, self._api.name):
                if not self._received:
                    self._require_content(response, chunk)
                self._received += len(chunk)
                self._limit()
                yield chunk
        self._require_all()

    def _require_file(self, response: httpx.Response) -> None:
        if response.status_code != httpx.codes.OK:  # a station answers 202 while it fetches a product from its archive
            raise Retryable("not-online", f"{self._shown} answered {response.status_code}: it is not online yet")
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity" and not self._proven:
            raise Retryable(
                f"{self._api.name}-bad-answer",
                f"{self._shown} is sent in the encoding {encoding[:40]!r} that was not asked for, and its item states "
                "neither size nor checksum to tell it from the file",
            )
        announced = _number(response.headers.get("content-length", ""))
        if None not in (self._stated, announced) and self._stated != announced:
            raise Retryable(
                "size-mismatch", f"{self._shown} has {announced} bytes where the item states {self._stated}"
            )
        self._size = announced if self._stated is None else self._stated
        self._limit()
        self._begun = True
        self._validator = _strong_validator(response)

    def _require_content(self, response: httpx.Response, beginning: bytes) -> None:
        """Make sure, where the item states nothing to know the file by, that what comes is no page for people.

        A login page or the error page of a proxy comes with 200, too.
        """
        name = self._href.partition("?")[0].lower()
        if self._proven or name.endswith((".html", ".htm", ".xhtml")):
            return
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in _PAGES or _PAGE.match(beginning):
            raise Retryable(
                f"{self._api.name}-bad-answer",
                f"{self._shown} gave a page for people (HTML) in the place of the file; its item states neither size "
                "nor checksum: look whether the station wants a login",
            )

    def _is_whole_already(self, response: httpx.Response) -> bool:
        """Whether the source says that there is no rest: the connection broke behind the last byte."""
        if response.status_code != _RANGE_NOT_SATISFIABLE:
            return False
        total = _number(response.headers.get("content-range", "").removeprefix("bytes */"))
        if total != self._received:
            self._restart()
        return True

    def _require_rest(self, response: httpx.Response) -> None:
        """Make sure that this is the rest of the file that was begun; 200 means that it changed, or that no one ranges.

        Raises:
            StartOver: it is not.
        """
        said = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", response.headers.get("content-range", ""))
        etag = response.headers.get("etag")
        right = (
            response.status_code == httpx.codes.PARTIAL_CONTENT
            and said is not None
            and int(said[1]) == self._received
            and (said[3] == "*" or self._size in (None, int(said[3])))
            and (etag is None or not str(self._validator).startswith('"') or etag == self._validator)
        )
        if not right:
            self._restart()

    def _limit(self) -> None:
        """Stop at the first byte too many.

        Raises:
            ItemFailed: `too-large`.
            Retryable: `size-mismatch`.
        """
        most = self._settings.max_asset_bytes
        if max(self._received, self._size or 0) > most:
            raise ItemFailed("too-large", f"the asset has more than {most} bytes (AUXIP_MAX_ASSET_BYTES)")
        if self._size is not None and self._received > self._size:
            raise Retryable("size-mismatch", f"{self._shown} gives more bytes than the {self._size} that are stated")

    def _require_all(self) -> None:
        if self._size is None:
            self._size = self._size_by_head()
            self._limit()
        if self._size not in (None, self._received):
            text = f"{self._shown} gave {self._received} bytes where {self._size} were announced"
            raise Retryable("size-mismatch", text)

    def _size_by_head(self) -> int | None:
        try:
            with self._api.open("HEAD", self._href, headers={"accept-encoding": "identity", "accept": "*/*"}) as answer:
                return _number(answer.headers.get("content-length", ""))
        except AuxipError:  # many a source answers GET only
            return None


def _paced(response: httpx.Response, window: float, name: str) -> Iterator[bytes]:
    """Yield the body as it comes.

    Only the time that is spent waiting for the source counts: while the store is slow, nothing is read.

    Raises:
        Retryable: `NAME-unavailable`, it drips.
    """
    chunks = response.iter_raw()
    waited, came = 0.0, 0
    while True:
        before = time.monotonic()
        chunk = next(chunks, None)
        if chunk is None:
            return
        waited += time.monotonic() - before
        came += len(chunk)
        if waited >= window:
            if came < LEAST_RATE * waited:
                raise Retryable(f"{name}-unavailable", f"{shown(response.url)} gave {came} bytes in {waited:.0f} s")
            waited, came = 0.0, 0
        yield chunk


def _strong_validator(response: httpx.Response) -> str | None:
    """Return what tells this very file again (RFC 9110, section 13.1.5), or None where nothing does."""
    if response.headers.get("accept-ranges") == "none":
        return None
    etag = response.headers.get("etag")
    if etag is not None:
        return etag if re.fullmatch(r'"[\x21\x23-\x7e]{1,1000}"', etag) else None
    modified, date = response.headers.get("last-modified", ""), response.headers.get("date", "")
    try:
        age = parsedate_to_datetime(date) - parsedate_to_datetime(modified)
    except (ValueError, TypeError):
        return None
    return modified if age.total_seconds() >= _STRONG_AFTER else None


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
