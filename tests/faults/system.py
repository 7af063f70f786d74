"""The system under test: the embedded stack, its workers and beat, and a link between any two that talk."""

import json
import os
import random
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, cast
from urllib.parse import urlsplit, urlunsplit

import httpx
from celery import Celery
from celery.backends.redis import RedisBackend
from celery.canvas import Signature
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from local.processes import Child
from local.samples import STATION_COLLECTION
from local.stac.store import Store
from local.stack import Stack
from shared.context import Context
from shared.models import Lane
from shared.settings import load_settings
from shared.stac.item import Item
from tests.faults.offer import Json, Offer, publish
from tests.faults.pace import QUICK, Pace
from tests.faults.proxy import Lie, Link, Links
from tests.integration.delegated.service import KEY, Service
from tests.processes import alive, descendants
from workers.cli import fleet
from workers.queues import QUEUES, queue_for
from workers.sweeps import find_sweep

_TARGETS = {"broker": "AUXIP_REDIS_URL", "store": "AUXIP_S3_ENDPOINT", "catalog": "AUXIP_CATALOG_URL"}
"""What each client has a link of its own to, and the setting that says where it is."""
_CLOCK = Path(__file__).parent / "clock"
_OTHERS: dict[str, Callable[[Stack, dict[str, str]], Child]] = {
    "beat": lambda stack, extra: fleet.start_beat(stack, extra=extra),
    "gate": lambda stack, extra: fleet.start_gate(stack, extra=extra),
}
"""What runs beside the workers of the queues, by name."""
_QUEUES = {queue.name: queue for queue in QUEUES}
_SHARED = "station"  # its address stands in the hrefs of its items, so all workers have one link to it
_WORKERS_SECONDS = 60.0
_UNACKED = "unacked"
_HISTORY = """
CREATE TABLE versions (number INTEGER PRIMARY KEY, collection TEXT, body TEXT);
CREATE TRIGGER keep_inserted AFTER INSERT ON items BEGIN
    INSERT INTO versions (collection, body) VALUES (new.collection, new.body);
END;
CREATE TRIGGER keep_updated AFTER UPDATE ON items BEGIN
    INSERT INTO versions (collection, body) VALUES (new.collection, new.body);
END;
"""


class Unheard(RedisBackend):
    """Results that nobody waits for in this process: the harness reads them where they are."""

    def add_pending_result(self, result: object, **_: object) -> object:  # type: ignore[override]
        """Subscribe to nothing."""
        return result

    def remove_pending_result(self, result: object) -> None:
        """Have nothing to unsubscribe from."""

    def on_task_call(self, producer: object, task_id: str) -> None:
        """Subscribe to nothing."""


