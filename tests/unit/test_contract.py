"""The contract: what other systems may send, and how they are told what is wrong with it."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.errors import Rejected
from shared.json_types import Json
from shared.models import PublicTask, RunKind, RunRequest
from shared.selection import Given, NamedQuery, NamesSelection, OrbitSelection, PolicySelection
from shared.stac.search import Cql2
from tests.unit.making import ANY, item_json
from workers.contract import (
    MESSAGES,
    AuxMessage,
    CancelMessage,
    OnDemandMessage,
    OrbitMessage,
    ProcessAssetMessage,
    SearchMessage,
    StagingMessage,
    StatusMessage,
    UnzipMessage,
    decode,
)
from workers.contract import refusal as refusal_of_call
from workers.queues import QUEUES

ENV: Json = {"owner_id": "operations"}
STAGING: Json = {"env": ENV, "cql2_filter": ANY, "catalog_collection_identifier": "aux"}
ON_DEMAND: Json = {
    "env": ENV,
    "start_datetime": "2024-03-25T09:00:00Z",
    "end_datetime": "2024-03-25T11:25:00+02:00",
    "product_type": "OPER_MPL_ORBPRE",
    "catalog_collection_identifier": "aux",
}
WINDOW = ("start_datetime", "end_datetime")
QUERIES = Path(__file__).parents[1] / "data" / "queries.json"
NAMED: Json = {"query": "Orbits of a satellite", "parameters": {"satellite": "sentinel-1a"}}
SCENE = "S1A_IW_SLC__1SDV_20250310T204228_20250310T204255_058244_0732B5_1A2B"
ORBIT: Json = {"env": ENV, "scene": f"{SCENE}.SAFE", "catalog_collection_identifier": "aux"}
AUX: Json = {"env": ENV, "names": ["S1A_AUX_CAL_X.SAFE"], "catalog_collection_identifier": "aux"}
VALID: dict[type[BaseModel], Json] = {
    OrbitMessage: ORBIT,
    AuxMessage: AUX,
    SearchMessage: {"env": ENV, "auxip_cql2": ANY},
    StagingMessage: STAGING,
    OnDemandMessage: ON_DEMAND,
    UnzipMessage: {"env": ENV, "auxip_item": item_json(collection="aux")},
    StatusMessage: {"env": ENV, "run": "run-1"},
    CancelMessage: {"env": ENV, "run": "run-1"},
    ProcessAssetMessage: {"asset_href": "s3://bucket/a.zip", "asset_name": "a.zip"},
}


def refusal(message: type[BaseModel], fields: Json) -> Rejected:
    with pytest.raises(Rejected) as raised:
        decode(message, **fields)
    return raised.value


def test_every_public_task_has_a_message() -> None:
    public = {task for queue in QUEUES for task in queue.tasks if not task.startswith("auxip.step.")}
    assert set(MESSAGES) == public - {
        "auxip.sweep",
        "auxip.sweep_now",
        "auxip.audit",
        "auxip.clean_up",
        "auxip.reconcile",
        "auxip.reply",
    }  # ours


@pytest.mark.parametrize("message", VALID, ids=lambda message: message.__name__)
def test_a_message_of_the_documented_fields_is_accepted(message: type[BaseModel]) -> None:
    assert isinstance(decode(message, **VALID[message]), message)


@pytest.mark.parametrize(
    ("message", "name"),
    [(message, name) for message, fields in VALID.items() for name in fields if name not in WINDOW],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_a_missing_field_is_named(message: type[BaseModel], name: str) -> None:
    error = refusal(message, {field: value for field, value in VALID[message].items() if field != name})
    assert str(error) == f"bad-request: {name}: Field required"


@pytest.mark.parametrize("message", VALID, ids=lambda message: message.__name__)
def test_a_field_that_is_unknown_is_refused(message: type[BaseModel]) -> None:
    error = refusal(message, {**VALID[message], "typing_eror": 1})
    assert str(error) == "bad-request: typing_eror: there is no such field"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"product_typ": "A"}, "product_typ: there is no such field, the nearest is product_type"),
        ({"timeout": 5}, "timeout: there is no such field, the nearest is timeout_seconds"),
        ({"zzz": 5}, "zzz: there is no such field"),
    ],
)
def test_an_unknown_field_is_told_with_the_nearest_one(wrong: Json, said: str) -> None:
    assert refusal(OnDemandMessage, {**ON_DEMAND, **wrong}).reason == said


def test_an_unknown_field_of_a_search_is_told_with_the_nearest_one() -> None:
    error = refusal(StagingMessage, {**STAGING, "cql2_filter": {"filter": ANY, "limits": 1}})
    assert error.reason == "cql2_filter.limits: there is no such field, the nearest is limit"


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong: Json = {"end_datetime": "soon", "before": -1, "product_typ": "A", "env": {"owner_id": "a/b"}}
    error = refusal(OnDemandMessage, {**ON_DEMAND, **wrong})
    assert error.code == "bad-request"
    told = [problem.partition(":")[0] for problem in error.reason.split("; ")]
    assert told == ["env.owner_id", "end_datetime", "before", "product_typ"]


def test_of_very_many_problems_twenty_are_told() -> None:
    error = refusal(OnDemandMessage, {**ON_DEMAND, "product_type": [1] * 50})
    assert error.reason.endswith("and 31 more")


def test_a_date_that_is_none_beside_a_wrong_number_has_the_code_of_both() -> None:
    wrong: Json = {"start_datetime": "x", "end_datetime": "y"}
    assert refusal(OnDemandMessage, {**ON_DEMAND, **wrong, "before": -1}).code == "bad-request"


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        (OnDemandMessage, {"before": "60"}),
        (OnDemandMessage, {"after": True}),
        (OnDemandMessage, {"start_datetime": 1711357200}),
        (OnDemandMessage, {"end_datetime": 1711357200.5}),
        (StagingMessage, {"decompress": "yes"}),
        (StagingMessage, {"decompress": 1}),
        (StagingMessage, {"timeout_seconds": "60"}),
        (StagingMessage, {"cql2_filter": {"filter": ANY, "limit": "5"}}),
        (StagingMessage, {"cql2_filter": {"filter": ANY, "limit": True}}),
        (SearchMessage, {"error_if_empty": "true"}),
        (StagingMessage, {"strip": "1"}),
        (StagingMessage, {"dbl": 1}),
    ],
)
def test_a_value_of_another_type_is_refused_and_not_converted(message: type[BaseModel], wrong: Json) -> None:
    error = refusal(message, {**VALID[message], **wrong})
    assert error.code == "bad-request"
    assert error.reason.startswith(next(iter(wrong)))


def test_two_filters_that_are_none_have_the_code_of_one() -> None:
    assert refusal(OnDemandMessage, {**ON_DEMAND, "start_datetime": "x", "end_datetime": "y"}).code == "bad-datetime"


@pytest.mark.parametrize("message", VALID, ids=lambda message: message.__name__)
def test_a_call_is_refused_as_its_message_is(message: type[BaseModel]) -> None:
    values = list(VALID[message].values())
    refused = refusal_of_call(message, tuple(values[:1]), {"typing_eror": 1})
    given = {next(iter(message.model_fields)): values[0], "typing_eror": 1}
    assert str(refused) == str(refusal(message, given))


@pytest.mark.parametrize(("args", "kwargs"), [((1,) * 50, {}), ((1,), {"env": 1})])
def test_a_call_that_python_refuses_has_no_field_to_name(args: tuple[object, ...], kwargs: Json) -> None:
    assert refusal_of_call(StagingMessage, args, kwargs) is None


@pytest.mark.parametrize(
    ("message", "wrong", "where"),
    [
        (StagingMessage, {"env": {}}, "env.owner_id"),
        (StagingMessage, {"env": None}, "env"),
        (StagingMessage, {"env": {"owner_id": ""}}, "env.owner_id"),
        (StagingMessage, {"env": {"owner_id": "a/b"}}, "env.owner_id"),
        (StagingMessage, {"env": {"owner_id": "a\n"}}, "env.owner_id"),
        (StagingMessage, {"env": {"owner_id": "x" * 64}}, "env.owner_id"),
        (StagingMessage, {"catalog_collection_identifier": ".."}, "catalog_collection_identifier"),
        (StagingMessage, {"catalog_collection_identifier": "a/b"}, "catalog_collection_identifier"),
        (StagingMessage, {"cql2_filter": {"filter": ANY, "limit": 0}}, "cql2_filter.limit"),
        (StagingMessage, {"cql2_filter": {"filter": ANY, "limits": 1}}, "cql2_filter.limits"),
        (StagingMessage, {"cql2_filter": None}, "cql2_filter"),
        (StagingMessage, {"cql2_filter": "id = 'X'"}, "cql2_filter"),
        (StagingMessage, {"timeout_seconds": "soon"}, "timeout_seconds"),
        (StagingMessage, {"decompress": "perhaps"}, "decompress"),
        (OnDemandMessage, {"product_type": []}, "product_type"),
        (OnDemandMessage, {"product_type": ""}, "product_type"),
        (OnDemandMessage, {"product_type": ["A"] * 101}, "product_type"),
        (OnDemandMessage, {"product_type": 5}, "product_type"),
        (OnDemandMessage, {"start_datetime": []}, "start_datetime"),
        (OnDemandMessage, {"policy": "NoPolicy"}, "policy.0: Input should be 'ValIntersect', 'LatestValIntersect'"),
        (OnDemandMessage, {"policy": ["ValCover", 5]}, "policy.1"),
        (OnDemandMessage, {"policy": []}, "policy"),
        (OnDemandMessage, {"policy": ["ValCover"] * 16}, "policy"),
        (OnDemandMessage, {"platform": ""}, "platform"),
        (OnDemandMessage, {"before": -1}, "before"),
        (OnDemandMessage, {"after": float("inf")}, "after"),
        (OnDemandMessage, {"after": "6h"}, "after"),
        (StagingMessage, {"cql2_filter": {"query": ""}}, "cql2_filter.query"),
        (StagingMessage, {"cql2_filter": {"query": "Q", "parameters": {"a": {"op": "not"}}}}, "cql2_filter.parameters"),
        (SearchMessage, {"auxip_cql2": {"query": "Q", "filter": ANY}}, "auxip_cql2.filter"),
        (UnzipMessage, {"auxip_item": {"id": "X"}}, "auxip_item.properties"),
        (StatusMessage, {"run": "../x"}, "run"),
        (CancelMessage, {"env": {"owner_id": "a/b"}}, "env.owner_id"),
        (ProcessAssetMessage, {"asset_href": None}, "asset_href"),
    ],
)
def test_a_wrong_field_is_named(message: type[BaseModel], wrong: Json, where: str) -> None:
    error = refusal(message, {**VALID[message], **wrong})
    assert error.code == "bad-request"
    assert error.reason.startswith(where)
    assert "\n" not in error.reason


def test_a_filter_that_is_none_has_a_code_of_its_own() -> None:
    assert refusal(StagingMessage, {**STAGING, "cql2_filter": {"op": "equals", "args": []}}).code == "bad-filter"


@pytest.mark.parametrize("text", ["soon", "", "9999-12-31T23:59:59-01:00"])
def test_an_instant_that_is_none_has_a_code_of_its_own(text: str) -> None:
    assert refusal(OnDemandMessage, {**ON_DEMAND, "end_datetime": text}).code == "bad-datetime"


@pytest.mark.parametrize("field", ["auxip_cql2", "cql2_filter"])
@pytest.mark.parametrize("spelled", [ANY, {"filter": ANY}])
def test_a_filter_may_be_a_bare_expression_or_the_filter_of_a_search(field: str, spelled: Json) -> None:
    message: SearchMessage | StagingMessage
    if field == "auxip_cql2":
        message = decode(SearchMessage, env=ENV, auxip_cql2=spelled)
        assert message.auxip_cql2 == Cql2(filter=ANY)
    else:
        message = decode(StagingMessage, **{**STAGING, field: spelled})
        assert message.cql2_filter == Cql2(filter=ANY)


def test_what_else_stands_in_env_is_let_through() -> None:
    decode(StagingMessage, **{**STAGING, "env": {**ENV, "calling_span": {"trace": 1}}})


def test_a_staging_message_asks_for_a_run() -> None:
    message = decode(StagingMessage, **STAGING, timeout_seconds=5, decompress=False)
    request = message.request(None)

    assert (request.kind, request.owner, request.collection) == (RunKind.STAGING, "operations", "aux")
    assert request.selection == Cql2(filter=ANY)
    assert (request.timeout_seconds, request.decompress) == (5, False)


def test_a_run_has_no_timeout_and_expands_unless_asked_otherwise() -> None:
    request = decode(StagingMessage, **STAGING).request(None)
    assert (request.timeout_seconds, request.decompress) == (-1, True)


@pytest.mark.parametrize(
    ("given", "asked"), [({}, None), ({"asset_names": None}, None), ({"asset_names": ["a"]}, ("a",))]
)
def test_assets_are_asked_for_by_their_names_or_all_of_them(given: Json, asked: tuple[str, ...] | None) -> None:
    assert decode(StagingMessage, **{**STAGING, **given}).request(None).asset_names == asked
    assert decode(OnDemandMessage, **{**ON_DEMAND, **given}).request().asset_names == asked


@pytest.mark.parametrize("names", [[], "a.EOF", [""], [1], ["x" * 256], ["x"] * 101, {}])
def test_names_of_assets_that_are_none_are_refused(names: object) -> None:
    assert refusal(StagingMessage, {**STAGING, "asset_names": names}).reason.startswith("asset_names")  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("product_type", "types"), [("A", ("A",)), (["A"], ("A",)), (["A", "B"], ("A", "B")), (("A", "B"), ("A", "B"))]
)
def test_a_product_type_is_one_or_a_list(product_type: object, types: tuple[str, ...]) -> None:
    request = decode(OnDemandMessage, **{**ON_DEMAND, "product_type": product_type}).request()
    assert request.selection == PolicySelection(
        policies=("ValCover",),
        product_types=types,
        start=datetime(2024, 3, 25, 9, tzinfo=UTC),
        end=datetime(2024, 3, 25, 9, 25, tzinfo=UTC),
    )


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    message = decode(OnDemandMessage, **{**ON_DEMAND, "end_datetime": "2024-03-25T08:59:59Z"})
    with pytest.raises(Rejected, match="bad-window"):
        message.request()


@pytest.mark.parametrize("bound", WINDOW)
def test_a_window_is_needed_where_the_policy_looks_at_one(bound: str) -> None:
    message = decode(OnDemandMessage, **{name: value for name, value in ON_DEMAND.items() if name != bound})
    with pytest.raises(Rejected, match="bad-window: the policy ValCover needs start and end"):
        message.request()


def test_no_window_is_needed_where_no_policy_looks_at_one() -> None:
    fields = {name: value for name, value in ON_DEMAND.items() if name not in WINDOW}
    request = decode(OnDemandMessage, **fields, policy="LatestValidity").request()
    assert request.selection == PolicySelection(policies=("LatestValidity",), product_types=("OPER_MPL_ORBPRE",))


def test_policies_platform_and_margins_reach_the_selection() -> None:
    chain = ["LatestValCover", "LatestValIntersect"]
    message = decode(OnDemandMessage, **ON_DEMAND, policy=chain, platform="sentinel-1a", before=6000, after=0.5)
    selection = message.request().selection

    assert isinstance(selection, PolicySelection)
    assert selection.policies == ("LatestValCover", "LatestValIntersect")
    assert (selection.platform, selection.before) == ("sentinel-1a", timedelta(seconds=6000))
    assert selection.after == timedelta(seconds=0.5)


def test_a_named_query_becomes_the_cql2_that_it_stands_for() -> None:
    expected = Cql2(filter={"op": "=", "args": [{"property": "platform"}, "sentinel-1a"]})
    staging = decode(StagingMessage, **{**STAGING, "cql2_filter": NAMED})

    assert staging.cql2_filter == NamedQuery(query="Orbits of a satellite", parameters={"satellite": "sentinel-1a"})
    assert staging.request(QUERIES).selection == expected
    assert decode(SearchMessage, env=ENV, auxip_cql2=NAMED).search(QUERIES) == expected


def test_an_orbit_is_asked_for_by_the_name_of_its_scene() -> None:
    request = decode(OrbitMessage, **ORBIT, station=["a", "b"]).request()
    assert (request.kind, request.collection, request.stations) == (RunKind.STAGING, "aux", ("a", "b"))
    assert request.selection == OrbitSelection(scene=SCENE)


def test_a_scene_that_is_none_is_refused_before_a_run_is_opened() -> None:
    assert refusal(OrbitMessage, {**ORBIT, "scene": "S2A_MSIL1C"}).code == "bad-scene"


def test_auxiliary_files_are_asked_for_by_their_names_at_one_station() -> None:
    request = decode(AuxMessage, **AUX, station="a").request()
    assert (request.stations, request.decompress) == (("a",), True)
    assert request.selection == NamesSelection(names=("S1A_AUX_CAL_X.SAFE",))
    assert refusal(AuxMessage, {**AUX, "station": ["a", "b"]}).code == "bad-request"
    assert refusal(AuxMessage, {**AUX, "names": ["../x"]}).code == "bad-request"


def test_what_a_run_is_asked_for_survives_the_ledger() -> None:
    for message in (decode(OrbitMessage, **ORBIT), decode(AuxMessage, **AUX)):
        request = message.request()
        assert RunRequest.model_validate_json(request.model_dump_json()) == request


def test_an_item_to_expand_is_taken_from_the_catalog_by_its_collection_and_id() -> None:
    request = decode(UnzipMessage, env=ENV, auxip_item=item_json(collection="aux")).request()
    assert (request.kind, request.collection, request.selection) == (RunKind.DECOMPRESS, "aux", Given(item_id="X"))


@pytest.mark.parametrize("collection", [None, "", "../aux", "a b", "x" * 200])
def test_an_item_to_expand_names_a_collection(collection: str | None) -> None:
    message = decode(UnzipMessage, env=ENV, auxip_item=item_json(collection=collection))
    with pytest.raises(Rejected, match=r"bad-request: auxip_item\.collection"):
        message.request()


@given(
    fields=st.dictionaries(st.sampled_from([*STAGING, "limit"]), st.none() | st.text() | st.integers() | st.just(ENV))
)
def test_whatever_is_sent_is_accepted_or_refused_and_never_a_surprise(fields: Json) -> None:
    with contextlib.suppress(Rejected):
        decode(StagingMessage, **fields)


@pytest.mark.parametrize(("station", "tried"), [(None, ()), ("adgs", ("adgs",)), (["prip", "adgs"], ("prip", "adgs"))])
def test_a_message_names_no_station_or_one_or_several_to_try_in_order(station: Json, tried: tuple[str, ...]) -> None:
    assert decode(StagingMessage, **{**STAGING, "station": station}).request(None).stations == tried
    assert decode(OnDemandMessage, **{**ON_DEMAND, "station": station}).request().stations == tried
    assert decode(SearchMessage, env=ENV, auxip_cql2=ANY, station=station).stations == tried


@pytest.mark.parametrize("station", ["", "a:b", "A", "../x", [], ["a"] * 21, [None], 5, {"name": "a"}])
def test_what_can_be_no_station_is_refused(station: object) -> None:
    assert "station" in refusal(StagingMessage, {**STAGING, "station": station}).reason  # type: ignore[dict-item]


def test_the_tasks_that_an_owners_file_may_name_are_the_public_ones() -> None:
    assert set(get_args(PublicTask)) == set(MESSAGES)
