"""Faults of systems, with the default settings: a hundred times nothing, no item fails and none has a try charged.

All of them are there, `AUXIP_ATTEMPTS` too, but time goes by ten times as fast: every setting in seconds that has a
part in this is divided by `FASTER`, and so is how long a system is away.
"""

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from celery import Celery

from local import samples
from local.stac.store import Store
from local.stack import Stack
from shared.context import Context
from shared.models import Run
from shared.runs.outages import probe_systems
from shared.settings import PREFIX, SECRETS_DIR, Settings
from tests.integration.conftest import new_collection, of_type, wait_for
from workers.cli.fleet import start_worker
from workers.queues import QUEUES

FASTER = 10
AWAY = 20.0
ITEMS = 60
IN_SECONDS = (
    "backoff_base",
    "backoff_max",
    "lease",
    "patience",
    "catalog_timeout",
    "s3_timeout",
    "reconcile_every",
)
PRODUCT_TYPE = f"DEFAULTS_{uuid.uuid4().hex[:8].upper()}"


def fast() -> dict[str, str]:
    """The settings in seconds, as they are by default, divided."""
    defaults = {name: Settings.model_fields[name].default for name in IN_SECONDS}
    return {f"AUXIP_{name.upper()}": str(default / FASTER) for name, default in defaults.items()}


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A stack of its own with a worker for each queue, and nothing of the settings that other tests set."""
    with Stack(volumes=1) as started:
        offer(started)
        environment = {**dict.fromkeys(_SET_BY_OTHERS, ""), **started.environment(), **fast()}
        for queue in QUEUES:
            start_worker(started, queue, environment)
        with closing(context_of(started)) as context:
            ended(context, begun(started, started.collection))  # so that the workers are there when a system goes away
        yield started


_SET_BY_OTHERS = ("AUXIP_ATTEMPTS", "AUXIP_RUN_WINDOW", "AUXIP_QUERIES_FILE", "AUXIP_SWEEPS_FILE")


def offer(stack: Stack) -> None:
    """Let the station have so many items of one small asset each."""
    content = b"the same for all"
    uuid_ = str(uuid.uuid4())
    (stack.folder / "products" / uuid_).write_bytes(content)
    instant = "2024-03-25T00:00:00.000Z"
    with closing(Store(stack.folder / "station.sqlite")) as store:
        store.add_items(
            samples.STATION_COLLECTION,
            [
                {
                    "type": "Feature",
                    "stac_version": "1.1.0",
                    "id": f"S1A_{PRODUCT_TYPE}_{number:06}",
                    "collection": samples.STATION_COLLECTION,
                    "geometry": None,
                    "properties": {
                        **dict.fromkeys(("datetime", "start_datetime", "created"), instant),
                        "end_datetime": "9999-12-31T23:59:59Z",
                        "product:type": PRODUCT_TYPE,
                    },
                    "assets": {
                        f"S1A_{PRODUCT_TYPE}_{number:06}.EOF": {
                            "href": f"{stack.station_url}/Products({uuid_})/$value",
                            "file:size": len(content),
                            "file:checksum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
                        }
                    },
                    "links": [],
                }
                for number in range(ITEMS)
            ],
        )


def context_of(stack: Stack) -> Context:
    """What looks into a stack's ledger, and probes its systems."""
    given = {name.removeprefix(PREFIX).lower(): value for name, value in stack.environment().items()}
    return Context(Settings.model_validate(given))


@pytest.fixture
def collection(own: Stack) -> str:
    """A new and empty collection."""
    return new_collection(own.environment())


@pytest.fixture
def ledger_of(own: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv(SECRETS_DIR, own.environment()[SECRETS_DIR])
    with closing(context_of(own)) as opened:
        yield opened
    own.set_station_faults([])
    own.set_catalog_faults([])


def begun(stack: Stack, collection: str) -> str:
    """Begin a run over all items, and return its id."""
    message = {
        "env": {"owner_id": "owner"},
        "cql2_filter": of_type(PRODUCT_TYPE),
        "catalog_collection_identifier": collection,
    }
    with Celery(broker=stack.environment()["AUXIP_REDIS_URL"]) as client:
        return str(client.send_task("auxip.staging", kwargs=message, queue="runs").id)


def found(context: Context, run_id: str) -> int:
    return next((run.counts.items for run in context.ledger.runs(100) if run.id == run_id), 0)


def ended(context: Context, run_id: str) -> Run:
    wait_for(lambda: run_id in {run.id for run in context.ledger.runs(100)}, "the run is open")
    wait_for(lambda: context.ledger.run(run_id).closed is not None, "the run is closed", 100)
    return context.ledger.run(run_id)


@pytest.mark.parametrize("status", [400, 401])
def test_a_proxy_that_refuses_every_seventh_request_fails_no_item(
    own: Stack, ledger_of: Context, collection: str, status: int
) -> None:
    rules = [{"path": ".", "status": status, "share": 0.15}]
    run_id = begun(own, collection)
    own.set_station_faults(rules)
    own.set_catalog_faults(rules)
    run = ended(ledger_of, run_id)
    assert [(item.code, item.reason) for item in ledger_of.ledger.items(run_id) if item.code] == []
    assert (run.code, run.counts.items, run.counts.failed) == ("", ITEMS, 0)


def no_outage_after_probes(context: Context) -> bool:
    probe_systems(context)
    return not context.outages.all()


def no_catalog(stack: Stack, away: bool) -> None:
    stack.set_catalog_faults([{"path": ".", "status": 503}] if away else [])


def no_station(stack: Stack, away: bool) -> None:
    stack.set_station_faults([{"path": ".", "status": 503}] if away else [])


def no_store(stack: Stack, away: bool) -> None:
    if away:
        next(child for child in stack.children if child.name.startswith("seaweed")).stop(5)
    else:
        stack.start_again("seaweedfs")
        stack.wait()


def a_full_store(stack: Stack, away: bool) -> None:
    stack.set_store_full(away)


def nonsense(stack: Stack, away: bool) -> None:
    """A proxy shows a page for people, whatever the catalog is asked for."""
    stack.set_catalog_faults([{"path": ".", "body": "<html>we are sorry</html>"}] if away else [])


@pytest.mark.parametrize("system", [no_catalog, no_station, no_store, a_full_store, nonsense])
def test_a_system_that_is_away_for_20_seconds_fails_no_item_and_costs_none_a_try(
    own: Stack, ledger_of: Context, collection: str, system: Callable[[Stack, bool], None]
) -> None:
    run_id = begun(own, collection)
    wait_for(lambda: found(ledger_of, run_id) == ITEMS, "its items are found")
    system(own, True)
    threading.Event().wait(AWAY / FASTER)  # that is what is tested
    system(own, False)
    run = ended(ledger_of, run_id)
    assert [(item.code, item.reason) for item in ledger_of.ledger.items(run_id) if item.code] == []
    assert (run.code, run.counts.items, run.counts.staged) == ("", ITEMS, ITEMS)
    assert {item.attempts for item in ledger_of.ledger.items(run_id)} == {0}
    wait_for(lambda: no_outage_after_probes(ledger_of), "no outage is left, as beat would find")
