"""The choice: policies follow each other, each product type apart, and what cannot be judged fails alone."""

import gc
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.answer import Selected
from shared.errors import ItemFailed
from shared.selection import PolicyName, PolicySelection, choose, validity
from shared.stac.item import Found, Item
from shared.stac.search import Cql2
from tests.unit.making import item_of
from tests.unit.selection.offering import TYPE, Offering, ids, offered, selected

DAY = "2024-03-25T"
WINDOW = {"start": f"{DAY}09:00:00Z", "end": f"{DAY}10:00:00Z"}


def by(*policies: PolicyName, **changes: Any) -> PolicySelection:
    return PolicySelection.model_validate({"policies": policies, "product_types": (TYPE,), **WINDOW, **changes})


def covering(item_id: str, generated: object = f"{DAY}00:00:00Z", **properties: object) -> Found:
    return offered(item_id, f"{DAY}08:00:00Z", f"{DAY}11:00:00Z", generated, **properties)


def touching(item_id: str, generated: object = f"{DAY}00:00:00Z", **properties: object) -> Found:
    return offered(item_id, f"{DAY}09:30:00Z", f"{DAY}11:00:00Z", generated, **properties)


def codes(found: list[Found]) -> dict[str, str]:
    return {one.item_id: one.code for one in found}


# A chain of policies


def test_the_second_policy_is_not_asked_where_the_first_selects_something() -> None:
    offering = Offering([covering("covers"), touching("touches")])
    assert ids(choose(by("LatestValCover", "LatestValIntersect"), offering)) == ["covers"]
    assert len(offering.searches) == 1


def test_the_second_policy_is_asked_where_the_first_selects_nothing() -> None:
    offering = Offering([touching("touches")])
    assert ids(choose(by("ValCover", "LatestValIntersect", "LatestGeneration"), offering)) == ["touches"]
    assert len(offering.searches) == 2


def test_a_chain_that_selects_nothing_has_asked_every_policy() -> None:
    offering = Offering([])
    assert list(choose(by("ValCover", "LatestValIntersect", "LatestGeneration"), offering)) == []
    assert len(offering.searches) == 3


def test_every_product_type_is_a_selection_of_its_own_and_follows_the_chain_apart() -> None:
    others: dict[str, object] = {"product:type": "OTHER"}
    items = [covering("a"), covering("b"), touching("c", **others), touching("d", **others)]
    selection = by("LatestValCover", "LatestValIntersect", product_types=(TYPE, "OTHER", "NONE"))
    assert ids(selected(selection, items)) == ["b", "d"]


def test_a_product_type_that_is_named_twice_is_asked_once() -> None:
    offering = Offering([covering("a")])
    assert ids(choose(by("ValCover", product_types=(TYPE, TYPE)), offering)) == ["a"]


def test_a_platform_leaves_the_others_out() -> None:
    items = [covering("a", platform="sentinel-1a"), covering("b", platform="sentinel-1b"), covering("none")]
    assert ids(selected(by("LatestValCover", platform="sentinel-1a"), items)) == ["a"]


# Ties


def test_what_has_no_generation_time_stands_last_among_equals() -> None:
    items = [covering("z", None), covering("a", "0001-01-01T00:00:01Z")]
    assert ids(selected(by("BestCentredCover"), items)) == ["a"]


def test_of_two_items_of_one_id_the_asset_keys_decide_whichever_comes_first() -> None:
    archive, orbit = (
        Found(
            item_id="X",
            item=item_of(properties=covering("X").item.properties, assets={name: {"href": "http://h/x"}}),  # type: ignore[union-attr]
        )
        for name in ("X.zip", "X.EOF")
    )
    for items in ([archive, orbit], [orbit, archive]):
        (one,) = selected(by("LatestValCover"), items)
        assert one.item is not None
        assert list(one.item.assets) == ["X.zip"]


# What cannot be judged


def test_an_item_without_a_generation_time_fails_alone_where_the_policy_goes_by_it() -> None:
    found = selected(by("LatestValCover"), [covering("none", None), covering("known")])
    assert codes(found) == {"none": "no-generation-time", "known": ""}


@pytest.mark.parametrize("name", ["ValCover", "LatestValCoverLatestValidity", "BestCentredCover", "LargestOverlap"])
def test_an_item_without_a_generation_time_is_as_good_as_any_where_the_policy_does_not_go_by_it(
    name: PolicyName,
) -> None:
    assert codes(selected(by(name), [covering("none", None)])) == {"none": ""}


def test_an_item_that_does_not_come_into_question_needs_no_generation_time() -> None:
    assert codes(selected(by("LatestValCover"), [touching("none", None), covering("known")])) == {"known": ""}


