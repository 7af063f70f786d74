"""The watermark of a sweep by publication: moved by a run that has ended well, and by nothing else."""

import time
import uuid

import pytest

from shared.ledger import Ledger, Watermarks, watermark_key
from shared.models import PublicationTick, RunRequest, RunState, Watermark
from shared.selection import Published
from tests.ledger.opened import at_once

KEY = "auxip:watermark:X"
HOUR = 3600
NOW = int(time.time()) // HOUR * HOUR


def request(**changes: object) -> RunRequest:
    selection: dict[str, object] = {"product_types": ["B", "A"], "begin": "2024-01-01T00:00:00Z"}
    given = Published.model_validate({**selection, "end": "2024-01-02T00:00:00Z", **changes})
    return RunRequest(owner="owner", collection="aux", stations=("adgs",), selection=given)


def tick(hours: float = 0, **changes: object) -> PublicationTick:
    at = NOW + hours * HOUR
    fields = {"at": at, "target": at, "first": NOW - 24 * HOUR, "overlap": 60, "longest": HOUR}
    return PublicationTick.model_validate({**fields, "request": request(), **changes})


@pytest.fixture
def marks(ledger: Ledger) -> Watermarks:
    return Watermarks(ledger)


def begun(marks: Watermarks, at: int, until: int) -> str:
    run_id = str(uuid.uuid4())
    assert marks.begin(KEY, at, until, run_id, request())
    return run_id


def test_the_first_tick_sets_the_watermark_and_later_ones_its_target(marks: Watermarks) -> None:
    assert marks.record(KEY) is None
    first = marks.tick(KEY, tick(-2))
    assert first == Watermark(at=NOW - 24 * HOUR, target=NOW - 2 * HOUR, tick=NOW - 2 * HOUR)
    assert marks.tick(KEY, tick(-1, first=0)) == first.model_copy(update={"target": NOW - HOUR, "tick": NOW - HOUR})


def test_a_tick_counts_once_and_an_older_one_not_at_all(marks: Watermarks) -> None:
    marks.tick(KEY, tick(-1))
    marks.end(KEY, begun(marks, NOW - 24 * HOUR, NOW - 23 * HOUR), well=False)
    for hours in (-1, -2):
        again = marks.tick(KEY, tick(hours))
        assert again is not None
        assert again.target == again.at


def test_a_clock_that_is_ahead_moves_no_target_into_the_future(marks: Watermarks) -> None:
    assert marks.tick(KEY, tick(24)) is None
    marks.tick(KEY, tick(-1))
    assert marks.tick(KEY, tick(24)) == marks.record(KEY)
    a_little = marks.tick(KEY, tick(at=time.time() + 30, target=int(time.time()) + 30))
    assert a_little is not None
    assert a_little.target <= time.time()


def test_one_window_begins_however_many_workers_begin_it(marks: Watermarks, ledger: Ledger) -> None:
    at = NOW - 24 * HOUR
    marks.tick(KEY, tick())
    results = at_once(lambda: marks.begin(KEY, at, at + HOUR, str(uuid.uuid4()), request()))
    assert sum(results) == 1
    record = marks.record(KEY)
    assert record is not None
    assert (record.at, record.until) == (at, at + HOUR)
    assert ledger.run(record.run).state is RunState.ACCEPTED
    assert len(ledger.runs(100)) == 1


def test_no_window_begins_from_a_watermark_that_has_moved(marks: Watermarks, ledger: Ledger) -> None:
    at = NOW - 24 * HOUR
    marks.tick(KEY, tick())
    marks.end(KEY, begun(marks, at, at + HOUR), well=True)
    assert not marks.begin(KEY, at, at + HOUR, "late", request())
    assert not ledger.knows_run("late")


def test_a_run_that_has_ended_well_moves_the_watermark_once(marks: Watermarks) -> None:
    at = NOW - 24 * HOUR
    marks.tick(KEY, tick())
    run_id = begun(marks, at, at + HOUR)
    assert sum(at_once(lambda: marks.end(KEY, run_id, well=True))) == 1
    record = marks.record(KEY)
    assert record is not None
    assert (record.at, record.target, record.run, record.until) == (at + HOUR, NOW, run_id, None)


def test_a_run_that_has_not_ended_well_moves_nothing(marks: Watermarks) -> None:
    at = NOW - 24 * HOUR
    marks.tick(KEY, tick())
    marks.end(KEY, begun(marks, at, at + HOUR), well=False)
    record = marks.record(KEY)
    assert record is not None
    assert (record.at, record.target, record.until) == (at, at, None)


def test_only_the_run_of_the_window_that_goes_on_ends_it(marks: Watermarks) -> None:
    at = NOW - 24 * HOUR
    marks.tick(KEY, tick())
    begun(marks, at, at + HOUR)
    assert not marks.end(KEY, "replay", well=True)
    record = marks.record(KEY)
    assert record is not None
    assert (record.at, record.until) == (at, at + HOUR)


def test_a_watermark_is_kept_for_a_year(marks: Watermarks, ledger: Ledger) -> None:
    marks.tick(KEY, tick())
    assert int(str(ledger.redis.ttl(KEY))) > 365 * 86_400


def test_the_key_is_that_of_what_is_searched_and_for_whom() -> None:
    key = watermark_key(request())
    same = request(begin="2025-01-01T00:00:00Z", end="2025-01-02T00:00:00Z", product_types=["A", "B", "A"])
    assert watermark_key(same.model_copy(update={"label": "sweep renamed", "sweep": "renamed"})) == key
    others = [
        request(product_types=["A"]),
        request(platform="sentinel-1a"),
        request(filter={"op": "=", "args": [{"property": "a"}, 1]}),
        *(request().model_copy(update={field: "other"}) for field in ("owner", "collection")),
        request().model_copy(update={"stations": ("other",)}),
    ]
    assert len({key, *map(watermark_key, others)}) == len(others) + 1
