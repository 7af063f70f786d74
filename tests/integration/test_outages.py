"""Outages of a station, the catalog and S3: steps wait, no item loses a try, and `auxip runs` shows the outage."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from click.testing import CliRunner

from local import samples
from local.processes import Child
from local.stack import Stack
from shared.context import Context
from shared.errors import Busy, Rejected, Retryable
from shared.http.probes import Fault
from shared.ledger import Outage
from shared.models import RunRequest
from shared.runs.due import searching
from shared.runs.outages import plain_search_waiting_for_systems, probe_systems, waiting_for_systems
from shared.runs.settle import feed, settle_item
from shared.runs.systems import Needs
from shared.stac.item import Found
from shared.stac.search import Cql2
from shared.storage.location import Location
from tests.integration.conftest import Caller, closed_run, of_type, wait_for
from tests.integration.many import OWNER
from tests.unit.making import ANY, item_of
from workers.base import publish
from workers.cli.records import runs

ORBITS = of_type("OPER_MPL_ORBPRE")
CATALOG = Needs(("catalog",))
OUTAGE = Outage(since=1.0, probed=1.0, fault="unavailable", code="catalog-unavailable", reason="it answered 503")
AWAY = Retryable("catalog-unavailable", "it answered 503")
ITEMS = "items|/search"
"""Paths at which the catalog reads and writes items, one and many."""

WRONG_KEY = [{"path": ".", "status": 401}]
MORE_THAN_ALL_TRIES = 6
"""Probes of a system, each as long after the one before as a try would be; `AUXIP_ATTEMPTS` is 3 here."""


@pytest.fixture(autouse=True)
def _no_outages_left(context: Context, stack: Stack) -> Iterator[None]:
    yield
    stack.set_station_faults([])
    stack.set_catalog_faults([])
    wait_for(lambda: _none_after_probes(context), "all systems are well again")


@contextmanager
def no_station(stack: Stack) -> Iterator[None]:
    stack.set_station_faults([{"path": ".", "status": 503}])
    yield
    stack.set_station_faults([])


@contextmanager
def no_catalog(stack: Stack) -> Iterator[None]:
    stack.set_catalog_faults([{"path": ".", "status": 503}])
    yield
    stack.set_catalog_faults([])


@contextmanager
def no_items_in_the_catalog(stack: Stack) -> Iterator[None]:
    """The run is begun, and then the catalog goes away."""
    stack.set_catalog_faults([{"path": f"{ITEMS}|/$", "status": 500}])
    yield
    stack.set_catalog_faults([])


@contextmanager
def a_wrong_key(stack: Stack) -> Iterator[None]:
    """The run is begun, and then the catalog refuses our key: its landing page is there for everybody."""
    stack.set_catalog_faults([{"path": ITEMS, "status": 403}])
    yield
    stack.set_catalog_faults([])


@contextmanager
def no_store(stack: Stack) -> Iterator[None]:
    for child in stack.children:
        if child.name.startswith("seaweed"):
            child.stop(5)
    try:
        yield
    finally:
        stack.start_again("seaweedfs")
        stack.wait()


@pytest.mark.long
@pytest.mark.parametrize(
    ("system", "away", "fault"),
    [
        ("station local", no_station, "has been unavailable"),
        ("catalog", no_catalog, "has been unavailable"),
        ("catalog", no_items_in_the_catalog, "has been unavailable"),
        ("catalog", a_wrong_key, "refuses our credentials"),
        ("s3", no_store, "has been unavailable"),
    ],
)
def test_an_outage_costs_no_item_a_try(
    caller: Caller,
    context: Context,
    stack: Stack,
    system: str,
    away: Callable[[Stack], AbstractContextManager[None]],
    fault: str,
) -> None:
    with away(stack):
        run_id = caller.stage(ORBITS).id
        wait_for(lambda: _probes(context, system) > MORE_THAN_ALL_TRIES, f"the {system} is known to be away")
        assert context.ledger.run(run_id).closed is None
        assert f"the {system} {fault} since 20" in CliRunner().invoke(runs).output
    run = closed_run(context, run_id)
    assert [wait.system for wait in run.waits] == [system]
    assert f"run {run_id[:8]} waited for the {system} from 20" in CliRunner().invoke(runs).output
    assert run.counts.items > 0
    assert (run.counts.failed, run.counts.staged) == (0, run.counts.items)
    assert [record.attempts for record in context.ledger.items(run_id)] == [0] * run.counts.items
    assert context.outages.all() == {}


def _probes(context: Context, system: str) -> int:
    outage = context.outages.of(system)
    return 0 if outage is None else outage.probes


def opened(context: Context) -> str:
    run_id = str(uuid.uuid4())
    context.ledger.open_run(run_id, RunRequest(owner=OWNER, collection="aux", selection=Cql2(filter=ANY)))
    return run_id


def _none_after_probes(context: Context) -> bool:
    probe_systems(context)
    return not context.outages.all()


@pytest.mark.parametrize("away", [no_station, no_catalog])
def test_a_search_waits_for_a_system_until_its_own_time_is_over(
    caller: Caller, stack: Stack, away: Callable[[Stack], AbstractContextManager[None]]
) -> None:
    with away(stack):
        result = caller.stage(ORBITS, timeout_seconds=1)
        wait_for(result.ready, "the caller has the result")
    assert "search-timeout" in str(result.result)


@pytest.mark.parametrize("system", ["station", "catalog"])
def test_an_on_demand_search_that_two_probes_find_refused_fails_with_the_refusal(
    caller: Caller, context: Context, stack: Stack, system: str
) -> None:
    (stack.set_station_faults if system == "station" else stack.set_catalog_faults)(WRONG_KEY)
    result = caller.stage(ORBITS)
    wait_for(result.ready, "the caller has the result")
    assert f"{system}-unauthorized" in str(result.result)
    assert _probes(context, "catalog" if system == "catalog" else "station local") == 2


def test_a_search_with_a_timeout_waits_for_its_credentials_to_be_accepted(caller: Caller, stack: Stack) -> None:
    stack.set_station_faults(WRONG_KEY)
    result = caller.stage(ORBITS, timeout_seconds=1)
    wait_for(result.ready, "the caller has the result")
    assert "search-timeout" in str(result.result)


@pytest.mark.long
def test_a_search_in_bulk_waits_for_its_credentials_to_be_accepted(
    caller: Caller, context: Context, stack: Stack
) -> None:
    stack.set_station_faults(WRONG_KEY)
    run_id = caller.stage_in_bulk(ORBITS).id
    wait_for(lambda: _probes(context, "station local") > MORE_THAN_ALL_TRIES, "the refusal is known")
    stack.set_station_faults([])
    assert closed_run(context, run_id).counts.failed == 0


@pytest.mark.long
def test_the_search_of_a_replay_waits_for_its_credentials_to_be_accepted(
    workers: list[Child], collection: str, context: Context, stack: Stack
) -> None:
    stack.set_station_faults(WRONG_KEY)
    selection = Cql2.model_validate(ORBITS)
    request = RunRequest(owner="me", collection=collection, selection=selection, replays=1)
    run_id = str(uuid.uuid4())
    context.ledger.open_run(run_id, request)
    publish([searching(context.ledger.run(run_id))])
    wait_for(lambda: _probes(context, "station local") > MORE_THAN_ALL_TRIES, "the refusal is known")
    stack.set_station_faults([])
    assert closed_run(context, run_id).counts.failed == 0


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_is_refused_of_an_item_alone_uses_up_its_tries(
    caller: Caller, context: Context, stack: Stack, status: int
) -> None:
    stack.set_station_faults([{"path": r"/Products\(", "status": status}])
    result = caller.stage(ORBITS)
    wait_for(result.ready, "the caller has the result")
    run = closed_run(context, result.id)
    assert run.counts.failed == run.counts.items > 0
    code = "station-refused" if status == 400 else "station-unauthorized"
    assert {(record.attempts, record.code) for record in context.ledger.items(run.id)} == {(3, code)}
    assert context.outages.all() == {}


@pytest.mark.long
def test_the_fault_of_an_item_uses_up_its_tries_while_its_system_answers(
    caller: Caller, context: Context, stack: Stack
) -> None:
    stack.set_catalog_faults([{"path": ITEMS, "status": 503}])
    result = caller.stage(ORBITS)
    wait_for(result.ready, "the caller has the result")
    run = closed_run(context, result.id)
    stack.set_catalog_faults([])
    assert run.counts.failed == run.counts.items > 0
    assert {record.attempts for record in context.ledger.items(run.id)} == {3}
    assert context.outages.all() == {}


def test_an_outage_that_is_longer_than_the_patience_uses_up_tries(stack: Stack, context: Context) -> None:
    patience = Context(context.settings.model_copy(update={"outage_patience": 0.0, "backoff_base": 0.001}))
    with no_catalog(stack):
        with pytest.raises(Busy, match="system-unavailable"), waiting_for_systems(patience, CATALOG):
            raise AWAY
        with pytest.raises(Retryable, match="catalog-unavailable"), waiting_for_systems(patience, CATALOG):
            raise AWAY
        with waiting_for_systems(patience, CATALOG):
            pass  # is begun
    patience.outages.record_up("catalog", 0.001)
    patience.close()


@pytest.mark.long
def test_a_search_that_is_no_run_waits_for_its_station(caller: Caller, context: Context, stack: Stack) -> None:
    with no_station(stack):
        result = caller.send("auxip.search", auxip_cql2=ORBITS)
        wait_for(lambda: _probes(context, "station local") > MORE_THAN_ALL_TRIES, "the station is known to be away")
        assert not result.ready()
    wait_for(result.ready, "the caller has the result")
    assert result.successful()


@pytest.mark.long
@pytest.mark.parametrize(("system", "away"), [("catalog", no_catalog), ("s3", no_store)])
def test_an_archive_that_a_caller_names_waits_for_what_its_expansion_needs(
    caller: Caller, context: Context, stack: Stack, system: str, away: Callable[[Stack], AbstractContextManager[None]]
) -> None:
    name, owner = samples.UPPER_CASE_ARCHIVE, caller.env["owner_id"]
    archive = Location(context.settings.s3_bucket, f"{owner}/archives/{uuid.uuid4()}/{name}")
    context.store.put(archive, samples.product(name).build())
    with away(stack):
        result = caller.send("auxip.process_asset", asset_href=archive.href, asset_name=name)
        wait_for(lambda: _probes(context, system) > MORE_THAN_ALL_TRIES, f"the {system} is known to be away")
        assert not result.ready()
    wait_for(result.ready, "the caller has the result")
    assert result.get() == f"{archive.href.removesuffix('.TGZ')}/"


def test_a_search_that_is_no_run_waits_no_longer_than_a_search_may_take(stack: Stack, apart: Context) -> None:
    hurried = Context(apart.settings.model_copy(update={"step_timeout": 0.001}))
    apart.ledger.begin_wait("task", 60)
    with (
        no_station(stack),
        pytest.raises(Rejected, match=r"search-timeout: .*station local.*AUXIP_STEP_TIMEOUT"),
        plain_search_waiting_for_systems(hurried, "task", []),
    ):
        raise Retryable("station-unavailable", "it answered 503")
    hurried.close()


@pytest.mark.parametrize(
    ("system", "turns"), [("catalog", 2), ("s3", 2), ("station local", 2), ("station other", 5), ("s3 other", 5)]
)
def test_few_items_of_a_run_have_their_turn_while_a_system_that_they_need_is_away(
    apart: Context, system: str, turns: int
) -> None:
    run_id, ledger = opened(apart), apart.ledger
    ledger.add_items(run_id, [Found(item_id=f"X{number}", item=item_of(f"X{number}")) for number in range(5)])
    ledger.begin_work(run_id)
    apart.outages.record_down(system, OUTAGE, 60)
    assert len(feed(apart, ledger.run(run_id))) == turns


def test_the_first_item_that_ends_after_an_outage_lets_all_others_follow(apart: Context) -> None:
    run_id, ledger = opened(apart), apart.ledger
    ledger.add_items(run_id, [Found(item_id=f"X{number}", item=item_of(f"X{number}")) for number in range(5)])
    ledger.begin_work(run_id)
    apart.outages.record_down("catalog", OUTAGE, 60)
    run = ledger.run(run_id)
    feed(apart, run)
    apart.outages.record_up("catalog", 1)
    with ledger.claim(run_id, ledger.keys(run_id)[0], 60) as (_, record):
        assert len(settle_item(apart, run, record)) == 3


def test_an_outage_ends_without_a_step_that_waits_for_it(workers: list[Child], context: Context) -> None:
    from workers.app import app

    assert workers

    for system in ("catalog", "s3", "station local", "station that-is-gone"):
        context.outages.record_down(system, OUTAGE, 0.001)
    app.send_task("auxip.reconcile")
    wait_for(lambda: context.outages.all() == {}, "all systems are known to be back")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
def test_a_system_that_refuses_is_not_unavailable(stack: Stack, context: Context, status: int) -> None:
    stack.set_catalog_faults([{"path": ".", "status": status}])
    assert context.catalog_of("owner").probe(Fault.UNAVAILABLE, "aux") is None


def test_a_store_that_has_no_such_bucket_is_not_away(context: Context) -> None:
    other = Context(context.settings.model_copy(update={"s3_bucket": "no-such-bucket"}))
    with pytest.raises(Retryable, match="s3-unavailable: for a test"), waiting_for_systems(other, Needs(("s3",))):
        raise Retryable("s3-unavailable", "for a test")
    other.close()
