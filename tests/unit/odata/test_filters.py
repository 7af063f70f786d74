"""What is sent for a filter, in the words of the AUXIP conformance suite and of CDSE."""

from dataclasses import replace
from typing import Any

import pytest

from local.odata.filters import holds
from shared.errors import Rejected
from shared.json_types import Json
from shared.stations.odata.dialects import AUXIP, CDSE, Dialect
from shared.stations.odata.filters import odata_filter, with_our_types

BY_NAME = replace(AUXIP, by_name=True)
VALIDITY = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}
T0, T1 = "2026-11-25T06:00:00Z", "2026-11-25T06:10:00Z"


def part(op: str, *args: Any) -> Json:
    return {"op": op, "args": [{"property": each[1:]} if str(each).startswith("$") else each for each in args]}


def text_attribute(name: str, condition: str) -> str:
    full = "OData.CSC.StringAttribute"
    return f"Attributes/{full}/any(att:att/Name eq '{name}' and att/{full}/Value {condition})"


OF_S1 = text_attribute("platformShortName", "eq 'SENTINEL-1'")
OF_A = text_attribute("platformSerialIdentifier", "eq 'A'")
GENERATED = "OData.CSC.DateTimeOffsetAttribute"

SENT = [
    (part("=", "$product:type", "AUX_RESORB"), text_attribute("productType", "eq 'AUX_RESORB'")),
    (part("=", "AUX_RESORB", "$product:type"), text_attribute("productType", "eq 'AUX_RESORB'")),
    (part("=", "$properties.product:type", "AUX_RESORB"), text_attribute("productType", "eq 'AUX_RESORB'")),
    (part("in", "$product:type", ["A", "B"]), text_attribute("productType", "in ('A','B')")),
    (part("in", "$product:type", ["A"]), text_attribute("productType", "eq 'A'")),
    (part("=", "$platform", "sentinel-1a"), f"{OF_S1} and {OF_A}"),
    (part("=", "$constellation", "sentinel-1"), OF_S1),
    (part("=", "$processing:facility", "FOS"), text_attribute("processingCenter", "eq 'FOS'")),
    (part("=", "$id", "S1A_it's"), "startswith(Name,'S1A_it''s')"),
    (part("in", "$id", ["X", "Y"]), "(startswith(Name,'X') or startswith(Name,'Y'))"),
    (part("like", "$id", "S1A%"), "startswith(Name,'S1A')"),
    (part("like", "$id", "%OPOD"), "contains(Name,'OPOD')"),
    (part("like", "$id", "%AB_CDE%"), "contains(Name,'CDE')"),
    (part("like", "$id", r"S1A\_OPER%"), "startswith(Name,'S1A_OPER')"),
    (part(">", "$created", T0), "PublicationDate gt 2026-11-25T06:00:00.000Z"),
    (part(">=", "$published", {"timestamp": T0}), "PublicationDate ge 2026-11-25T06:00:00.000Z"),
    (part("<", T0, "$created"), "PublicationDate gt 2026-11-25T06:00:00.000Z"),
    (part("<", "$created", {"date": "2026-11-25"}), "PublicationDate lt 2026-11-25T00:00:00.000Z"),
    (part(">=", "$created", "2026-11-25T08:00:00.1239+02:00"), "PublicationDate ge 2026-11-25T06:00:00.123Z"),
    (part("<", "$created", "2026-11-25T06:00:00.1231Z"), "PublicationDate lt 2026-11-25T06:00:00.124Z"),
    (
        part("=", "$start_datetime", T0),
        "ContentDate/Start ge 2026-11-25T06:00:00.000Z and ContentDate/Start le 2026-11-25T06:00:00.001Z",
    ),
    (
        part("between", "$datetime", T0, T1),
        "ContentDate/Start ge 2026-11-25T06:00:00.000Z and ContentDate/Start le 2026-11-25T06:10:00.001Z",
    ),
    (
        part(">=", "$processing:datetime", T0),
        f"Attributes/{GENERATED}/any(att:att/Name eq 'processingDate' "
        f"and att/{GENERATED}/Value ge 2026-11-25T06:00:00.000Z)",
    ),
    (
        part("t_intersects", VALIDITY, {"interval": [T0, T1]}),
        "ContentDate/Start le 2026-11-25T06:10:00.001Z and ContentDate/End ge 2026-11-25T06:00:00.000Z",
    ),
    (part("t_intersects", VALIDITY, {"interval": [T0, ".."]}), "ContentDate/End ge 2026-11-25T06:00:00.000Z"),
    (part("t_intersects", {"interval": ["..", T1]}, VALIDITY), "ContentDate/Start le 2026-11-25T06:10:00.001Z"),
    (
        part("t_contains", VALIDITY, {"interval": [T0, T1]}),
        "ContentDate/Start lt 2026-11-25T06:00:00.000Z and ContentDate/End gt 2026-11-25T06:10:00.000Z",
    ),
    (
        part("t_disjoint", VALIDITY, {"interval": [T0, T1]}),
        "(ContentDate/Start gt 2026-11-25T06:10:00.000Z or ContentDate/End lt 2026-11-25T06:00:00.000Z)",
    ),
    (part("not", part("<", "$created", T0)), "PublicationDate ge 2026-11-25T06:00:00.000Z"),
    (
        part("not", part("or", part("<", "$created", T0), part("like", "$id", "%X"))),
        "PublicationDate ge 2026-11-25T06:00:00.000Z",
    ),
]


