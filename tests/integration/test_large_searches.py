"""Finding the items of a large run: the memory of it does not grow with them, whatever selects them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.context import Context
from shared.models import RunRequest
from shared.selection import PolicySelection, Selection
from shared.stac.search import Cql2
from tests.integration.many import new_id
from tests.unit.making import ANY

FEW, MANY, PAGE = 2000, 20_000, 500
GROWTH = 6_000_000
"""Bytes; what is found has thirty times as many as JSON, and a hundred times as many as objects."""

pytestmark = pytest.mark.long

_FIND = """
import json, re, sys
from pathlib import Path
import httpx
from shared.context import Context
from shared.settings import load_settings
from shared.steps.find import find_items
from tests.integration.many import offered
from tests.unit.making import STATION, answered_by, sent
def peak():  # not getrusage: Linux lets a new program inherit what its parent has used
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
def pages(count, size):
    def answer(request):
        if request.method == "GET":
            return httpx.Response(200, json={"id": "aux"})
        start = sent(request).get("start", 0)
        features = [offered(f"item-{number}") for number in range(start, min(count, start + size))]
        following = {"rel": "next", "method": "POST", "href": str(request.url), "body": {"start": start + size}}
        return httpx.Response(200, json={"type": "FeatureCollection", "features": features, "links": [following]})
    return answer
context = Context(load_settings())
size, *asked = sys.argv[1:]
answered_by(context.catalog_of("many").api, pages(0, 1))
for run_id, count in zip(asked[::2], asked[1::2]):
    answered_by(context.station().api, pages(int(count), int(size)))
    print(find_items(context, context.ledger.run(run_id)), peak())
"""


def opened(context: Context, selection: Selection) -> str:
    run_id = new_id()
    context.ledger.open_run(run_id, RunRequest(owner="many", collection="aux", selection=selection))
    return run_id


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "selection",
    [
        Cql2(filter=ANY),
        PolicySelection(
            policies=("ValIntersect", "LatestValidity"),
            product_types=("MANY",),
            start="2024-03-25T01:00:00Z",
            end="2024-03-25T02:00:00Z",
        ),
    ],
    ids=["filter", "policies"],
)
def test_the_memory_of_a_search_does_not_grow_with_what_it_finds(apart: Context, selection: Selection) -> None:
    counts = [FEW, MANY]
    asked = [argument for count in counts for argument in (opened(apart, selection), str(count))]
    ledger = {"AUXIP_REDIS_URL": apart.settings.redis_url.get_secret_value()}
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _FIND, str(PAGE), *asked],
        env={**os.environ, **ledger, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    (few, before), (many, after) = (map(int, line.split()) for line in ended.stdout.splitlines())
    assert [few, many] == counts
    sys.stdout.write(f"{json.dumps([before, after - before])}\n")
    assert after - before < GROWTH
