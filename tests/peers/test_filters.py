"""Filters by properties that pgSTAC knows, does not know, or does not allow."""

import json
from collections.abc import Iterator

import pytest

from local import samples
from shared.errors import NothingFound, Rejected
from shared.json_types import Json
from shared.models import Notice, RunState
from shared.stac.search import Cql2
from shared.steps.find import search_items
from shared.storage.location import Location
from tests.integration.conftest import of_id
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac

MISSPELT: Json = {"op": "=", "args": [{"property": "product:typ"}, "OPER_AUX_RESORB_OPOD"]}
NOTICE = Notice(
    code="unknown-property",
    reason="the station pgstac finds nothing, and its queryables do not name product:typ",
)


def ids(deployment: Deployment, expression: Json) -> list[str]:
    return [found.item_id for found in deployment.context.station().search(Cql2(filter=expression))]


@pytest.fixture
def closed(pgstac: PgStac) -> Iterator[None]:
    """pgSTAC allows registered properties alone, as its operator can have it."""
    setting = "INSERT INTO pgstac.pgstac_settings VALUES ('additional_properties', '{}')"
    pgstac.sql(f"{setting.format('false')} ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value")
    pgstac.restart()
    yield
    pgstac.sql(f"{setting.format('true')} ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value")
    pgstac.restart()


@pytest.mark.long
def test_a_run_that_finds_nothing_by_a_property_that_is_not_registered_says_so_and_so_does_its_report(
    on_pgstac: Deployment, collection: str
) -> None:
    run = on_pgstac.run(collection, cql2_filter=MISSPELT)

    assert (run.state, run.counts.items, run.notices) == (RunState.SUCCESSFUL, 0, (NOTICE,))
    report = on_pgstac.context.store.get(Location.parse(run.artifact), 10**6) or b""
    assert json.loads(report)["notices"] == [NOTICE.model_dump()]


def test_a_plain_search_that_must_find_something_says_so_in_its_error(on_pgstac: Deployment) -> None:
    with pytest.raises(NothingFound, match=NOTICE.reason):
        search_items(on_pgstac.context, Cql2(filter=MISSPELT), error_if_empty=True)


@pytest.mark.long
def test_a_run_that_finds_something_by_a_property_that_is_not_registered_has_no_notice(
    on_pgstac: Deployment, collection: str
) -> None:
    product = samples.product(samples.AS_LONG_AS_WINDOW)
    both: Json = {"op": "or", "args": [of_id(product.item_id), MISSPELT]}
    run = on_pgstac.run(collection, cql2_filter=both)

    assert (run.counts.items, run.notices) == (1, ())


@pytest.mark.usefixtures("closed")
def test_a_property_that_pgstac_does_not_allow_is_refused_by_its_name(on_pgstac: Deployment) -> None:
    with pytest.raises(Rejected, match="unknown-property") as raised:
        ids(on_pgstac, MISSPELT)
    assert "do not name product:typ" in raised.value.reason
