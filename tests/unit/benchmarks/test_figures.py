"""What is made of measured figures: medians, ratios, extrapolations, memory."""

import json
from collections.abc import Callable

import pytest

from tests.benchmarks.figures import (
    Measured,
    Peaks,
    Row,
    Sample,
    extrapolated,
    kind_of,
    median_of,
    peaks,
    row_of,
    total_size,
    with_ratios,
)

KB = 1000
IDLE = Sample(used=900 * KB, ledger=100 * KB)


def test_the_brokers_memory_is_what_is_used_above_an_idle_server_without_the_ledgers() -> None:
    assert peaks(IDLE, [Sample(used=1500 * KB, ledger=400 * KB)]) == Peaks(broker=300 * KB, ledger=300 * KB)


def test_broker_and_ledger_may_have_their_peaks_at_different_moments() -> None:
    early, late = Sample(used=1900 * KB, ledger=200 * KB), Sample(used=1800 * KB, ledger=900 * KB)

    assert peaks(IDLE, [early, late]) == Peaks(broker=900 * KB, ledger=800 * KB)


def test_a_server_that_uses_less_than_at_first_has_no_peak() -> None:
    assert peaks(IDLE, [Sample(used=800 * KB, ledger=90 * KB)]) == Peaks(broker=0, ledger=0)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("auxip:runs", "auxip:runs"),
        ("auxip:run:4f1d-9a:order", "auxip:run:*:order"),
        ("auxip:run:4f1d-9a:item:09ab", "auxip:run:*:item:*"),
    ],
)
def test_keys_that_differ_in_their_ids_are_of_one_kind(key: str, kind: str) -> None:
    assert kind_of(key) == kind


def test_few_keys_are_measured_each_and_of_many_a_sample_stands_for_all() -> None:
    measured: list[str] = []
    keys = ["auxip:run:1:order", *(f"auxip:run:1:item:{number}" for number in range(10_000))]

    total = total_size(keys, _sizes({"auxip:run:1:order": 80_000}, other=700, measured=measured))

    assert total == 80_000 + 10_000 * 700
    assert len(measured) < 500


def test_of_several_rounds_times_are_medians_and_memory_is_the_largest() -> None:
    rounds = [
        Measured(10, seconds=3, cpu=6, peaks=Peaks(1, 5)),
        Measured(10, seconds=1, cpu=9, peaks=Peaks(4, 2)),
        Measured(10, seconds=2, cpu=1, peaks=Peaks(2, 2)),
    ]

    assert median_of(rounds) == Measured(10, seconds=2, cpu=6, peaks=Peaks(4, 5))


def test_what_a_run_costs_once_is_extrapolated_once() -> None:
    few, more = Measured(10, seconds=3, cpu=2), Measured(30, seconds=5, cpu=6)

    whole = extrapolated(few, more, 1000)

    assert whole.items == 1000
    assert whole.seconds == pytest.approx(102)
    assert whole.cpu == pytest.approx(200)


def test_where_noise_lets_more_items_take_less_time_the_larger_run_alone_counts() -> None:
    few, more = Measured(10, seconds=6, cpu=2), Measured(30, seconds=5, cpu=6)

    assert extrapolated(few, more, 300).seconds == pytest.approx(50)


def test_a_row_tells_memory_in_all_and_per_item() -> None:
    row = row_of("ours", Measured(1000, seconds=4, cpu=6.5, peaks=Peaks(3_500_000, 2_000_000)))

    assert (row.items_per_s, row.broker_peak_mb, row.broker_kb_per_item) == (250, 3.5, 3.5)
    assert (row.ledger_peak_mb, row.ledger_kb_per_item) == (2, 2)


def test_a_row_without_a_broker_has_no_memory() -> None:
    row = json.loads(json.dumps(row_of("prefect", Measured(1000, seconds=4, cpu=6.5)).to_json()))

    assert (row["seconds"], row["broker_peak_mb"]) == (4, None)


def test_costs_per_item_are_set_against_the_run_of_1000_and_the_other_contestants() -> None:
    rows = with_ratios(
        [
            Row("ours", 1000, seconds=10),
            Row("chain", 1000, seconds=8),
            Row("ours", 5000, seconds=60),
            Row("prefect", 1000, seconds=300),
            Row("absent", 1000),
        ],
        {1: "ours"},
        {1: "chain"},
    )

    assert [row.per_item_to_1000 for row in rows] == [None, None, 1.2, None, None]
    assert [row.per_item_to_chain for row in rows] == [1.25, None, 1.5, None, None]
    assert [row.per_item_to_ours for row in rows] == [None, 0.8, None, 30, None]


def test_a_canvas_is_set_against_ours_of_the_same_steps() -> None:
    rows = with_ratios(
        [Row("one", 10, seconds=1), Row("two", 10, seconds=3), Row("chord", 10, seconds=2)],
        {1: "one", 2: "two"},
        {1: "chain", 2: "chord"},
    )

    assert [row.per_item_to_chain for row in rows] == [None, 1.5, None]
    assert rows[2].per_item_to_ours == pytest.approx(0.667)


def _sizes(known: dict[str, int], other: int, measured: list[str]) -> Callable[[list[str]], list[int]]:
    def sizes_of(keys: list[str]) -> list[int]:
        measured.extend(keys)
        return [known.get(key, other) for key in keys]

    return sizes_of
