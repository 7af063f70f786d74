"""What a page shows of a run's items, gathered as they come: little is kept, however many there are.

The first items are rows of the table, failed ones before the others. The rest is packed (a line of JSON each, deflated)
for the page's script, which unpacks it to search and sort all of them. What is larger than a page may be is left out.
"""

import json
import zlib
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from shared.json_types import Json
from shared.models import ItemRecord, ItemState, Run
from shared.page.failures import Groups
from shared.page.links import Link, files_of, web_url
from shared.page.timeline import Timeline
from shared.report import evicted_soon
from shared.texts import printable

MOST_ROWS: Final = 300
"""Items that can be read without a script."""

_ROWS_BYTES: Final = 300_000
_PACKED_BYTES: Final = 360_000  # a third more in base64: with the rows and all else, less than a megabyte
_LONGEST_ID: Final = 300
_LONGEST_REASON: Final = 300
_MARKUP: Final = 360  # of a row, about
_MARKUP_OF_FILE: Final = 30


@dataclass(frozen=True)
class Row:
    """One item of the table.

    Attributes:
        item_id: of the item.
        state: how it ended, or how far it is.
        code: why it failed or was skipped.
        reason: the same as a sentence.
        size: bytes of its assets, as the station states them.
        seconds: from its first step to its end; None where there is no such time.
        attempts: tries of its steps that failed.
        url: of the item in the catalog; empty where it is not there, or where that is not known.
        files: its first assets.
        file_count: how many it has.
    """

    item_id: str
    state: str
    code: str
    reason: str
    size: int
    seconds: float | None
    attempts: int
    url: str
    files: tuple[Link, ...]
    file_count: int

    @property
    def length(self) -> int:
        """How many bytes it takes on the page, about."""
        files = sum(_MARKUP_OF_FILE + len(file.text) + len(file.url) for file in self.files)
        return _MARKUP + len(self.item_id) + len(self.url) + len(self.reason) + files

    @property
    def packed(self) -> str:
        """The row as the page's script reads it."""
        files = [file if file.url else file[:1] for file in self.files]
        texts = [self.item_id, self.state, self.code, self.reason]
        return json.dumps(
            [*texts, self.size, self.seconds, self.attempts, int(bool(self.url)), files, self.file_count],
            separators=(",", ":"),
        )


class Gathered:
    """The items of a run, as its page shows them.

    Attributes:
        groups: why items failed.
        timeline: when they were worked on.
        counted: how many items have come, by state.
        warned: items that are not staged, and that their station removes soon.
    """

    def __init__(self, run: Run, now: float, collection_url: str = "", warn_until: float = 0) -> None:
        """Prepare.

        Args:
            run: its record.
            now: until when it goes on, in seconds since the epoch.
            collection_url: of the collection in the catalog, if it is known.
            warn_until: seconds since the epoch; what is not staged and removed before it is counted as `warned`.
        """
        self.groups = Groups()
        self.timeline = Timeline(run, now)
        self.counted: dict[str, int] = {}
        self.warned = 0
        self.collection_url = web_url(collection_url)
        self._warn_until = warn_until
        self._failed: list[Row] = []
        self._others: list[Row] = []
        self._bytes = {True: 0, False: 0}
        self._waiting: dict[str, ItemRecord] = {}
        self._packer = zlib.compressobj(9)
        self._packed = bytearray()
        self._packed_rows = 0

    def add(self, record: ItemRecord) -> None:
        """Take the next item. One that the catalog holds becomes a row when `show` is given it."""
        self.groups.add(record)
        self.timeline.add(record)
        self.counted[record.state.value] = self.counted.get(record.state.value, 0) + 1
        self.warned += evicted_soon(record, self._warn_until)
        if self.collection_url and record.in_catalog:
            self._waiting[record.item_id] = record
        else:
            self._keep(self._row(record, {}))

    def show(self, features: Iterable[Json]) -> None:
        """Take items as the catalog has them, to show their assets."""
        for feature in features:
            record = self._waiting.pop(str(feature.get("id")), None)
            if record is not None:
                self._keep(self._row(record, feature))

    def rows(self) -> list[Row]:
        """Return the rows of the table, failed items first; to be called once, when all items have come."""
        for record in self._waiting.values():
            self._keep(self._row(record, {}))
        self._waiting = {}
        rows: list[Row] = []
        room = _ROWS_BYTES
        for row in [*self._failed, *self._others]:
            if len(rows) < MOST_ROWS and row.length <= room:
                rows.append(row)
                room -= row.length
            else:
                self._pack(row)
        return rows

    def packed(self) -> tuple[str, int]:
        """Return the items that are no rows, and how many these are; to be called after `rows`."""
        data = bytes(self._packed) + self._packer.flush() if self._packed_rows else b""
        return b64encode(data).decode(), self._packed_rows

    def _keep(self, row: Row) -> None:
        failed = row.state == ItemState.FAILED
        kept = self._failed if failed else self._others
        if len(kept) < MOST_ROWS and self._bytes[failed] + row.length <= _ROWS_BYTES:
            kept.append(row)
            self._bytes[failed] += row.length
        else:
            self._pack(row)

    def _pack(self, row: Row) -> None:
        if len(self._packed) < _PACKED_BYTES:
            self._packed += self._packer.compress(f"{row.packed}\n".encode())
            self._packed_rows += 1

    def _row(self, record: ItemRecord, feature: Json) -> Row:
        files, count = files_of(feature)
        seconds = record.finished - record.claimed if record.finished and record.claimed else None
        linked = bool(self.collection_url) and record.in_catalog
        return Row(
            item_id=printable(record.item_id[:_LONGEST_ID]),
            state=record.state.value,
            code=printable(record.code),
            reason=printable(record.reason[:_LONGEST_REASON]),
            size=record.size,
            seconds=None if seconds is None else round(max(0.0, seconds), 2),
            attempts=record.attempts,
            url=f"{self.collection_url}/items/{quote(record.item_id, safe='')}" if linked else "",
            files=tuple(Link(printable(file.text), file.url) for file in files),
            file_count=count,
        )
