"""One round: items are offered, runs enqueued, faults injected and undone, and the oracle asked."""

import json
import os
import random
import re
import time
from collections import Counter
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import httpx
from redis.exceptions import RedisError

from shared.context import Context
from shared.errors import AuxipError
from shared.models import Run
from shared.runs.tidy import clean_up
from shared.settings import load_settings
from shared.stac.item import Item
from shared.storage.keys import run_location
from shared.storage.location import Location
from tests.faults.faults import KINDS, Scene
from tests.faults.offer import Json, offers_of
from tests.faults.oracle import Finding, Observed, ObservedRun, ids_of, judge
from tests.faults.schedule import Plan, Planned
from tests.faults.system import System

_OWNER = "faults"
_TICK = 0.05
_ROUND_SECONDS = 60.0
_QUIET_SECONDS = 25.0
_NEXT_FAULT_SECONDS = 4.0
_SUCCEEDED = re.compile(r"Task (auxip\.step\.\w+\[[0-9a-f-]+\]) succeeded")
_LARGEST = 64 * 2**20
_UPKEEP = (b"auxip.reconcile", b"auxip.clean_up")


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
    offers = offers_of(plan.seed, plan.items)
    name = f"faults-{plan.seed}"
    marks = _log_sizes(system)
    system.make_collection(name)
    system.offer(offers, name)
    with closing(system.context()) as context:
        game = _Game(system, context, name, len(offers), odd=plan.seed % 2 == 1)
        game.play(plan.faults, outcome.faults, began + _ROUND_SECONDS)
        system.restore()
        if game.over:
            game.wait_until_quiet()
    with closing(Context(load_settings())) as context:
        outcome.findings = judge(offers, _observe(system, context, name, game))
    outcome.findings += _unanswered(system, name, game)
    outcome.repeated = _repeated_steps(system, marks)
    system.withdraw(offers)
    outcome.seconds = time.monotonic() - began
    return outcome


class _Game:
    """The course of a round: its runs, and the faults that are planned and active."""

    def __init__(self, system: System, context: Context, name: str, items: int, odd: bool) -> None:
        self.runs: list[str] = []
        self.requested: list[str] = []
        self.first_closed: dict[str, float] = {}
        self._system = system
        self._context = context
        self._name = name
        self._items = items
        (self.enqueue if odd else self.request)()

    def enqueue(self) -> None:
        """Enqueue the round's request as a program with Celery does."""
        self.runs.append(self._system.enqueue("auxip.staging", self._message()))

    def request(self) -> None:
        """Push the round's request onto the intake, as another system does that wants an answer."""
        self.runs.append(self._system.request("auxip.staging", self._message(), self._name))
        self.requested.append(self.runs[-1])

    def _message(self) -> Json:
        return {
            "env": {"owner_id": _OWNER},
            "cql2_filter": {"filter": {"op": "=", "args": [{"property": "product:type"}, self._name]}},
            "catalog_collection_identifier": self._name,
        }

    def play(self, planned: tuple[Planned, ...], counts: Counter[str], deadline: float) -> None:
        """Inject and undo every fault, and wait until the runs are closed, or the deadline has passed."""
        waiting = list(planned)
        last = time.monotonic()
        with ExitStack() as stack:
            active: list[tuple[float, ExitStack]] = []
            while (waiting or active or not self.over) and time.monotonic() < deadline:
                self._system.tick()
                progress, now = self._progress(), time.monotonic()
                for ends, fault in [entry for entry in active if entry[0] <= now]:
                    active.remove((ends, fault))
                    fault.close()
                if waiting and (waiting[0].at <= progress or now - last > _NEXT_FAULT_SECONDS):
                    fault, last = stack.enter_context(ExitStack()), now
                    with suppress(RedisError):  # what is down already cannot be looked at
                        fault.enter_context(self._inject(waiting[0]))
                        counts[waiting[0].kind] += 1
                    active.append((now + waiting.pop(0).lasting, fault))
                time.sleep(_TICK)

    @property
    def over(self) -> bool:
        """Whether every run is closed."""
        return len(self.first_closed) == len(self.runs)

    def wait_until_quiet(self) -> None:
        """Wait until no message is left, or long enough."""
        deadline = time.monotonic() + _QUIET_SECONDS
        quiet = 0
        while quiet < 3 and time.monotonic() < deadline:
            self._system.tick()
            self._progress()
            quiet = 0 if any(messages_of(self._system).values()) else quiet + 1
            time.sleep(_TICK)

    def _inject(self, planned: Planned) -> AbstractContextManager[None]:
        chance = random.Random(planned.seed)  # noqa: S311  # a schedule, no secret
        return KINDS[planned.kind].inject(Scene(self._system, chance, self.enqueue, self.request))

    def _progress(self) -> float:
        """The part of the items that are finished; 0 while the ledger cannot be read."""
        finished = 0
        for run_id in self.runs:
            run = _record(self._context, run_id)
            if run is not None:
                finished += run.counts.finished
                if run.closed is not None:
                    self.first_closed.setdefault(run_id, run.closed)
        return finished / (self._items * len(self.runs))


