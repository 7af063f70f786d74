"""Why items failed: by code, each with what to do, and what only followed from something else below its cause."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from shared.answer import Answer, Waited
from shared.codes import advice_for
from shared.models import ItemRecord, ItemState

_MOST_CODES: Final = 40
_MOST_EXAMPLES: Final = 3
_LONGEST: Final = 500

_FOLLOWS: Final = frozenset({"not-done", "cancelled", "system-unavailable"})
"""Codes of items that nothing was wrong with: their steps ended, or did not begin, because of something else."""

_SYSTEMS: Final = ("station-", "catalog-", "s3-", "staging-")
_AWAY: Final = ("-unavailable", "-unauthorized", "-denied", "-full", "-bad-answer")


@dataclass(frozen=True)
class Example:
    """An item that failed, and why."""

    item_id: str
    reason: str


@dataclass
class Group:
    """The items of one code."""

    code: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    @property
    def advice(self) -> str:
        """What to do about the code."""
        return advice_for(self.code)

    def add(self, record: ItemRecord) -> None:
        """Take one more item."""
        self.count += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(Example(record.item_id, record.reason[:_LONGEST]))


class Groups:
    """What was not done, by code; of each code the first items."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def add(self, record: ItemRecord) -> None:
        """Take an item, if it failed or was not begun because its run was cancelled."""
        if record.state is ItemState.FAILED or (record.state is ItemState.SKIPPED and record.code in _FOLLOWS):
            code = record.code if record.code in self._groups or len(self._groups) < _MOST_CODES else "other codes"
            self._groups.setdefault(code, Group(code)).add(record)

    def largest_first(self) -> list[Group]:
        """Return the groups, the one of most items first."""
        return sorted(self._groups.values(), key=lambda group: -group.count)


@dataclass
class Cause:
    """Something that went wrong, and what only followed from it.

    Attributes:
        title: what it is, in a few words.
        code: of it; empty for an outage.
        count: items that failed with it.
        reason: the same as a sentence; empty where the examples have it.
        advice: what to do.
        commands: that repair it, in their order.
        examples: some items that failed with it.
        dragged: groups of items that nothing else was wrong with.
    """

    title: str
    code: str
    count: int
    advice: str
    commands: list[str]
    reason: str = ""
    examples: Sequence[Example] = ()
    dragged: list[Group] = field(default_factory=list)

    @property
    def items(self) -> int:
        """Items that it kept from being done, the dragged ones too."""
        return self.count + sum(group.count for group in self.dragged)


def causes_of(answer: Answer, groups: Groups) -> list[Cause]:
    """Return what went wrong: first the run as a whole, then systems that were away, then items by code.

    Items that nothing was wrong with are below what happened to the run or to a system. Where nothing did, they come
    last, by themselves: no item fails because of another one.
    """
    left = groups.largest_first()
    causes = [*_of_run(answer), *_of_outages(answer, left)]
    followers = _taken(left, lambda group: group.code in _FOLLOWS)
    if causes:
        causes[0].dragged += followers
        followers = []
    return [*causes, *(_of_group(answer, group) for group in [*left, *followers])]


def _taken(groups: list[Group], wanted: Callable[[Group], bool]) -> list[Group]:
    found = [group for group in groups if wanted(group)]
    groups[:] = [group for group in groups if not wanted(group)]
    return found


def _of_run(answer: Answer) -> Iterator[Cause]:
    if answer.error is not None:
        error = answer.error
        commands = _first(answer, error.code) + _again(answer)
        yield Cause("The whole run failed", error.code, 0, advice_for(error.code), commands, error.reason)
    elif answer.cancelled is not None:
        yield Cause("The run was cancelled", "cancelled", 0, advice_for("cancelled"), _again(answer))


def _of_outages(answer: Answer, left: list[Group]) -> Iterator[Cause]:
    """Yield the systems that were away and that items failed with, which are taken from the groups."""
    for wait in answer.waits:
        kind = wait.system.partition(" ")[0]
        dragged = _taken(left, partial(_is_of, kind))
        if dragged:
            yield _of_outage(answer, wait, dragged)


def _is_of(kind: str, group: Group) -> bool:
    return group.code.startswith(f"{kind}-") and group.code.endswith(_AWAY)


def _of_outage(answer: Answer, wait: Waited, dragged: list[Group]) -> Cause:
    reason = f"from {wait.since} to {wait.until}: {wait.reason}"[:_LONGEST]
    commands = ["auxip doctor", *(_replay(answer, group.code) for group in dragged)]
    advice = "make sure that it can be used again; then do again what failed meanwhile"
    return Cause(f"The {wait.system} could not be used", "", 0, advice, commands, reason, dragged=dragged)


def _of_group(answer: Answer, group: Group) -> Cause:
    noun = "item" if group.count == 1 else "items"
    commands = [*_first(answer, group.code), _replay(answer, group.code)]
    return Cause(f"{group.count:,} {noun}", group.code, group.count, group.advice, commands, "", group.examples)


def _first(answer: Answer, code: str) -> list[str]:
    """Return the command that comes before the work is done again, if there is one."""
    if code == "unknown-collection":
        return [f"auxip collection create {shlex.quote(answer.collection)}"]
    return ["auxip doctor"] if code.startswith(_SYSTEMS) and code.endswith((*_AWAY, "-not-found")) else []


def _replay(answer: Answer, code: str) -> str:
    run = shlex.quote(answer.run or "")
    return f"auxip dead replay --where {run}" + ("" if " " in code else f" --code {shlex.quote(code)}")


def _again(answer: Answer) -> list[str]:
    """Return the command that does the run again; a request is its caller's to send."""
    sweep = answer.label.removeprefix("sweep ")
    return [f"auxip sweep {shlex.quote(sweep)}"] if sweep != answer.label else []
