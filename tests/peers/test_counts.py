"""pgSTAC may state how many items a search matches: nothing healthy is taken for incomplete."""

from collections.abc import Iterator

import pytest

from local import samples
from shared.json_types import Json
from shared.stac.search import Cql2
from shared.stations.config import StacConfig
from shared.stations.stac import StacStation
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac

pytestmark = [pytest.mark.long]

ANY: Json = {"op": ">=", "args": [{"property": "datetime"}, {"timestamp": "1990-01-01T00:00:00Z"}]}


@pytest.fixture(params=["on", "auto"])
def counting(pgstac: PgStac, request: pytest.FixtureRequest) -> Iterator[None]:
    """pgSTAC counts what matches, or estimates it where it is much."""
    _set(pgstac, request.param)
    yield
    _set(pgstac, "off")


def _set(pgstac: PgStac, context: str) -> None:
    setting = "INSERT INTO pgstac.pgstac_settings VALUES ('context', '{}')"
    pgstac.sql(f"{setting.format(context)} ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value")
    pgstac.restart()


@pytest.mark.usefixtures("counting")
def test_a_search_of_several_pages_is_complete_by_pgstacs_count(on_pgstac: Deployment, pgstac: PgStac) -> None:
    search = Cql2(filter=ANY)
    body = {"filter-lang": "cql2-json", "filter": ANY, "limit": 1, "collections": [samples.STATION_COLLECTION]}
    matched = pgstac.call("POST", "/search", body).json()["numberMatched"]
    config = StacConfig(url=pgstac.url, collections=(samples.STATION_COLLECTION,), page_size=7, allow_private=True)
    station = StacStation("pgstac", config, on_pgstac.context.settings)
    try:
        found = list(station.search(search))
    finally:
        station.close()
    assert len(found) == matched > config.page_size
