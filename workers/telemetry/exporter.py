"""Metrics for Prometheus, read from the broker and the ledger when they are asked for.

No worker is asked: a step that failed has succeeded for Celery, and a process that counts in its memory ends some day.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.ledger import DeadLetters, Ledger, Outages
from shared.ledger.connection import connect
from shared.ledger.counters import Label, read_counters
from shared.runs.counting import STAGE_SECONDS, TIMELINESS_SECONDS
from shared.settings import Settings
from workers.telemetry.bounded import bounded
from workers.telemetry.loads import Load, loads_of
from workers.telemetry.recurring import Recurring

_SOCKET_TIMEOUT: Final = 5
_LIST: Final = ("queue", "lane")

GAUGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "ledger_up": ("1 if the broker and the ledger can be read; 0 if not, and then no other metric is there", ()),
    "queue_waiting": ("messages that no worker has taken", _LIST),
    "queue_in_work": ("messages that workers have taken; those that wait for their next try count, too", _LIST),
    "queue_load": ("messages of both lanes that wait or are in work: what a queue is scaled by", ("queue",)),
    "queue_oldest_seconds": ("for how long the next message is the next one, as the exporter has seen it", _LIST),
    "runs_open": ("runs that are not closed", ()),
    "run_oldest_seconds": ("age of the oldest run that is not closed", ()),
    "system_unavailable_seconds": ("for how long a system cannot be used; absent if it can", ("system", "fault")),
    "dead_letters": ("dead letters", ()),
    "dead_letters_by_code": ("dead letters with this code", ("code",)),
    "open_items": (
        "items of runs that are not closed; those with the outcome `open` are not finished",
        ("outcome",),
    ),
    "sweep_behind_seconds": ("seconds since the watermark of a sweep by publication, its lag left out", ("sweep",)),
    "sweep_last_run": ("1 for the state of a sweep's last run", ("sweep", "state")),
    "sweep_last_run_seconds": ("seconds since the last run of a sweep was closed; absent if it is open", ("sweep",)),
    "audit_findings": ("findings of the last audit that has ended", ("audit", "collection", "kind")),
    "audit_last_seconds": ("seconds since the last audit has ended", ("audit", "collection")),
}
COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "items": ("items that are finished", ("owner", "station", "outcome", "code")),
    "products": ("items that are finished, by their product type", ("product_type", "outcome")),
    "bytes": ("bytes that were downloaded from stations", ("owner", "station")),
    "retries": ("tries of steps that have failed", ("owner", "station")),
    "runs": ("runs that are closed", ("owner", "kind", "status", "code")),
    "claims_lapsed": (
        "claims on work that their worker has not ended, and another has taken over; `stopped`: it was to stop",
        ("holder",),
    ),
    "counts_left_out": ("counts of labels beyond the number that is kept", ()),
}
HISTOGRAMS: Final[dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]]] = {
    "stage_seconds": ("seconds of an item in a stage, the waiting for a worker included", ("stage",), STAGE_SECONDS),
    "timeliness_seconds": (
        "seconds from the publication at the station until the item is in the catalog",
        ("station",),
        TIMELINESS_SECONDS,
    ),
}


class LedgerCollector(Collector):
    """Reads the metrics of one deployment each time that it is scraped."""

    def __init__(self, settings: Settings) -> None:
        self._redis = connect(
            settings.redis_url.get_secret_value(),
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),  # whoever scrapes waits ten seconds, and asks again
            socket_timeout=_SOCKET_TIMEOUT,
            socket_connect_timeout=_SOCKET_TIMEOUT,
        )
        self._ledger = Ledger(self._redis, settings.keep_runs_days, settings.run_window, settings.patience)
        self._letters = DeadLetters(self._redis, settings.dead_letters_max)
        self._outages = Outages(self._redis)
        self._recurring = Recurring(settings, self._ledger)
        self._seen: dict[tuple[str, str], tuple[str, float]] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; only `auxip_ledger_up 0` where the ledger cannot be read."""
        try:
            found = [*self._queues(), *self._state(), *self._of_sweeps(), *self._of_audits()]
            found += _counters(read_counters(self._redis))
        except RedisError:
            found = []
        yield _gauge("ledger_up", [((), float(bool(found)))])
        yield from found

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the metrics are not known before they are read."""
        return []

    def _queues(self) -> Iterator[Metric]:
        loads, now = loads_of(self._redis), time.monotonic()
        rows = [((load.queue, load.lane.value), load) for load in loads]
        yield _gauge("queue_waiting", [(key, load.waiting) for key, load in rows])
        yield _gauge("queue_in_work", [(key, load.in_work) for key, load in rows])
        totals: Counter[str] = Counter()
        for load in loads:
            totals[load.queue] += load.waiting + load.in_work
        yield _gauge("queue_load", [((queue,), total) for queue, total in totals.items()])
        yield _gauge("queue_oldest_seconds", [(key, self._age(load, now)) for key, load in rows])

    def _age(self, load: Load, now: float) -> float:
        """Return since when a message has been seen as the next one of its list."""
        key = load.queue, load.lane.value
        first, since = self._seen.get(key, ("", now))
        if not load.first or load.first != first:
            since = now
        self._seen[key] = load.first, since
        return now - since

    def _state(self) -> Iterator[Metric]:
        opened = self._ledger.open_since()
        yield _gauge("runs_open", [((), len(opened))])
        oldest = max((time.time() - created for created in opened), default=0.0)
        yield _gauge("run_oldest_seconds", [((), oldest)])
        outages = self._outages.all().items()
        yield _gauge(
            "system_unavailable_seconds",
            [((system, outage.fault), time.time() - outage.since) for system, outage in outages],
        )
        yield _gauge("dead_letters", [((), self._letters.count())])
        codes = bounded(((code,), number) for code, number in self._letters.codes().items())
        yield _gauge("dead_letters_by_code", codes)
        items = self._ledger.open_items()
        ended = {outcome: number for outcome, number in items.items() if outcome != "items"}
        unfinished = max(0, items["items"] - sum(ended.values()))
        yield _gauge("open_items", [(("open",), unfinished), *(((name,), number) for name, number in ended.items())])

    def _of_sweeps(self) -> Iterator[Metric]:
        sweeps, now = list(self._recurring.sweeps()), time.time()
        behind = [((each.name,), each.behind) for each in sweeps if each.behind is not None]
        yield _gauge("sweep_behind_seconds", bounded(behind, max))
        yield _gauge("sweep_last_run", bounded(((each.name, each.state), 1.0) for each in sweeps if each.state))
        ended = [((each.name,), now - each.ended) for each in sweeps if each.ended is not None]
        yield _gauge("sweep_last_run_seconds", bounded(ended, max))

    def _of_audits(self) -> Iterator[Metric]:
        audits, now = list(self._recurring.audits()), time.time()
        found = (
            ((audit.name, audit.collection, kind), float(number))
            for audit in audits
            for kind, number in audit.findings.items()
        )
        yield _gauge("audit_findings", bounded(found))
        ages = (((audit.name, audit.collection), now - audit.ended) for audit in audits)
        yield _gauge("audit_last_seconds", bounded(ages, max))


def _counters(found: dict[Label, float]) -> Iterator[Metric]:
    for name, (help_text, labels) in COUNTERS.items():
        family = CounterMetricFamily(f"auxip_{name}", help_text, labels=labels)
        for label, amount in found.items():
            if label[0] == name and len(label) == 1 + len(labels):
                family.add_metric(label[1:], amount)
        yield family
    for name, (help_text, labels, bounds) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(f"auxip_{name}", help_text, labels=labels)
        for values in sorted({label[1:-1] for label in found if label[0] == name and len(label) == 2 + len(labels)}):
            histogram.add_metric(values, _buckets(found, (name, *values), bounds), found.get((name, *values, "sum"), 0))
        yield histogram


def _buckets(found: dict[Label, float], label: Label, bounds: tuple[float, ...]) -> list[tuple[str, float]]:
    """Return the buckets of a histogram as Prometheus has them: each holds what is in those before it."""
    total, buckets = 0.0, []
    for bound in (*map(str, bounds), "+Inf"):
        total += found.get((*label, bound), 0)
        buckets.append((bound, total))
    return buckets


def _gauge(name: str, rows: Iterable[tuple[Sequence[str], float]]) -> GaugeMetricFamily:
    help_text, labels = GAUGES[name]
    family = GaugeMetricFamily(f"auxip_{name}", help_text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family
