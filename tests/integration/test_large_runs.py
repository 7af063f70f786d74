"""Closing runs of many items: their result, their artifacts, a crash in the midst of it, and the memory it takes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from shared.context import Context
from shared.errors import Rejected, Retryable
from shared.json_types import Json
from shared.models import ItemState, Run, RunKind, RunState
from shared.runs.close import close
from shared.settings import Settings
from shared.stac.item import Found
from shared.storage.keys import Place, run_location
from shared.storage.location import Location
from tests.integration.many import catalog_of_all, opened, recorded, shown
from tests.unit.making import item_of

pytestmark = pytest.mark.long

_CLOSING = """
import os, re, signal, sys
from pathlib import Path
from shared.context import Context
from shared.settings import load_settings
from shared.runs.close import close
from tests.integration.many import catalog_of_all
def peak():  # not getrusage: Linux lets a new program inherit what its parent has used
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
context = Context(load_settings())
"""
_UNHARMED = "catalog_of_all(context)"
_KILLED = "catalog_of_all(context, lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == 50 else None)"
_CLOSE = """
for run_id in sys.argv[1:]:
    close(context, context.ledger.run(run_id))
    print(peak())
"""
GROWTH = 16_000_000
"""Bytes: a part more of each of the two lists of items, of which the many have seventy megabytes."""


@pytest.fixture
def many(context: Context) -> Iterator[Context]:
    """A context whose catalog has every item."""
    with closing(Context(context.settings)) as made:
        catalog_of_all(made)
        yield made


def with_limit(context: Context, limit: int) -> Context:
    made = Context(context.settings.model_copy(update={"max_result_bytes": limit}))
    catalog_of_all(made)
    return made


def at(settings: Settings, run: Run, name: str) -> Location:
    return run_location(Place(settings.s3_bucket, settings.s3_prefix), run.id, name)


def read(context: Context, run: Run, name: str) -> bytes | None:
    return context.store.get(at(context.settings, run, name), 2**30)


def ids(items: object) -> list[str]:
    assert isinstance(items, list)
    return [item["id"] for item in items]


def staged(result: object) -> tuple[bool, Json]:
    assert isinstance(result, list)
    status, collection = result
    assert isinstance(collection, dict)
    return status, collection


def unfinished(context: Context, run: Run) -> list[str]:
    place = Place(context.settings.s3_bucket, at(context.settings, run, "").key)
    return [upload.key for upload in context.store.control.unfinished(place)]


def in_a_process(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


# The result


def test_a_large_run_answers_with_a_link_to_its_items(many: Context) -> None:
    run = recorded(many, 3000)
    status, link = staged(close(many, run))
    written = read(many, run, "item-collection.json")

    assert written is not None
    assert status is True
    assert link == {
        "rel": "items",
        "type": "application/geo+json",
        "href": at(many.settings, run, "item-collection.json").href,
        "items": 3000,
        "bytes": len(written),
    }
    collection = json.loads(written)
    assert collection["type"] == "FeatureCollection"
    assert ids(collection["features"]) == [f"item-{number}" for number in range(3000)]
    assert collection["features"][1234] == shown("item-1234")


def test_a_run_that_is_not_large_answers_with_its_items(many: Context) -> None:
    run = recorded(many, 300)
    status, collection = staged(close(many, run))

    assert status is True
    assert collection == {"type": "FeatureCollection", "features": [shown(f"item-{number}") for number in range(300)]}
    assert read(many, run, "item-collection.json") is None


def test_the_limit_is_that_of_the_collection_as_json(context: Context) -> None:
    with closing(with_limit(context, 0)) as none:
        _, link = staged(close(none, recorded(none, 250)))
    size = link["bytes"]
    assert isinstance(size, int)

    with closing(with_limit(context, size)) as enough:
        assert "features" in staged(close(enough, recorded(enough, 250)))[1]
    with closing(with_limit(context, size - 1)) as too_little:
        assert "href" in staged(close(too_little, recorded(too_little, 250)))[1]


def test_a_run_that_has_nothing_answers_with_null_and_has_a_report(many: Context) -> None:
    run = recorded(many, 0)

    assert close(many, run) == [True, None]
    assert json.loads(read(many, run, "report.json") or b"")["items"] == []
    assert read(many, run, "auxiliary-files.json") is None


# The artifacts


def test_a_large_run_has_all_items_in_its_artifact_and_in_its_report(many: Context) -> None:
    run = recorded(many, 3000)
    close(many, run)

    wanted = [f"item-{number}" for number in range(3000)]
    artifact = json.loads(read(many, run, "auxiliary-files.json") or b"")
    report = json.loads(read(many, run, "report.json") or b"")
    assert ids(artifact) == ids(report["items"]) == wanted
    assert (report["status"], report["counts"]["items"]) == ("successful", 3000)
    assert many.ledger.run(run.id).artifact == at(many.settings, run, "report.json").href


def test_a_large_run_in_which_items_failed_has_no_artifact_and_tells_of_them_first(many: Context) -> None:
    run = recorded(many, 3000, failed=[7, 2900])
    status, link = staged(close(many, run))

    assert (status, link["items"]) == (False, 2998)
    assert read(many, run, "auxiliary-files.json") is None
    page = (read(many, run, "report.html") or b"").decode()
    rows = re.findall(r'<tr data-state="(\w+)".*?class="id">(?:<a .*?>)?(.*?)<', page)
    assert rows[:3] == [("failed", "item-7"), ("failed", "item-2900"), ("catalogued", "item-0")]
    assert len(rows) == 300
    assert "The first 300 of 3,000 items" in page
    assert many.ledger.run(run.id).state is RunState.PARTIAL


# Again


def test_a_large_run_that_is_closed_again_answers_the_same(many: Context) -> None:
    run = recorded(many, 3000)
    first = close(many, run)
    before = read(many, run, "item-collection.json")

    assert close(many, many.ledger.run(run.id)) == first
    assert read(many, run, "item-collection.json") == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_whose_closing_was_killed_is_closed_by_the_next_and_what_was_left_is_cleaned_up(many: Context) -> None:
    run = recorded(many, 6000)
    killed = in_a_process(_CLOSING + _KILLED + _CLOSE, run.id)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert many.ledger.run(run.id).closed is None
    assert len(unfinished(many, run)) == 2
    assert read(many, run, "item-collection.json") is None

    assert staged(close(many, run))[1]["items"] == 6000
    assert many.ledger.run(run.id).state is RunState.SUCCESSFUL
    assert len(ids(json.loads(read(many, run, "auxiliary-files.json") or b""))) == 6000
    place = Place(many.settings.s3_bucket, at(many.settings, run, "").key)
    many.store.control.abort_uploads(place, timedelta(seconds=-5))
    assert unfinished(many, run) == []


def test_a_catalog_that_stops_answering_in_the_midst_closes_nothing_and_leaves_nothing(context: Context) -> None:
    with closing(Context(context.settings)) as made:
        run = recorded(made, 6000)
        catalog_of_all(made, lambda number: httpx.Response(503) if number > 50 else None)
        with pytest.raises(Retryable, match="catalog-unavailable"):
            close(made, run)

        assert made.ledger.run(run.id).closed is None
        assert [read(made, run, name) for name in ("report.json", "item-collection.json")] == [None, None]
        assert unfinished(made, run) == []


# Cancelled


def cancel(context: Context, run_id: str) -> Run:
    context.ledger.redis.hset(f"auxip:run:{run_id}", "cancelled", "5.0")
    return context.ledger.run(run_id)


def test_a_cancelled_run_answers_with_what_was_done(many: Context) -> None:
    run = cancel(many, recorded(many, 5, waiting=[3, 4]).id)
    status, collection = staged(close(many, run))

    assert (status, ids(collection["features"])) == (False, ["item-0", "item-1", "item-2"])
    closed = many.ledger.run(run.id)
    assert (closed.state, closed.state.final, closed.cancelled) == (RunState.CANCELLED, True, 5.0)
    report = json.loads(read(many, run, "report.json") or b"")
    assert (report["status"], len(report["items"])) == ("cancelled", 5)
    assert read(many, run, "auxiliary-files.json") is None
    assert close(many, closed) == [status, collection]


def test_a_run_that_is_cancelled_before_anything_was_found_is_closed(many: Context) -> None:
    run = cancel(many, recorded(many, 0).id)
    assert close(many, run) == [False, None]
    assert many.ledger.run(run.id).state is RunState.CANCELLED


@pytest.mark.parametrize("found", [True, False])
def test_a_cancelled_run_over_one_item_says_so(many: Context, found: bool) -> None:
    run_id = opened(many, RunKind.DECOMPRESS)
    if found:
        many.ledger.add_items(run_id, [Found(item_id="item-0", item=item_of())])
    run = cancel(many, run_id)

    with pytest.raises(Rejected, match="cancelled: "):
        close(many, run)
    assert many.ledger.run(run_id).state is RunState.CANCELLED
    with pytest.raises(Rejected, match="cancelled: "):
        close(many, many.ledger.run(run_id))


# Records


def test_records_are_read_in_batches_as_they_are_one_by_one(many: Context) -> None:
    run = recorded(many, 1203, failed=[700], waiting=[3])
    batches = list(many.ledger.record_batches(run.id))

    assert [len(batch) for batch in batches] == [500, 500, 203]
    assert [record for batch in batches for record in batch] == list(many.ledger.items(run.id))
    assert batches[1][200].state is ItemState.FAILED


def test_a_run_without_items_has_no_batch_of_records(many: Context) -> None:
    assert list(many.ledger.record_batches(recorded(many, 0).id)) == []


# Memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.timeout(240)
def test_the_memory_of_closing_a_run_does_not_grow_with_its_items(many: Context) -> None:
    few, all_of_them = recorded(many, 6000), recorded(many, 20_000)
    ended = in_a_process(_CLOSING + _UNHARMED + _CLOSE, few.id, all_of_them.id)

    assert ended.returncode == 0, ended.stderr
    before, after = map(int, ended.stdout.split())
    sys.stdout.write(f"{before / 1e6:.0f} MB for 6,000 items, {(after - before) / 1e6:.1f} MB more for 20,000\n")
    assert after - before < GROWTH


# Shown


def auxip(*arguments: str) -> str:
    ended = in_a_process("from workers.cli import main; main()", *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_large_run_is_shown_in_part_to_a_person_and_whole_to_a_program(many: Context) -> None:
    run = recorded(many, 1200, failed=[1100])

    table = auxip("show", run.id).splitlines()
    assert table[1].split()[:3] == ["item-1100", "✗", "failed"]
    assert "200 more items are not shown; --json and the report have all" in table
    assert ids_shown(auxip("show", run.id, "--json")) == [f"item-{number}" for number in range(1200)]


def ids_shown(text: str) -> list[str]:
    return [item["id"] for item in json.loads(text)["items"]]
