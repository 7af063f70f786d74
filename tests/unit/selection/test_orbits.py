"""The orbit of a scene: the recorded searches of public tools, the better kind first, and names that are no scene."""

from typing import Any

import pytest

from shared.errors import Rejected
from shared.selection import OrbitSelection, Scene, orbit_kind
from shared.stac.item import Found
from shared.times import format_instant
from tests.unit.selection.offering import Offering, ids, offered

SCENE = "S1A_IW_SLC__1SDV_20250310T204228_20250310T204255_058244_0732B5_1A2B"


def orbit(start: str, end: str, generated: str = "2025-03-10T22:09:05Z", **properties: Any) -> Found:
    return offered(
        f"{start}/{end}/{generated}",
        start,
        end,
        generated,
        **{"platform": "sentinel-1a", "product:type": "AUX_RESORB", **properties},
    )


def chosen(*items: Found) -> list[str]:
    return ids(OrbitSelection(scene=SCENE).choose(Offering(items)))


@pytest.mark.parametrize(
    ("start", "begin", "end"),
    [
        ("20200101T000000", "2019-12-31T22:20:15.428571+00:00", "2020-01-01T00:01:00+00:00"),
        ("20250310T204228", "2025-03-10T19:02:43.428571+00:00", "2025-03-10T20:43:28+00:00"),
    ],
)
def test_the_window_is_that_of_the_recorded_searches_of_sentineleof(start: str, begin: str, end: str) -> None:
    scene = Scene.of(f"S1A_IW_SLC__1SDV_{start}_{start}_030600_038166_ABCD")
    assert [instant.isoformat() for instant in scene.window] == [begin, end]


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        (SCENE, "sentinel-1a"),
        (f"{SCENE}.SAFE", "sentinel-1a"),
        (f"{SCENE}.SAFE/", "sentinel-1a"),
        (f"{SCENE}.SAFE.zip", "sentinel-1a"),
        (f"{SCENE}.zip", "sentinel-1a"),
        ("S1C_EW_GRDM_1SDH_20250601T054321_20250601T054421_002345_004A1B_00FF", "sentinel-1c"),
        ("S1B_S3_RAW__0SDV_20200101T170000_20200101T170027_030600_038166_ABCD", "sentinel-1b"),
        ("S1A_IW_GRDH_1SDV_20240101T170000_20240101T170025_051900_0645AA_19C8_COG", "sentinel-1a"),
    ],
)
def test_a_scene_is_known_by_its_name_in_every_spelling(name: str, platform: str) -> None:
    assert Scene.of(name).platform == platform
    assert not Scene.of(name).name.endswith((".SAFE", ".zip", "/"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "S2A_MSIL1C_20200101T170000_N0208_R012_T33UUP_20200101T170000",
        SCENE.replace("20250310T204228", "20251310T204228"),  # no month
        SCENE.replace("20250310T204255", "20250310T204227"),  # ends before it begins
        SCENE.replace("20250310T204255", "20250313T204255"),  # three days
        SCENE.replace("20250310", "00010101"),
        SCENE.replace("20250310", "99991231"),
        f"{SCENE}\n",
        f"{SCENE}/../x",
        f"x{SCENE}",
    ],
)
def test_another_name_is_refused_and_shown(name: str) -> None:
    with pytest.raises(Rejected, match="bad-scene") as refused:
        OrbitSelection(scene=name or " ")
    assert "\n" not in str(refused.value)


def test_the_file_covers_the_scene_and_the_whole_orbit_before_it() -> None:
    covers = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z")
    late = orbit("2025-03-10T19:02:44Z", "2025-03-10T22:26:22Z")
    short = orbit("2025-03-10T16:00:00Z", "2025-03-10T20:43:27Z")
    assert chosen(late, covers, short) == [covers.item_id]
    assert chosen(late, short) == []


def test_of_several_the_newest_generation_is_taken_whatever_the_order_of_the_answer() -> None:
    old = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z", "2025-03-10T22:09:05Z")
    new = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z", "2025-06-01T00:00:00Z")
    assert chosen(old, new) == chosen(new, old) == [new.item_id]


@pytest.mark.parametrize("precise", ["AUX_POEORB", "OPER_AUX_POEORB_OPOD"])
def test_the_precise_orbit_is_preferred_to_a_newer_restituted_one(precise: str) -> None:
    better = orbit("2025-03-09T22:59:42Z", "2025-03-11T00:59:42Z", **{"product:type": precise})
    newer = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z", "2026-01-01T00:00:00Z")
    assert chosen(newer, better) == [better.item_id]


def test_the_restituted_orbit_is_taken_where_there_is_no_precise_one() -> None:
    precise = orbit("2025-03-08T22:59:42Z", "2025-03-10T00:59:42Z", **{"product:type": "AUX_POEORB"})
    restituted = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z")
    assert chosen(precise, restituted) == [restituted.item_id]


def test_a_predicted_orbit_and_that_of_another_satellite_are_none() -> None:
    predicted = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z", **{"product:type": "AUX_PREORB"})
    other = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z", platform="sentinel-1c")
    assert chosen(predicted, other) == []


def test_the_kind_of_an_orbit_file_is_that_of_its_product_type() -> None:
    precise = orbit("2025-03-09T22:59:42Z", "2025-03-11T00:59:42Z", **{"product:type": "OPER_AUX_POEORB_OPOD"})
    restituted = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z")
    other = orbit("2025-03-10T18:08:52Z", "2025-03-10T21:26:22Z", **{"product:type": "AUX_CAL"})
    kinds = [orbit_kind(one.item) for one in (precise, restituted, other) if one.item]
    assert kinds == ["precise", "restituted", None]


def test_the_precise_orbit_is_due_twenty_days_after_the_scene() -> None:
    assert format_instant(Scene.of(SCENE).due("precise")) == "2025-03-30T20:42:55Z"
    assert format_instant(Scene.of(SCENE).due("restituted")) == "2025-03-10T23:42:55Z"
