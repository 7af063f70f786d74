"""A whole run from a station that speaks OData: the same items as from a STAC API, staged once."""

from local.stack import Stack
from shared.context import Context
from shared.models import RunState
from tests.integration.conftest import Caller, closed_run, of_type

RESORB = "OPER_AUX_RESORB_OPOD"
ARCHIVES = "OPER_AUX_UT1UTC_PDMC"


def staged(caller: Caller, stack: Stack, context: Context, product_type: str, **options: object) -> tuple[object, int]:
    """The counts of a run from the OData station, and how many files it was asked for."""
    before = stack.odata_downloads()
    sent = caller.stage(of_type(product_type), station=["odata"], **options)
    sent.get(timeout=90)
    run = closed_run(context, str(sent.id))
    assert run.state is RunState.SUCCESSFUL
    return run.counts, stack.odata_downloads() - before
