"""What callers do in one round: the runs, requests and tasks that they ask for, and what must come of each."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from celery import chain, chord
from celery.canvas import Signature
from redis.exceptions import RedisError

from shared.context import Context
from shared.errors import AuxipError
from shared.models import Lane, Run
from shared.runs.bury import FailedWork, open_replay
from shared.selection import PolicySelection
from shared.stac.search import RECORDED
from shared.storage.location import Location
from tests.faults.offer import File, Json, Offer
from tests.faults.oracle import OWNER, ItemLetter
from tests.faults.system import System


@dataclass
class Asked:
    """A run that was asked for.

    Attributes:
        wanted: the ids of the items that it is about; None for all.
        answers: how many requests for it name the round's reply list.
    """

    wanted: frozenset[str] | None = None
    answers: int = 0


@dataclass(frozen=True)
class Task:
    """A task that is no run.

    Attributes:
        wanted: what its caller must get.
        reads: what of its result is compared with that.
    """

    wanted: object
    reads: Callable[[object], object]


@dataclass
class Game:
    """The callers of one round.

    Attributes:
        system: what they call.
        context: the harness's own connections.
        name: of the round: the product type that is asked for, the collection, and the reply list.
        offers: of the station.
        runs: by id.
        tasks: that are no runs, by id.
        first_closed: when each run was closed, as it was seen first.
        replayed: letters that were replayed.
        refused: requests that the gate must refuse, and the code.
        written: keys outside the prefix of the items that must be written.
        dangling: what the catalog showed while the store did not have it.
    """

    system: System
    context: Context
    name: str
    offers: list[Offer]
    runs: dict[str, Asked] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    first_closed: dict[str, float] = field(default_factory=dict)
    replayed: list[ItemLetter] = field(default_factory=list)
    refused: dict[bytes, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    dangling: set[str] = field(default_factory=set)

    def enqueue(self, lane: Lane = Lane.ON_DEMAND) -> str:
        """Enqueue the round's request as a program with Celery does; returns the id of the run."""
        run_id = str(uuid.uuid4())
        self.system.enqueue("auxip.staging", self._message(), run_id, lane)
        self.runs[run_id] = Asked()
        return run_id

    def request(self, run_id: str = "") -> str:
        """Push the round's request onto the intake, as another system does that wants an answer.

        Args:
            run_id: of a request that was made already, to make it once more; else a new one.
        """
        request_id = run_id or str(uuid.uuid4())
        self.system.request("auxip.staging", self._message(), self.name, request_id)
        self.runs.setdefault(request_id, Asked()).answers += 1
        return request_id

    def request_nonsense(self) -> None:
        """Push requests that the gate must refuse, one of them of no known sender."""
        bad: list[tuple[str, Json, str]] = [
            ("auxip.nothing", {}, "unknown-task"),
            ("auxip.staging", {"no_such_argument": 1}, "bad-request"),
        ]
        for task, arguments, code in bad:
            self.refused[self.system.request(task, arguments, self.name, str(uuid.uuid4()))] = code
        self.refused[self.system.push_request(f"nonsense {uuid.uuid4()}".encode())] = "bad-message"

    def search(self) -> str:
        """Ask for a search alone; returns the id of the task."""
        task_id = str(uuid.uuid4())
        self.system.enqueue("auxip.search", self._search(), task_id)
        self.tasks[task_id] = self._found()
        return task_id

    def process_asset(self) -> str:
        """Ask for an archive outside the prefix of the items to be expanded; returns the id of the task."""
        task_id = str(uuid.uuid4())
        archive = next(file for offer in self.offers for file in offer.files if offer.opens(file))
        own = self.context.owners[OWNER].place
        folder = f"{own.prefix}{OWNER}/archives/{task_id}/"
        place = Location(own.bucket, folder + archive.name)
        self.context.store.put(place, archive.content)
        message: Json = {"asset_href": place.href, "asset_name": archive.name, "env": {"owner_id": OWNER}}
        try:
            self.system.enqueue("auxip.process_asset", message, task_id)
        except RedisError:  # nobody was asked, so nobody deletes it
            self.context.store.delete(place)
            raise
        self.tasks[task_id] = Task(f"s3://{place.bucket}/{folder}{archive.stem}/", lambda result: result)
        self.written |= {folder + name for name in _expanded(archive)}
        return task_id

    def enqueue_linked(self) -> None:
        """Enqueue the round's request with a search of the caller's linked to it."""
        run, search = self._run(), self._caller_search()
        run.link(search)
        self._publish(run, [run], search)

    def enqueue_chain(self) -> None:
        """Enqueue a chain of the caller's: the round's request, and then a search."""
        run, search = self._run(), self._caller_search()
        self._publish(chain(run, search), [run], search)

    def enqueue_chord(self) -> None:
        """Enqueue a chord of the caller's: the round's request twice, and after both a search."""
        one, other, search = self._run(), self._run(), self._caller_search()
        self._publish(chord([one, other], search), [one, other], search)

    def sweep(self) -> None:
        """Have two beats tell of the same tick of a sweep; one run comes of it."""
        run_id = self.system.sweep(self.name, OWNER)
        self.runs[run_id] = Asked()

    def cancel(self, run_id: str) -> None:
        """Cancel a run, if it is open."""
        self.context.ledger.cancel_run(run_id)

    def replay(self) -> None:
        """Replay the letters of all items of the round that have failed until now."""
        from workers.replays import replay_item  # reads the settings of this process

        for letter in list(self.context.dead_letters.letters("item")):
            if letter.where in self.runs:
                work = FailedWork.model_validate_json(self.context.dead_letters.payload(letter.id), context=RECORDED)
                # What no policy could judge is judged again, and its neighbours with it.
                judged_again = isinstance(work.request.selection, PolicySelection)
                asked = Asked() if judged_again else Asked(frozenset({work.item_id}))
                self.runs[open_replay(self.context, letter.id)] = asked
                replay_item(self.context, letter.id)
                self.replayed.append(ItemLetter(letter.where, work.item_id, work.code))

    @property
    def over(self) -> bool:
        """Whether every run is closed, and every task has its result."""
        return len(self.first_closed) == len(self.runs) and all(map(self.system.result, self.tasks))

    def progress(self) -> float:
        """Note which runs are closed; returns the part of the items that are finished, 0 while the ledger is away."""
        finished = 0
        for run_id in self.runs:
            run = record_of(self.context, run_id)
            if run is not None:
                finished += run.counts.finished
                if run.closed is not None:
                    self.first_closed.setdefault(run_id, run.closed)
        return finished / (len(self.offers) * len(self.runs))

    def _run(self) -> Signature:
        return self.system.signature("auxip.staging", self._message(), str(uuid.uuid4()))

    def _caller_search(self) -> Signature:
        return self.system.signature("auxip.search", self._search(), str(uuid.uuid4()))

    def _publish(self, canvas: Signature, runs: list[Signature], search: Signature) -> None:
        """Send a canvas, and only then expect its runs and its search: a broker that is away takes none of them."""
        self.system.publish(canvas)
        self.runs |= {run.options["task_id"]: Asked() for run in runs}
        self.tasks[search.options["task_id"]] = self._found()

    def _message(self) -> Json:
        return {
            "env": {"owner_id": OWNER},
            "cql2_filter": {"filter": self._filter()},
            "catalog_collection_identifier": self.name,
        }

    def _search(self) -> Json:
        return {"env": {"owner_id": OWNER}, "auxip_cql2": {"filter": self._filter()}}

    def _filter(self) -> Json:
        return {"op": "=", "args": [{"property": "product:type"}, self.name]}

    def _found(self) -> Task:
        return Task(sorted(offer.item_id for offer in self.offers if offer.files), _ids)


def record_of(context: Context, run_id: str) -> Run | None:
    """Return the ledger's record of a run, or None where there is none or the ledger is away."""
    try:
        return context.ledger.run(run_id)
    except (RedisError, AuxipError):
        return None


def _expanded(archive: File) -> list[str]:
    return [f"{archive.stem}.manifest.json", *(f"{archive.stem}/{name}" for name in archive.members)]


def _ids(collection: object) -> object:
    features = collection.get("features") if isinstance(collection, dict) else None
    return sorted(str(feature["id"]) for feature in features) if features is not None else collection
