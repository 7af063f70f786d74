"""Bad input, bad answers and bad settings: a clear error with its code, and nothing lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import samples
from local.processes import Child
from local.stack import Stack
from shared.context import Context
from shared.json_types import Json
from shared.models import RunRequest, RunState
from shared.stac.search import Cql2
from tests.integration.conftest import Caller, closed_run, of_id, of_type
from tests.integration.test_runs import SECONDS, WINDOW, result_of

ORBITS = of_type("OPER_MPL_ORBPRE")


def failure_of(caller: Caller, **message: object) -> str:
    """The error that the caller of a staging run sees."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - Celery makes the class again on the caller's side
        caller.send("auxip.staging", **{"catalog_collection_identifier": caller.collection, **message}).get(SECONDS)
    return str(raised.value)


@pytest.mark.parametrize(
    "no_filter",
    [{}, {"op": "="}, {"op": "equals", "args": [{"property": "id"}, "x"]}, {"filter": {"property": "id"}}, {"x": 1}],
)
def test_a_filter_that_is_none_is_refused(caller: Caller, no_filter: Json) -> None:
    assert failure_of(caller, cql2_filter=no_filter).startswith(("bad-filter", "bad-request"))


def test_a_window_that_ends_before_it_begins_is_refused(caller: Caller) -> None:
    window = {"start_datetime": WINDOW["end_datetime"], "end_datetime": WINDOW["start_datetime"]}
    result = caller.send(
        "auxip.on_demand_staging",
        **window,
        product_type="OPER_MPL_ORBPRE",
        catalog_collection_identifier=caller.collection,
    )
    with pytest.raises(Exception, match="bad-window"):
        result.get(SECONDS)


def test_an_owner_that_would_lead_out_of_its_folder_is_refused(caller: Caller) -> None:
    assert failure_of(caller, cql2_filter=ORBITS, env={"owner_id": "../other"}).startswith("bad-request: env.owner_id")


def test_a_run_id_that_would_lead_out_of_its_folder_is_refused(caller: Caller) -> None:
    from workers.app import app

    message = {"env": caller.env, "cql2_filter": ORBITS, "catalog_collection_identifier": caller.collection}
    result = app.send_task("auxip.staging", kwargs=message, task_id=f"{caller.collection}/../x")
    with pytest.raises(Exception, match="bad-request: run_id"):
        result.get(SECONDS)


def test_a_search_that_fails_for_an_unforeseen_reason_closes_its_run(caller: Caller, context: Context) -> None:
    from workers.app import app
    from workers.base import perform_search
    from workers.tasks.search import find

    def unforeseen() -> None:
        raise ZeroDivisionError

    run_id = f"unforeseen-{caller.collection}"
    request = RunRequest(owner="somebody", collection=caller.collection, selection=Cql2(filter=ORBITS))
    context.ledger.open_run(run_id, request)
    perform_search(find, run_id, unforeseen)

    with pytest.raises(Exception, match=r"internal-error: auxip\.step\.find_items: ZeroDivisionError"):
        app.AsyncResult(run_id).get(SECONDS)
    assert closed_run(context, run_id).code == "internal-error"


def test_an_unknown_collection_is_refused_before_any_work(caller: Caller, stack: Stack) -> None:
    searches = stack.station_traffic().searches
    error = failure_of(caller, cql2_filter=ORBITS, catalog_collection_identifier="nowhere")

    assert error.startswith("unknown-collection: ")
    assert stack.station_traffic().searches == searches


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "station-unauthorized"), (404, "station-not-found"), (500, "station-unavailable"), (400, "station-refused")],
)
def test_a_station_that_answers_with_an_error_fails_the_run_with_its_code(
    caller: Caller, context: Context, stack: Stack, status: int, code: str
) -> None:
    stack.set_station_faults([{"path": "/search", "status": status}])
    result = caller.stage(ORBITS)
    with pytest.raises(Exception, match=code):
        result.get(SECONDS)

    run = closed_run(context, result.id)
    assert (run.state, run.code) == (RunState.FAILED, code)
    assert str(status) in run.reason


def test_half_a_page_fails_the_run_and_is_never_taken_for_the_whole(caller: Caller, stack: Stack) -> None:
    stack.set_station_faults([{"path": "/search", "cut": 600}])
    assert failure_of(caller, cql2_filter=ORBITS).startswith("station-unavailable: ")


def test_an_answer_that_is_no_geojson_fails_the_run(caller: Caller, stack: Stack) -> None:
    stack.set_station_faults([{"path": "/search", "body": '{"detail": "maintenance"}'}])
    assert failure_of(caller, cql2_filter=ORBITS).startswith("station-bad-answer: ")


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 503}, {"cut": 600}, {"status": 429, "retry_after": 0}, {"body": "<html>"}],
    ids=["500", "503", "half a page", "429", "no JSON"],
)
def test_a_passing_fault_of_the_station_is_outlived(caller: Caller, stack: Stack, fault: dict[str, object]) -> None:
    stack.set_station_faults([{"path": "/search", "times": 1, **fault}])
    status, items = result_of(caller.stage(ORBITS).get(SECONDS))
    assert status
    assert len(items) >= 4


