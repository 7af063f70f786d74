"""How many items waited for each stage of a run and were worked on, over time; in little memory for any number."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from shared.models import ItemRecord, Run, RunKind

BINS: Final = 96
"""Equal parts of a run's time."""

_QUEUES: Final = {"Search": "search", "Stage": "staging", "Publish": "catalog", "Expand": "decompress"}
_SHORTEST: Final = 0.001


@dataclass
class Level:
    """An amount over time: the mean of it within each bin."""

    _steps: list[float] = field(default_factory=lambda: [0.0] * (BINS + 1))
    _parts: list[float] = field(default_factory=lambda: [0.0] * BINS)

    def add(self, begin: float, end: float, amount: float = 1.0) -> None:
        """Add an amount that lasts from `begin` to `end`, which are counted in bins."""
        begin, end = (min(max(0.0, each), float(BINS)) for each in (begin, end))
        if end <= begin:
            return
        first, last = int(begin), min(int(end), BINS - 1)
        if first == last:
            self._parts[first] += (end - begin) * amount
            return
        self._parts[first] += (first + 1 - begin) * amount
        self._parts[last] += (end - last) * amount
        self._steps[first + 1] += amount
        self._steps[last] -= amount

    def values(self) -> list[float]:
        """Return the mean of each bin."""
        whole = accumulate(self._steps[:BINS])
        return [max(0.0, round(step + part, 3)) for step, part in zip(whole, self._parts, strict=True)]


@dataclass
class Seconds:
    """Some durations: how many, their sum, the longest."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Take one more."""
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    @property
    def mean(self) -> float:
        """The mean of them; 0 of none."""
        return self.total / self.count if self.count else 0.0


@dataclass
class Stage:
    """One stage of the run's items: what waited for it and what was worked on."""

    name: str
    waiting: Level = field(default_factory=Level)
    working: Level = field(default_factory=Level)
    waits: Seconds = field(default_factory=Seconds)
    works: Seconds = field(default_factory=Seconds)

    @property
    def queue(self) -> str:
        """The queue whose workers do it."""
        return _QUEUES[self.name]


class Timeline:
    """The stages of a run, from its beginning to its end or, where it goes on, until now.

    Attributes:
        begin: in seconds since the epoch.
        end: the same.
    """

    def __init__(self, run: Run, now: float) -> None:
        """Prepare.

        Args:
            run: its record.
            now: until when it goes on, in seconds since the epoch; its end is used where it has one.
        """
        self.begin = run.created
        self.end = max(run.closed or now, self.begin + _SHORTEST)
        self.received = Level()
        self._run = run
        self._bin = (self.end - self.begin) / BINS
        self._stages = {name: Stage(name) for name in _QUEUES}
        if run.searching is not None:
            self._add("Search", run.created, run.searching, run.began or self.end)

    @property
    def stages(self) -> list[Stage]:
        """The stages in which anything was done or waited for."""
        return [stage for stage in self._stages.values() if stage.waits.count]

    def place(self, instant: float) -> float:
        """Return where an instant is, in bins."""
        return min(max(0.0, (instant - self.begin) / self._bin), float(BINS))

    def add(self, record: ItemRecord) -> None:
        """Take the times of one item."""
        for name, ready, begun, ended in self._steps(record):
            self._add(name, ready, begun, ended)
        if record.claimed is not None and record.downloaded:
            ended = max(record.staged or record.finished or self.end, record.claimed + self._bin)
            rate = record.downloaded / (ended - record.claimed)
            self.received.add(self.place(record.claimed), self.place(ended), rate)

    def _steps(self, record: ItemRecord) -> Iterator[tuple[str, float, float | None, float]]:
        """Yield each stage: when an item was ready for it, when a worker began, when it ended.

        What was recorded before workers recorded their beginnings counts as work from the first moment.
        """
        ready = self._run.began or self._run.created
        end = self.end if record.finished is None else record.finished
        expands_only = self._run.request.kind is RunKind.DECOMPRESS
        if record.claimed is None and record.finished is not None:
            return
        yield "Expand" if expands_only else "Stage", ready, record.claimed, record.staged or record.expanded or end
        if record.staged is not None and not expands_only:
            yield "Publish", record.staged, _begun(record.publishing, record), record.catalogued or end
        if record.catalogued is not None and (record.expanding or record.expanded or record.finished is None):
            yield "Expand", record.catalogued, _begun(record.expanding, record), record.expanded or end

    def _add(self, name: str, ready: float, begun: float | None, ended: float) -> None:
        stage = self._stages[name]
        begun = max(ready, ended if begun is None else begun)  # clocks of workers may differ
        ended = max(begun, ended)
        stage.waits.add(begun - ready)
        stage.waiting.add(self.place(ready), self.place(begun))
        if ended > begun:
            stage.works.add(ended - begun)
            stage.working.add(self.place(begun), self.place(ended))


def _begun(begun: float | None, record: ItemRecord) -> float | None:
    return begun if begun is not None or record.finished is None else 0.0


def area(values: list[float], base: float, peak: float) -> str:
    """Return the path of an SVG area of steps, in a box that is `BINS` wide.

    Args:
        values: one for each bin, none below zero.
        base: where the area begins, downwards from the top of the box.
        peak: where the largest of the values ends; below the base, the area hangs down.
    """
    most = max(values) or 1.0
    steps = "".join(f"V{base + (peak - base) * value / most:.3g}h1" for value in values)
    return f"M0 {base:g}{steps}V{base:g}Z"
