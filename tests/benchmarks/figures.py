"""What the benchmark of the orchestration makes of what it measures: medians, ratios, extrapolations, memory."""

import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

_PER_KIND = 200
_MB = 1e6


@dataclass(frozen=True)
class Sample:
    """The server's memory at one moment, in bytes: all that it uses, and what of that the ledger's keys take."""

    used: int
    ledger: int


@dataclass(frozen=True)
class Peaks:
    """The largest additions to a server's memory, in bytes: by queues and Celery's keys, and by the ledger's keys."""

    broker: int
    ledger: int


def peaks(idle: Sample, samples: Iterable[Sample]) -> Peaks:
    """Return how much memory was used at most above that of an idle server.

    Whatever is not the ledger's counts as the broker's: queues, results, buffers of connections, tables of keys.
    """
    more = [(one.used - one.ledger, one.ledger) for one in samples]
    broker = max((rest - (idle.used - idle.ledger) for rest, _ in more), default=0)
    ledger = max((keys - idle.ledger for _, keys in more), default=0)
    return Peaks(max(0, broker), max(0, ledger))


def kind_of(key: str) -> str:
    """Return a key without the ids in it: `auxip:run:4f1d:item:09ab` -> `auxip:run:*:item:*`."""
    return ":".join("*" if any(letter.isdigit() for letter in part) else part for part in key.split(":"))


def total_size(keys: Iterable[str], sizes_of: Callable[[list[str]], list[int]]) -> int:
    """Return the bytes of many keys: of each kind all are measured, or a sample where there are many of them.

    Args:
        keys: by their names.
        sizes_of: measures keys; one that is gone by now has 0 bytes.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        kinds[kind_of(key)].append(key)
    chance = random.Random(0)  # noqa: S311 - a sample, no secret
    total = 0.0
    for names in kinds.values():
        measured = names if len(names) <= _PER_KIND else chance.sample(names, _PER_KIND)
        total += sum(sizes_of(measured)) * len(names) / len(measured)
    return round(total)


@dataclass(frozen=True)
class Measured:
    """One run of one contestant. Times are in seconds from its beginning, memory in bytes.

    Attributes:
        items: how many.
        seconds: from the first message to the caller's result, or to the end of the last task where there is none.
        cpu: seconds of all processes of workers and broker.
        client_cpu: seconds of the process that publishes.
        peaks: of the broker's memory; None where there is no broker.
        first_begun: when the first item's first step began.
        last_fed: when the last item's first step was put on its queue.
    """

    items: int
    seconds: float
    cpu: float
    client_cpu: float | None = None
    peaks: Peaks | None = None
    first_begun: float | None = None
    last_fed: float | None = None


def median_of(rounds: Sequence[Measured]) -> Measured:
    """Return the medians of several rounds of the same; of memory the largest."""
    by_time = sorted(rounds, key=lambda one: one.seconds)
    middle = by_time[(len(by_time) - 1) // 2]
    known = [one.peaks for one in rounds if one.peaks is not None]
    largest = Peaks(max(one.broker for one in known), max(one.ledger for one in known)) if known else None
    return replace(
        middle,
        seconds=statistics.median(one.seconds for one in rounds),
        cpu=statistics.median(one.cpu for one in rounds),
        peaks=largest,
    )


def extrapolated(few: Measured, more: Measured, items: int) -> Measured:
    """Return what `items` items would take: the line through two runs, so that what a run costs once counts once.

    A line that falls, as noise may have it, gives way to the larger run's cost per item.
    """
    each = (more.seconds - few.seconds) / (more.items - few.items)
    each_cpu = (more.cpu - few.cpu) / (more.items - few.items)
    if each <= 0 or each_cpu <= 0:
        each, each_cpu = more.seconds / more.items, more.cpu / more.items
    left = items - more.items
    return Measured(items, more.seconds + each * left, more.cpu + each_cpu * left)


@dataclass(frozen=True)
class Row:
    """One line of the table; MB are 10^6 bytes, KB 10^3.

    Attributes:
        what: the contestant.
        note: what is to be known of the figures; that they are extrapolated, or why there are none.
        per_item_to_1000: cost per item, divided by that of the same contestant's run of 1,000.
        per_item_to_chain: ours, divided by that of Celery's canvas of the same steps.
        per_item_to_ours: divided by ours of the same steps, or with one archive.
    """

    what: str
    items: int
    seconds: float | None = None
    items_per_s: float | None = None
    broker_peak_mb: float | None = None
    broker_kb_per_item: float | None = None
    ledger_peak_mb: float | None = None
    ledger_kb_per_item: float | None = None
    cpu_s: float | None = None
    client_cpu_s: float | None = None
    first_begun_s: float | None = None
    last_fed_s: float | None = None
    per_item_to_1000: float | None = None
    per_item_to_chain: float | None = None
    per_item_to_ours: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, str | int | float | None]:
        """Return the row as an object of JSON."""
        return asdict(self)


def row_of(what: str, one: Measured, note: str = "") -> Row:
    """Return the row of a measured run."""
    row = Row(
        what,
        one.items,
        seconds=round(one.seconds, 3),
        items_per_s=round(one.items / one.seconds, 2),
        cpu_s=round(one.cpu, 2),
        client_cpu_s=_rounded(one.client_cpu, 2),
        first_begun_s=_rounded(one.first_begun, 3),
        last_fed_s=_rounded(one.last_fed, 3),
        note=note,
    )
    if one.peaks is None:
        return row
    return replace(
        row,
        broker_peak_mb=round(one.peaks.broker / _MB, 3),
        broker_kb_per_item=round(one.peaks.broker / one.items / 1e3, 3),
        ledger_peak_mb=round(one.peaks.ledger / _MB, 3),
        ledger_kb_per_item=round(one.peaks.ledger / one.items / 1e3, 3),
    )


def with_ratios(rows: Sequence[Row], ours: Mapping[int, str], canvas: Mapping[int, str]) -> list[Row]:
    """Return the rows with their costs per item set against one another; see `Row`.

    Args:
        rows: all.
        ours: our rows' names, by the archives of an item.
        canvas: those of Celery's canvas of the same steps, by the same.
    """
    same = {what: canvas[archives] for archives, what in ours.items()}
    reverse = {stock: what for what, stock in same.items()}
    first = ours[min(ours)]
    return [
        replace(
            row,
            per_item_to_1000=_ratio(row, _exactly(rows, row.what, 1000)) if row.items != 1000 else None,
            per_item_to_chain=_ratio(row, _nearest(rows, same[row.what], row.items)) if row.what in same else None,
            per_item_to_ours=None
            if row.what in same
            else _ratio(row, _nearest(rows, reverse.get(row.what, first), row.items)),
        )
        for row in rows
    ]


def _ratio(row: Row, other: Row | None) -> float | None:
    if other is None or not row.seconds or not other.seconds:
        return None
    return round((row.seconds / row.items) / (other.seconds / other.items), 3)


def _exactly(rows: Sequence[Row], what: str, items: int) -> Row | None:
    return next((row for row in rows if row.what == what and row.items == items), None)


def _nearest(rows: Sequence[Row], what: str, items: int) -> Row | None:
    same = [row for row in rows if row.what == what and row.seconds]
    return _exactly(same, what, items) or max(same, key=lambda row: row.items, default=None)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