def test_the_generation_alone_tells_the_latest_generation() -> None:
    timeless = Found(item_id="x", item=item_of("x", properties={"product:type": TYPE, "created": f"{DAY}00:00:00Z"}))
    assert codes(selected(by("LatestGeneration"), [timeless])) == {"x": ""}


@pytest.mark.parametrize("name", ["LatestValidity", "LatestValidityClosest", "LatestStopValidity"])
def test_an_item_without_a_validity_fails_alone(name: PolicyName) -> None:
    found = selected(by(name), [covering("good"), offered("timeless", None, None)])
    assert codes(found) == {"timeless": "bad-validity", "good": ""}


def test_what_the_station_offers_malformed_stays_failed() -> None:
    malformed = Found.unusable("malformed", "bad-item", "it has no form")
    assert codes(selected(by("LatestValCover"), [malformed, covering("good")])) == {"malformed": "bad-item", "good": ""}


def test_a_failed_item_is_no_selection_so_the_next_policy_is_asked() -> None:
    found = selected(by("LatestValCover", "ValIntersect"), [covering("none", None), touching("touches")])
    assert codes(found) == {"none": "no-generation-time", "touches": ""}


def test_what_one_policy_of_a_chain_cannot_judge_no_later_one_takes() -> None:
    found = selected(by("LatestValCover", "ValIntersect"), [covering("none", None)])
    assert {one.code for one in found} == {"no-generation-time"}


@pytest.mark.parametrize(
    "bounds",
    [
        (None, "2024-03-26T00:00:00Z"),
        ("2024-03-26T00:00:00Z", None),
        (None, None),
        ("soon", "2024-03-26T00:00:00Z"),
        (1711324800, "2024-03-26T00:00:00Z"),
        ("2024-03-26T00:00:00Z", "9999-12-31T23:59:59-01:00"),
        ("2024-03-26T00:00:00Z", "2024-03-25T23:59:59Z"),
    ],
)
def test_a_validity_that_is_none_has_its_code(bounds: tuple[object, object]) -> None:
    with pytest.raises(ItemFailed, match="bad-validity"):
        validity(item_of(properties={"start_datetime": bounds[0], "end_datetime": bounds[1]}))


def test_a_validity_with_an_offset_is_converted() -> None:
    bounds = {"start_datetime": "2024-03-25T12:00:00+02:00", "end_datetime": "2024-03-25T12:00:00-02:00"}
    assert validity(item_of(properties=bounds)) == (
        datetime(2024, 3, 25, 10, tzinfo=UTC),
        datetime(2024, 3, 25, 14, tzinfo=UTC),
    )


# Streamed


class Watched:
    """An answer of many items that knows how many of them are held at once."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.most = 0
        self._held: list[weakref.ref[Item]] = []

    def __call__(self, _: Cql2) -> Iterator[Found]:
        for number in range(self.count):
            found = covering(f"I{number:04}")
            assert found.item is not None
            self._held = [*(held for held in self._held if held() is not None), weakref.ref(found.item)]
            self.most = max(self.most, len(self._held))
            yield found


@pytest.mark.parametrize("name", ["LatestValCover", "ValCover"])
def test_however_many_items_come_only_a_few_are_held(name: PolicyName) -> None:
    gc.collect()
    answer = Watched(500)
    last = "".join(one.item_id for one in choose(by(name), answer) if one.item_id == "I0499")

    assert last == "I0499"
    assert answer.most <= 5


def test_a_policy_that_takes_all_passes_each_item_on_as_it_comes() -> None:
    def endless(_: Cql2) -> Iterator[Found]:
        while True:
            yield covering("a")

    assert next(iter(choose(by("ValCover"), endless))).item_id == "a"


# What is said of each product type


def test_each_product_type_is_noted_with_the_policy_that_selected_and_what_the_station_offered() -> None:
    offering = Offering([covering("covers"), touching("touches"), touching("other", **{"product:type": "OTHER"})])
    noted: list[Selected] = []
    types = (TYPE, "OTHER", "MISSPELT")
    list(choose(by("LatestValCover", "LatestValIntersect", product_types=types), offering, noted.append))
    assert noted == [
        Selected(product_type=TYPE, policy="LatestValCover", offered=2, selected=1),
        Selected(product_type="OTHER", policy="LatestValIntersect", offered=1, selected=1),
        Selected(product_type="MISSPELT", policy=None, offered=0, selected=0),
    ]


def test_a_type_of_which_no_policy_selects_anything_is_noted_with_what_was_offered() -> None:
    noted: list[Selected] = []
    list(choose(by("ValCover"), Offering([touching("a"), touching("b")]), noted.append))
    assert noted == [Selected(product_type=TYPE, offered=2)]
