"""Periodic sweeps: what beat sends, and which run a sweep begins now.

The sweeps stand in a TOML file (`AUXIP_SWEEPS_FILE`):

    [sweep.orbits]
    every = "1h"                       # seconds, or a number with s, m, h or d
    owner = "operations"
    collection = "aux"
    product_types = ["OPER_AUX_RESORB_OPOD"]
    start = "-3h"                      # the window, relative to the beginning of the period
    end = "0h"

A sweep's run has an id computed from its name and the beginning of its period, so two beats begin it once.
"""

import time
import tomllib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared.errors import Rejected
from shared.models import CollectionId, OwnerId, RunRequest
from shared.selection import PolicySelection, ProductType
from shared.settings import Settings, SettingsError
from shared.times import parse_duration, parse_instant

_RUNS = uuid.UUID("5b0c4b0e-52a5-5ab4-8f14-2ac0a3a5fb25")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

UPKEEP = {
    "clean uploads": {"task": "auxip.clean_uploads", "schedule": timedelta(days=1), "options": {"expires": 86_400.0}}
}
"""What beat sends whatever the sweeps are."""


def _moment(value: object) -> object:
    if isinstance(value, datetime):
        return parse_instant(value.isoformat())
    try:
        return parse_duration(value)
    except ValueError:
        pass
    try:
        return parse_instant(str(value))
    except Rejected:
        raise ValueError("is no duration such as -3h and no instant such as 2024-01-31T00:00:00Z") from None


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Moment = Annotated[timedelta | datetime, BeforeValidator(_moment)]
"""An instant, or one relative to the beginning of a period."""


class Sweep(BaseModel):
    """One periodic ValCover sweep."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    every: Annotated[Duration, Field(ge=timedelta(seconds=1))]
    owner: OwnerId
    collection: CollectionId
    product_types: Annotated[tuple[ProductType, ...], Field(min_length=1)]
    start: Moment
    end: Moment
    decompress: bool = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        relative = isinstance(self.start, timedelta)
        if relative == isinstance(self.end, timedelta) and _at(_EPOCH, self.end) < _at(_EPOCH, self.start):
            raise ValueError("the window ends before it begins")
        return self

    def due_run(self, now: float | None = None) -> tuple[str, RunRequest]:
        """Return the id and the request of the run for the period that contains `now` (seconds since the epoch)."""
        period = self.every.total_seconds()
        number = int((time.time() if now is None else now) // period)
        begin = datetime.fromtimestamp(number * period, UTC)
        start, end = _at(begin, self.start), _at(begin, self.end)
        request = RunRequest(
            label=f"sweep {self.name}",
            owner=self.owner,
            collection=self.collection,
            selection=PolicySelection(product_types=self.product_types, start=start, end=end),
            decompress=self.decompress,
        )
        return str(uuid.uuid5(_RUNS, f"{self.name} {begin.isoformat()}")), request


def load_sweeps(settings: Settings) -> dict[str, Sweep]:
    """Read the sweeps of the settings' file, by name; none where no file is set.

    Raises:
        SettingsError: the file is missing or wrong; the reason names the file, the sweep and the field.
    """
    if settings.sweeps_file is None:
        return {}
    try:
        document = tomllib.loads(settings.sweeps_file.read_text("utf-8"))
        tables = document.get("sweep", {})
        return {name: _sweep(name, fields) for name, fields in tables.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"AUXIP_SWEEPS_FILE {settings.sweeps_file}: {str(error).splitlines()[0]}") from None


def find_sweep(settings: Settings, name: str) -> Sweep:
    """Return the sweep of this name.

    Raises:
        Rejected: `unknown-sweep`.
    """
    sweeps = load_sweeps(settings)
    if name not in sweeps:
        raise Rejected(
            "unknown-sweep", f"no sweep {name!r} in AUXIP_SWEEPS_FILE; it has: {', '.join(sweeps) or 'none'}"
        )
    return sweeps[name]


def beat_schedule(settings: Settings) -> dict[str, object]:
    """Return beat's schedule: a sweep that no worker took within its period is dropped, the next one covers it."""
    return {
        f"sweep {name}": {
            "task": "auxip.sweep",
            "schedule": sweep.every,
            "args": (name,),
            "options": {"expires": sweep.every.total_seconds()},
        }
        for name, sweep in load_sweeps(settings).items()
    }


def _at(begin: datetime, offset: timedelta | datetime) -> datetime:
    return offset if isinstance(offset, datetime) else begin + offset


def _sweep(name: str, fields: dict[str, object]) -> Sweep:
    try:
        return Sweep.model_validate({**fields, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
