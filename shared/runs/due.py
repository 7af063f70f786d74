"""What is left of an item or a run, derived from its record alone: so it is found again whatever was lost on the way.

A plan is what is to be done, in order. `workers/flows.py` turns it into a chain, and a stage of several into a chord.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from shared.models import ItemRecord, Lane, Run, RunKind, claimed_as
from shared.steps.standing import archives_of


class StepName(StrEnum):
    """The steps that are messages."""

    FIND = "find_items"
    BEGIN = "begin_items"
    STAGE = "stage_item"
    PUBLISH = "publish_and_fetch"
    EXPAND = "expand_asset"
    PUBLISH_EXPANDED = "publish_expanded"
    CLOSE = "close_run"


@dataclass(frozen=True)
class Step:
    """One step to be done.

    Attributes:
        name: which.
        run_id: the run that it belongs to.
        key: the item's key; empty for a step of the whole run.
        part: the asset key of the archive to expand.
        lane: the lane of its run.
        item_id: the item's id, for people.
    """

    name: StepName
    run_id: str
    key: str = ""
    part: str = ""
    lane: Lane = field(default=Lane.ON_DEMAND, compare=False)
    item_id: str = field(default="", compare=False)

    @property
    def args(self) -> tuple[str, ...]:
        """Its message: ids only."""
        return tuple(part for part in (self.run_id, self.key, self.part) if part)

    @property
    def work(self) -> str:
        """What is claimed for it: the whole item, or the archive."""
        return claimed_as(self.key, self.part)


Stage: TypeAlias = tuple[Step, ...]
"""Steps that may be done at the same time."""

Plan: TypeAlias = tuple[Stage, ...]
"""Stages in their order; a stage of several steps is never the last."""


def searching(run: Run) -> Plan:
    """Return the plan of a run that is not searched: find its items, then begin the first of them."""
    return (_of_run(run, StepName.FIND),), (_of_run(run, StepName.BEGIN),)


def closing(run: Run) -> Plan:
    """Return the plan of a run whose items have all ended."""
    return ((_of_run(run, StepName.CLOSE),),)


def rest_of(run: Run, record: ItemRecord) -> Iterator[Stage]:
    """Yield the stages that are left of an item; none where only its end is to be recorded.

    Once the archives of an item are being expanded, each of them ends before the item does, also where one has failed
    or the run is cancelled: no worker works on an item that is settled.

    It is lazy: the STAC item is parsed only when a stage after the catalog is asked for.
    """

    def step(name: StepName, part: str = "") -> Step:
        return Step(name, run.id, record.key, part, run.request.lane, record.item_id)

    in_catalog = record.catalogued is not None or run.request.kind is RunKind.DECOMPRESS
    halted = stopped(run, record)
    if record.finished is not None or (halted and not (in_catalog and record.claimed is not None)):
        return
    if not in_catalog and record.staged is None:
        yield (step(StepName.STAGE),)
    if not in_catalog:
        yield (step(StepName.PUBLISH),)
    archives = archives_of(record.stac_item(), run.request.dbl) if run.request.decompress and record.stac else []
    left = [name for name in archives if name not in record.ended]
    if left:
        yield tuple(step(StepName.EXPAND, name) for name in left)
    if archives and record.expanded is None and (left or not halted):
        yield (step(StepName.PUBLISH_EXPANDED),)


def due_steps(run: Run, record: ItemRecord) -> Stage:
    """Return the steps of an item that may be done now."""
    return next(rest_of(run, record), ())


def stopped(run: Run, record: ItemRecord) -> bool:
    """Whether no new step of an item starts; its archives that are being expanded still end."""
    return record.over or run.cancelled is not None


def _of_run(run: Run, name: StepName) -> Step:
    return Step(name, run.id, lane=run.request.lane)
