"""The faults: each one a context manager that begins it, lets it last, and undoes it."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.faults.proxy import Link
from tests.faults.system import LEASE_SECONDS, System, skewed_clock
from tests.messages import bad_messages

_HOUR = 3600.0
_MALFORMED = [text for text, code in bad_messages("auxip.clean_up").values() if code != "message-too-large"]


@dataclass(frozen=True)
class Scene:
    """What a fault works on.

    Attributes:
        system: all of it.
        chance: what the fault chooses by, of its own seed.
        enqueue: enqueues the round's request once more.
        request: pushes it onto the intake, as another system does.
    """

    system: System
    chance: random.Random
    enqueue: Callable[[], object]
    request: Callable[[], object]

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
        kills: how often one step may lose its process by it: three times are a reason to give its item up.
    """

    name: str
    inject: Callable[[Scene], AbstractContextManager[None]]
    lasting: tuple[float, float]
    kills: int


KINDS: dict[str, Kind] = {}


def _kind(
    name: str, lasting: tuple[float, float] = (0, 0), kills: int = 0
) -> Callable[[Callable[[Scene], Iterator[None]]], Callable[[Scene], Iterator[None]]]:
    def register(function: Callable[[Scene], Iterator[None]]) -> Callable[[Scene], Iterator[None]]:
        KINDS[name] = Kind(name, contextmanager(function), lasting, kills)
        return function

    return register


@_kind("kill-child", kills=1)
def kill_child(scene: Scene) -> Iterator[None]:
    """A pool process is killed, by memory or by a segfault."""
    scene.system.kill_child(scene.worker(), scene.chance)
    yield


@_kind("kill-worker", kills=1)
def kill_worker(scene: Scene) -> Iterator[None]:
    """A worker is lost with all its processes, and an orchestrator starts it again."""
    scene.system.kill(scene.worker())
    yield


@_kind("kill-all-workers", kills=1)
def kill_all_workers(scene: Scene) -> Iterator[None]:
    """Every worker is lost at once."""
    for name in scene.system.workers:
        scene.system.kill(name)
    yield


@_kind("kill-beat")
def kill_beat(scene: Scene) -> Iterator[None]:
    """Beat is lost, and started again."""
    scene.system.kill("beat")
    yield


@_kind("kill-upkeep", kills=1)
def kill_upkeep(scene: Scene) -> Iterator[None]:
    """Beat is lost, and with it the worker that reconciles."""
    scene.system.kill("beat")
    scene.system.kill("runs")
    yield


@_kind("kill-gate")
def kill_gate(scene: Scene) -> Iterator[None]:
    """The gate is lost while another system asks for the same items, and started again."""
    scene.request()
    scene.system.kill("gate")
    yield


@_kind("kill-broker", lasting=(0.1, 2))
def kill_broker(scene: Scene) -> Iterator[None]:
    """The broker, which is the ledger too, is killed and comes back with what its file holds."""
    start = scene.system.kill_part("valkey")
    yield
    start()


@_kind("kill-store", lasting=(0.1, 1))
def kill_store(scene: Scene) -> Iterator[None]:
    """The store is killed and comes back."""
    start = scene.system.kill_part("seaweedfs")
    yield
    start()


@_kind("kill-catalog", lasting=(0.1, 1))
def kill_catalog(scene: Scene) -> Iterator[None]:
    """The catalog, and the station with it, is killed and comes back."""
    start = scene.system.kill_part("stac")
    yield
    start()


@_kind("freeze-child", lasting=(LEASE_SECONDS + 0.5, LEASE_SECONDS + 1.5), kills=1)
def freeze_child(scene: Scene) -> Iterator[None]:
    """A pool process stands still until its lease has lapsed and another has had its message, and then goes on."""
    worker = scene.worker()
    wake = scene.system.freeze_child(worker, scene.chance)
    try:
        scene.system.copy_messages(set(), frozenset({worker}))
        yield
    finally:
        wake()


@_kind("freeze-worker", lasting=(LEASE_SECONDS + 2, LEASE_SECONDS + 4), kills=1)
def freeze_worker(scene: Scene) -> Iterator[None]:
    """A whole worker stands still, is replaced, and goes on beside its successor, which has had its messages."""
    worker = scene.worker()
    wake = scene.system.freeze(worker)
    try:
        scene.system.copy_messages(set(), frozenset({worker}))
        yield
    finally:
        wake()


@_kind("cut")
def cut(scene: Scene) -> Iterator[None]:
    """The connections of one link are reset."""
    scene.link().cut()
    yield


@_kind("refuse", lasting=(0.2, 2))
def refuse(scene: Scene) -> Iterator[None]:
    """One link is down."""
    link = scene.link()
    link.refuse()
    yield
    link.restore()


@_kind("cut-after", lasting=(0.5, 2))
def cut_after(scene: Scene) -> Iterator[None]:
    """Each connection of one link breaks within an answer."""
    link = scene.link()
    link.cut_after(scene.chance.choice((1, 50, 500, 5_000, 50_000)))
    yield
    link.restore()


@_kind("delay", lasting=(1, 3))
def delay(scene: Scene) -> Iterator[None]:
    """One link is slow."""
    link = scene.link()
    link.delay(scene.chance.uniform(0.05, 0.5))
    yield
    link.restore()


@_kind("disk-full", lasting=(0.5, 1.5))
def disk_full(scene: Scene) -> Iterator[None]:
    """The store takes no new objects for a while: its only volume is read-only, and there is room for no other."""
    scene.system.stack.set_store_full(True)
    yield
    scene.system.stack.set_store_full(False)


@_kind("clock", lasting=(6, 9), kills=2)
def clock(scene: Scene) -> Iterator[None]:
    """One worker is replaced by one whose clock is an hour off, and that by one whose clock is right."""
    worker = scene.worker()
    scene.system.replace(worker, skewed_clock(scene.chance.choice((-_HOUR, _HOUR))))
    yield
    scene.system.kill(worker)


@_kind("duplicates", lasting=(1, 3))
def duplicates(scene: Scene) -> Iterator[None]:
    """Every message that is seen on a queue or in a worker's hands is delivered once more."""
    copied: set[str] = set()

    def tick() -> None:
        scene.system.copy_messages(copied)

    scene.system.tickers.append(tick)
    yield
    scene.system.tickers.remove(tick)


@_kind("malformed")
def malformed(scene: Scene) -> Iterator[None]:
    """Every kind of malformed message is put on the queues, each on one of them; but the largest, for its weight."""
    for message in _MALFORMED:
        scene.system.push(scene.chance.choice(scene.system.lists), message)
    yield


@_kind("same-items")
def same_items(scene: Scene) -> Iterator[None]:
    """A second run wants the same items."""
    scene.enqueue()
    yield
