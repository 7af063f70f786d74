"""What a kind of fault is, and the table of all of them; `faults`, `lies` and `callers` fill it."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.faults.game import Game
from tests.faults.proxy import Link
from tests.faults.system import System

AWAITED: dict[str, str] = {
    "revoke-run": "a revoked task of a run is to cancel the run; today the run goes on, or its caller waits for ever",
    "revoke-step": "a revoked step is to be done again, or its run cancelled",
    "poisoned-task": "a plain task that ends its worker is to be given up after three times; today it never ends",
    "readonly": "workers and gate are to wait for a broker that answers READONLY",
    "out-of-memory": "workers and gate are to wait for a broker that answers OOM",
    "flushdb": "callers whose ids are known are to be told that their runs are lost",
    "station-401": "a refusal is to be confirmed before items fail with it",
    "catalog-401": "a refusal is to be confirmed before items fail with it",
    "purge-requests": "a request whose message is lost before its run is open is to be done where it is made once more",
}
"""Kinds that ask for what the product does not do yet, and why: they are played only where they are asked for."""

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
) -> Callable[[Play], Play]:
    """Enter the decorated generator into the table; it begins a fault, yields, and undoes it."""

    def register(play: Play) -> Play:
        sets = (frozenset(leaves), frozenset(fails), frozenset(fails_when_long))
        KINDS[name] = Kind(name, contextmanager(play), lasting, leases, kills, is_outage, *sets)
        return play

    return register


def usual_kinds(by_defaults: bool) -> list[str]:
    """Return the names of the kinds that are played where none is asked for."""
    left_out = AWAITED.keys() | (NEVER_BY_DEFAULTS if by_defaults else set())
    return sorted(KINDS.keys() - left_out)
