"""What a run was asked for, whatever it selects."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.json_types import Json
from shared.models import RunKind, RunRequest
from shared.page.asked import asked_of
from shared.page.units import duration, size
from shared.selection import Given, NamesSelection, OrbitSelection, PolicySelection, Published, Selection
from shared.stac.search import Cql2
from tests.unit.making import ANY

BEGIN, END = datetime(2024, 3, 25, tzinfo=UTC), datetime(2024, 3, 26, tzinfo=UTC)
SCENE = "S1A_IW_SLC__1SDV_20200101T170000_20200101T170027_030600_038166_1A2B"


def lines(selection: Selection, **changes: object) -> dict[str, str]:
    request = RunRequest.model_validate({"owner": "me", "collection": "aux", "selection": selection, **changes})
    return {line.name: line.value for line in asked_of(request)}


def test_policies_have_their_chain_their_types_and_their_window() -> None:
    asked = lines(
        PolicySelection(
            policies=("ValCover", "LatestValidity"),
            product_types=("A", "B"),
            start=BEGIN,
            end=END,
            before=timedelta(hours=1),
            after=timedelta(minutes=90),
        )
    )
    assert asked["Policy"] == "ValCover, else LatestValidity"
    assert (asked["Product types"], asked["Platform"]) == ("A, B", "all")
    assert asked["Window"] == "2024-03-25T00:00:00Z to 2024-03-26T00:00:00Z, and 1 h before and 1 h 30 min after"


@pytest.mark.parametrize(
    ("selection", "name", "value"),
    [
        (Cql2(filter=ANY, limit=1000), "At most", "1,000 items"),
        (OrbitSelection(scene=SCENE), "Orbit of", SCENE),
        (NamesSelection(names=("X.EOF", "Y.EOF")), "Files", "X.EOF, Y.EOF"),
        (Given(item_id="X"), "Item", "X"),
        (
            Published(product_types=("A",), begin=BEGIN, end=END),
            "Published",
            "from 2024-03-25T00:00:00Z to 2024-03-26T00:00:00Z",
        ),
    ],
)
def test_every_selection_has_its_line(selection: Selection, name: str, value: str) -> None:
    assert lines(selection)[name] == value


def test_what_was_not_asked_for_is_left_out() -> None:
    assert [*lines(Given(item_id="X"))] == ["Task", "For", "Begun by", "Station", "Item"]


def test_options_have_their_lines() -> None:
    asked = lines(Given(item_id="X"), decompress=False, asset_names=("a", "b"), timeout_seconds=90, replays=1)
    assert asked["Assets"] == "a, b"
    assert asked["Archives"] == "are not expanded"
    assert asked["Search within"] == "90 s"
    assert asked["Replays"] == "1 of dead letters have led to it"
    assert lines(Given(item_id="X"), kind=RunKind.DECOMPRESS)["Task"] == "expand the archives of an item"


def test_long_lists_and_filters_are_cut() -> None:
    names = tuple(f"S1A_OPER_AUX_RESORB_{number}" for number in range(40))
    assert lines(Given(item_id="X"), asset_names=names)["Assets"].endswith("_29 and 10 more")
    long: Json = {"op": "in", "args": [{"property": "id"}, ["x" * 100] * 1000]}
    assert len(lines(Cql2.model_construct(filter=long))["Filter"]) < 21_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (200, "3 min 20 s"), (7200, "2 h"), (100_000, "1 d 3 h")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (123_456, "123 kB"), (4.5e9, "4.5 GB"), (9e15, "9000 TB")],
)
def test_sizes_are_for_people(count: float, text: str) -> None:
    assert size(count) == text