def _unanswered(system: System, name: str, game: _Game) -> list[Finding]:
    """The requests of other systems whose answer is not on their reply list; it may be there twice."""
    answers = cast("list[bytes]", system.redis.lrange(f"auxip:reply:{name}", 0, -1))
    answered = {json.loads(answer)["id"] for answer in answers}
    return [Finding("lost", f"request {each} is not answered") for each in game.requested if each not in answered]


def messages_of(system: System) -> dict[str, int]:
    """Return how many messages there are, by the list or hash that holds them; dead letters are in neither.

    Those of the upkeep are left out: beat goes on sending them.
    """
    names = [key.decode() for key in system.redis.scan_iter(count=10_000, _type="list")]
    held = {name: cast("list[bytes]", system.redis.lrange(name, 0, -1)) for name in names if _holds_messages(name)}
    held["unacked"] = cast("list[bytes]", system.redis.hvals("unacked"))
    return {name: sum(not any(task in text for task in _UPKEEP) for text in texts) for name, texts in held.items()}


def _holds_messages(name: str) -> bool:
    return not name.startswith(("auxip:run:", "auxip:reply:", "celery-")) and "pidbox" not in name


def _record(context: Context, run_id: str) -> Run | None:
    try:
        return context.ledger.run(run_id)
    except (RedisError, AuxipError):
        return None


def _observe(system: System, context: Context, name: str, game: _Game) -> Observed:
    place = context.owners[_OWNER].place
    base = Location(place.bucket, f"{place.prefix}{_OWNER}/{name}/")
    clean_up(context, timedelta(0))
    uploads = [upload.key for upload in context.store.control.unfinished(place)]
    return Observed(
        base=base.href,
        runs=[_observe_run(system, context, run_id, game.first_closed.get(run_id)) for run_id in game.runs],
        objects=_objects(context, base),
        catalog=_catalog(name),
        uploads=uploads,
        messages=messages_of(system),
        malformed=system.pushed,
        letters=[context.dead_letters.payload(letter.id) for letter in context.dead_letters.letters("message")],
    )


def _observe_run(system: System, context: Context, run_id: str, first_closed: float | None) -> ObservedRun:
    result = cast("bytes | None", system.redis.get(f"celery-task-meta-{run_id}"))
    place = context.owners[_OWNER].place
    report = context.store.get(run_location(place, run_id, "report.json"), _LARGEST)
    artifact = context.store.get(run_location(place, run_id, "auxiliary-files.json"), _LARGEST)
    return ObservedRun(
        id=run_id,
        record=_record(context, run_id),
        items=list(context.ledger.items(run_id)),
        result=None if result is None else json.loads(result),
        first_closed=first_closed,
        report=ids_of(report, "items"),
        artifact=ids_of(artifact),
    )


def _objects(context: Context, base: Location) -> dict[str, bytes]:
    keys = [stored.key for stored in context.store.list(base)]
    return {key.removeprefix(base.key): _content(context, Location(base.bucket, key)) for key in keys}


def _content(context: Context, location: Location) -> bytes:
    content = context.store.get(location, _LARGEST)
    return b"" if content is None else content


def _catalog(name: str) -> dict[str, Item]:
    answer = httpx.get(
        f"{os.environ['AUXIP_CATALOG_URL']}/collections/{name}/items",
        params={"limit": 1000},
        headers={"x-api-key": os.environ["AUXIP_CATALOG_API_KEY"]},
    )
    items = [Item.model_validate(feature) for feature in answer.raise_for_status().json()["features"]]
    return {item.id: item for item in items}


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
