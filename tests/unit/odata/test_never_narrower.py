"""The filter that is sent keeps every product that the expression keeps: any expression, any product, each dialect."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.odata.filters import holds
from shared.json_types import Json
from shared.selection import PolicyName, PolicySelection, choose
from shared.stac.item import Found, Item
from shared.stac.matching import compiled
from shared.stac.operators import RELATIONS
from shared.stac.search import Cql2
from shared.stations.odata.dialects import AUXIP, CDSE, Dialect
from shared.stations.odata.filters import odata_filter, with_our_types
from shared.stations.odata.products import item_of
from shared.times import parse_instant
from tests.unit.odata.products import URL, attribute, product, with_attributes
from tests.unit.selection.offering import Offering, ids

TYPES = {"AUX_RESORB": "OPER_AUX_RESORB_OPOD", "AUX_PP2": "AUX_PP2"}
SPELLINGS: Mapping[str, str] = {"AUX_RESORB": "OPER_AUX_RESORB_OPOD"}
DIALECTS = {
    "auxip": AUXIP,
    "cdse": replace(CDSE, collections=("SENTINEL-1", "SENTINEL-2")),
    "by-name": replace(AUXIP, by_name=True),
}
NAMES = (
    "S1A_OPER_AUX_RESORB_OPOD_20230405T110702_V20230405T071044_20230405T102814.EOF",
    "S1A_OPER_AUX_RESORB_OPOD_20230406T110702_V20230406T071044_99999999T999999.EOF",
    "S1B_AUX_PP2_V20230403T080000_G20230403T080000.SAFE.zip",
    "S1__AUX_PP2_V20230403T080000_G20230403T080000.SAFE",
    "S2A_it's_100%_AUX_PP2",
)
DAYS = ("2024-01-01T00:00:00", "2024-01-02T00:00:00", "2024-01-03T12:00:00", "9999-12-31T23:59:59")
FRACTIONS = ("", ".0", ".001", ".999", ".9990004", ".9999999", ".123456", ".1234567")

instants = st.builds(lambda day, fraction: f"{day}{fraction}Z", st.sampled_from(DAYS), st.sampled_from(FRACTIONS))
validities = st.tuples(instants, instants).map(lambda both: sorted(both, key=parse_instant))


@dataclass(frozen=True)
class Offer:
    """A product as a station has it, and what we make of it."""

    product: dict[str, Any]
    found: Found
    item: Item


def _instant(chance: Random) -> str:
    return f"{chance.choice(DAYS)}{chance.choice(FRACTIONS)}Z"


def _offer(chance: Random, dialect: Dialect) -> Offer:
    """A product whose type and platform are in its attributes or, where these may be missing, in its Name."""
    name = chance.choice(NAMES)
    theirs = "OPER_AUX_RESORB_OPOD" if "RESORB" in name else "AUX_PP2"
    generated = attribute("processingDate", _instant(chance), "DateTimeOffset")
    attributes = with_attributes(
        productType=None if dialect.by_name and name.startswith("S1A") else attribute("productType", theirs),
        platformShortName=attribute("platformShortName", f"SENTINEL-{name[1]}"),
        platformSerialIdentifier=attribute("platformSerialIdentifier", chance.choice("AB_")),
        processingCenter=chance.choice([None, attribute("processingCenter", "OPOD")]),
        processingDate=chance.choice([None, generated]),
    )
    start, end = sorted([_instant(chance), _instant(chance)], key=parse_instant)
    made = product(Name=name, PublicationDate=_instant(chance), ContentDate={"Start": start, "End": end})
    made |= {"Attributes": attributes, "Collection": {"Name": f"SENTINEL-{name[1]}"}}
    found = item_of(made, URL, SPELLINGS)
    assert found.item is not None, found
    return Offer(made, found, found.item)


@cache
def _offers(dialect: Dialect) -> list[Offer]:
    """Products of every kind: always the same, so that what is drawn at random are the expressions."""
    chance = Random(dialect.name)  # noqa: S311 - no secret is made of it
    return [_offer(chance, dialect) for _ in range(120)]


def _property(name: str) -> Json:
    return {"property": name}


moments = ("created", "published", "datetime", "start_datetime", "properties.end_datetime", "processing:datetime")
texts = ("id", "product:type", "platform", "constellation", "processing:facility", "no:such")
literals = instants | instants.map(lambda at: {"timestamp": at}) | instants.map(lambda at: {"date": at[:10]})
ids_of_items = [name.rpartition(".")[0] or name for name in NAMES]
constellations = ["sentinel-1a", "sentinel-1b", "sentinel-1", "sentinel-2", "sentinel-9z"]
values = st.sampled_from([*TYPES, *ids_of_items, *constellations, "OPOD", "", "'"])
patterns = st.lists(
    st.sampled_from(["%", "_", "S1", "S1A_OPER", "AUX", "'s", r"\%", "RESORB", "sentinel", "SAFE"]), max_size=4
)
bounds = literals | st.sampled_from(["..", *({"property": name} for name in moments[:5])])
intervals = st.one_of(
    st.tuples(bounds, bounds).map(lambda both: {"interval": [*both]}),
    st.just({"interval": [_property("start_datetime"), _property("end_datetime")]}),
    literals,
    st.sampled_from(moments).map(_property),
)
of_moments = st.sampled_from(moments).map(_property)
of_texts = st.sampled_from(texts).map(_property)
comparisons = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])


def _part(op: object, *args: object) -> dict[str, Any]:
    return {"op": op, "args": [*args]}


LIKELY = [
    *(("product:type", text) for text in TYPES),
    *(("id", text) for text in ids_of_items),
    *(("platform", text) for text in constellations),
    *(("constellation", text) for text in constellations),
    ("processing:facility", "OPOD"),
]

KINDS = {
    "moments": st.one_of(
        st.builds(_part, comparisons, of_moments, literals),
        st.builds(_part, comparisons, literals, of_moments),
        st.builds(_part, st.just("between"), of_moments, literals, literals),
    ),
    "intervals": st.builds(_part, st.sampled_from([*RELATIONS, "t_disjoint"]), intervals, intervals),
    "texts": st.one_of(
        st.sampled_from(LIKELY).map(lambda pair: _part("=", _property(pair[0]), pair[1])),
        st.builds(_part, comparisons, of_texts, values),
        st.builds(_part, st.just("in"), of_texts, st.lists(values, min_size=1, max_size=3)),
        st.builds(_part, st.just("like"), of_texts, patterns.map("".join)),
        st.builds(lambda name, value: _part("=", _part("casei", name), value), of_texts, values.map(str.lower)),
        st.builds(_part, st.just("isNull"), of_texts | of_moments),
    ),
}
leaves = st.one_of(*KINDS.values())
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda parts: _part("and", *parts), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda parts: _part("or", *parts), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda part: _part("not", part), inner),
    ),
    max_leaves=6,
)


def _never_narrower(dialect: Dialect, expression: Json) -> None:
    _keeps_what_matches(dialect, expression)
    _keeps_what_matches(dialect, _part("not", expression))


def _keeps_what_matches(dialect: Dialect, expression: Json) -> None:
    matches, sent = compiled(expression), odata_filter(expression, dialect, SPELLINGS)
    keeps = holds(sent) if sent else lambda _: True
    lost = [offer.product for offer in _offers(dialect) if matches(offer.item) and not keeps(offer.product)]
    assert not lost, (sent, lost[0])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_filter_keeps_what_one_condition_keeps(kind: str, data: st.DataObject) -> None:
    expression = data.draw(KINDS[kind])
    for dialect in DIALECTS.values():
        _never_narrower(dialect, expression)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(expression=expressions)
def test_a_filter_keeps_what_the_expression_keeps(dialect: Dialect, expression: Json) -> None:
    _never_narrower(dialect, expression)


@pytest.mark.long
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(expression=expressions)
def test_a_filter_keeps_what_any_of_many_expressions_keeps(dialect: Dialect, expression: Json) -> None:
    _never_narrower(dialect, expression)


class Searched:
    """A station's products, asked by OData: what its filter keeps is judged again, as any answer is."""

    def __init__(self, offers: Sequence[Offer], dialect: Dialect) -> None:
        self.offers, self.dialect, self.read = offers, dialect, 0

    def __call__(self, search: Cql2) -> Iterator[Found]:
        sent = odata_filter(search.filter, self.dialect, SPELLINGS)
        assert sent is not None
        keeps, matches = holds(sent), compiled(search.filter)
        answered = [offer for offer in self.offers if keeps(offer.product)]
        self.read += len(answered)
        return (offer.found for offer in answered if matches(offer.item))


