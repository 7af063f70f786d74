"""Catalogs and stations as others run them, once for a test session; one stated skip where PostgreSQL is not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import samples
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac
from tests.peers.postgres import PostgreSQL
from tests.peers.programs import has_postgresql, programs
from tests.peers.rs_server import RsServer
from tests.stations.simulator import Simulator

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


_RS_SERVER = """[station.rs-server]
url = "{url}"
collections = ["adgs"]
trusted_domains = ["127.0.0.1"]
allow_private = true

[station.rs-server.auth]
kind = "oauth2-password"
token_url = "{station.url}/oauth2/token"
client_id = "{station.client_id}"
username = "{station.username}"
password = {{ env = "PEERS_STATION_PASSWORD" }}
"""


@pytest.fixture(scope="session")
def odata() -> Iterator[Simulator]:
    """The station behind RS-Server's AUXIP service."""
    with Simulator() as station:
        yield station


@pytest.fixture(scope="session")
def rs_server(postgres: PostgreSQL) -> RsServer:
    """RS-Server's services, which `on_rs_server` starts."""
    return RsServer(postgres, programs("rs-server"))


@pytest.fixture(scope="session")
def on_rs_server(rs_server: RsServer, odata: Simulator) -> Iterator[Deployment]:
    """The project with RS-Server's AUXIP service as its station and its catalog, whose bucket is not ours."""
    stations = _RS_SERVER.format(url=rs_server.auxip_url, station=odata)
    environment = {"AUXIP_CATALOG_URL": rs_server.catalog_url, "PEERS_STATION_PASSWORD": odata.password}
    with pytest.MonkeyPatch.context() as patch, Deployment(environment, stations) as deployment:
        patch.setenv("PEERS_STATION_PASSWORD", odata.password)
        products = [item for item in deployment.sample_items() if item["properties"]["product:type"] != "AUX_FAULTY"]
        odata.offer_items(products, deployment.stack.folder / "products")
        rs_server.start(deployment.environment, odata)
        yield deployment
        rs_server.stop()
