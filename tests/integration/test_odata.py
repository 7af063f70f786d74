"""A station that speaks OData: the same items as from a STAC API with the same products, staged once."""

from collections.abc import Iterator

import pytest

from local.samples import DEMO_END, DEMO_PRODUCT_TYPES, DEMO_START
from local.stack import Stack
from shared.context import Context
from shared.models import Run, RunState
from shared.selection import PolicySelection, choose
from shared.selection.policies import POLICIES, PolicyName
from shared.stac.item import Found, Item
from shared.stac.search import Cql2
from shared.stations.station import Station
from tests.integration.conftest import Caller, closed_run, of_type

RESORB = "OPER_AUX_RESORB_OPOD"
ARCHIVES = "OPER_AUX_UT1UTC_PDMC"

MD5 = "d50110"
"""What precedes an MD5 in `file:checksum`; the STAC station writes it as the reference does, without."""


def staged(caller: Caller, stack: Stack, context: Context, product_type: str) -> tuple[Run, int]:
    """A run from the OData station, and how many files that was asked for."""
    before = stack.odata_downloads()
    sent = caller.stage(of_type(product_type), station=["odata"])
    sent.get(timeout=90)
    run = closed_run(context, str(sent.id))
    assert run.state is RunState.SUCCESSFUL
    return run, stack.odata_downloads() - before


@pytest.mark.parametrize(("product_type", "files"), [(RESORB, 5), (ARCHIVES, 2)])
def test_a_run_stages_what_the_station_has_and_a_second_one_downloads_nothing(
    caller: Caller, stack: Stack, context: Context, product_type: str, files: int
) -> None:
    first, downloads = staged(caller, stack, context, product_type)
    assert downloads == files
    assert first.counts.staged == first.counts.items > 0
    (shown,) = context.catalog_of("").items(
        caller.collection, {item.item_id for item in context.ledger.items(first.id)}
    )
    assert {Item.model_validate(item).properties["product:type"] for item in shown} == {product_type}

    second, downloads = staged(caller, stack, context, product_type)
    assert (downloads, second.counts.bytes_downloaded) == (0, 0)
    assert second.counts.skipped == first.counts.items


def test_what_was_staged_from_a_stac_api_is_not_downloaded_from_the_odata_station(
    caller: Caller, stack: Stack, context: Context
) -> None:
    caller.stage(of_type(RESORB)).get(timeout=90)
    _, downloads = staged(caller, stack, context, RESORB)
    assert downloads == 0


def test_a_station_that_speaks_odata_is_asked_where_the_stac_api_finds_nothing(
    caller: Caller, stack: Stack, context: Context
) -> None:
    stack.set_station_faults([{"path": "/search", "status": 503}])
    sent = caller.stage(of_type(RESORB), station=["local", "odata"])
    sent.get(timeout=90)
    assert closed_run(context, str(sent.id)).counts.items == 5


@pytest.mark.parametrize("name", list(POLICIES))
def test_every_policy_selects_the_same_products_at_both_stations(context: Context, name: PolicyName) -> None:
    """A product is an item of one file, so that of two that share an id the best one alone is selected."""
    types = DEMO_PRODUCT_TYPES
    selection = PolicySelection(policies=(name,), product_types=types, start=DEMO_START, end=DEMO_END)
    by_stac, by_odata = (files(choose(selection, context.station(each).search)) for each in ("local", "odata"))
    assert {each[0] for each in by_odata} == {each[0] for each in by_stac} != set()
    assert by_odata <= by_stac
    if POLICIES[name].measure is None:
        assert by_odata == by_stac


def files(found: Iterator[Found]) -> set[tuple[str, str, int | None, str | None, str]]:
    """What identifies each file that is selected, whoever offers it."""
    return {
        (
            one.item_id,
            key,
            asset.size,
            (asset.checksum or "").lower().removeprefix(MD5),
            str(one.item.properties["end_datetime"])[:19],
        )
        for one in found
        if one.item is not None
        for key, asset in one.item.assets.items()
    }


def test_items_of_both_stations_are_alike(context: Context) -> None:
    by_stac, by_odata = ({one.item_id: one for one in ask(context.station(each))} for each in ("local", "odata"))
    assert by_odata.keys() == by_stac.keys()
    for name, found in by_odata.items():
        assert found.item is not None
        expected = by_stac[name].item
        assert expected is not None
        for field in ("product:type", "platform", "constellation", "start_datetime", "processing:datetime", "created"):
            assert found.item.properties[field] == expected.properties[field], field


def ask(station: Station) -> Iterator[Found]:
    return station.search(Cql2(filter=of_type(RESORB)))
