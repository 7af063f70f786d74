"""Catalogs and stations as others run them, once for a test session; one stated skip where PostgreSQL is not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import samples
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac
from tests.peers.postgres import PostgreSQL
from tests.peers.programs import has_postgresql, programs

_HERE = Path(__file__).parent
_MISSING = "tests/peers needs PostgreSQL with PostGIS: apt-get install postgresql-15 postgresql-15-postgis-3"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave one test of this folder, which says why it is skipped, where none can be run."""
    here = [item for item in items if _HERE in item.path.parents]
    if not here or has_postgresql():
        return
    here[0].add_marker(pytest.mark.skip(reason=_MISSING))
    config.hook.pytest_deselected(items=here[1:])
    items[:] = [item for item in items if item not in here[1:]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A server without databases of ours."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="session")
def pgstac(postgres: PostgreSQL) -> Iterator[PgStac]:
    """pgSTAC without collections."""
    peer = PgStac(postgres, programs("pgstac"))
    yield peer
    peer.stop()


_AUTH = """
[station.{name}.auth]
kind = "api-key"
api_key = {{ env = "PEERS_STATION_KEY" }}
"""
_PGSTAC = """[station.pgstac]
url = "{url}"
collections = ["{collection}"]
trusted_domains = ["127.0.0.1"]
allow_private = true
"""


@pytest.fixture(scope="session")
def on_pgstac(pgstac: PgStac) -> Iterator[Deployment]:
    """The project with pgSTAC as its station, which offers the sample products, and as its catalog."""
    offered = pgstac.new_collection(samples.STATION_COLLECTION)
    stations = _PGSTAC.format(url=pgstac.url, collection=offered) + _AUTH.format(name="pgstac")
    with Deployment({"AUXIP_CATALOG_URL": pgstac.url}, stations) as deployment:
        pgstac.add_items(offered, deployment.sample_items())
        yield deployment


@pytest.fixture
def collection(pgstac: PgStac) -> str:
    """A new and empty collection of pgSTAC."""
    return pgstac.new_collection()
