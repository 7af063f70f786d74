"""What is counted of an item that is finished, and of a run that is closed."""

import json
import time
from datetime import UTC, datetime

import pytest

from shared.ledger.counters import Counts
from shared.models import ItemRecord, ItemState, Outcome, Run, RunRequest, RunState
from shared.runs.counting import item_counts, run_counts
from shared.selection import Given

RUN = Run(
    id="R",
    request=RunRequest(owner="owner", collection="aux", selection=Given(item_id="X")),
    state=RunState.WORKING,
    created=0,
)


def stac(**properties: str) -> str:
    return json.dumps({"id": "X", "properties": properties, "assets": {"a": {"href": "http://h/x"}}})


def counted(outcome: ItemState = ItemState.EXPANDED, code: str = "", **fields: object) -> Counts:
    record = ItemRecord.model_validate({"run_id": "R", "key": "K", "item_id": "X", "state": "found", **fields})
    return item_counts(RUN, record, Outcome(state=outcome, code=code))


def test_an_item_is_counted_by_owner_station_outcome_and_code_and_by_its_product_type() -> None:
    counts = counted(
        ItemState.FAILED,
        "too-large",
        station="adgs",
        stac=stac(**{"product:type": "AUX_RESORB"}),
        downloaded=7,
        attempts=2,
    )
    assert counts == {
        ("items", "owner", "adgs", "failed", "too-large"): 1,
        ("products", "AUX_RESORB", "failed"): 1,
        ("bytes", "owner", "adgs"): 7,
        ("retries", "owner", "adgs"): 2,
    }


def test_the_stages_of_an_item_are_timed_from_one_to_the_next() -> None:
    counts = counted(claimed=100, staged=104, catalogued=104.2, expanded=5000)
    assert {label: counts[label] for label in counts if label[0] == "stage_seconds"} == {
        ("stage_seconds", "staging", "5.0"): 1,
        ("stage_seconds", "staging", "sum"): 4,
        ("stage_seconds", "catalog", "0.5"): 1,
        ("stage_seconds", "catalog", "sum"): pytest.approx(0.2),
        ("stage_seconds", "decompress", "+Inf"): 1,
        ("stage_seconds", "decompress", "sum"): pytest.approx(4895.8),
    }


def test_timeliness_is_from_publication_until_the_item_is_available() -> None:
    published = datetime.fromtimestamp(time.time() - 500, UTC).isoformat()
    counts = counted(station="adgs", stac=stac(published=published))
    assert counts["timeliness_seconds", "adgs", "900.0"] == 1
    assert counts["timeliness_seconds", "adgs", "sum"] == pytest.approx(500, abs=5)


def test_an_item_that_was_there_already_or_has_failed_has_no_timeliness() -> None:
    published = datetime.now(UTC).isoformat()
    for state in (ItemState.SKIPPED, ItemState.FAILED):
        assert not [
            label for label in counted(state, stac=stac(published=published)) if label[0] == "timeliness_seconds"
        ]


def test_a_publication_that_is_no_instant_is_left_out() -> None:
    counts = counted(stac=stac(published="soon", **{"product:type": "T"}))
    assert counts == {("items", "owner", "", "expanded", ""): 1, ("products", "T", "expanded"): 1}


def test_a_run_is_counted_by_owner_kind_status_and_code() -> None:
    assert run_counts(RUN, RunState.FAILED, "nothing-found") == {
        ("runs", "owner", "staging", "failed", "nothing-found"): 1
    }
