"""The faults: each one a context manager that begins it, lets it last, and undoes it."""

from collections.abc import Iterator

from tests.faults.kinds import Scene, kind
from tests.faults.system import skewed_clock
from tests.messages import bad_messages

_HOUR = 3600.0
_MALFORMED = [text for text, code in bad_messages("auxip.clean_up").values() if code != "message-too-large"]
_DEAD = ("claims", "uploads", "archives")
"""What a process may leave that is killed: its store may also apply a PUT late."""
_FROZEN = (*_DEAD, "stale")
_AWAY = ("claims", "uploads", "archives")
"""What is left where a claim cannot be ended, an upload not be aborted, or an archive is deleted without an answer."""


@kind("kill-child", kills=1, leaves=_DEAD)
def kill_child(scene: Scene) -> Iterator[None]:
    """A pool process is killed, by memory or by a segfault."""
    scene.system.kill_child(scene.worker(), scene.chance)
    yield


@kind("kill-worker", kills=1, leaves=_DEAD)
def kill_worker(scene: Scene) -> Iterator[None]:
    """A worker is lost with all its processes, and an orchestrator starts it again."""
    scene.system.kill(scene.worker())
    yield


@kind("kill-all-workers", kills=1, leaves=_DEAD)
def kill_all_workers(scene: Scene) -> Iterator[None]:
    """Every worker is lost at once."""
    for name in scene.system.workers:
        scene.system.kill(name)
    yield


@kind("kill-beat")
def kill_beat(scene: Scene) -> Iterator[None]:
    """Beat is lost, and started again."""
    scene.system.kill("beat")
    yield


@kind("kill-upkeep", kills=1, leaves=_DEAD)
def kill_upkeep(scene: Scene) -> Iterator[None]:
    """Beat is lost, and with it the worker that reconciles."""
    scene.system.kill("beat")
    scene.system.kill("runs")
    yield


@kind("kill-gate")
def kill_gate(scene: Scene) -> Iterator[None]:
    """The gate is lost while another system asks for the same items, and started again."""
    scene.game.request()
    scene.system.kill("gate")
    yield


@kind("kill-broker", lasting=(0.1, 2), is_outage=True, leaves=_AWAY)
def kill_broker(scene: Scene) -> Iterator[None]:
    """The broker, which is the ledger too, is killed and comes back with what its file holds."""
    start = scene.system.kill_part("valkey")
    yield
    start()


@kind("kill-store", lasting=(0.1, 1), is_outage=True, leaves=_AWAY)
def kill_store(scene: Scene) -> Iterator[None]:
    """The store is killed and comes back."""
    start = scene.system.kill_part("seaweedfs")
    yield
    start()


@kind("kill-catalog", lasting=(0.1, 1), is_outage=True, leaves=_AWAY)
def kill_catalog(scene: Scene) -> Iterator[None]:
    """The catalog, and the station with it, is killed and comes back."""
    start = scene.system.kill_part("stac")
    yield
    start()


@kind("freeze-child", lasting=(0.5, 1.5), leases=1, kills=1, leaves=_FROZEN)
def freeze_child(scene: Scene) -> Iterator[None]:
    """A pool process stands still until its lease has lapsed and another has had its message, and then goes on."""
    worker = scene.worker()
    wake = scene.system.freeze_child(worker, scene.chance)
    try:
        scene.system.copy_messages(set(), frozenset({worker}))
        yield
    finally:
        wake()


@kind("freeze-worker", lasting=(2, 4), leases=1, kills=1, leaves=_FROZEN)
def freeze_worker(scene: Scene) -> Iterator[None]:
    """A whole worker stands still, is replaced, and goes on beside its successor, which has had its messages."""
    worker = scene.worker()
    wake = scene.system.freeze(worker)
    try:
        scene.system.copy_messages(set(), frozenset({worker}))
        yield
    finally:
        wake()


@kind("cut", leaves=_AWAY)
def cut(scene: Scene) -> Iterator[None]:
    """The connections of one link are reset."""
    scene.link().cut()
    yield


@kind("refuse", lasting=(0.2, 2), is_outage=True, leaves=_AWAY)
def refuse(scene: Scene) -> Iterator[None]:
    """One link is down."""
    link = scene.link()
    link.refuse()
    yield
    link.restore()


@kind("cut-after", lasting=(0.5, 2), leaves=_AWAY)
def cut_after(scene: Scene) -> Iterator[None]:
    """Each connection of one link breaks within an answer."""
    link = scene.link()
    link.cut_after(scene.chance.choice((1, 50, 500, 5_000, 50_000)))
    yield
    link.restore()


@kind("delay", lasting=(1, 3), leaves=_AWAY)
def delay(scene: Scene) -> Iterator[None]:
    """One link is slow."""
    link = scene.link()
    link.delay(scene.chance.uniform(0.05, 0.5))
    yield
    link.restore()


