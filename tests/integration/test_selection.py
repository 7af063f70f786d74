"""Policies and named queries against the embedded station, whose `t_contains` is strict and whose pages are short."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest

from local import samples
from shared.context import Context
from shared.json_types import Json
from shared.selection import PolicyName, PolicySelection, choose
from tests.integration.conftest import Caller
from tests.integration.test_commands import auxip, last_object, stage
from tests.integration.test_runs import SECONDS, WINDOW, result_of

NAMES: tuple[PolicyName, ...] = get_args(PolicyName)
RESORB = "OPER_AUX_RESORB_OPOD"
TYPES = (RESORB, "OPER_AUX_PREORB_OPOD", "OPER_MPL_ORBSCT", "AX___OSF_AX", "OPER_MPL_ORBPRE")
MORNING = "S1A_OPER_AUX_RESORB_OPOD_20240325T085001_V20240325T044646_20240325T080416"
BEFORE_NOON = "S1A_OPER_AUX_RESORB_OPOD_20240325T102814_V20240325T062530_20240325T094300"
NOON = "S1A_OPER_AUX_RESORB_OPOD_20240325T120702_V20240325T080414_20240325T112144"
ENDS_WITHIN = samples.product(samples.ENDS_WITHIN_WINDOW).item_id
AS_LONG = samples.product(samples.AS_LONG_AS_WINDOW).item_id
OSF = {
    unit: f"S3{unit}_AX___OSF_AX_{validity}___________________EUM_O_AL_001.SEN3"
    for unit, validity in (
        ("A", "20160216T192404_99991231T235959_20240624T085540"),
        ("B", "20180425T191855_99991231T235959_20240507T090659"),
    )
}
ORBITS: Json = {"query": "Orbits of a satellite", "parameters": {"satellite": "sentinel-3b"}}


def by(*policies: PolicyName, types: Sequence[str] = (RESORB,), **changes: Any) -> PolicySelection:
    fields = {"start": samples.DEMO_START, "end": samples.DEMO_END, "policies": policies, "product_types": types}
    return PolicySelection.model_validate({**fields, **changes})


def selected(context: Context, selection: PolicySelection) -> list[str]:
    found = list(choose(selection, context.station().search))
    assert not [one for one in found if one.item is None]
    return sorted(one.item_id for one in found)


def test_bounds_that_touch_the_window_are_within_it(context: Context) -> None:
    assert selected(context, by("ValCover")) == sorted([BEFORE_NOON, NOON, AS_LONG])
    assert selected(context, by("LatestValCover")) == [AS_LONG]


@pytest.mark.parametrize(
    ("instant", "taken"),
    [("2024-03-25T08:04:16Z", [MORNING, BEFORE_NOON, NOON]), ("2024-03-25T08:04:16.001Z", [BEFORE_NOON, NOON])],
)
def test_a_validity_intersects_to_its_last_instant(context: Context, instant: str, taken: list[str]) -> None:
    assert selected(context, by("ValIntersect", start=instant, end=instant)) == sorted([*taken, ENDS_WITHIN])


@pytest.mark.parametrize("margin", [{"before": 1}, {"after": 1}], ids=str)
def test_a_margin_of_a_second_leaves_out_what_just_covers_the_window(context: Context, margin: dict[str, Any]) -> None:
    assert selected(context, by("LatestValCover", **margin)) == [NOON]


@pytest.mark.parametrize("end", ["2500-01-01T00:00:00Z", "99999999T999999"])
def test_validities_that_never_end_come_back(context: Context, end: str) -> None:
    scenario = samples.product(samples.OPEN_ENDED).item_id
    selection = by("LatestValCover", types=["OPER_MPL_ORBSCT", "AX___OSF_AX"], end=end, after=7000)
    assert selected(context, selection) == [scenario, OSF["A"]]


@pytest.mark.parametrize("unit", ["A", "B"])
def test_a_platform_is_one_of_several_with_the_same_product_type(context: Context, unit: str) -> None:
    selection = by(
        "LatestGeneration", types=["AX___OSF_AX"], platform=f"sentinel-3{unit.lower()}", start=None, end=None
    )
    assert selected(context, selection) == [OSF[unit]]


def test_a_chain_falls_through_for_each_product_type_apart(context: Context) -> None:
    day = timedelta(days=1)
    selection = by("LatestValCover", "LatestValIntersect", types=[RESORB, "AX___OSF_AX"], before=day, after=day)
    assert selected(context, selection) == [AS_LONG, OSF["A"]]


def _validities() -> list[tuple[str, str, datetime, datetime, datetime]]:
    return [(each.item_id, each.product_type, each.start, each.end, each.generated) for each in samples.catalogue()]


def test_the_latest_of_every_type_are_those_of_the_sample_products(context: Context) -> None:
    for place, name in ((2, "LatestValidity"), (3, "LatestStopValidity"), (4, "LatestGeneration")):
        best = {
            kind: max((one for one in _validities() if one[1] == kind), key=lambda one: (one[place], one[4], one[0]))
            for kind in TYPES
        }
        selection = PolicySelection.model_validate({"policies": [name], "product_types": TYPES})
        assert selected(context, selection) == sorted(one[0] for one in best.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_does_not_depend_on_the_length_of_the_pages(context: Context, name: PolicyName) -> None:
    selection = by(name, types=TYPES)
    whole = selected(context, selection)
    for size in (1, 2):
        with closing(Context(context.settings.model_copy(update={"station_page_size": size}))) as paged:
            assert selected(paged, selection) == whole
    assert whole


# Through the queues


def test_on_demand_staging_follows_a_chain_of_policies(caller: Caller) -> None:
    message: Json = {
        "product_type": [RESORB, "AX___OSF_AX"],
        "policy": ["LatestValCover", "LatestValIntersect"],
        "before": 86_400,
        "after": 86_400,
        "catalog_collection_identifier": caller.collection,
    }
    status, items = result_of(caller.send("auxip.on_demand_staging", **WINDOW, **message).get(SECONDS))

    assert status
    assert sorted(item.id for item in items) == [AS_LONG, OSF["A"]]


def test_on_demand_staging_needs_no_window_where_the_policy_looks_at_none(caller: Caller) -> None:
    message = {"product_type": RESORB, "policy": "LatestValidity", "catalog_collection_identifier": caller.collection}
    status, items = result_of(caller.send("auxip.on_demand_staging", **message).get(SECONDS))
    assert (status, [item.id for item in items]) == (True, [AS_LONG])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"product_type": RESORB}, "bad-window: the policy ValCover needs start and end"),
        ({"product_type": RESORB, "policy": "NoPolicy", **WINDOW}, "bad-request: policy.0: Input should be"),
        (WINDOW, "bad-request: product_type"),
    ],
)
def test_on_demand_staging_that_asks_for_what_cannot_be_is_refused(caller: Caller, message: Json, said: str) -> None:
    collection = {"catalog_collection_identifier": caller.collection}
    with pytest.raises(Exception, match=said):
        caller.send("auxip.on_demand_staging", **message, **collection).get(SECONDS)


def test_a_named_query_is_searched_and_staged(caller: Caller) -> None:
    found = caller.send("auxip.search", auxip_cql2=ORBITS).get(SECONDS)
    assert isinstance(found, dict)
    status, items = result_of(caller.stage(ORBITS).get(SECONDS))

    assert status
    assert {item.id for item in items} == {feature["id"] for feature in found["features"]} >= {OSF["B"]}


def test_a_named_query_that_is_unknown_is_refused(caller: Caller) -> None:
    with pytest.raises(Exception, match="unknown-query: no query 'Nothing' in AUXIP_QUERIES_FILE"):
        caller.stage({"query": "Nothing"}).get(SECONDS)


# From the command line

PERIOD = ["--start", samples.DEMO_START.isoformat(), "--end", samples.DEMO_END.isoformat()]


def staged(caller: Caller, *arguments: str) -> list[str]:
    ended = stage(caller, *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    items = last_object(ended.stdout)["items"]
    assert isinstance(items, list)
    return sorted(one["id"] for one in items)


def test_stage_takes_a_policy_with_margins_and_a_platform(caller: Caller) -> None:
    margins = ["--before", "3346s", "--after", "1h"]
    options = ["--policy", "LatestValCover", "--product-type", RESORB, "--platform", "sentinel-1a"]
    assert staged(caller, *options, *PERIOD, *margins) == [NOON]


def test_stage_takes_a_chain_of_policies(caller: Caller) -> None:
    chain = ["--policy", "LatestValCover", "--policy", "LatestValIntersect", "--before", "1d"]
    assert staged(caller, *chain, *PERIOD, "--product-type", RESORB) == [AS_LONG]


def test_stage_takes_a_policy_without_a_window(caller: Caller) -> None:
    assert staged(caller, "--policy", "LatestGeneration", "--product-type", RESORB) == [AS_LONG]


@pytest.mark.long
def test_stage_takes_a_named_query_with_its_parameters(caller: Caller) -> None:
    window = ["start_datetime=2024-03-25T09:00:00Z", "end_datetime=2024-03-25T09:25:00Z", "dTa=6000", "dTb=7000s"]
    parameters = [part for text in (f"product_type={RESORB}", *window) for part in ("--param", text)]
    assert staged(caller, "--query", "Touching", *parameters) == [AS_LONG]


def test_stage_tells_that_the_workers_know_no_such_query(caller: Caller) -> None:
    ended = stage(caller, "--query", "Nothing")
    assert ended.returncode == 1
    assert "auxip: unknown-query: no query 'Nothing'" in ended.stderr.splitlines()[-1]


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--policy", "ValCover"], 2, "give --product-type"),
        (["--query", "Q", "--product-type", RESORB], 2, "give --product-type"),
        (["--product-type", RESORB, "--param", "a=b"], 2, "give --product-type"),
        (["--query", "Q", "--param", "a"], 2, "'a' is no key=value"),
        (["--policy", "Best", "--product-type", RESORB], 2, "'Best' is not one of 'ValIntersect'"),
        (["--product-type", RESORB, *PERIOD, "--before", "long"], 2, "'long' is no duration such as 90s"),
        (["--product-type", RESORB, *PERIOD, "--before", "-1s"], 2, "auxip: bad-request: before"),
        (["--product-type", RESORB], 2, "auxip: bad-window: the policy ValCover needs start and end"),
    ],
)
def test_stage_with_a_selection_that_makes_no_sense_is_refused(
    context: Context, arguments: list[str], status: int, said: str
) -> None:
    ended = auxip("stage", *arguments)
    assert ended.returncode == status
    assert said in ended.stderr
