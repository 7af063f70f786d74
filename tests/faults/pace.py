"""How long things take: quick rounds with settings of their own, or the product's defaults, slow or compressed."""

from dataclasses import dataclass

from shared.settings import Settings

_QUICK = {
    "AUXIP_ATTEMPTS": "15",
    "AUXIP_BACKOFF_BASE": "0.2",
    "AUXIP_BACKOFF_MAX": "1.5",
    "AUXIP_LEASE": "3",
    "AUXIP_RUN_WINDOW": "5",
    "AUXIP_PATIENCE": "3",
    "AUXIP_RECONCILE_EVERY": "1",
    "AUXIP_STEP_TIMEOUT": "30",
    "AUXIP_CATALOG_TIMEOUT": "15",
    "AUXIP_S3_TIMEOUT": "15",
    "AUXIP_STAGING_POLL": "0.5",
}
"""A step's tries last some ten seconds in all, longer than any fault; a dead worker's claim lapses within one fault.

Who stands still for a while finds the answer that it waited for: no timeout is shorter than such a fault.
"""

TIMES = (
    "catalog_timeout",
    "staging_poll",
    "staging_job_timeout",
    "s3_timeout",
    "backoff_base",
    "backoff_max",
    "step_timeout",
    "lease",
    "patience",
    "eviction_warning_days",
    "reconcile_every",
    "uploads_max_age",
)
"""The settings that are seconds and have a default."""

_DAYS = "keep_runs_days"
FACTORS = (1, 2, 3, 5, 6, 10, 15)
"""What all times can be divided by: `keep_runs_days` must stay a whole number, and `lease` at least 3."""

_STATION_TIMEOUT = 30
_STOCK_VISIBILITY = 660
"""What `workers.config` adds to `step_timeout`; it is no setting, and divided all the same."""


@dataclass(frozen=True)
class Pace:
    """The settings of a system, and the times that follow from them. All are in seconds.

    Attributes:
        settings: variables for every process; none has the product's default but those.
        factor: by which all times of the product's defaults are divided; 0 where the settings are our own.
        lease: after which a dead worker's claim lapses.
        visibility: after which a message that nobody has acknowledged is given back; see `System.lapse`.
        station_timeout: that the stations file states.
        outage: how long systems are away, at least and at most; None: as long as the kind of fault says.
        scale: what other faults last, as a part of what their kind says.
        round: the longest that a round may last beyond its faults.
        quiet: the longest that messages may be left after the end of all runs.
        processes: of each worker, at most.
    """

    settings: dict[str, str]
    factor: int
    lease: float
    visibility: float
    station_timeout: float
    outage: tuple[float, float] | None
    scale: float
    round: float
    quiet: float
    processes: int


QUICK = Pace(
    settings=_QUICK,
    factor=0,
    lease=3,
    visibility=10,
    station_timeout=15,
    outage=None,
    scale=1,
    round=60,
    quiet=25,
    processes=2,
)


def defaults(factor: int) -> Pace:
    """Return the product's defaults with all times divided by a factor, of which 1 changes nothing."""
    fields = Settings.model_fields
    times = {name: fields[name].default / factor for name in TIMES}
    compressed = {f"AUXIP_{name.upper()}": repr(value) for name, value in times.items()}
    compressed[f"AUXIP_{_DAYS.upper()}"] = str(fields[_DAYS].default // factor)
    return Pace(
        settings={} if factor == 1 else compressed,
        factor=factor,
        lease=times["lease"],
        visibility=times["step_timeout"] + _STOCK_VISIBILITY / factor,
        station_timeout=_STATION_TIMEOUT / factor,
        outage=(20 / factor, 600 / factor),
        scale=1 / factor,
        round=60 + 3600 / factor,
        quiet=30 + 300 / factor,
        processes=100,
    )
