"""`auxip doctor`, `auxip queues` and `auxip config`: what an operator asks first."""

import json
import subprocess
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from local.processes import Child, free_ports
from local.stack import Stack
from shared.checkup import Checked, check_up
from shared.context import Context
from shared.http.curl import curl_line
from shared.models import RunRequest
from shared.settings import load_settings
from shared.stac.search import Cql2
from tests.integration.conftest import Caller, of_type
from tests.integration.test_commands import auxip, last_object
from workers.queues import QUEUES

TYPE = "OPER_MPL_ORBPRE"


def checked(monkeypatch: pytest.MonkeyPatch, **settings: str) -> dict[str, Checked]:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return looked_at("aux")


def looked_at(collection: str) -> dict[str, Checked]:
    with closing(Context(load_settings())) as context:
        return {each.system: each for each in check_up(context, collection, TYPE)}


def test_a_deployment_that_is_well_is_well(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch)
    assert [name for name in found if not name.startswith("station ")] == ["redis", "catalog", "s3"]
    assert {"station local", "station odata"} <= found.keys()
    assert {each.verdict for each in found.values()} == {"ok"}, found
    assert f"an item of the type {TYPE}" in found["station local"].said


def test_the_stations_request_can_be_sent_by_hand(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    line = checked(monkeypatch)["station local"].request
    assert stack.station_key not in line
    ended = subprocess.run(  # noqa: S603 - the line is ours
        ["/bin/sh", "-c", line],
        env={"PATH": "/usr/bin:/bin", "LOCAL_X_API_KEY": stack.station_key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (feature,) = json.loads(ended.stdout)["features"]
    assert feature["properties"]["product:type"] == TYPE


def test_no_header_with_a_secret_is_in_the_line() -> None:
    headers = {"Authorization": "Bearer hush", "cookie": "session=hush", "x-odd": "hush", "accept": "application/json"}
    request = httpx.Request("GET", "https://a.example/x?q=it's", headers=headers)
    line = curl_line(request, "my-station")
    assert "hush" not in line
    assert '--header "x-odd: $MY_STATION_X_ODD"' in line
    assert "--header 'accept: application/json'" in line


@pytest.fixture
def other_stations(tmp_path: Path, stack: Stack) -> str:
    (port,) = free_ports(1)
    file = tmp_path / "stations.toml"
    file.write_text(
        f'[station.closed]\nurl = "{stack.station_url}"\n\n[station.gone]\nurl = "http://127.0.0.1:{port}"\n\n'
        f'[station.wrong]\nurl = "{stack.station_url}/no-such-path"\n'
    )
    return str(file)


def test_each_station_that_cannot_be_used_says_why_and_what_to_do(
    other_stations: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checked(monkeypatch, AUXIP_STATIONS_FILE=other_stations)
    closed, gone, wrong = (found[f"station {name}"] for name in ("closed", "gone", "wrong"))
    assert (closed.verdict, closed.code) == ("failed", "station-unauthorized")
    assert "credentials" in closed.todo
    assert (gone.verdict, gone.code) == ("failed", "station-unavailable")
    assert "can be reached from here" in gone.todo
    assert wrong.verdict == "failed"
    assert wrong.code in ("station-not-found", "station-unauthorized")


def test_a_catalog_and_a_store_that_refuse_us_say_so(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(monkeypatch, AUXIP_CATALOG_API_KEY="wrong", AUXIP_S3_SECRET_ACCESS_KEY="wrong")
    assert (found["catalog"].verdict, found["catalog"].code) == ("failed", "catalog-unauthorized")
    assert (found["s3"].verdict, found["s3"].code) == ("failed", "s3-denied")
    assert "allowed to read, write and delete" in found["s3"].todo


def test_a_collection_that_is_missing_is_named(stack: Stack) -> None:
    found = looked_at("no-such-collection")
    assert (found["catalog"].code, found["catalog"].verdict) == ("unknown-collection", "failed")


def test_without_redis_the_others_are_looked_at_all_the_same(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    found = checked(monkeypatch, AUXIP_REDIS_URL=f"redis://default:x@127.0.0.1:{port}/0")
    assert (found["redis"].verdict, found["redis"].code) == ("failed", "redis-unreachable")
    assert found["station local"].verdict == "skipped"
    assert (found["catalog"].verdict, found["s3"].verdict) == ("ok", "ok")


@pytest.mark.long
def test_the_command_is_one_line_for_each_and_knows_the_workers(stack: Stack, workers: list[Child]) -> None:
    ended = auxip("doctor", "--json")
    said = last_object(ended.stdout)
    assert (ended.returncode, said["well"]) == (0, True), ended.stdout
    systems = said["systems"]
    assert isinstance(systems, list)
    assert systems[-1]["system"] == "workers"
    assert systems[-1]["said"] == "every list of the queues is read"
    assert stack.station_key not in ended.stdout


@pytest.mark.long
def test_a_list_that_no_worker_reads_is_named(
    stack: Stack, workers: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of its own has a broker that no worker is at."""
    monkeypatch.setenv("AUXIP_REDIS_URL", stack.environment()["AUXIP_REDIS_URL"].removesuffix("/0") + "/5")
    ended = auxip("doctor")
    assert ended.returncode == 1
    *_, last = ended.stdout.splitlines()
    assert last.startswith("\N{BALLOT X} workers: workers-silent: no worker reads search, search.bulk, ")
    assert "celery -A workers.app:app worker --queues " in last
    queues = auxip("queues")
    assert queues.returncode == 0, queues.stderr
    assert queues.stdout.count("nobody") == len(QUEUES) * 2


@pytest.mark.long
def test_queues_show_what_waits_and_who_reads(caller: Caller, context: Context) -> None:
    run = caller.stage(of_type(TYPE))
    run.get(60)
    said = last_object(auxip("queues", "--json").stdout)
    lists = said["lists"]
    assert isinstance(lists, list)
    assert [each["list"] for each in lists] == [name for queue in QUEUES for name in queue.lists]
    assert all(each["readers"] for each in lists)
    assert all(each["waiting"] == 0 for each in lists)


@pytest.mark.long
def test_a_message_that_waits_is_counted_with_the_age_of_its_run(
    apart: Context, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RunRequest(owner="owner", collection="aux", selection=Cql2(filter=of_type(TYPE)))
    apart.ledger.open_run("run-that-waits", request)
    message = {"headers": {"root_id": "run-that-waits"}, "body": ""}
    apart.ledger.redis.lpush("staging", json.dumps(message))
    apart.ledger.redis.lpush("staging.bulk", "no message")
    monkeypatch.setenv("AUXIP_REDIS_URL", apart.settings.redis_url.get_secret_value())
    lists = last_object(auxip("queues", "--json").stdout)["lists"]
    assert isinstance(lists, list)
    found = {each["list"]: each for each in lists}
    assert (found["staging"]["waiting"], found["staging.bulk"]["waiting"]) == (1, 1)
    assert found["staging"]["oldest"].startswith("20")
    assert found["staging.bulk"]["oldest"] is None


def test_the_settings_are_shown_with_their_sources_and_without_secrets(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "auxip_s3_secret_access_key").write_text("hush-file")
    (tmp_path / "station_key").write_text(stack.station_key)
    monkeypatch.setenv("AUXIP_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("AUXIP_S3_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AUXIP_REDIS_URL", "redis://default:hush-redis@127.0.0.1:6379/0")
    monkeypatch.setenv("AUXIP_CATALOG_API_KEY", "hush-catalog")
    ended = auxip("config", "--json")
    assert ended.returncode == 0, ended.stderr
    settings = last_object(ended.stdout)["settings"]
    assert isinstance(settings, list)
    found = {each["name"]: (each["value"], each["from"]) for each in settings}
    assert found["AUXIP_REDIS_URL"] == ("redis://default:**@127.0.0.1:6379/0", "environment")
    assert found["AUXIP_CATALOG_API_KEY"] == ("**", "environment")
    assert found["AUXIP_S3_SECRET_ACCESS_KEY"] == ("**", str(tmp_path / "auxip_s3_secret_access_key"))
    assert found["AUXIP_S3_REGION"] == ("us-east-1", "default")
    assert "hush" not in ended.stdout + auxip("config").stdout
