"""What a kind of fault is, and the table of all of them; `faults`, `lies` and `callers` fill it."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.faults.game import Game
from tests.faults.proxy import Link
from tests.faults.system import System

ONLY_WHEN_ASKED: dict[str, str] = {
    "flushdb": "what the broker knew of open runs is gone, and their callers ask again: the oracle expects the runs",
}
"""Kinds that are played only where they are asked for, and why."""

NEVER_BY_DEFAULTS = frozenset({"sweep"})
"""Kinds that need a setting that is not a default."""


@dataclass(frozen=True)
class Scene:
    """What a fault works on.

    Attributes:
        system: all of it.
        chance: what the fault chooses by, of its own seed.
        game: the runs and requests of the round.
    """

    system: System
    chance: random.Random
    game: Game

    def worker(self) -> str:
        """One worker, if possible one that is at work."""
        return self.chance.choice(self.system.busy_workers())

    def link(self) -> Link:
        """One way between a worker and what it talks to, or between beat and the broker."""
        return self.system.links[self.chance.choice(sorted(self.system.links))]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: on the command line and in the counts.
        inject: begins it when it is entered, and undoes it when it is left.
        lasting: seconds between the two, at least and at most.
        leases: so many times the length of a lease are added to that.
        kills: how often one step may lose its process by it: three times are a reason to give its item up.
        is_outage: whether a system is away meanwhile, which may last as long as it likes.
        leaves: what it may leave, see `tests.faults.oracle.Observed.may_leave`.
        fails: codes that items may fail with by it.
        fails_when_long: the same, where it lasts as long as in operation.
        refuses: codes that a search at once may be answered with by it: nobody waits for ever for credentials that two
            probes have found to be refused.
    """

    name: str
    inject: Callable[[Scene], AbstractContextManager[None]]
    lasting: tuple[float, float] = (0, 0)
    leases: float = 0
    kills: int = 0
    is_outage: bool = False
    leaves: frozenset[str] = frozenset()
    fails: frozenset[str] = frozenset()
    fails_when_long: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()


KINDS: dict[str, Kind] = {}

Play = Callable[[Scene], Iterator[None]]


def kind(
    name: str,
    lasting: tuple[float, float] = (0, 0),
    leases: float = 0,
    kills: int = 0,
    is_outage: bool = False,
    leaves: tuple[str, ...] = (),
    fails: tuple[str, ...] = (),
    fails_when_long: tuple[str, ...] = (),
    refuses: tuple[str, ...] = (),
) -> Callable[[Play], Play]:
    """Enter the decorated generator into the table; it begins a fault, yields, and undoes it."""

    def register(play: Play) -> Play:
        sets = (frozenset(leaves), frozenset(fails), frozenset(fails_when_long), frozenset(refuses))
        KINDS[name] = Kind(name, contextmanager(play), lasting, leases, kills, is_outage, *sets)
        return play

    return register


def usual_kinds(by_defaults: bool) -> list[str]:
    """Return the names of the kinds that are played where none is asked for."""
    left_out = ONLY_WHEN_ASKED.keys() | (NEVER_BY_DEFAULTS if by_defaults else set())
    return sorted(KINDS.keys() - left_out)
