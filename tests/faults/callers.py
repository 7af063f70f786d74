"""What callers and operators do meanwhile: further runs, other tasks, links of their own, cancels, replays."""

from collections.abc import Iterator

from shared.models import Lane
from tests.faults.game import record_of
from tests.faults.kinds import Scene, kind
from tests.faults.oracle import OWNER

_BY_A_SERVICE = ("claims", "uploads", "archives", "stale", "published")
_OF_A_JOB = ("job-failed", "job-mismatch", "job-lost")
"""What a faulty item fails with where a service stages it; which of its files are there then is the service's."""


@kind("same-items")
def same_items(scene: Scene) -> Iterator[None]:
    """A second run wants the same items."""
    scene.game.enqueue()
    yield


@kind("bulk")
def bulk(scene: Scene) -> Iterator[None]:
    """A run in bulk wants the same items."""
    scene.game.enqueue(Lane.BULK)
    yield


@kind("sweep")
def sweep(scene: Scene) -> Iterator[None]:
    """Two beats tell of the same tick of a sweep for the same items."""
    scene.game.sweep()
    yield


@kind("cancel", lasting=(0.2, 1.5))
def cancel(scene: Scene) -> Iterator[None]:
    """A second run wants the same items, and is cancelled."""
    run_id = scene.game.enqueue()
    yield
    scene.game.cancel(run_id)


@kind("replay")
def replay(scene: Scene) -> Iterator[None]:
    """Somebody replays the items that have failed until now; they fail again."""
    scene.game.replay()
    yield


@kind("requests")
def requests(scene: Scene) -> Iterator[None]:
    """Another system asks for the same items and, not sure of that, once more; and asks for nonsense."""
    scene.game.request(scene.game.request())
    scene.game.request_nonsense()
    yield


@kind("tasks")
def tasks(scene: Scene) -> Iterator[None]:
    """A caller asks for a search alone, and for one archive to be expanded."""
    scene.game.search()
    scene.game.process_asset()
    yield


@kind("canvas")
def canvas(scene: Scene) -> Iterator[None]:
    """A caller has a link, a chain or a chord of its own around a run."""
    game = scene.game
    scene.chance.choice((game.enqueue_linked, game.enqueue_chain, game.enqueue_chord))()
    yield


@kind("kill-task", lasting=(1, 2), kills=1, leaves=("claims", "uploads", "archives"))
def kill_task(scene: Scene) -> Iterator[None]:
    """The worker of the searches is lost while it has a caller's search in its hands."""
    link = scene.system.links["workers", "station"]
    link.delay(0.5)
    scene.game.search()
    scene.system.wait(0.8)
    scene.system.kill("search")
    yield
    link.restore()


@kind("poisoned-task", lasting=(8, 10), kills=2, leaves=("claims", "uploads", "archives"))
def poisoned_task(scene: Scene) -> Iterator[None]:
    """Every process that has a caller's archive in its hands is killed."""
    task_id = scene.game.process_asset()

    def tick() -> None:
        if scene.system.holds(task_id):
            scene.system.kill_children("decompress")

    scene.system.tickers.append(tick)
    yield
    scene.system.tickers.remove(tick)


@kind("staging-service", lasting=(6, 9), kills=2, leaves=_BY_A_SERVICE, fails=_OF_A_JOB)
def staging_service(scene: Scene) -> Iterator[None]:
    """For a while a service stages in the place of our own transfers, and then these go on."""
    with scene.system.staging_service(OWNER) as extra:
        scene.system.replace("staging", extra)
        yield
        scene.system.kill("staging")


@kind("revoke-run", lasting=(1, 2))
def revoke_run(scene: Scene) -> Iterator[None]:
    """The caller revokes the task of a run that goes on."""
    run_id = scene.game.enqueue()
    yield
    if record_of(scene.game.context, run_id) is not None:  # else there would be no run, as its caller wishes
        scene.system.revoke(run_id)


@kind("revoke-step", kills=1, leaves=("claims", "uploads", "archives"))
def revoke_step(scene: Scene) -> Iterator[None]:
    """An operator revokes a step that a worker works on, in Flower."""
    for task_id in scene.system.steps_in_work()[:1]:
        scene.system.revoke(task_id)
    yield
