"""`asset_names` picks assets of each item: others are not downloaded, and what stands of them stays."""

import pytest

from local import samples
from shared.context import Context
from shared.models import RunState
from tests.integration.conftest import Caller, closed_run, of_id, of_type
from tests.integration.test_already_staged import BOTH, ORBIT, ZIP
from tests.integration.test_commands import WINDOW, counts_in, last_object, stage
from tests.integration.test_runs import SECONDS, result_of

FIND = of_id(samples.ORBIT_AND_ARCHIVE)
SIZES = {each.name: len(each.build()) for each in BOTH}
EXPANDED = ZIP.removesuffix(".zip")


def test_only_the_assets_that_are_named_are_downloaded(caller: Caller, context: Context) -> None:
    result = caller.stage(FIND, asset_names=[ORBIT])
    status, (item,) = result_of(result.get(SECONDS))

    assert status
    assert list(item.assets) == [ORBIT]
    counts = closed_run(context, result.id).counts
    assert counts.bytes_downloaded == counts.bytes_found == SIZES[ORBIT]


def test_an_item_that_was_staged_with_other_assets_keeps_these(caller: Caller, context: Context) -> None:
    caller.stage(FIND, asset_names=[ORBIT]).get(SECONDS)
    second = caller.stage(FIND, asset_names=[ZIP])
    _, (item,) = result_of(second.get(SECONDS))

    assert set(item.assets) == {ORBIT, EXPANDED}
    assert closed_run(context, second.id).counts.bytes_downloaded == SIZES[ZIP]
    both = caller.stage(FIND)
    both.get(SECONDS)
    assert [record.code for record in context.ledger.items(both.id)] == ["already-staged"]


def test_an_item_with_none_of_them_is_skipped_and_its_run_is_successful(caller: Caller, context: Context) -> None:
    result = caller.stage(of_type("OPER_AUX_POEORB_OPOD", "OPER_MPL_ORBPRE"), asset_names=[ORBIT, "none"])
    status, items = result_of(result.get(SECONDS))

    assert status
    assert [item.id for item in items] == [samples.ORBIT_AND_ARCHIVE]
    run = closed_run(context, result.id)
    assert run.state is RunState.SUCCESSFUL
    assert run.counts.skipped == run.counts.items - 1 > 0
    codes = {record.item_id: record.code for record in context.ledger.items(result.id)}
    assert codes.pop(samples.ORBIT_AND_ARCHIVE) == ""
    assert set(codes.values()) == {"no-such-asset"}


def test_a_run_whose_items_are_all_skipped_has_no_items(caller: Caller) -> None:
    assert caller.stage(FIND, asset_names=["none"]).get(SECONDS) == [True, None]


@pytest.mark.long
@pytest.mark.parametrize("names", [[ORBIT], [ORBIT, ZIP]])
def test_the_command_takes_each_of_them(caller: Caller, names: list[str]) -> None:
    options = [part for name in names for part in ("--asset", name)]
    ended = stage(caller, *WINDOW, "--product-type", "OPER_AUX_POEORB_OPOD", *options, "--json")

    assert ended.returncode == 0, ended.stderr
    said = last_object(ended.stdout)
    assert counts_in(said)["bytes_downloaded"] == sum(SIZES[name] for name in names)
