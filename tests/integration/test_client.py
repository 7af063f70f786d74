"""The Python client beside a gate and real workers, and stock Celery that has imported it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

import workers.client
from local.processes import Child
from local.stack import Stack
from shared.context import Context
from tests.integration.conftest import Caller, of_type
from workers.client import Answer, Auxip, AuxipError, Status

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "call.md").read_text("utf-8")
SECONDS = 120


@pytest.fixture
def gate(stack: Stack, workers: list[Child]) -> Iterator[Child]:
    from workers.cli.fleet import start_gate

    child = start_gate(stack)
    yield child
    child.stop(10)


@pytest.fixture
def url(context: Context) -> str:
    return context.settings.redis_url.get_secret_value()


@pytest.fixture
def client(gate: Child, url: str, caller: Caller) -> Iterator[Auxip]:
    with Auxip(url, owner=str(caller.env["owner_id"])) as opened:
        yield opened


def test_items_are_staged_and_the_outcome_names_them(client: Auxip, caller: Caller, context: Context) -> None:
    told: list[Answer] = []
    types = ["OPER_MPL_ORBSCT", "MISSPELT"]
    request = client.stage(caller.collection, product_type=types, policy="LatestGeneration")
    outcome = request.wait(SECONDS, progress=told.append)

    assert outcome.status is Status.SUCCESSFUL
    assert [item.collection_id for item in outcome.items] == [caller.collection]
    assert outcome.failed == ()
    assert outcome.report == context.ledger.run(request.id).artifact
    assert [each.selected for each in outcome.selected] == [1, 0]
    assert {answer.id for answer in told} <= {request.id}
    assert request.status().status is Status.SUCCESSFUL


@pytest.mark.long
def test_items_that_fail_are_named(client: Auxip, caller: Caller, stack: Stack) -> None:
    stack.set_station_faults([{"path": "/Products", "status": 404}])
    outcome = client.stage(caller.collection, cql2=of_type("OPER_MPL_ORBSCT")).wait(SECONDS)
    assert (outcome.status, len(outcome.items)) == (Status.FAILED, 0)
    assert {failed.code for failed in outcome.failed} == {"station-not-found"}


def test_a_refused_request_raises_its_code_and_reason(client: Auxip) -> None:
    with pytest.raises(AuxipError, match="product_typ: there is no such field, the nearest is product_type") as raised:
        client.request("auxip.on_demand_staging", {"product_typ": "A"}).wait(SECONDS)
    assert raised.value.code == "bad-request"


@pytest.mark.long
def test_a_search_that_finds_nothing_is_a_value_error_where_that_is_asked_for(client: Auxip) -> None:
    search = {"auxip_cql2": of_type("NO_SUCH_TYPE"), "error_if_empty": True}
    with pytest.raises(ValueError, match="No Auxip product found"):
        client.request("auxip.search", search).wait(SECONDS)


def test_a_run_that_is_closed_is_not_cancelled(client: Auxip, caller: Caller) -> None:
    request = client.stage(caller.collection, cql2=of_type("NO_SUCH_TYPE"))
    assert request.wait(SECONDS).status is Status.EMPTY
    with pytest.raises(AuxipError, match="not-cancelled"):
        request.cancel()


@pytest.mark.long
def test_the_client_example_of_the_page_stages_items(caller: Caller, gate: Child, url: str) -> None:
    (example,) = (each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "auxip_workers" in each)
    example = example.replace("auxip_workers.client", "workers.client").replace('"aux"', f'"{caller.collection}"')
    names: dict[str, object] = {}
    exec(re.sub(r"redis://[^\"]*", url, example), names)  # noqa: S102 - the text is ours
    outcome = names["outcome"]
    assert isinstance(outcome, workers.client.Outcome)
    assert len(outcome.items) > 0


# Stock Celery


@pytest.fixture
def stock(url: str) -> Iterator[Celery]:
    app = Celery("stock", broker=url, backend=url, set_as_current=False)
    app.conf.broker_transport = "kombu.transport.redis:Transport"
    yield app
    app.close()


def test_a_celery_caller_with_the_client_gets_its_error(
    stock: Celery, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "auxip_workers.client", workers.client)
    message = {"env": caller.env, "cql2_filter": of_type("A"), "catalog_collection_identifier": "no-such-collection"}
    with pytest.raises(AuxipError) as raised:
        stock.send_task("auxip.staging", kwargs=message, queue="runs").get(SECONDS)
    assert raised.value.code == "unknown-collection"
    assert "no-such-collection" in raised.value.reason


@pytest.mark.parametrize(
    ("task", "queue", "message"),
    [
        ("auxip.search", "search", {"auxip_cql2": of_type("NO_SUCH_TYPE"), "error_if_empty": True}),
        ("auxip.process_asset", "decompress", {"asset_href": "s3://aux/x.EOF", "asset_name": "x.EOF"}),
    ],
)
def test_a_celery_caller_gets_a_value_error_where_the_reference_raises_one(
    stock: Celery, caller: Caller, task: str, queue: str, message: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"No Auxip product found|Unsupported archive type") as raised:
        stock.send_task(task, kwargs={"env": caller.env, **message}, queue=queue).get(SECONDS)
    assert type(raised.value) is ValueError
    told = AuxipError.of(raised.value)
    assert told is not None
    assert told.code in {"nothing-found", "unsupported-archive"}


def test_a_celery_caller_gets_a_refused_message_as_the_client_s_error(
    stock: Celery, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "auxip_workers.client", workers.client)
    with pytest.raises(AuxipError, match="bad-request"):
        stock.send_task("auxip.staging", kwargs={"env": caller.env, "wrong": 1}, queue="runs").get(SECONDS)
