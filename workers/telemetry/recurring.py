"""What the ledger knows of the sweeps and the recurring audits of AUXIP_SWEEPS_FILE."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.audit.findings import Kind
from shared.errors import Rejected
from shared.ledger import Audits, Ledger, Sweeps, Watermarks, watermark_key
from shared.models import Run
from shared.settings import Settings
from shared.stations.config import load_stations
from workers.sweeps import RecurringAudit, Sweep, load_audits, load_sweeps


@dataclass(frozen=True)
class SweepState:
    """How far a sweep is.

    Attributes:
        name: of the sweep.
        behind: seconds since its watermark, its lag left out; None where it has none.
        state: of its last run, as the ledger has it; empty where it has not run or the ledger has forgotten the run.
        ended: when its last run was closed, in seconds since the epoch; None where it was not.
    """

    name: str
    behind: float | None
    state: str
    ended: float | None


@dataclass(frozen=True)
class AuditState:
    """What the last audit of a recurring audit has found.

    Attributes:
        name: of the audit.
        collection: that it compares.
        ended: when it ended, in seconds since the epoch.
        findings: how many, by kind.
    """

    name: str
    collection: str
    ended: float
    findings: dict[str, int]


class Recurring:
    """Reads the ledger's records of the sweeps and audits of the settings.

    Args:
        settings: whose files are read once.
        ledger: of the records.

    Raises:
        SettingsError: a file is missing or wrong.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._sweeps: list[Sweep] = list(load_sweeps(settings).values())
        self._audits: list[RecurringAudit] = list(load_audits(settings).values())
        by_publication = any(sweep.by for sweep in self._sweeps)
        self._default_station = next(iter(load_stations(settings))) if by_publication else ""
        self._ledger = ledger
        self._ticks = Sweeps(ledger)
        self._watermarks = Watermarks(ledger)
        self._found = Audits(ledger.redis, ledger.keep_seconds)

    def sweeps(self) -> Iterator[SweepState]:
        """Yield the state of each sweep."""
        now = datetime.now(UTC)
        for sweep in self._sweeps:
            record, behind = self._ticks.record(sweep.name), None
            runs = [record.run, record.manual]
            if sweep.by:
                tick = sweep.publication_tick(now, self._default_station)
                mark = self._watermarks.record(watermark_key(tick.request))
                reached = tick.first if mark is None else mark.at
                behind = max(0.0, (now - sweep.lag).timestamp() - reached)
                runs += [] if mark is None else [mark.run]
            last = self._last(runs)
            yield SweepState(sweep.name, behind, last.state.value if last else "", last.closed if last else None)

    def audits(self) -> Iterator[AuditState]:
        """Yield what the last audit of each recurring audit has found; nothing of one that has not ended yet."""
        for audit in self._audits:
            if last := self._found.last(audit.name):
                summary = json.loads(last)
                findings = {kind.value: int(summary.get(kind.value, 0)) for kind in Kind}
                yield AuditState(audit.name, audit.collection, float(summary["ended"]), findings)

    def _last(self, run_ids: list[str]) -> Run | None:
        runs = []
        for run_id in filter(None, run_ids):
            try:
                runs.append(self._ledger.run(run_id))
            except Rejected:
                continue  # the ledger has forgotten it
        return max(runs, key=lambda run: run.created, default=None)
