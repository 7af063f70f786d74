"""Filters by properties that pgSTAC knows, does not know, or does not allow."""

from collections.abc import Iterator

import pytest

from local import samples
from shared.errors import Rejected
from shared.json_types import Json
from shared.stac.search import Cql2
from tests.integration.conftest import of_type
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac

MISSPELT: Json = {"op": "=", "args": [{"property": "product:typ"}, "OPER_AUX_RESORB_OPOD"]}
TOLD = "its queryables do not name product:typ"


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


def test_a_property_that_finds_nothing_and_is_not_registered_is_named(
    on_pgstac: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    assert ids(on_pgstac, MISSPELT) == []
    assert TOLD in caplog.text


def test_a_property_that_is_not_registered_and_finds_something_is_not_spoken_of(
    on_pgstac: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    assert ids(on_pgstac, of_type(samples.product(samples.AS_LONG_AS_WINDOW).product_type))
    assert caplog.text == ""


@pytest.mark.usefixtures("closed")
def test_a_property_that_pgstac_does_not_allow_is_refused_by_its_name(on_pgstac: Deployment) -> None:
    with pytest.raises(Rejected, match="unknown-property") as raised:
        ids(on_pgstac, MISSPELT)
    assert "do not name product:typ" in raised.value.reason