def test_a_download_that_is_cut_off_goes_on_within_its_step(caller: Caller, context: Context, stack: Stack) -> None:
    product = samples.product(samples.AS_LONG_AS_WINDOW)
    stack.set_station_faults([{"path": "Products", "cut": 1000, "times": 1}])
    result = caller.stage(of_id(product.item_id))
    status, _ = result_of(result.get(SECONDS))

    assert status
    (record,) = context.ledger.items(result.id)
    assert record.attempts == 0


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_fault_of_the_catalog_is_outlived(caller: Caller, stack: Stack, status: int) -> None:
    stack.set_catalog_faults([{"path": "/items", "method": "POST", "status": status, "times": 1}])
    status_, items = result_of(caller.stage(ORBITS).get(SECONDS))
    assert status_
    assert items


@pytest.mark.long
def test_a_catalog_that_refuses_items_fails_them_and_keeps_their_bytes(
    caller: Caller, context: Context, stack: Stack
) -> None:
    stack.set_catalog_faults([{"path": "items$", "method": "POST", "status": 400}])
    first = caller.stage(ORBITS)
    assert result_of(first.get(SECONDS)) == (False, [])
    assert {record.code for record in context.ledger.items(first.id)} == {"catalog-refused"}

    stack.set_catalog_faults([])
    second = caller.stage(ORBITS)
    assert result_of(second.get(SECONDS))[0]
    assert closed_run(context, second.id).counts.bytes_downloaded == 0


def test_an_item_of_another_owner_is_not_taken_over(caller: Caller, context: Context) -> None:
    caller.stage(ORBITS).get(SECONDS)
    other = Caller(caller.collection, {"owner_id": "somebody"})
    result = other.stage(ORBITS)

    assert result_of(result.get(SECONDS)) == (False, [])
    assert {record.code for record in context.ledger.items(result.id)} == {"other-owner"}


def test_a_search_that_takes_too_long_fails_with_its_code(caller: Caller, stack: Stack) -> None:
    stack.set_station_faults([{"path": "/search", "delay": 5}])
    error = failure_of(caller, cql2_filter=ORBITS, timeout_seconds=0)
    assert error.startswith("search-timeout: ")


def test_no_secret_is_found_in_the_broker_the_ledger_or_a_log(
    caller: Caller, stack: Stack, workers: list[Child]
) -> None:
    caller.stage(ORBITS).get(SECONDS)
    secrets = [value for name, value in stack.environment().items() if name.endswith(("_KEY", "_ACCESS_KEY_ID"))]
    secrets.append(stack.station_key)
    # The append-only file holds every write since the start: messages, results and the ledger.
    files = [*(stack.folder / "valkey").rglob("*.aof"), *(child.log for child in workers)]
    written = b"".join(file.read_bytes() for file in files)

    assert caller.collection.encode() in written
    assert not [secret for secret in secrets if secret.encode() in written]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AUXIP_S3_ENDPOINT", "ftp://somewhere", "AUXIP_S3_ENDPOINT is no http:// or https:// URL"),
        ("AUXIP_CATALOGUE_URL", "http://x", "AUXIP_CATALOGUE_URL is no setting; did you mean AUXIP_CATALOG_URL?"),
        ("AUXIP_ATTEMPTS", "many", "AUXIP_ATTEMPTS Input should be a valid integer"),
    ],
)
@pytest.mark.parametrize("command", [["workers.cli", "runs"], ["celery", "-A", "workers.app:app", "worker"]])
def test_a_wrong_setting_is_named_at_start_in_one_line(
    stack: Stack, command: list[str], name: str, value: str, said: str
) -> None:
    environ = {**os.environ, **stack.environment(), name: value}
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", *command], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode != 0
    (line,) = ended.stderr.strip().splitlines()
    assert said in line


@pytest.mark.long
def test_a_worker_does_not_start_with_a_wrong_file_of_stations(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "stations.toml"
    file.write_text('[station.one]\nurl = "http://one.example"\npage_sise = 5\n')
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app:app", "worker"],
        env={**os.environ, **stack.environment(), "AUXIP_STATIONS_FILE": str(file)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    (line,) = ended.stderr.strip().splitlines()
    assert f"AUXIP_STATIONS_FILE {file}: station.one.page_sise is no field" in line


def test_a_run_from_a_station_that_is_not_configured_fails_with_those_that_are(caller: Caller) -> None:
    with pytest.raises(Exception, match=r"unknown-station: .*it has: local"):
        caller.stage(ORBITS, station=["local", "other"]).get(SECONDS)