class System:
    """A context manager that runs everything; enter it in the main thread.

    Attributes:
        pace: its settings, and what follows from them.
        stack: the embedded stack; its own address of each part is what the harness itself uses.
        redis: a client that fails at once where the broker is down.
        pushed: every message that was put on a queue by `push`.
        links: by client and server, for example `("staging", "store")`; all workers share `("workers", "station")`.
        tickers: called at each tick.
    """

    def __init__(self, pace: Pace = QUICK) -> None:
        self.pace = pace

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.stack = undo.enter_context(Stack(fsync="always", volumes=1))
            self._sweeps_file = self.stack.folder / "sweeps.toml"
            self._sweeps_file.touch()
            own = {} if self.pace.factor else {"AUXIP_SWEEPS_FILE": str(self._sweeps_file)}
            fleet.adopt(self.stack, {**self.pace.settings, **own})
            self._keep_history()
            self._proxies = undo.enter_context(Links())
            self.tickers: list[Callable[[], None]] = []
            self.pushed: list[bytes] = []
            self.links: dict[tuple[str, str], Link] = {}
            self._seen_unacked: dict[bytes, float] = {}
            self.redis = undo.enter_context(closing(_client(os.environ["AUXIP_REDIS_URL"])))
            url = os.environ["AUXIP_REDIS_URL"]
            self._app = Celery(broker=url, backend=f"{__name__}:Unheard+{url}", set_as_current=False)
            undo.callback(self._app.close)
            self._link_all()
            self._extra: dict[str, dict[str, str]] = {}
            self._children = {name: self._start(name) for name in (*_QUEUES, *_OTHERS)}
            self._wait_for_workers()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def workers(self) -> list[str]:
        """The names of the workers: those of their queues."""
        return [*_QUEUES]

    @property
    def lists(self) -> list[str]:
        """The names of the lists of all queues, of both lanes."""
        return [name for queue in QUEUES for name in queue.lists]

    def busy_workers(self) -> list[str]:
        """The workers that hold a message that they have not acknowledged; all of them where none does."""
        lists = {name for name, _ in self._unacked()}
        return [name for name, queue in _QUEUES.items() if lists.intersection(queue.lists)] or self.workers

    # What an orchestrator does

    def tick(self) -> None:
        """Start again whatever has ended, give back what nobody acknowledges, and call the tickers."""
        for name, child in list(self._children.items()):
            if child.popen.poll() is not None:
                self._kill_group(child)  # what its main process has left behind
                self._children[name] = self._start(name)
        with suppress(RedisError):
            self.lapse(self.pace.visibility)
            for ticker in list(self.tickers):
                ticker()

    def lapse(self, seconds: float) -> None:
        """Let the visibility timeout of messages pass in seconds: in operation it is longer than any step, minutes."""
        tags = cast("list[bytes]", self.redis.zrange(f"{_UNACKED}_index", 0, -1))
        now = time.monotonic()
        self._seen_unacked = {tag: self._seen_unacked.get(tag, now) for tag in tags}
        due = [tag for tag, since in self._seen_unacked.items() if now - since > seconds]
        if due:
            # Delivered anew it has another tag, and its time again.
            self.redis.zadd(f"{_UNACKED}_index", dict.fromkeys(due, 0), xx=True)

    # What faults do

    def kill(self, name: str) -> None:
        """Kill a worker with its children, or beat, with SIGKILL; the next tick starts it again."""
        self._kill_group(self._children[name])

    def terminate(self, name: str) -> None:
        """Ask a worker to end with SIGTERM, and start its successor beside it, as an orchestrator does.

        Celery's soft shutdown takes all of its time, 50 s, where there is a step in work.
        """
        self._children[name].popen.terminate()
        self._children[name] = self._start(name)

    def kill_children(self, name: str) -> None:
        """Kill every pool process of a worker with SIGKILL."""
        _signal(sorted(alive(descendants(self._children[name].popen.pid))), signal.SIGKILL)

    def stop_worker(self, name: str) -> Callable[[], None]:
        """Stop a whole worker, without another one in its place; returns what wakes it."""
        pids = [self._children[name].popen.pid, *descendants(self._children[name].popen.pid)]
        _signal(pids, signal.SIGSTOP)
        return lambda: _signal(pids, signal.SIGCONT)

    def holds(self, task_id: str) -> bool:
        """Whether a worker has the message of a task in its hands."""
        return any(f'"id": "{task_id}"'.encode() in text for _, text in self._unacked())

    def steps_in_work(self) -> list[str]:
        """Return the ids of the steps whose messages workers have in their hands."""
        texts = [text for _, text in self._unacked() if _task_of(text).startswith("auxip.step.")]
        return [str(json.loads(text)["headers"]["id"]) for text in texts]

    def revoke(self, task_id: str) -> None:
        """Revoke a task, and end the process that works on it."""
        self._app.control.revoke(task_id, terminate=True)

    @contextmanager
    def staging_service(self, owner: str) -> Iterator[dict[str, str]]:
        """Run a staging service; yields the variables of a worker that has it stage."""
        settings = load_settings().model_copy(update={"stations_file": self._stations_file})
        with closing(Context(settings)) as context, Service(context, owner, self.stack.bucket) as service:
            yield {
                "AUXIP_STAGING_BACKEND": "ogc",
                "AUXIP_STAGING_URL": service.url,
                "AUXIP_STAGING_API_KEY": KEY,
            }

    def wait(self, seconds: float) -> None:
        """Let a fault have its effect."""
        time.sleep(seconds)

    def kill_child(self, name: str, chance: random.Random) -> None:
        """Kill one pool process of a worker with SIGKILL."""
        for pid in self._pool(name, chance)[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze_child(self, name: str, chance: random.Random) -> Callable[[], None]:
        """Stop one pool process of a worker; returns what wakes it."""
        pids = self._pool(name, chance)[:1]
        _signal(pids, signal.SIGSTOP)
        return lambda: _signal(pids, signal.SIGCONT)

    def freeze(self, name: str) -> Callable[[], None]:
        """Stop a whole worker, and start another one in its place; returns what wakes it, beside the other one."""
        frozen = self._children[name]
        pids = [frozen.popen.pid, *descendants(frozen.popen.pid)]
        _signal(pids, signal.SIGSTOP)
        self._children[name] = self._start(name)

        def wake() -> None:
            _signal(pids, signal.SIGCONT)
            # It works on beside its successor until it is told to go, as a node is that was thought dead.
            frozen.popen.terminate()

        return wake

    def replace(self, name: str, extra: dict[str, str]) -> None:
        """Kill a worker, and start it again with these variables added to its environment."""
        self._extra[name] = extra
        self.kill(name)

    def kill_part(self, name: str) -> Callable[[], None]:
        """Kill a part of the stack with SIGKILL; returns what starts it again. One that is down already stays down."""
        child = next(child for child in self.stack.children if child.name == name)
        if child.popen.poll() is not None:
            return lambda: None
        child.popen.kill()
        child.popen.wait()
        return lambda: self.stack.start_again(name)

    def copy_messages(self, copied: set[str], queues: frozenset[str] = frozenset()) -> None:
        """Put a second copy of each message on its queue, but never of one whose delivery tag is in `copied`.

        Args:
            copied: receives the tags.
            queues: only those whose messages are copied, of either lane; empty for all.
        """
        wanted = {name for queue in queues or _QUEUES for name in _QUEUES[queue].lists}
        waiting = [(name, text) for name in self.lists for text in cast("list[bytes]", self.redis.lrange(name, 0, -1))]
        for name, text in [*waiting, *self._unacked()]:
            tag = _delivery_tag(text)
            if tag and tag not in copied and name in wanted:
                copied.add(tag)
                self.redis.lpush(name, text)

    def purge(self, queue: str, wanted: Callable[[str], bool]) -> None:
        """Delete the messages of the tasks that are wanted, by their names, from both lists of a queue."""
        for name in _QUEUES[queue].lists:
            for text in cast("list[bytes]", self.redis.lrange(name, 0, -1)):
                if wanted(_task_of(text)):
                    self.redis.lrem(name, 1, text.decode())

    def lie(self, target: str, lie: Lie) -> Callable[[], None]:
        """Have all links to a target lie; returns what restores them."""
        links = [link for (_, part), link in self.links.items() if part == target]
        for link in links:
            link.lie(lie)

        def restore() -> None:
            for link in links:
                link.restore()

        return restore

    def cut_log(self, size: int) -> None:
        """Cut the last bytes off the file of a broker that is down."""
        file = max((self.stack.folder / "valkey" / "appendonlydir").glob("*.incr.aof"))
        with file.open("r+b") as opened:
            opened.truncate(max(0, file.stat().st_size - size))

    def push(self, name: str, message: bytes) -> None:
        """Put any bytes on a list of a queue."""
        self.redis.lpush(name, message)
        self.pushed.append(message)

    # What callers and operators do

    def make_collection(self, name: str) -> None:
        """Make an empty collection in the catalog."""
        answer = httpx.post(
            f"{os.environ['AUXIP_CATALOG_URL']}/collections",
            headers={"x-api-key": os.environ["AUXIP_CATALOG_API_KEY"]},
            json={
                "type": "Collection",
                "stac_version": "1.1.0",
                "id": name,
                "description": "of one round",
                "license": "other",
                "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
                "links": [],
            },
        )
        answer.raise_for_status()

    def offer(self, offers: list[Offer]) -> None:
        """Let the station offer these items."""
        base = f"http://127.0.0.1:{self.links['workers', _SHARED].port}/auxip"
        items = list(publish(offers, self.stack.folder / "products", base))
        with closing(Store(self.stack.folder / "station.sqlite")) as station:
            station.add_items(STATION_COLLECTION, items)

    def withdraw(self, offers: list[Offer]) -> None:
        """Let the station offer these items no more."""
        with closing(Store(self.stack.folder / "station.sqlite")) as station:
            for offer in offers:
                station.delete_item(STATION_COLLECTION, offer.item_id)
                for file in offer.files:
                    (self.stack.folder / "products" / file.uuid).unlink(missing_ok=True)

    def enqueue(self, task: str, message: Json, task_id: str, lane: Lane = Lane.ON_DEMAND) -> None:
        """Send a public task.

        Raises:
            RedisError: the broker is down, or takes no message; the client itself would wait for it, and nobody would
                start it again.
        """
        self._require_broker()
        self._app.send_task(task, kwargs=message, task_id=task_id, queue=queue_for(task, lane))

    def signature(self, task: str, message: Json, task_id: str) -> Signature:
        """Return a public task as a caller's canvas has it."""
        queue = queue_for(task, Lane.ON_DEMAND)
        return self._app.signature(task, kwargs=message, immutable=True, queue=queue, task_id=task_id)

    def publish(self, canvas: Signature) -> None:
        """Send a caller's canvas.

        Raises:
            RedisError: the broker is down, or takes no message.
        """
        self._require_broker()
        canvas.apply_async()

    def _require_broker(self) -> None:
        self.redis.set("auxip:faults:writable", "", px=1)

    def request(self, task: str, message: Json, reply: str, request_id: str) -> bytes:
        """Push a request onto the intake; returns it."""
        request = {"task": task, "arguments": message, "id": request_id, "reply": reply}
        return self.push_request(json.dumps(request).encode())

    def push_request(self, request: bytes) -> bytes:
        """Push any bytes onto the intake; returns them."""
        self.redis.lpush("auxip:intake", request)
        return request

    def sweep(self, name: str, owner: str) -> str:
        """Tell twice of a tick of a sweep that is as the round is called; returns the id of its run."""
        self._sweeps_file.write_text(
            f'[sweep.{name}]\nevery = "365d"\nowner = "{owner}"\ncollection = "{name}"\n'
            f'product_types = ["{name}"]\nstart = "0h"\nend = "1h"\n'
        )
        now = time.time()
        for _ in range(2):
            self.enqueue("auxip.sweep", {"name": name, "at": now}, str(uuid.uuid4()), Lane.BULK)
        return find_sweep(load_settings(), name).tick(datetime.fromtimestamp(now, UTC)).run_id

    def result(self, task_id: str) -> Json | None:
        """Return what stands under a task's id as Celery spells it, or None."""
        text = cast("bytes | None", self.redis.get(f"celery-task-meta-{task_id}"))
        return None if text is None else json.loads(text)

    def versions(self, collection: str) -> list[Item]:
        """Return every version of every item of a collection of the catalog, in the order of their writing."""
        with closing(sqlite3.connect(self.stack.folder / "catalog.sqlite")) as catalog:
            rows = catalog.execute("SELECT body FROM versions WHERE collection = ? ORDER BY number", [collection])
            return [Item.model_validate_json(body) for (body,) in rows]

    def context(self) -> Context:
        """Return new connections to the ledger, the catalog and the store, which fail at once; close them."""
        context = Context(load_settings())
        context.ledger.redis.set_retry(Retry(NoBackoff(), 0))
        return context

    def restore(self) -> None:
        """Undo what any fault may have left: every link passes, every part of the stack runs."""
        for link in self.links.values():
            link.restore()
        self.stack.wait()

    def _keep_history(self) -> None:
        """Have the catalog's database keep every version of every item."""
        with closing(sqlite3.connect(self.stack.folder / "catalog.sqlite")) as catalog:
            catalog.executescript(_HISTORY)

    def _link_all(self) -> None:
        environment = self.stack.environment()
        for client in (*_QUEUES, *_OTHERS):
            for target, variable in _TARGETS.items():
                self.links[client, target] = self._proxies.to(_port(environment[variable]))
        self.links["workers", _SHARED] = self._proxies.to(_port(self.stack.station_url))
        self._stations_file = self._write_stations(Path(environment["AUXIP_STATIONS_FILE"]))

    def _write_stations(self, original: Path) -> Path:
        """Write the stack's stations as the workers are to see them, behind their link, impatient."""
        path = self.stack.folder / "linked-stations.toml"
        linked = _at(self.stack.station_url, self.links["workers", _SHARED].port)
        line = f'url = "{linked}"\ntimeout = {self.pace.station_timeout:g}'
        path.write_text(original.read_text("utf-8").replace(f'url = "{self.stack.station_url}"', line), "utf-8")
        return path

    def _environment(self, client: str) -> dict[str, str]:
        linked = {
            variable: _at(os.environ[variable], self.links[client, target].port)
            for target, variable in _TARGETS.items()
        }
        return {**linked, "AUXIP_STATIONS_FILE": str(self._stations_file)}

    def _start(self, name: str) -> Child:
        extra = {**self._environment(name), **self._extra.pop(name, {})}
        if name in _OTHERS:
            return _OTHERS[name](self.stack, extra)
        queue = _QUEUES[name]
        fewer = replace(queue, concurrency=min(queue.concurrency, self.pace.processes))
        return fleet.start_worker(self.stack, fewer, extra)

    def _wait_for_workers(self) -> None:
        deadline = time.monotonic() + _WORKERS_SECONDS
        while len(self._app.control.ping(timeout=1, limit=len(QUEUES)) or ()) < len(QUEUES):
            fleet.check(list(self._children.values()))
            if time.monotonic() > deadline:
                raise TimeoutError("the workers do not answer")

    def _kill_group(self, child: Child) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.popen.pid, signal.SIGKILL)
        child.popen.wait()

    def _pool(self, name: str, chance: random.Random) -> list[int]:
        pids = sorted(alive(descendants(self._children[name].popen.pid)))
        chance.shuffle(pids)
        return pids

    def _unacked(self) -> list[tuple[str, bytes]]:
        """The queue and the bytes of each message in a worker's hands, as `workers.transport` records them."""
        records = [text[1:-2].rpartition(b',"","') for text in cast("list[bytes]", self.redis.hvals(_UNACKED))]
        return [(queue.decode(), text) for text, _, queue in records]


def skewed_clock(seconds: float) -> dict[str, str]:
    """Return the variables that put the clock of a Python process off."""
    path = os.pathsep.join(part for part in (str(_CLOCK), os.environ.get("PYTHONPATH", "")) if part)
    return {"PYTHONPATH": path, "FAULTS_CLOCK": str(seconds)}


def _delivery_tag(text: bytes) -> str:
    """The tag of a message; empty where it is malformed."""
    try:
        return str(json.loads(text)["properties"]["delivery_tag"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _task_of(text: bytes) -> str:
    """The name of a message's task; empty where it is malformed."""
    try:
        return str(json.loads(text)["headers"]["task"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _client(url: str) -> "Redis":
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=2)


def _port(url: str) -> int:
    return urlsplit(url).port or 0


def _at(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0] + f":{port}"))


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
