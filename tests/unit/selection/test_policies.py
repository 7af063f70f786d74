"""Every policy: against vectors, and against its definition, stated here anew over whole lists of numbers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.selection import POLICIES, PolicyName, PolicySelection
from shared.stac.item import Found
from tests.unit.selection.offering import TYPE, ids, offered, selected

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())
NAMES: tuple[PolicyName, ...] = get_args(PolicyName)
ALL = {"ValIntersect", "ValCover"}


def test_every_policy_has_its_rule_and_stands_in_every_vector() -> None:
    assert set(POLICIES) == set(NAMES)
    assert all(set(vector["expected"]) == set(NAMES) for vector in VECTORS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["about"])
def test_a_policy_selects_what_the_vector_says(vector: dict[str, Any], name: PolicyName) -> None:
    selection = PolicySelection(
        policies=(name,),
        product_types=(TYPE,),
        **{bound: vector[bound] for bound in ("start", "end", "before", "after")},
    )
    items = [offered(one["id"], one["start"], one["end"], one["generated"]) for one in vector["items"]]

    assert sorted(ids(selected(selection, items))) == sorted(vector["expected"][name])
    assert sorted(ids(selected(selection, items[::-1]))) == sorted(vector["expected"][name])


@pytest.mark.parametrize("name", NAMES)
def test_all_policies_but_two_select_one_item(name: PolicyName) -> None:
    assert (POLICIES[name].measure is None) is (name in ALL)


# The definitions, in minutes: S and E are an item's validity, G is its generation, W0 and W1 the window with margins.


@dataclass(frozen=True)
class One:
    id: str
    S: int
    E: int
    G: int


Definition = Callable[[Sequence[One], int, int, int], list[One]]


def intersecting(items: Sequence[One], w0: int, w1: int) -> list[One]:
    return [one for one in items if any(w0 <= minute <= w1 for minute in range(one.S, one.E + 1))]


def covering(items: Sequence[One], w0: int, w1: int) -> list[One]:
    return [one for one in items if set(range(w0, w1 + 1)) <= set(range(one.S, one.E + 1))]


def common(one: One, w0: int, w1: int) -> int:
    return len(set(range(w0, w1 + 1)) & set(range(one.S, one.E + 1))) - 1


def the_most(items: Sequence[One], measure: Callable[[One], float | Fraction]) -> list[One]:
    """The item whose measure no other exceeds; among several the last generated, and of those the greatest id."""
    best = [one for one in items if all(measure(one) >= measure(other) for other in items)]
    latest = [one for one in best if all(one.G >= other.G for other in best)]
    return [one for one in latest if all(one.id >= other.id for other in latest)][:1]


def middle(w0: int, w1: int) -> Fraction:
    return Fraction(w0 + w1, 2)


DEFINITIONS: dict[PolicyName, Definition] = {
    "ValIntersect": lambda items, w0, w1, _: intersecting(items, w0, w1),
    "LatestValIntersect": lambda items, w0, w1, _: the_most(intersecting(items, w0, w1), lambda one: one.G),
    "ValCover": lambda items, w0, w1, _: covering(items, w0, w1),
    "LatestValCover": lambda items, w0, w1, _: the_most(covering(items, w0, w1), lambda one: one.G),
    "LatestValidity": lambda items, *_: the_most(items, lambda one: one.S),
    "LatestValCoverLatestValidity": lambda items, w0, w1, _: the_most(covering(items, w0, w1), lambda one: one.S),
    "LatestValidityClosest": lambda items, w0, w1, _: the_most(items, lambda one: -abs(one.S - middle(w0, w1))),
    "BestCentredCover": lambda items, w0, w1, _: the_most(
        covering(items, w0, w1), lambda one: min(w0 - one.S, one.E - w1)
    ),
    "LatestValCoverClosest": lambda items, w0, w1, _: the_most(
        covering(items, w0, w1), lambda one: -abs(one.S - middle(w0, w1))
    ),
    "LargestOverlap": lambda items, w0, w1, _: the_most(intersecting(items, w0, w1), lambda one: common(one, w0, w1)),
    "LargestOverlap85": lambda items, w0, w1, _: the_most(
        [one for one in intersecting(items, w0, w1) if common(one, w0, w1) >= Fraction(85, 100) * (w1 - w0)],
        lambda one: common(one, w0, w1),
    ),
    "LatestGeneration": lambda items, *_: the_most(items, lambda one: one.G),
    "ClosestStartValidity": lambda items, _, __, reference: the_most(items, lambda one: -abs(one.S - reference)),
    "ClosestStopValidity": lambda items, _, __, reference: the_most(items, lambda one: -abs(one.E - reference)),
    "LatestStopValidity": lambda items, *_: the_most(items, lambda one: one.E),
}

MIDNIGHT = datetime(2024, 3, 25, tzinfo=UTC)
MINUTES = st.integers(0, 40)
SPANS = st.tuples(MINUTES, MINUTES).map(sorted)


def at(minute: int) -> datetime:
    return MIDNIGHT + timedelta(minutes=minute)


@st.composite
def offers(draw: st.DrawFn) -> list[One]:
    spans = draw(st.lists(st.tuples(SPANS, st.integers(0, 3)), max_size=8))
    return [One(f"I{number}", start, end, generated) for number, ((start, end), generated) in enumerate(spans)]


def as_offered(one: One) -> Found:
    return offered(one.id, at(one.S).isoformat(), at(one.E).isoformat(), at(one.G).isoformat())


@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("name", NAMES)
@given(items=offers(), span=SPANS, margins=st.tuples(st.integers(0, 5), st.integers(0, 5)), data=st.data())
def test_a_policy_selects_what_its_definition_says_in_whatever_order_and_however_often_items_come(
    name: PolicyName, items: list[One], span: list[int], margins: tuple[int, int], data: st.DataObject
) -> None:
    (start, end), (before, after) = span, margins
    expected = DEFINITIONS[name](items, start - before, end + after, start)
    selection = PolicySelection(
        policies=(name,),
        product_types=(TYPE,),
        start=at(start),
        end=at(end),
        before=timedelta(minutes=before),
        after=timedelta(minutes=after),
    )
    repeated = data.draw(st.lists(st.sampled_from(items), max_size=4)) if items else []
    answer = data.draw(st.permutations([*items, *repeated]))

    taken = ids(selected(selection, [as_offered(one) for one in answer]))
    assert sorted(set(taken)) == [one.id for one in expected]
    assert name in ALL or len(taken) <= 1
