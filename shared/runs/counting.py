"""What is counted of an item that is finished and of a run that is closed; the names are those of the metrics."""

import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from shared.errors import AuxipError
from shared.ledger.counters import Counts, Label
from shared.models import ItemRecord, ItemState, Outcome, Run, RunState
from shared.times import parse_instant

STAGE_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
TIMELINESS_SECONDS: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 86_400.0, 604_800.0)
"""Upper bounds of the histograms' buckets."""

_STAGES: Final = (("staging", "claimed", "staged"), ("catalog", "staged", "catalogued"))
_DONE: Final = (ItemState.CATALOGUED, ItemState.EXPANDED, ItemState.REPAIRED)


def item_counts(run: Run, record: ItemRecord, outcome: Outcome) -> Counts:
    """Return what is counted of an item that ends so.

    Args:
        run: of the item.
        record: of the item, before it is finished.
        outcome: how it ends.
    """
    owner, product_type, published = run.request.owner, *_stated(record)
    counts: dict[Label, float] = {
        ("items", owner, record.station, outcome.state.value, outcome.code): 1,
        ("products", product_type, outcome.state.value): 1,
    }
    if record.downloaded:
        counts["bytes", owner, record.station] = record.downloaded
    if record.attempts:
        counts["retries", owner, record.station] = record.attempts
    for stage, seconds in _stages(record):
        _observe(counts, ("stage_seconds", stage), seconds, STAGE_SECONDS)
    if published is not None and outcome.state in _DONE:
        _observe(counts, ("timeliness_seconds", record.station), time.time() - published, TIMELINESS_SECONDS)
    return counts


def run_counts(run: Run, state: RunState, code: str) -> Counts:
    """Return what is counted of a run that is closed so."""
    return {("runs", run.request.owner, run.request.kind.value, state.value, code): 1}


def _stated(record: ItemRecord) -> tuple[str, float | None]:
    """Return the product type of an item, and when it was published, in seconds since the epoch."""
    if not record.stac:
        return "", None
    properties = record.stac_item().properties
    published = properties.get("published")
    with suppress(AuxipError):
        return str(properties.get("product:type") or ""), (
            parse_instant(published).timestamp() if isinstance(published, str) else None
        )
    return str(properties.get("product:type") or ""), None


def _stages(record: ItemRecord) -> Iterator[tuple[str, float]]:
    """Yield how long an item took from one stage to the next, the waiting for a worker included."""
    for stage, begin, end in _STAGES:
        begun, ended = getattr(record, begin), getattr(record, end)
        if begun is not None and ended is not None:
            yield stage, ended - begun
    if record.catalogued is not None and record.expanded is not None:
        yield "decompress", record.expanded - record.catalogued


def _observe(counts: dict[Label, float], label: Label, seconds: float, bounds: tuple[float, ...]) -> None:
    """Add an observation to a histogram: one to its bucket, which is counted apart, and the seconds to its sum."""
    seconds = max(0.0, seconds)
    index = bisect_left(bounds, seconds)
    bound = str(bounds[index]) if index < len(bounds) else "+Inf"
    counts[*label, bound] = counts.get((*label, bound), 0) + 1
    counts[*label, "sum"] = counts.get((*label, "sum"), 0) + seconds
