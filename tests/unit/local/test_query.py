import pytest

from local.stac import query
from local.stac.query import BadQuery, UnknownSortKey
from local.stac.store import Json

VALIDITY: Json = {"interval": [{"property": "start_datetime"}, {"property": "end_datetime"}]}


def item(**properties: object) -> Json:
    return {"id": "one", "collection": "adgs", "properties": properties}


def operation(operator: str, *arguments: object) -> Json:
    return {"op": operator, "args": list(arguments)}


def matches(filter_expression: Json, one: Json) -> bool:
    return query.matcher(filter_expression)(one)


def test_no_filter_matches_everything() -> None:
    assert query.matcher(None)(item())


def test_an_item_without_the_compared_property_does_not_match() -> None:
    assert not matches(operation("=", {"property": "platform"}, "sentinel-1a"), item())


def test_one_branch_of_an_or_is_enough_though_the_other_compares_an_absent_property() -> None:
    absent = operation("=", {"property": "platform"}, "sentinel-1a")
    present = operation("=", {"property": "product:type"}, "AUX_PP2")
    assert matches(operation("or", absent, present), item(**{"product:type": "AUX_PP2"}))


def test_timestamps_are_compared_as_instants() -> None:
    later_text = operation("<=", {"property": "created"}, {"timestamp": "2024-03-25T10:00:00+01:00"})
    assert matches(later_text, item(created="2024-03-25T09:00:00.000Z"))


def test_containment_is_strict() -> None:
    one = item(start_datetime="2024-03-25T09:00:00Z", end_datetime="2024-03-25T10:00:00Z")
    window = {"interval": ["2024-03-25T09:00:00Z", "2024-03-25T09:30:00Z"]}
    assert not matches(operation("t_contains", VALIDITY, window), one)


def test_intersection_is_inclusive() -> None:
    one = item(start_datetime="2024-03-25T09:00:00Z", end_datetime="2024-03-25T10:00:00Z")
    window = {"interval": ["2024-03-25T10:00:00Z", ".."]}
    assert matches(operation("t_intersects", VALIDITY, window), one)


def test_open_ended_validity_is_compared() -> None:
    one = item(start_datetime="2024-03-25T09:00:00Z", end_datetime="9999-12-31T23:59:59Z")
    window = {"interval": ["2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]}
    assert matches(operation("t_intersects", VALIDITY, window), one)


@pytest.mark.parametrize(
    "malformed",
    [
        operation("like", {"property": "id"}, "o%"),
        operation("not", operation("=", {"property": "id"}, "one")),
        operation("=", {"property": "id"}),
        operation("=", {"property": "id"}, None),
        operation("and", operation("=", {"property": "id"}, "one")),
        operation("and", True, False),
        operation("in", {"property": "id"}, "one"),
        operation("t_after", {"property": "created"}, "2024-03-25T09:00:00Z"),
        operation("<=", {"property": "created"}, {"timestamp": "yesterday"}),
        operation("<=", {"property": "created"}, {"timestamp": "2024-03-25T09:00:00"}),
        operation("t_intersects", VALIDITY, {"interval": ["2024-03-25T09:00:00Z"]}),
        operation("=", {"property": "id", "value": 1}, "one"),
        {"op": "=", "args": "id"},
        {"property": 1},
        {},
    ],
)
def test_what_is_not_supported_is_refused(malformed: Json) -> None:
    with pytest.raises(BadQuery):
        query.matcher(malformed)


def test_a_text_that_is_no_cql2_is_refused() -> None:
    with pytest.raises(BadQuery):
        query.parse_text("id = = one")


def test_items_without_the_sort_key_come_last() -> None:
    some: list[Json] = [{"id": "b", "properties": {}}, {"id": "a", "properties": {"created": "2024"}}]
    assert [each["id"] for each in query.in_order(some, "created", "desc")] == ["a", "b"]


def test_the_id_decides_between_equals() -> None:
    some: list[Json] = [{"id": name, "properties": {"created": "2024"}} for name in "cab"]
    assert [each["id"] for each in query.in_order(some, "created", "desc")] == ["a", "b", "c"]


def test_sizes_are_sorted_as_numbers() -> None:
    some: list[Json] = [{"id": name, "assets": {"x": {"file:size": size}}} for name, size in (("a", 10), ("b", 9))]
    assert [each["id"] for each in query.in_order(some, "file:size", "asc")] == ["b", "a"]


def test_a_sort_key_may_say_that_it_is_a_property() -> None:
    some: list[Json] = [{"id": name, "properties": {"datetime": when}} for name, when in (("a", "2025"), ("b", "2024"))]
    assert [each["id"] for each in query.in_order(some, "properties.datetime", "asc")] == ["b", "a"]


def test_an_unknown_sort_key_is_refused() -> None:
    with pytest.raises(UnknownSortKey):
        query.in_order([], "cloud_cover", "asc")
