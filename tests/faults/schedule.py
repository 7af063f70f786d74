"""The schedule: which faults strike a round and when, the same for the same seed."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.all_kinds import KINDS
from tests.faults.pace import QUICK, Pace

_MOST_KILLS = 2  # an item that loses its process three times is given up, for a true reason
_MOST_OUTAGES = 2  # where they last as long as in operation
_STORE = {"kill-store", "disk-full"}  # a store that is down cannot be told that it is full


@dataclass(frozen=True)
class Planned:
    """One fault of a round.

    Attributes:
        kind: a name of `KINDS`.
        at: the part of the round's items that are finished when it begins, 0 to 1.
        lasting: seconds until it is undone.
        seed: of its own choices.
    """

    kind: str
    at: float
    lasting: float
    seed: int


@dataclass(frozen=True)
class Plan:
    """One round.

    Attributes:
        seed: what all of it follows from.
        items: sound items that the station offers.
        faults: in the order in which they begin.
    """

    seed: int
    items: int
    faults: tuple[Planned, ...]


def plan_of(seed: int, kinds: Sequence[str], pace: Pace = QUICK) -> Plan:
    """Return the round of a seed, of some of the kinds of faults."""
    chance = random.Random(seed)  # noqa: S311  # a schedule, no secret
    faults: list[Planned] = []
    for name in [chance.choice(kinds) for _ in range(chance.randint(4, 8))]:
        if _fits(name, [fault.kind for fault in faults], pace):
            lasting = _lasting(name, chance, pace)
            faults.append(Planned(name, chance.uniform(0, 0.9), lasting, chance.getrandbits(32)))
    return Plan(seed, chance.randint(8, 12), tuple(sorted(faults, key=lambda fault: fault.at)))


def _lasting(name: str, chance: random.Random, pace: Pace) -> float:
    kind = KINDS[name]
    if kind.is_outage and pace.outage is not None:
        least, most = map(math.log, pace.outage)  # short ones are more frequent
        return math.exp(chance.uniform(least, most))
    return kind.leases * pace.lease + chance.uniform(*kind.lasting) * pace.scale


def _fits(name: str, others: Sequence[str], pace: Pace) -> bool:
    if KINDS[name].kills and sum(KINDS[other].kills for other in (*others, name)) > _MOST_KILLS:
        return False
    outages = sum(KINDS[other].is_outage for other in (*others, name))
    if KINDS[name].is_outage and pace.outage is not None and outages > _MOST_OUTAGES:
        return False
    return name not in _STORE or not (_STORE - {name}) & set(others)
