"""Which step of an item is due, told by its record alone: so it can be found again whatever was lost on the way."""

from dataclasses import dataclass, field
from enum import StrEnum

from shared.models import ItemRecord, Lane, Run, RunKind, claimed_as
from shared.steps.standing import archives_of


class StepName(StrEnum):
    """The steps that are messages; what each does is in the module of its name."""

    FIND = "find_items"
    STAGE = "stage_item"
    PUBLISH = "publish_item"
    EXPAND = "expand_asset"
    PUBLISH_EXPANDED = "publish_expanded"
    CLOSE = "close_run"


@dataclass(frozen=True)
class Step:
    """One step to be done.

    Attributes:
        name: which.
        run_id: of what run.
        key: of what item; empty for a step of the whole run.
        part: the archive that is expanded.
        lane: of its run, in which it travels.
    """

    name: StepName
    run_id: str
    key: str = ""
    part: str = ""
    lane: Lane = field(default=Lane.ON_DEMAND, compare=False)

    @property
    def args(self) -> tuple[str, ...]:
        """Its message: ids only."""
        return tuple(part for part in (self.run_id, self.key, self.part) if part)

    @property
    def work(self) -> str:
        """What is claimed for it: of an item the whole, or the archive."""
        return claimed_as(self.key, self.part)


def step_of(run: Run, name: StepName) -> Step:
    """Return a step of a whole run."""
    return Step(name, run.id, lane=run.request.lane)


def due_steps(run: Run, record: ItemRecord) -> tuple[Step, ...]:
    """Return the steps of an item that may be done now; none where only its end is to be recorded.

    Once the archives of an item are being expanded, each of them ends before the item does, also where one has failed
    or the run is cancelled: nobody is at work on an item that is settled.
    """
    if record.finished is not None:
        return ()
    parts = expanding(run, record)
    left = [part for part in parts if part not in record.ended]
    if left and (record.claimed is not None or not stopped(run, record)):
        return tuple(Step(StepName.EXPAND, run.id, record.key, part, run.request.lane) for part in left)
    if stopped(run, record):
        return ()
    name = _whole_step(run, record, bool(parts))
    return () if name is None else (Step(name, run.id, record.key, lane=run.request.lane),)


def expanding(run: Run, record: ItemRecord) -> tuple[str, ...]:
    """Return the asset keys of an item's archives if their expansion may have begun, else none."""
    begun = record.catalogued is not None or run.request.kind is RunKind.DECOMPRESS
    if not begun or not run.request.decompress or not record.stac:
        return ()
    return tuple(archives_of(record.stac_item()))


def stopped(run: Run, record: ItemRecord) -> bool:
    """Whether nothing more is to be done for an item, but that what has begun must end."""
    return record.over or run.cancelled is not None


def _whole_step(run: Run, record: ItemRecord, has_parts: bool) -> StepName | None:
    if run.request.kind is RunKind.STAGING:
        if record.staged is None:
            return StepName.STAGE
        if record.catalogued is None:
            return StepName.PUBLISH
    return StepName.PUBLISH_EXPANDED if has_parts and record.expanded is None else None