@kind("disk-full", lasting=(0.5, 1.5), is_outage=True, leaves=_AWAY, fails_when_long=("s3-full",))
def disk_full(scene: Scene) -> Iterator[None]:
    """The store takes no new objects for a while: its only volume is read-only, and there is room for no other."""
    scene.system.stack.set_store_full(True)
    yield
    scene.system.stack.set_store_full(False)


@kind("clock", lasting=(6, 9), kills=2, leaves=_DEAD)
def clock(scene: Scene) -> Iterator[None]:
    """One worker is replaced by one whose clock is an hour off, and that by one whose clock is right."""
    worker = scene.worker()
    scene.system.replace(worker, skewed_clock(scene.chance.choice((-_HOUR, _HOUR))))
    yield
    scene.system.kill(worker)


@kind("duplicates", lasting=(1, 3))
def duplicates(scene: Scene) -> Iterator[None]:
    """Every message that is seen on a queue or in a worker's hands is delivered once more."""
    copied: set[str] = set()

    def tick() -> None:
        scene.system.copy_messages(copied)

    scene.system.tickers.append(tick)
    yield
    scene.system.tickers.remove(tick)


@kind("malformed")
def malformed(scene: Scene) -> Iterator[None]:
    """Every kind of malformed message is put on the queues, each on one of them; but the largest, for its weight."""
    for message in _MALFORMED:
        scene.system.push(scene.chance.choice(scene.system.lists), message)
    yield


def _purge(queue: str) -> None:
    @kind(f"purge-{queue}", lasting=(0.3, 1.5))
    def purge(scene: Scene) -> Iterator[None]:
        """The messages of our steps on one queue are deleted, as they are seen; those of callers are not."""

        def tick() -> None:
            scene.system.purge(queue, lambda task: task.startswith("auxip.step."))

        tick()
        scene.system.tickers.append(tick)
        yield
        scene.system.tickers.remove(tick)


for _queue in ("search", "staging", "catalog", "decompress", "runs"):
    _purge(_queue)


@kind("purge-requests", lasting=(0.5, 1.5))
def purge_requests(scene: Scene) -> Iterator[None]:
    """The message that a request has become is deleted before a worker has taken it; then it is made once more."""
    wake = scene.system.stop_worker("runs")
    request_id = scene.game.request()
    yield
    scene.system.purge("runs", lambda task: task == "auxip.staging")
    wake()
    scene.game.request(request_id)


@kind("terminate", lasting=(1, 2))
def terminate(scene: Scene) -> Iterator[None]:
    """The worker of the transfers is asked to end in the middle of them: it ends them first."""
    link = scene.system.links["workers", "station"]
    link.delay(0.3)
    scene.system.terminate("staging")
    yield
    link.restore()


@kind("cut-log", lasting=(0.1, 1), is_outage=True, leaves=(*_AWAY, "forgotten"))
def cut_log(scene: Scene) -> Iterator[None]:
    """The broker is killed, and the end of its file is lost, also of what it has acknowledged."""
    start = scene.system.kill_part("valkey")
    scene.system.cut_log(scene.chance.choice((1, 50, 200, 1000)))
    yield
    start()


@kind("readonly", lasting=(0.5, 2), is_outage=True, leaves=_AWAY)
def readonly(scene: Scene) -> Iterator[None]:
    """The broker answers READONLY to every write, as one does that was the first and is a replica now."""
    scene.system.redis.slaveof("127.0.0.1", 1)
    yield
    scene.system.redis.slaveof()


@kind("out-of-memory", lasting=(0.5, 2), is_outage=True, leaves=_AWAY)
def out_of_memory(scene: Scene) -> Iterator[None]:
    """The broker answers OOM to every write."""
    scene.system.redis.config_set("maxmemory", 1)
    yield
    scene.system.redis.config_set("maxmemory", 0)


@kind("flushdb", leaves=_AWAY)
def flushdb(scene: Scene) -> Iterator[None]:
    """Everything that the broker has is gone."""
    scene.system.redis.flushdb()
    yield


@kind("freeze-transfer", lasting=(4, 6), leases=1.5, kills=1, leaves=("claims", "uploads"))
def freeze_transfer(scene: Scene) -> Iterator[None]:
    """Transfers stand still while they wait for the station, until others have done them; then they must stop."""
    link = scene.system.links["workers", "station"]
    link.delay(0.4)
    scene.system.wait(1)
    wake = scene.system.freeze("staging")
    link.restore()
    scene.system.copy_messages(set(), frozenset({"staging"}))
    yield
    wake()


@kind("freeze-publication", lasting=(4, 6), leases=1.5, kills=1, leaves=("claims",))
def freeze_publication(scene: Scene) -> Iterator[None]:
    """Publications stand still while they wait for the catalog, until others have done them; then they must stop."""
    link = scene.system.links["catalog", "catalog"]
    link.delay(0.4)
    scene.system.wait(1)
    wake = scene.system.freeze("catalog")
    link.restore()
    scene.system.copy_messages(set(), frozenset({"catalog"}))
    yield
    wake()