@pytest.mark.parametrize(("expression", "sent"), SENT, ids=[str(number) for number in range(len(SENT))])
def test_what_is_sent_to_an_auxip_station(expression: Json, sent: str) -> None:
    assert odata_filter(expression, AUXIP) == sent
    holds(sent)  # and it is understood


@pytest.mark.parametrize(
    "expression",
    [
        part("not", part("=", "$product:type", "AUX_RESORB")),
        part("not", part("like", "$id", "S1A%")),
        part("not", part("in", "$id", ["X"])),
        part("<>", "$created", T0),
        part("<", "$id", "X"),
        part("isNull", "$created"),
        part("=", {"op": "casei", "args": [{"property": "id"}]}, "x"),
        part("like", {"op": "casei", "args": [{"property": "id"}]}, "x"),
        part("like", "$product:type", "AUX%"),
        part("=", "$file:size", 3),
        part("=", "$platform", "metop-a"),
        part("=", "$platform", "sentinel-1"),
        part("=", "$created", "$published"),
        part("s_intersects", "$geometry", {"type": "Point", "coordinates": [0, 0]}),
        part("or", part("like", "$id", "S1A%"), part("=", "$file:size", 3)),
        part("<=", "$end_datetime", "9999-12-31T23:59:59Z"),
        part("=", "$id", ""),
    ],
    ids=str,
)
def test_what_odata_cannot_say_is_not_sent(expression: Json) -> None:
    assert odata_filter(expression, AUXIP) is None


def test_of_an_and_the_rest_is_sent() -> None:
    both = part("and", part("=", "$file:size", 3), part("like", "$id", "S1A%"))

    assert odata_filter(both, AUXIP) == "startswith(Name,'S1A')"


def test_an_and_within_an_or_within_an_and_is_in_brackets() -> None:
    inner = part("and", part("like", "$id", "B%"), part("like", "$id", "%C"))
    expression = part("and", part("or", part("like", "$id", "A%"), inner), part("like", "$id", "%D"))

    assert odata_filter(expression, AUXIP) == (
        "(startswith(Name,'A') or (startswith(Name,'B') and contains(Name,'C'))) and contains(Name,'D')"
    )


