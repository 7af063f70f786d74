"""Runs that overlap stage an item once, with real workers."""

from itertools import pairwise

import pytest

from local import samples
from local.stack import Stack
from shared.archives import is_archive
from shared.context import Context
from shared.models import ItemState
from tests.integration.conftest import Caller, closed_run, of_type
from tests.integration.test_runs import SECONDS, result_of

TYPES = ("OPER_AUX_ECMWFD_PDMC", "OPER_AUX_UT1UTC_PDMC", "OPER_MPL_ORBPRE", "OPER_AUX_POEORB_OPOD")
PRODUCTS = [each for each in samples.catalogue() if each.product_type in TYPES]
ARCHIVES = [each for each in PRODUCTS if is_archive(each.name)]


@pytest.mark.long
def test_runs_that_overlap_download_each_asset_once_and_expand_each_archive_once(
    caller: Caller, context: Context, stack: Stack
) -> None:
    before = stack.station_traffic().downloads
    results = [caller.stage(of_type(*TYPES)) for _ in range(3)]
    answers = [result_of(result.get(SECONDS)) for result in results]

    assert stack.station_traffic().downloads - before == len(PRODUCTS)
    assert all(status for status, _ in answers)
    assert all(first == second for first, second in pairwise(answers))
    expansions = [
        expansion
        for result in results
        for record in context.ledger.items(result.id)
        for expansion in record.expansions.values()
    ]
    assert sum(not expansion.reused for expansion in expansions) == len(ARCHIVES)
    for result in results:
        run = closed_run(context, result.id)
        assert run.counts.failed == 0
        assert {record.state for record in context.ledger.items(run.id)} <= {
            ItemState.SKIPPED,
            ItemState.CATALOGUED,
            ItemState.EXPANDED,
        }