def _selects_the_same(name: PolicyName, data: st.DataObject) -> None:
    dialect = data.draw(st.sampled_from([*DIALECTS.values()]))
    offers = data.draw(st.lists(st.sampled_from(_offers(dialect)), max_size=8, unique_by=lambda one: one.item.id))
    start, end = data.draw(validities)
    platform = data.draw(st.sampled_from([None, "sentinel-1a", "sentinel-1b"]))
    wanted = PolicySelection(policies=(name,), product_types=tuple(TYPES), platform=platform, start=start, end=end)

    by_stac = choose(wanted, Offering([offer.found for offer in offers]))
    by_odata = choose(wanted, Searched(offers, dialect))

    assert ids(by_odata) == ids(by_stac)


@pytest.mark.parametrize("name", get_args(PolicyName))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_policy_selects_by_odata_what_it_selects_by_stac(name: PolicyName, data: st.DataObject) -> None:
    _selects_the_same(name, data)


@pytest.mark.long
@pytest.mark.parametrize("name", get_args(PolicyName))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_policy_selects_by_odata_what_it_selects_by_stac_of_many(name: PolicyName, data: st.DataObject) -> None:
    _selects_the_same(name, data)


def _of(**changes: Any) -> Offer:
    made = product(**changes)
    found = item_of(made, URL, SPELLINGS)
    assert found.item is not None
    return Offer(made, found, found.item)


def test_a_search_in_the_stations_spelling_of_a_type_finds_its_items() -> None:
    wanted = _part("=", _property("product:type"), "OPER_AUX_RESORB_OPOD")
    offer = _of(Attributes=with_attributes(productType=attribute("productType", "OPER_AUX_RESORB_OPOD")))

    [found] = Searched([offer], AUXIP)(Cql2(filter=with_our_types(wanted, SPELLINGS)))

    assert found.item is not None
    assert found.item.properties["product:type"] == "AUX_RESORB"


def test_a_policys_filter_leaves_out_the_products_of_another_type_and_of_another_time() -> None:
    of_another_time = {"Start": "2020-01-01T00:00:00.000Z", "End": "2020-01-02T00:00:00.000Z"}
    pp2 = with_attributes(productType=attribute("productType", "AUX_PP2"))
    station = Searched([_of(), _of(Attributes=pp2), _of(Attributes=pp2, ContentDate=of_another_time)], AUXIP)
    window = {"start": "2023-04-05T08:00:00Z", "end": "2023-04-05T09:00:00Z"}
    wanted = PolicySelection.model_validate({"policies": ["ValCover"], "product_types": ["AUX_PP2"], **window})

    list(choose(wanted, station))

    assert station.read == 1
