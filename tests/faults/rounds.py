"""One round: items are offered, runs enqueued, faults injected and undone, and the oracle asked."""

import random
import re
import time
from collections import Counter
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from shared.context import Context
from shared.errors import AuxipError
from shared.settings import load_settings
from tests.faults.all_kinds import KINDS
from tests.faults.game import Game
from tests.faults.kinds import Scene
from tests.faults.observe import before, dangling_hrefs, held_claims, messages_of, observe
from tests.faults.offer import offers_of
from tests.faults.oracle import Finding, judge
from tests.faults.schedule import Plan, Planned
from tests.faults.system import System

_TICK = 0.05
_LOOK = 0.3
_NEXT_FAULT_SECONDS = 4.0
_LONGEST_VISIBILITY = 10.0
_SUCCEEDED = re.compile(r"Task (auxip\.step\.\w+\[[0-9a-f-]+\]) succeeded")


@dataclass
class Outcome:
    """What came of a round.

    Attributes:
        faults: how often each kind was injected.
        findings: of the oracle; none in a good round.
        repeated: steps that ended well more often than once, beyond the first time.
        seconds: it took.
    """

    plan: Plan
    faults: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    repeated: int = 0
    seconds: float = 0


def play(system: System, plan: Plan) -> Outcome:
    """Play a round on a system that is up and has no messages."""
    began = time.monotonic()
    outcome = Outcome(plan)
    name = f"faults-{plan.seed}"
    offers = offers_of(plan.seed, plan.items, name)
    marks = _log_sizes(system)
    system.make_collection(name)
    system.offer(offers)
    with closing(Context(load_settings())) as patient, closing(system.context()) as context:
        known = before(system, patient)
        game = Game(system, context, name, offers)
        game.enqueue() if plan.seed % 2 else game.request()
        longest = system.pace.round + sum(fault.lasting for fault in plan.faults)
        _play(system, game, plan.faults, outcome.faults, began + longest)
        system.restore()
        if game.over:
            _wait_until_quiet(system, game)
        seen = observe(system, patient, game, known)
    kinds = [KINDS[name] for name in outcome.faults]
    seen.may_leave = frozenset().union(*(kind.leaves for kind in kinds))
    seen.may_fail = frozenset().union(*(kind.fails for kind in kinds))
    seen.may_refuse = frozenset().union(*(kind.refuses for kind in kinds))
    if system.pace.outage is not None:
        seen.may_fail = seen.may_fail.union(*(kind.fails_when_long for kind in kinds))
    outcome.findings = judge(offers, seen)
    outcome.repeated = _repeated_steps(system, marks)
    system.withdraw(offers)
    outcome.seconds = time.monotonic() - began
    return outcome


def _play(system: System, game: Game, planned: tuple[Planned, ...], counts: Counter[str], deadline: float) -> None:
    """Inject and undo every fault, and wait until all that was asked for is done, or the deadline has passed."""
    waiting = list(planned)
    last = looked = time.monotonic()
    with ExitStack() as stack:
        active: list[tuple[float, ExitStack]] = []
        while (waiting or active or not _is_over(game)) and time.monotonic() < deadline:
            system.tick()
            progress, now = game.progress(), time.monotonic()
            if now - looked > _LOOK:
                looked = now
                _look(system, game)
            for ends, fault in [entry for entry in active if entry[0] <= now]:
                active.remove((ends, fault))
                fault.close()
            if waiting and (waiting[0].at <= progress or now - last > _NEXT_FAULT_SECONDS):
                fault, last = stack.enter_context(ExitStack()), now
                with suppress(RedisError):  # what is down already cannot be looked at
                    fault.enter_context(_inject(system, game, waiting[0]))
                    counts[waiting[0].kind] += 1
                active.append((now + waiting.pop(0).lasting, fault))
            time.sleep(_TICK)


def _is_over(game: Game) -> bool:
    try:
        return game.over
    except RedisError:
        return False


def _look(system: System, game: Game) -> None:
    with suppress(AuxipError, RedisError):  # the store is away
        game.dangling |= set(dangling_hrefs(system, game.context, game))


def _wait_until_quiet(system: System, game: Game) -> None:
    """Wait until no message, no claim and no outage is left, or long enough.

    All that callers wait for is done, so what is left with dead workers is given back sooner than in operation.
    """
    deadline = time.monotonic() + system.pace.quiet
    quiet = 0
    while quiet < 3 and time.monotonic() < deadline:
        system.tick()
        system.lapse(min(system.pace.visibility, _LONGEST_VISIBILITY))
        game.progress()
        left = any(messages_of(system).values()) or held_claims(system) or game.context.outages.all()
        quiet = 0 if left else quiet + 1
        time.sleep(_TICK)


def _inject(system: System, game: Game, planned: Planned) -> AbstractContextManager[None]:
    chance = random.Random(planned.seed)  # noqa: S311  # a schedule, no secret
    return KINDS[planned.kind].inject(Scene(system, chance, game))


def _log_sizes(system: System) -> dict[str, int]:
    return {str(log): log.stat().st_size for log in system.stack.folder.glob("worker-*.log")}


def _repeated_steps(system: System, marks: dict[str, int]) -> int:
    """Steps have ids that are computed from their work, so one that was done twice is in the logs twice."""
    done: Counter[str] = Counter()
    for log in system.stack.folder.glob("worker-*.log"):
        with log.open("rb") as opened:
            opened.seek(marks.get(str(log), 0))
            done.update(_SUCCEEDED.findall(opened.read().decode("utf-8", "replace")))
    return sum(count - 1 for count in done.values())