@pytest.mark.parametrize(
    ("dialect", "sent"),
    [
        (AUXIP, text_attribute("productType", "eq 'OPER_AUX_RESORB_OPOD'")),
        (
            CDSE,
            "Attributes/OData.CSC.StringAttribute/any(i0:i0/Name eq 'productType' "
            "and i0/Value eq 'OPER_AUX_RESORB_OPOD')",
        ),
        (BY_NAME, "contains(Name,'AUX_RESORB')"),
    ],
    ids=["auxip", "cdse", "by-name"],
)
def test_a_product_type_is_asked_for_in_the_stations_spelling(dialect: Dialect, sent: str) -> None:
    wanted = part("=", "$product:type", "AUX_RESORB")

    assert odata_filter(wanted, dialect, {"AUX_RESORB": "OPER_AUX_RESORB_OPOD"}) == sent


def test_each_type_is_a_condition_of_its_own_where_the_service_takes_no_lists() -> None:
    sent = odata_filter(part("in", "$product:type", ["A", "B"]), CDSE)

    attribute = "Attributes/OData.CSC.StringAttribute/any(i0:i0/Name eq 'productType' and i0/Value eq '{}')"
    assert sent == f"({attribute.format('A')} or {attribute.format('B')})"


def test_at_cdse_the_constellation_is_a_collection() -> None:
    sent = odata_filter(part("=", "$constellation", "sentinel-1"), CDSE)

    assert sent == "Collection/Name eq 'SENTINEL-1'"


def test_every_search_is_restricted_to_the_collections_of_the_station() -> None:
    one, two = (replace(CDSE, collections=names) for names in (("SENTINEL-1",), ("SENTINEL-1", "SENTINEL-2")))
    unsaid = part("=", "$file:size", 3)

    assert odata_filter(unsaid, one) == "Collection/Name eq 'SENTINEL-1'"
    assert odata_filter(part("=", "$constellation", "sentinel-1"), one) == "Collection/Name eq 'SENTINEL-1'"
    assert odata_filter(unsaid, two) == "(Collection/Name eq 'SENTINEL-1' or Collection/Name eq 'SENTINEL-2')"


def test_by_name_a_platform_is_its_mission_since_a_file_of_both_units_may_have_the_attributes_of_one() -> None:
    assert odata_filter(part("=", "$platform", "sentinel-1a"), BY_NAME) == "startswith(Name,'S1')"


def test_an_instant_that_is_none_is_refused() -> None:
    with pytest.raises(Rejected, match=r"bad-filter: .*'yesterday'"):
        odata_filter(part("<", "$created", "yesterday"), AUXIP)


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59.999999Z", "99999999T999999", "99991231T235959"])
def test_an_open_end_is_asked_for_by_its_last_second(end: str) -> None:
    assert odata_filter(part("=", "$end_datetime", end), AUXIP) == "ContentDate/End ge 9999-12-31T23:59:59.000Z"


@pytest.mark.parametrize(
    ("asked", "ours"),
    [
        (part("=", "$product:type", "AUX_X"), part("=", "$product:type", "OPER_AUX_X_OPOD")),
        (part("=", "AUX_X", "$properties.product:type"), part("=", "OPER_AUX_X_OPOD", "$properties.product:type")),
        (part("in", "$product:type", ["AUX_X", "Y"]), part("in", "$product:type", ["OPER_AUX_X_OPOD", "Y"])),
        (
            part("and", part("not", part("=", "$product:type", "AUX_X")), True),
            part("and", part("not", part("=", "$product:type", "OPER_AUX_X_OPOD")), True),
        ),
        (part("=", "$id", "AUX_X"), part("=", "$id", "AUX_X")),
        (part("=", "$product:type", "A"), part("=", "$product:type", "A")),
    ],
    ids=str,
)
def test_a_type_in_the_stations_spelling_is_ours(asked: Json, ours: Json) -> None:
    assert with_our_types(asked, {"OPER_AUX_X_OPOD": "AUX_X", "A": "B", "C": "A"}) == ours
