"""A run of ten thousand items: found within a minute, in a memory that does not grow with them."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from local import samples
from local.stac.store import Json, Store
from local.stack import Stack
from shared.context import Context
from shared.models import RunRequest
from shared.stac.search import Cql2
from tests.integration.conftest import of_type

pytestmark = pytest.mark.long

ITEMS = 10_000
SECONDS = 60.0
GROWTH = 10_000_000
"""Bytes: less than a third of what the items take as objects."""

TYPE = "MANY_ITEMS"
_FIND = """
import json, re, sys, time
from pathlib import Path
from shared.context import Context
from shared.settings import load_settings
from shared.steps.find import find_items
def peak():  # not getrusage: Linux lets a new program inherit what its parent has used
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
context = Context(load_settings())
few, all_of_them = (context.ledger.run(run_id) for run_id in sys.argv[1:])
find_items(context, few)  # one page, after which all that is needed is there
before, cpu = peak(), time.process_time()
begun = time.monotonic()
count = find_items(context, all_of_them)
seconds = time.monotonic() - begun
print(json.dumps([count, seconds, time.process_time() - cpu, peak() - before, before]))
"""


def item(number: int) -> Json:
    name = f"S1A_{TYPE}_V20240325T{number:06}"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "collection": samples.STATION_COLLECTION,
        "geometry": None,
        "properties": {
            "datetime": "2024-03-25T00:00:00Z",
            "start_datetime": "2024-03-25T00:00:00Z",
            "end_datetime": "2024-03-26T00:00:00Z",
            "created": f"2024-03-25T00:00:00.{number:06}Z",
            "product:type": TYPE,
            "platform": "sentinel-1a",
        },
        "assets": {f"{name}.EOF": {"href": f"http://127.0.0.1:1/{number}", "file:size": 3, "file:checksum": "0" * 32}},
        "links": [],
    }


@pytest.fixture
def many(stack: Stack) -> Iterator[None]:
    """Ten thousand items of one type at the station."""
    items = [item(number) for number in range(ITEMS)]
    with closing(Store(stack.folder / "station.sqlite")) as store:
        store.add_items(samples.STATION_COLLECTION, items)
        yield
        store._connection.execute("DELETE FROM items WHERE id LIKE ?", [f"S1A_{TYPE}_%"])
        store._connection.commit()


def opened(context: Context, collection: str, limit: int | None) -> str:
    run_id = str(uuid.uuid4())
    selection = Cql2(filter=of_type(TYPE), limit=limit)
    context.ledger.open_run(run_id, RunRequest(owner="many", collection=collection, selection=selection))
    return run_id


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("many")
def test_ten_thousand_items_are_found_within_a_minute_in_constant_memory(
    stack: Stack, context: Context, collection: str
) -> None:
    runs = [opened(context, collection, 1000), opened(context, collection, None)]
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _FIND, *runs],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    count, seconds, cpu, grown, before = json.loads(ended.stdout)
    megabytes = f"{before / 1e6:.0f} MB after one page, {grown / 1e6:.1f} MB more after all"
    sys.stdout.write(f"{count} items in {seconds:.1f} s ({cpu:.1f} s of our CPU); {megabytes}\n")

    assert count == ITEMS == len(context.ledger.keys(runs[1]))
    assert seconds < SECONDS
    assert grown < GROWTH
